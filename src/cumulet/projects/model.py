"""Who may do what: users, their projects and roles, the API keys that prove them and the SSH keys of their VMs."""

from __future__ import annotations

import enum
from datetime import datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

from sqlalchemy import JSON, Enum, ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from cumulet.db import Row
from cumulet.permission import CloudRole, Role

DEFAULT_PROJECT: Final = "default"
"""What the first start makes."""


class UserState(enum.Enum):
    """Where a user is between their invitation and their end."""

    INVITED = "INVITED"
    """Known by their e-mail address alone: they have not accepted yet."""
    ACTIVE = "ACTIVE"
    SUSPENDED = "SUSPENDED"
    """Their keys open nothing until an operator resumes them."""
    REMOVED = "REMOVED"
    """Gone, with their keys and roles; what they made stays, and is theirs by name."""


class User(Row):
    """A person."""

    __tablename__ = "user"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(254), unique=True)
    first_name: Mapped[str] = mapped_column(String(100))
    last_name: Mapped[str] = mapped_column(String(100))
    state: Mapped[UserState]
    cloud_role: Mapped[CloudRole]
    vouched_for: Mapped[bool] = mapped_column(default=True)
    """That it is whose address it says, by an operator or the identity provider: others may have invited anybody under it."""


class Invitation(Row):
    """What lets an invited person in, once. Only the digest of its code is kept."""

    __tablename__ = "invitation"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("user.id"), primary_key=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    expires_at: Mapped[datetime]
    invited_by: Mapped[UUID | None]
    """Who was told the code; None where that was not written down yet."""


class Project(Row):
    """What VMs, networks and disks belong to; projects do not see each other."""

    __tablename__ = "project"

    id: Mapped[str] = mapped_column(String(63), primary_key=True)
    billing_account_id: Mapped[str] = mapped_column(String(63))
    created_by: Mapped[UUID] = mapped_column(ForeignKey("user.id"))
    created_at: Mapped[datetime]
    quotas: Mapped[dict[str, int | None]] = mapped_column(JSON, default=dict)
    """What its operator set of its quotas, by name; None for no limit. Of the others the catalogue's count."""
    spend_limit: Mapped[Decimal | None]
    """What it may spend in a month before it can have nothing more."""
    spend_stops: Mapped[bool] = mapped_column(default=False)
    """Its VMs are stopped then."""
    spend_told: Mapped[int] = mapped_column(default=0)
    """How many percent of that were seen to be spent in this month: 0, `SPEND_WARNED` or `SPEND_REACHED`."""


SPEND_WARNED: Final = 80
SPEND_REACHED: Final = 100


class Membership(Row):
    """A user's role in a project."""

    __tablename__ = "membership"
    __table_args__ = (Index("ix_membership_project", "project_id"),)

    user_id: Mapped[UUID] = mapped_column(ForeignKey("user.id"), primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("project.id"), primary_key=True)
    role: Mapped[Role] = mapped_column(Enum(Role, native_enum=False, length=20))


class DataCenterMember(Row):
    """A user's role in a data center: they look after its hosts."""

    __tablename__ = "data_center_member"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("user.id"), primary_key=True)
    data_center_id: Mapped[str] = mapped_column(String(63), primary_key=True)
    role: Mapped[Role] = mapped_column(Enum(Role, native_enum=False, length=20))


class ApiKey(Row):
    """A key that acts for its user. Only its digest is kept: who reads the database cannot use it."""

    __tablename__ = "api_key"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("user.id"), primary_key=True)
    id: Mapped[str] = mapped_column(String(63), primary_key=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    project_id: Mapped[str | None] = mapped_column(ForeignKey("project.id", ondelete="CASCADE"))
    """The only project that it is for; None for all that its user has."""
    reads_only: Mapped[bool] = mapped_column(default=False)
    last_used_at: Mapped[datetime | None]
    """To within a minute or so."""
    is_session: Mapped[bool] = mapped_column(default=False)
    """A browser holds it, and it ends when it is not used for a while."""
    opened_with: Mapped[str | None] = mapped_column(String(63))
    """The user's key that a session was opened with, and ends with; or what else it was opened with."""


class Password(Row):
    """What a user signs in with at a browser."""

    __tablename__ = "password"

    user_id: Mapped[UUID] = mapped_column(ForeignKey("user.id"), primary_key=True)
    hash: Mapped[str]
    """By Argon2id, with its salt and its parameters."""
    set_at: Mapped[datetime]
    totp_secret: Mapped[str] = mapped_column(default="")
    """What their authenticator makes its codes of, sealed; empty without one."""
    totp_step: Mapped[int] = mapped_column(default=0)
    """The half minute whose code was used last: none is good twice."""
    recovery: Mapped[list[str]] = mapped_column(JSON, default=list)
    """The digests of the recovery codes that are left."""


class PasswordTry(Row):
    """How often wrong passwords were tried of an account, or from an address; for all servers."""

    __tablename__ = "password_try"

    place: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    """A digest: an account may be somebody's mistyped password."""
    times: Mapped[int] = mapped_column(default=0)
    """Wrong ones."""
    under_way: Mapped[int] = mapped_column(default=0)
    """Of which it is not known yet."""
    last_at: Mapped[datetime] = mapped_column(index=True)


class SingleSignOn(Row):
    """Whom the identity provider means by a user of ours: by its own id, for e-mail addresses change hands."""

    __tablename__ = "single_sign_on"
    __table_args__ = (Index("uq_single_sign_on_subject", "issuer", "subject", unique=True),)

    user_id: Mapped[UUID] = mapped_column(ForeignKey("user.id"), primary_key=True)
    issuer: Mapped[str]
    subject: Mapped[str]


class LoginTicket(Row):
    """What lets a browser in, once, for who holds a key. Only its digest is kept."""

    __tablename__ = "login_ticket"

    digest: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))
    key_id: Mapped[str] = mapped_column(String(63))
    expires_at: Mapped[datetime] = mapped_column(index=True)


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
