"""The first start: the project `default`, its owner, who is the first operator, and a key for whoever owns the machine.

    no admin.key ──▶ admin.key.new ──commit of its digest──▶ admin.key

The key is on disk before the database knows it, and gets its final name after: a start that dies anywhere in between
is finished by the next one. A key under its final name was valid once, so if the database does not know it any more it
was revoked, and stays so. Removing the file gets a further key at the next start: the way back in for an owner who
lost theirs, and nobody else can write there.
"""

from __future__ import annotations

import os
import re
from datetime import datetime
from pathlib import Path
from typing import Final
from uuid import uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session

from cumulet.db import Database, dialect_of, insert_into
from cumulet.errors import KEY_PREFIX, Invalid
from cumulet.permission import CloudRole, Role
from cumulet.projects.access import digest_of, new_key
from cumulet.projects.model import DEFAULT_PROJECT, ApiKey, Membership, Project, User, UserState

DEFAULT_BILLING_ACCOUNT: Final = "default"
OWNER_EMAIL: Final = "owner@localhost"
KEY_FILE: Final = "admin.key"


def bootstrap(database: Database, data_dir: Path, now: datetime) -> None:
    """Make what the first start needs, as far as it is missing: default project, owner, `data_dir`/admin.key.

    Invalid when a key file is there that holds no key.
    """
    key_file = data_dir / KEY_FILE
    unregistered = data_dir / f"{KEY_FILE}.new"
    with database.writing() as db:
        is_first_start = _add_owner(db)
        owner = db.scalars(select(User).where(User.email == OWNER_EMAIL)).one()
        if is_first_start:
            _add_default_project(db, owner, now)
        if not key_file.exists():
            _register(db, owner, _read_or_make(unregistered), now)
        elif is_first_start:
            _register(db, owner, _read(key_file), now)
    if not key_file.exists():
        unregistered.rename(key_file)


def _add_owner(db: Session) -> bool:
    """Whether this is the first start; of two servers that start at once on one database, only one's is."""
    owner = insert_into(dialect_of(db), User).values(
        id=uuid4(),
        email=OWNER_EMAIL,
        first_name="Owner",
        last_name="",
        state=UserState.ACTIVE,
        cloud_role=CloudRole.OPERATOR,
    )
    return db.scalar(owner.on_conflict_do_nothing().returning(User.id)) is not None


def _add_default_project(db: Session, owner: User, now: datetime) -> None:
    project = Project(
        id=DEFAULT_PROJECT,
        billing_account_id=DEFAULT_BILLING_ACCOUNT,
        created_by=owner.id,
        created_at=now,
    )
    db.add(project)
    db.flush()
    db.add(Membership(user_id=owner.id, project_id=DEFAULT_PROJECT, role=Role.OWNER))


def _register(db: Session, owner: User, key: str, now: datetime) -> None:
    """Let a key in, and who it is for: the owner of the machine is never locked out."""
    owner.state, owner.cloud_role = UserState.ACTIVE, CloudRole.OPERATOR
    digest = digest_of(key)
    if db.scalar(select(ApiKey.id).where(ApiKey.digest == digest)) is None:
        db.add(ApiKey(user_id=owner.id, id=f"admin-{digest.hex()[:12]}", digest=digest, created_at=now))


def _read_or_make(path: Path) -> str:
    if not path.exists():
        _write(path, new_key())
    return _read(path)


def _read(path: Path) -> str:
    key = path.read_text(encoding="ascii", errors="replace").strip()
    if not re.fullmatch(rf"{KEY_PREFIX}[A-Za-z0-9_-]{{43}}", key):
        raise Invalid(f"{path} does not hold an API key; remove it, and the next start makes a new one")
    return key


def _write(path: Path, key: str) -> None:
    """Write the whole key or nothing, for our eyes only, and have it on the disk before anyone relies on it."""
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(key + "\n")
        file.flush()
        os.fsync(descriptor)
    part.rename(path)
