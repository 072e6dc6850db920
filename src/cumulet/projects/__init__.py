"""Projects, the users who belong to them, and the keys that prove it."""

from cumulet.permission import CloudRole, Role
from cumulet.projects import (  # noqa: F401 - declares them
    key_operations,
    login_code_operations,
    member_operations,
    operations,
    password_operations,
    session_operations,
    sso_operations,
    user_operations,
)
from cumulet.projects.access import (
    admit,
    authenticate,
    begin_of_project,
    digest_of,
    find_caller,
    find_holder,
    good_digests,
    has_role,
    is_seen,
    keys_of_project,
    keys_of_user,
    lock_project,
    permit,
    user_of,
    write_uses,
)
from cumulet.projects.bootstrap import DEFAULT_BILLING_ACCOUNT, KEY_FILE, bootstrap
from cumulet.projects.model import DEFAULT_PROJECT, SPEND_REACHED, SPEND_WARNED, ApiKey, Project
from cumulet.projects.paging import WHOLE, Page, fetch_page, fetch_part, read_page, read_part
from cumulet.projects.passwords import seal_secrets
from cumulet.projects.public_key import check_public_key
from cumulet.projects.session_operations import SESSION_LASTS, session_key

__all__ = [
    "DEFAULT_BILLING_ACCOUNT",
    "DEFAULT_PROJECT",
    "KEY_FILE",
    "SESSION_LASTS",
    "SPEND_REACHED",
    "SPEND_WARNED",
    "WHOLE",
    "ApiKey",
    "CloudRole",
    "Page",
    "Project",
    "Role",
    "admit",
    "authenticate",
    "begin_of_project",
    "bootstrap",
    "check_public_key",
    "digest_of",
    "fetch_page",
    "fetch_part",
    "find_caller",
    "find_holder",
    "good_digests",
    "has_role",
    "is_seen",
    "keys_of_project",
    "keys_of_user",
    "lock_project",
    "permit",
    "read_page",
    "read_part",
    "seal_secrets",
    "session_key",
    "user_of",
    "write_uses",
]
