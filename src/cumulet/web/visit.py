"""One request of a browser, as a page sees it: what its address and its form say, who is there, and how to answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from litestar.datastructures import Cookie

from cumulet.errors import CumuletError
from cumulet.operation import Caller
from cumulet.permission import CloudRole, Role
from cumulet.projects.operations import get_profile, get_project, list_projects
from cumulet.projects.wire import Profile, ProjectAnswer
from cumulet.web import rendering
from cumulet.web.asking import Asking, PageRequest
from cumulet.web.door import credential_of, token_of
from cumulet.web.seen import with_seen

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Shown:
    """A page."""

    html: str
    status: int = HTTPStatus.OK


@dataclass(frozen=True, slots=True)
class Gone:
    """Somewhere else to go, and what the browser keeps of this."""

    url: str
    cookies: tuple[Cookie, ...] = ()


@dataclass(frozen=True, slots=True)
class Sent:
    """What is no page: a picture, or what a script asks for."""

    content: bytes
    media_type: str


Answer = Shown | Gone | Sent


@dataclass
class Visit:
    """One request."""

    asking: Asking
    path: str
    """As the browser has it."""
    names: Mapping[str, str]
    """What its path names."""
    query: Mapping[str, list[str]]
    origin: str
    address: str
    session: str
    """The secret of the browser's session; empty for who is not signed in."""
    attempt: str = ""
    """What it kept while it was at the identity provider's."""
    form: Mapping[str, list[str]] = field(default_factory=dict)
    referer: str = ""
    refused: CumuletError | None = None
    """Why what the form asks for was not done."""

    @property
    def project_id(self) -> str:
        """The project that it is about; empty for none."""
        return self.names.get("project_id", "")

    def given(self, name: str, default: str = "") -> str:
        """Give a field of the form, or else of the address."""
        values = self.form.get(name) or self.query.get(name)
        return values[-1].strip() if values else default

    def typed(self, name: str) -> str:
        """Give a secret of the form as it was typed, spaces and all."""
        return (self.form.get(name) or [""])[-1]

    def all_given(self, name: str) -> list[str]:
        """Give all values of a field, without those that are empty."""
        values = self.form.get(name) or self.query.get(name) or []
        return [one for value in values if (one := value.strip())]

    def ask(self, function: Callable[..., T], **sent: object) -> T:
        """Call an operation, about this page's project if it is about one; its answer is its own business."""
        answer, _ = self._ask(function, sent)
        return answer  # type: ignore[no-any-return]

    def try_out(self, function: Callable[..., T], **sent: object) -> T:
        """Call an operation that only checks: what it refuses is no news to anybody else."""
        request = PageRequest(sent, self.origin, self.address, credential_of(self.session))
        answer, _ = self.asking.ask(function, request, is_trial=True)
        return answer  # type: ignore[no-any-return]

    def _ask(self, function: Callable[..., Any], sent: Mapping[str, object]) -> tuple[Any, Caller | None]:
        name = self.given("request")
        name = f"{name}-{function.__name__}" if name else ""  # one form may ask for several things
        request = PageRequest(sent, self.origin, self.address, credential_of(self.session), name=name)
        return self.asking.ask(function, request)

    @cached_property
    def caller(self) -> Caller:
        """Who is here, and what they are in this page's project; Unauthenticated, NotFound."""
        if self.project_id:
            _, caller = self._ask(get_project, {"id": self.project_id})
        else:
            _, caller = self._ask(get_profile, {})
        assert caller is not None  # noqa: S101 - neither is open
        return caller

    @cached_property
    def profile(self) -> Profile:
        """Who is here, by name."""
        return self.ask(get_profile)

    @cached_property
    def projects(self) -> list[ProjectAnswer]:
        """The projects that they may look at."""
        return self.ask(list_projects, page_size=1000).projects

    @property
    def may_edit(self) -> bool:
        """Whether they may change what the project has."""
        return self.has_role(Role.EDITOR)

    def has_role(self, role: Role) -> bool:
        """Whether they have a role in the project, and their key lets them use it."""
        caller = self.caller
        return caller.role is not None and caller.role.value >= role.value and not caller.key_reads_only

    @property
    def is_owner(self) -> bool:
        """Whether they decide who belongs to the project."""
        return self.has_role(Role.OWNER)

    @property
    def audits(self) -> bool:
        """Whether they may look at the whole installation."""
        return self.caller.reads_everything

    @property
    def operates(self) -> bool:
        """Whether they run the installation."""
        caller = self.caller
        is_operator = caller.cloud_role is CloudRole.OPERATOR
        return is_operator and not caller.key_project and not caller.key_reads_only

    @cached_property
    def token(self) -> str:
        """What a form has to hold to be taken from a page of this session."""
        return token_of(self.session)

    def problem(self, name: str) -> str:
        """Say what is wrong with a field, by what it is called in the API; empty for nothing."""
        return dict(self.problems).get(name, "")

    @property
    def problems(self) -> list[tuple[str, str]]:
        """The fields that were refused, as the API calls them, and why."""
        found = (
            [one for detail in self.refused.details for one in detail.get("fieldViolations", ())]
            if self.refused
            else []
        )
        return [(one["field"], one["description"].removeprefix(f"{one['field']}: ")) for one in found]

    def url(self, *parts: str) -> str:
        """Give the address of a page of this project."""
        return "/".join([self._project_url, *(quote(one, safe="") for one in parts)])

    @cached_property
    def _project_url(self) -> str:
        return f"/p/{quote(self.project_id, safe='')}"

    def show(self, template: str, **shown: object) -> Shown:
        """Make a page."""
        status = self.refused.http if self.refused else HTTPStatus.OK
        return Shown(with_seen(rendering.render(template, visit=self, **shown)), status)

    @property
    def here(self) -> str:
        """The address of this page, with room for one more parameter."""
        query = [(name, one) for name, values in self.query.items() for one in values if name != "seen"]
        return f"{self.path}?{urlencode(query)}{'&' if query else ''}"

    def asking_for(self, *kept: str, **changed: object) -> str:
        """Give the address of this page with only these of its query's members as they are, and with others."""
        query = {name: self.given(name) for name in kept} | changed
        words = urlencode({name: value for name, value in query.items() if value})
        return f"{self.path}?{words}" if words else self.path

    def came_from(self, otherwise: str) -> str:
        """Give the page here that the browser was on, or another."""
        there = urlsplit(self.referer)
        is_ours = there.netloc == urlsplit(self.origin).netloc and there.path.startswith("/p/")
        return (
            f"{there.path}?{there.query}" if is_ours and there.query else there.path if is_ours else otherwise
        )
