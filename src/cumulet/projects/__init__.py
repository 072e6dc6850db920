"""Projects, the users who belong to them, and the keys that prove it."""

from cumulet.projects import key_operations, operations  # noqa: F401 - declares them
from cumulet.projects.access import authenticate, keys_of_project, keys_of_user, require
from cumulet.projects.bootstrap import KEY_FILE, bootstrap
from cumulet.projects.model import DEFAULT_PROJECT, Project, Role
from cumulet.projects.paging import fetch_page, read_page
from cumulet.projects.public_key import check_public_key

__all__ = [
    "DEFAULT_PROJECT",
    "KEY_FILE",
    "Project",
    "Role",
    "authenticate",
    "bootstrap",
    "check_public_key",
    "fetch_page",
    "keys_of_project",
    "keys_of_user",
    "read_page",
    "require",
]
