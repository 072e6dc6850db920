"""One declaration per verb of the API: the typed function *is* the operation, whatever transport carries it.

    @operation("POST /v1/projects/{projectId}/vm", access=Access.EDITOR)
    def create_vm(db: Session, caller: Caller, *, project_id: str, data: CreateVm) -> CreateVmResponse: ...

Its parameters say what it needs, by name: those in the path come from the path, `data` is the body, the names that
the edge provides (`db`, `caller`, `now`…) come from there, and all others are query parameters. REST, OpenAPI and
`operations.txt` are derived from this list; a function needs no other word anywhere. Who may call it is declared beside,
and seen to before it is called: a role is one in the project that the path names.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

import msgspec

from cumulet.permission import Access, Caller
from cumulet.wire import File, Stream, Wire

__all__ = [
    "OPERATIONS",
    "Access",
    "Caller",
    "Operation",
    "States",
    "declared",
    "operation",
    "publish",
    "snake",
]

Function = TypeVar("Function", bound=Callable[..., Any])
PROVIDED: Final = frozenset(
    {
        "caller",
        "catalogue",
        "db",
        "fabric",
        "feed",
        "hosts",
        "images",
        "limits",
        "now",
        "origin",
        "prepared",
        "provider",
        "seal",
        "ssh_key",
        "tries",
    }
)
"""What the edge hands to an operation that asks for it by name."""
LASTING: Final = frozenset({"db", "caller", "catalogue"})
"""What of that is the same until somebody commits."""


@dataclass(frozen=True, slots=True)
class States:
    """The state of a thing that an answer shows, for those who wait for one."""

    member: str
    """Where the answer has the thing."""
    rests: tuple[str, ...]
    """In which it can come to rest."""
    vain: frozenset[str]
    """From which nothing leads to those."""
    field: str = "state"
    prefix: str = ""
    """What all of its states begin with; it may be left out."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One verb of the API, as declared."""

    name: str
    method: str
    path: str
    access: Access
    function: Callable[..., Any]
    path_names: tuple[str, ...]
    """Parameter names in the order of the path."""
    provided: frozenset[str]
    query: type[Wire] | None
    """The query parameters as one struct; None if there are none."""
    body: type[Wire] | None
    answer: type[Wire | File | Stream]
    reads_only: bool
    """It changes nothing."""
    project_name: str = ""
    """The parameter of the path that names the project it is about; empty for none."""
    states: States | None = None
    """Which state it shows, if that can be waited for."""
    prepare: Callable[..., object] | None = None
    """What is to be done before the one writer's lock is taken; its answer is `prepared`."""
    makes: str = ""
    """The path at which what it makes will be found, with names of its own path and of its body; empty for none."""

    @property
    def lasts_until_a_commit(self) -> bool:
        """Whether the same URL has the same answer until then: it asks no clock, no host and no file, nor is it one."""
        return (
            self.method == "GET"
            and self.reads_only
            and self.provided <= LASTING
            and issubclass(self.answer, Wire)
        )

    @property
    def summary(self) -> str:
        """The first line of the function's docstring."""
        return (inspect.getdoc(self.function) or "").partition("\n")[0]


OPERATIONS: Final[dict[str, Operation]] = {}


def operation(
    route: str,
    *,
    access: Access,
    alias: str = "",
    writes: bool = False,
    makes: str = "",
    states: States | None = None,
    prepare: Callable[..., object] | None = None,
) -> Callable[[Function], Function]:
    """Declare a function as the operation at `route`, `METHOD /path/{withNames}`.

    A GET changes nothing, unless it `writes`. `alias` is the path, with the same names in the same order, where another
    generation of clients looks for it; there it is called `<name>_alias`. What it `makes` is waited for by those who ask
    for that path meanwhile; of the `states` that it shows one can be waited for. What takes long and needs no lock, such as
    hashing a password, it lets `prepare` do, which is given `database`, `caller`, `tries`, `origin`, what the edge provides for all, and the body as `data`.
    """

    def declare(function: Function) -> Function:
        new = declared(route, function, access=access, writes=writes, makes=makes, states=states)
        new = replace(new, prepare=prepare)
        publish(new)
        if alias:
            publish(replace(new, name=f"{new.name}_alias", path=alias))
        return function

    return declare


def publish(new: Operation) -> None:
    """Take an operation into the API; ValueError when its route or name is taken."""
    if any((new.method, new.path) == (one.method, one.path) for one in OPERATIONS.values()):
        raise ValueError(f"{new.method} {new.path} is declared twice")
    if OPERATIONS.setdefault(new.name, new) is not new:
        raise ValueError(f"two operations are called {new.name}")


def declared(
    route: str,
    function: Callable[..., Any],
    *,
    access: Access,
    writes: bool = False,
    makes: str = "",
    states: States | None = None,
) -> Operation:
    """Read a function's signature as the declaration of an operation at `route`, without publishing it."""
    method, path = route.split()
    hints = typing.get_type_hints(function, include_extras=True)
    answer = hints.pop("return")
    path_names = tuple(snake(name) for name in names_in(path))
    body = hints.pop("data", None)
    provided = PROVIDED & hints.keys()
    query = {name: hint for name, hint in hints.items() if name not in provided and name not in path_names}
    name = function.__name__.rstrip("_")
    if lacking := [one for one in path_names if one not in hints]:
        raise ValueError(f"{name} has no parameter {lacking[0]}")
    if access is Access.OPEN and "caller" in provided:
        raise ValueError(f"{name} is open, so it has no caller")
    project_name = _project_name(path)
    if bool(project_name) is not (access.role is not None):
        raise ValueError(
            f"{name}: a role in a project is asked for where the path names one, and nowhere else"
        )
    return Operation(
        name=name,
        method=method,
        path=path,
        access=access,
        function=function,
        path_names=path_names,
        provided=frozenset(provided),
        query=_query_struct(name, query, function) if query else None,
        body=body,
        answer=answer,
        reads_only=method == "GET" and not writes,
        project_name=project_name,
        makes=makes,
        states=states,
    )


def _project_name(path: str) -> str:
    """Name the parameter of a path that says which project it leads into."""
    named = re.match(r"/v1/projects?/{(\w+)}", path)
    return snake(named[1]) if named else ""


def _query_struct(name: str, hints: dict[str, Any], function: Callable[..., Any]) -> type[Wire]:
    """Collect the query parameters in a struct, which checks them as a body is checked."""
    parameters = inspect.signature(function).parameters
    fields = [
        (name, hint)
        if parameters[name].default is inspect.Parameter.empty
        else (name, hint, parameters[name].default)
        for name, hint in hints.items()
    ]
    struct = msgspec.defstruct(f"{name}_query", fields, bases=(Wire,), kw_only=True, rename="camel")
    return typing.cast("type[Wire]", struct)


def names_in(path: str) -> list[str]:
    """List the parameters of a path in their order, as the API calls them."""
    return re.findall(r"{(\w+)}", path)


def snake(camel: str) -> str:
    """Turn `projectId` into `project_id`."""
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", camel).lower()
