"""The keys of a user: SSH keys for their VMs, API keys for their programs. The API's verbs."""

from __future__ import annotations

import re
import secrets
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import and_, delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from cumulet import journal
from cumulet.db import MOST_NAMES, names_there
from cumulet.errors import AlreadyExists, Invalid, NotFound
from cumulet.events import EventName
from cumulet.limits import Limits
from cumulet.operation import Access, Caller, operation
from cumulet.projects.access import digest_of, find_caller, is_of_project, new_key, refuse_beyond
from cumulet.projects.model import ApiKey, Membership, SshKey
from cumulet.projects.paging import fetch_page, fetch_part, read_page, read_part
from cumulet.projects.public_key import parse_public_key
from cumulet.projects.wire import (
    ApiKeyAnswer,
    CreateSshKey,
    GenerateApiKey,
    ListApiKeysResponse,
    ListProjectSshKeysResponse,
    ListSshKeysResponse,
    SshKeyAnswer,
)
from cumulet.wire import Empty

API_KEY_ID: Final = re.compile(r"[a-z0-9-]{4,63}")
LONGEST_LIFE: Final = timedelta(days=36500)


@operation("GET /v1/ssh-keys", access=Access.USER)
def list_ssh_keys(
    db: Session, caller: Caller, *, page_number: int = 0, page_size: int = 0, page_token: str = ""
) -> ListSshKeysResponse:
    """List the caller's SSH keys, oldest first."""
    page = read_page(page_number, page_size, page_token)
    mine = select(SshKey).where(SshKey.user_id == caller.user_id)
    keys, total, token = fetch_page(db, mine, page, SshKey.created_at, SshKey.id)
    return ListSshKeysResponse(
        ssh_keys=[ssh_key_view(key) for key in keys],
        total_count=total,
        page_number=page.number,
        page_size=page.size,
        page_token=token,
    )


@operation("POST /v1/ssh-keys", access=Access.USER)
def create_ssh_key(
    db: Session, caller: Caller, now: datetime, limits: Limits, *, data: CreateSshKey
) -> SshKeyAnswer:
    """Add an SSH key of the caller; VMs created from now on can use it."""
    public_key = parse_public_key(data.public_key, "publicKey")
    refuse_beyond(db, caller, SshKey.user_id == caller.user_id, "SSH keys", most=limits.ssh_keys_per_user)
    key = SshKey(
        id=uuid4(),
        user_id=caller.user_id,
        public_key=public_key.line,
        type=public_key.type,
        fingerprint=public_key.fingerprint,
        comment=public_key.comment,
        created_at=now,
    )
    db.add(key)
    try:
        db.flush()
    except IntegrityError:
        raise AlreadyExists(f"you already have the SSH key {key.fingerprint}") from None
    _log(db, EventName.USER_ADDED_SSH_KEY, f"{caller.email} added the SSH key {key.fingerprint}", caller, now)
    return ssh_key_view(key)


@operation("GET /v1/ssh-keys/{id}", access=Access.USER)
def get_ssh_key(db: Session, caller: Caller, *, id: str) -> SshKeyAnswer:
    """Show one SSH key of the caller."""
    return ssh_key_view(_find_ssh_key(db, caller, id))


@operation("DELETE /v1/ssh-keys/{id}", access=Access.USER)
def delete_ssh_key(db: Session, caller: Caller, now: datetime, *, id: str) -> Empty:
    """Remove an SSH key of the caller; VMs that have it keep it."""
    key = _find_ssh_key(db, caller, id)
    db.delete(key)
    _log(
        db,
        EventName.USER_REMOVED_SSH_KEY,
        f"{caller.email} removed the SSH key {key.fingerprint}",
        caller,
        now,
    )
    return Empty()


@operation("GET /v1/project/{projectId}/ssh-keys", access=Access.VIEWER)
def list_project_ssh_keys(
    db: Session, *, project_id: str, page_size: int = 0, page_token: str = ""
) -> ListProjectSshKeysResponse:
    """List the SSH keys of all members of a project: what SSH_KEY_SOURCE_PROJECT puts into a VM."""
    page = read_part(page_size, page_token)
    theirs = select(SshKey).where(is_of_project(project_id))
    keys, token = fetch_part(db, theirs, page, SshKey.created_at, SshKey.id)
    return ListProjectSshKeysResponse(ssh_keys=[ssh_key_view(key) for key in keys], page_token=token)


@operation("GET /v1/api-keys", access=Access.USER)
def list_api_keys(
    db: Session, caller: Caller, *, page_number: int = 0, page_size: int = 0, page_token: str = ""
) -> ListApiKeysResponse:
    """List the caller's API keys by id; the keys themselves are not kept."""
    page = read_page(page_number, page_size, page_token)
    mine = select(ApiKey).where(ApiKey.user_id == caller.user_id, ~ApiKey.is_session)
    keys, total, token = fetch_page(db, mine, page, ApiKey.id)
    return ListApiKeysResponse(
        api_keys=[api_key_view(key) for key in keys],
        total_count=total,
        page_number=page.number,
        page_size=page.size,
        page_token=token,
    )


@operation("POST /v1/api-keys", access=Access.USER)
def generate_api_key(
    db: Session, caller: Caller, now: datetime, limits: Limits, *, data: GenerateApiKey
) -> ApiKeyAnswer:
    """Create an API key that acts for the caller; only this answer contains it."""
    name = data.apikey_id or f"key-{secrets.token_hex(6)}"
    if not API_KEY_ID.fullmatch(name):
        raise Invalid.field("apikeyId", name, "4 to 63 of a-z, 0-9 and '-', or none to have one generated")
    if data.expire_time is not None and not now < data.expire_time <= now + LONGEST_LIFE:
        accepted = "a time in the future, at most a hundred years from now, or none"
        raise Invalid.field("expireTime", data.expire_time.isoformat(), accepted)
    if data.project_id:
        with Invalid.reference("projectId"):
            check_own_project(db, caller, data.project_id, now=now)
    theirs = and_(ApiKey.user_id == caller.user_id, ~ApiKey.is_session)
    refuse_beyond(db, caller, theirs, "API keys", most=limits.api_keys_per_user)
    key = new_key()
    row = ApiKey(
        user_id=caller.user_id,
        id=name,
        digest=digest_of(key),
        created_at=now,
        expires_at=data.expire_time,
        project_id=data.project_id or None,
        reads_only=data.read_only,
    )
    db.add(row)
    try:
        db.flush()
    except IntegrityError:
        raise AlreadyExists(f"you already have an API key {name!r}; choose another apikeyId") from None
    _log(db, EventName.USER_ADDED_API_KEY, f"{caller.email} created the API key {name}", caller, now)
    return api_key_view(row, key)


@operation("DELETE /v1/api-keys/{name}", access=Access.USER)
def delete_api_key(db: Session, caller: Caller, now: datetime, *, name: str) -> Empty:
    """Revoke an API key of the caller, at once, and with it the sessions that were opened with it."""
    mine = and_(ApiKey.user_id == caller.user_id, ~ApiKey.is_session)
    if db.scalar(delete(ApiKey).where(mine, ApiKey.id == name).returning(ApiKey.id)) is None:
        raise NotFound.named("API key", name, names_there(db, ApiKey.id, mine))
    db.execute(delete(ApiKey).where(ApiKey.user_id == caller.user_id, ApiKey.opened_with == name))
    _log(db, EventName.USER_REMOVED_API_KEY, f"{caller.email} revoked the API key {name}", caller, now)
    return Empty()


def check_own_project(db: Session, caller: Caller, project_id: str, *, now: datetime) -> None:
    """Return when the caller belongs to a project; NotFound."""
    if find_caller(db, caller.key_digest, now=now, project_id=project_id).role is None:
        theirs = names_there(db, Membership.project_id, Membership.user_id == caller.user_id)
        raise NotFound.named("project of yours", project_id, theirs)


def api_key_view(row: ApiKey, key: str = "") -> ApiKeyAnswer:
    """Show an API key, with `key` itself if that is new."""
    return ApiKeyAnswer(
        id=row.id,
        create_time=row.created_at,
        key=key,
        expire_time=row.expires_at,
        last_used_time=row.last_used_at,
        project_id=row.project_id or "",
        read_only=row.reads_only,
    )


def ssh_key_view(key: SshKey) -> SshKeyAnswer:
    """Show an SSH key as the contract does."""
    return SshKeyAnswer(
        id=str(key.id),
        create_time=key.created_at,
        public_key=key.public_key,
        fingerprint=key.fingerprint,
        type=key.type,
        comment=key.comment,
    )


def _find_ssh_key(db: Session, caller: Caller, id: str) -> SshKey:
    try:
        key = db.get(SshKey, UUID(id))
    except ValueError:
        key = None
    if key is None or key.user_id != caller.user_id:
        mine = db.scalars(select(SshKey.id).where(SshKey.user_id == caller.user_id).limit(MOST_NAMES))
        raise NotFound.named("SSH key", id, [str(one) for one in mine])
    return key


def _log(db: Session, event: EventName, text: str, caller: Caller, now: datetime) -> None:
    journal.log_event(
        db, event, at=now, project_id="", subject_id=caller.user_id, text=text, actor=caller.email
    )
