"""Further users and their keys, for tests about who may what."""

import base64
import struct
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from sqlalchemy.orm import Session

from cumulet.operation import OPERATIONS, Caller
from cumulet.permission import CloudRole, Role
from cumulet.projects import find_caller, permit
from cumulet.projects.access import digest_of
from cumulet.projects.model import ApiKey, Membership, User, UserState


def add_user(db: Session, name: str, cloud_role: CloudRole = CloudRole.NONE, **roles: Role) -> Caller:
    user = User(
        id=uuid4(),
        email=f"{name}@example.org",
        first_name=name,
        last_name="",
        state=UserState.ACTIVE,
        cloud_role=cloud_role,
    )
    db.add(user)
    db.flush()
    for project_id, role in roles.items():
        db.add(Membership(user_id=user.id, project_id=project_id, role=role))
    db.flush()
    key = ApiKey(user_id=user.id, id=f"key-of-{name}", digest=digest_of(name), created_at=datetime.now(UTC))
    db.add(key)
    db.flush()
    return Caller(user_id=user.id, email=user.email, cloud_role=cloud_role, key_digest=key.digest)


def admitted(db: Session, caller: Caller, function: Callable[..., Any], project_id: str = "") -> Caller:
    """A caller as the edge lets them in to an operation; NotFound, Forbidden."""
    one = OPERATIONS[function.__name__]
    known = find_caller(db, caller.key_digest, project_id=project_id, now=datetime.now(UTC))
    return permit(db, known, one.access, changes=not one.reads_only)


def ed25519_line(number: int, comment: str = "") -> str:
    """A well-formed public key, another for each number."""
    parts = (b"ssh-ed25519", number.to_bytes(32, "big"))
    body = base64.b64encode(b"".join(struct.pack(">I", len(part)) + part for part in parts)).decode()
    return f"ssh-ed25519 {body} {comment}".rstrip()
