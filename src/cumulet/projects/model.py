"""Who may do what: users, their projects and roles, the API keys that prove them and the SSH keys of their VMs."""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import Enum, ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from cumulet.db import Row

DEFAULT_PROJECT: Final = "default"
"""What the first start makes; its owners run the cloud."""


class Role(enum.Enum):
    """What a user may do in a project; each includes the ones before it."""

    VIEWER = 1
    """Look."""
    EDITOR = 2
    """Create, change and remove."""
    OWNER = 3
    """Decide who belongs to it."""


class User(Row):
    """A person."""

    __tablename__ = "user"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(254), unique=True)
    first_name: Mapped[str] = mapped_column(String(100))
    last_name: Mapped[str] = mapped_column(String(100))


class Project(Row):
    """What VMs, networks and disks belong to; projects do not see each other."""

    __tablename__ = "project"

    id: Mapped[str] = mapped_column(String(63), primary_key=True)
    billing_account_id: Mapped[str] = mapped_column(String(63))
    created_by: Mapped[UUID] = mapped_column(ForeignKey("user.id"))
    created_at: Mapped[datetime]


class Membership(Row):
    """A user's role in a project."""

    __tablename__ = "membership"
    __table_args__ = (Index("ix_membership_project", "project_id"),)

    user_id: Mapped[UUID] = mapped_column(ForeignKey("user.id"), primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("project.id"), primary_key=True)
    role: Mapped[Role] = mapped_column(Enum(Role, native_enum=False, length=20))


class ApiKey(Row):
    """A key that acts for its user. Only its digest is kept: who reads the database cannot use it."""

    __tablename__ = "api_key"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("user.id"), primary_key=True)
    id: Mapped[str] = mapped_column(String(63), primary_key=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    created_at: Mapped[datetime]


class SshKey(Row):
    """A public key of a user, put into the VMs that ask for their keys."""

    __tablename__ = "ssh_key"
    __table_args__ = (Index("uq_ssh_key_user_fingerprint", "user_id", "fingerprint", unique=True),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("user.id"))
    public_key: Mapped[str]
    """One line: type, key and comment."""
    type: Mapped[str] = mapped_column(String(63))
    fingerprint: Mapped[str] = mapped_column(String(63))
    comment: Mapped[str]
    created_at: Mapped[datetime]
