"""Projects, users and keys as JSON of the contract."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Meta

from cumulet.wire import Wire


class ProjectAnswer(Wire):
    """A project."""

    id: str
    billing_account_id: str
    create_by: str


class ListProjectsResponse(Wire):
    """One page of projects; `pageToken` asks for the next and is empty on the last."""

    projects: list[ProjectAnswer]
    page_token: str
    page_size: int


class CreateProject(Wire):
    """A new project. There is no billing: its account is kept as given, because clients require one."""

    id: str
    billing_account_id: Annotated[str, Meta(max_length=63)] = ""


class ProjectChange(Wire):
    """What can be changed of a project."""

    billing_account_id: Annotated[str, Meta(max_length=63)] = ""


class UpdateProject(ProjectChange):
    """What a project is to be: flat as in 2026, or wrapped as in 2024, whose mask says no more than what is there."""

    project: ProjectChange | None = None
    update_mask: str = ""


class Profile(Wire):
    """The user that the key acts for."""

    email_address: str
    first_name: str
    last_name: str
    picture: str


class SshKeyAnswer(Wire):
    """A public SSH key."""

    id: str
    create_time: datetime
    public_key: str
    fingerprint: str
    type: str
    comment: str


class CreateSshKey(Wire):
    """A new SSH key; all else is read from the key itself."""

    public_key: str


class ListSshKeysResponse(Wire):
    """One page of the caller's SSH keys."""

    ssh_keys: list[SshKeyAnswer]
    total_count: int
    page_number: int
    """0 when the page was asked for by its token."""
    page_size: int
    page_token: str = ""


class ListProjectSshKeysResponse(Wire):
    """The SSH keys of all members of a project: all, or one page if a size was asked for."""

    ssh_keys: list[SshKeyAnswer]
    page_token: str = ""


class ApiKeyAnswer(Wire):
    """An API key; `key` is told only once, in the answer to its making, and empty ever after."""

    id: str
    create_time: datetime
    key: str
    expire_time: datetime | None = None
    last_used_time: datetime | None = None
    """To within a minute or so."""
    project_id: str = ""
    """The only project that it is for."""
    read_only: bool = False


class GenerateApiKey(Wire):
    """A new API key; without an id it gets one. It can end, be for one project alone, and be for reading alone."""

    apikey_id: str = ""
    expire_time: datetime | None = None
    project_id: str = ""
    read_only: bool = False


class ListApiKeysResponse(Wire):
    """One page of the caller's API keys."""

    api_keys: list[ApiKeyAnswer]
    total_count: int
    page_number: int
    """0 when the page was asked for by its token."""
    page_size: int
    page_token: str = ""
