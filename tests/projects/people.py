"""Further users and their keys, for tests about who may what."""

import base64
import struct
from uuid import uuid4

from sqlalchemy.orm import Session

from cumulet.operation import Caller
from cumulet.projects.model import Membership, Role, User


def add_user(db: Session, name: str, **roles: Role) -> Caller:
    user = User(id=uuid4(), email=f"{name}@example.org", first_name=name, last_name="")
    db.add(user)
    db.flush()
    for project_id, role in roles.items():
        db.add(Membership(user_id=user.id, project_id=project_id, role=role))
    db.flush()
    return Caller(user_id=user.id, email=user.email)


def ed25519_line(number: int, comment: str = "") -> str:
    """A well-formed public key, another for each number."""
    parts = (b"ssh-ed25519", number.to_bytes(32, "big"))
    body = base64.b64encode(b"".join(struct.pack(">I", len(part)) + part for part in parts)).decode()
    return f"ssh-ed25519 {body} {comment}".rstrip()
