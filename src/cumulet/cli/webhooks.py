"""`cumulet webhook`: URLs that are told of what happens in a project."""

from __future__ import annotations

import time
from typing import Annotated, Final

from cyclopts import App, Parameter

from cumulet.cli.client import Client, Json, connect
from cumulet.cli.follow import Failed, TimedOut
from cumulet.cli.output import AS_TABLE, OPTIONS, Columns, Format, Listing, local_time, show, show_one
from cumulet.cli.several import each
from cumulet.cli.words import NewId, Project, identifier

HOOKS: Final = "/v1/projects/{}/webhooks"
HOOK: Final = f"{HOOKS}/{{}}"
COLUMNS: Final[Columns] = {
    "ID": lambda hook: hook["id"],
    "STATE": lambda hook: hook["state"],
    "EVENTS": lambda hook: ", ".join([*hook["kind"], *hook["event"]]) or "all",
    "DELIVERED": lambda hook: local_time(hook["deliveryTime"]) or "never",
    "PROBLEM": lambda hook: hook["problem"],
}
MORE: Final[Columns] = {"URL": lambda hook: hook["url"], "MISSED": lambda hook: str(hook["missed"] or "")}
FACTS: Final[Columns] = {
    "id": lambda hook: hook["id"],
    "url": lambda hook: hook["url"],
    "events": COLUMNS["EVENTS"],
    "state": lambda hook: hook["state"],
    "created": lambda hook: local_time(hook["createTime"]),
    "delivered": COLUMNS["DELIVERED"],
    "problem": lambda hook: hook["problem"],
    "attempts": lambda hook: str(hook["attempts"] or ""),
    "tried again": lambda hook: local_time(hook["retryTime"]),
    "missed": lambda hook: str(hook["missed"] or ""),
}
WAIT_S: Final = 30.0
"""How long the outcome of a test is waited for."""
LOOK_S: Final = 0.3
Name = Annotated[str, identifier("The webhook's id.", HOOKS, "webhooks")]
Names = Annotated[str, Parameter(name="MORE"), identifier("Further webhooks.", HOOKS, "webhooks")]
app = App(name="webhook", default_parameter=OPTIONS)


@app.command
def create(
    name: NewId,
    url: str,
    /,
    *,
    kind: list[str] | None = None,
    event: list[str] | None = None,
    output: Format = "table",
    project: Project = "default",
) -> None:
    """Have a URL told of what happens in the project, and print the secret that signs it: it is told only now.

    :param url: Where events are posted to, such as https://example.org/hook.
    :param kind: Tell of this kind of resource, such as vm; of all if you name none.
    :param event: Tell of this event, such as vm.started; of all if you name none.
    """
    body = {"id": name, "url": url, "kind": kind or [], "event": event or []}
    answer = connect().post(HOOKS, project, body=body)
    facts: Columns = {**FACTS, "secret": lambda hook: hook["secret"]}
    show_one(answer["webhook"] | {"secret": answer["secret"]}, output, facts, name="secret")


@app.command(name="list", alias="ls")
def list_(*, listing: Listing = AS_TABLE, project: Project = "default") -> None:
    """List the project's webhooks, and how each fares."""
    show(connect().list(HOOKS, project, member="webhooks"), listing, COLUMNS, more=MORE)


@app.command
def get(name: Name, /, *, output: Format = "table", project: Project = "default") -> None:
    """Show a webhook, and what its receiver last said."""
    show_one(look(connect(), project, name), output, FACTS)


@app.command
def enable(name: Name, /, *, from_now_on: bool = False, project: Project = "default") -> None:
    """Have a webhook go on at once that is failing or paused, with what was not taken.

    :param from_now_on: What happened meanwhile is not told, nor what was not taken.
    """
    connect().post(f"{HOOK}/enable", project, name, body={"fromNowOn": from_now_on})


@app.command(name="test")
def try_(name: Name, /, *, project: Project = "default") -> None:
    """Send a test, and wait until it was taken."""
    client = connect()
    before = look(client, project, name)["attempts"]
    number = int(client.post(f"{HOOK}/test", project, name)["eventId"])
    deadline = time.monotonic() + WAIT_S
    while int((hook := look(client, project, name))["lastEventId"]) < number:
        if hook["problem"] and hook["attempts"] > before:
            raise Failed(f"webhook {name!r} did not take it: {hook['problem']}")
        if time.monotonic() > deadline:
            raise TimedOut(
                f"webhook {name!r} was not told within {WAIT_S:g} s; `cumulet webhook get` says how it fares"
            )
        time.sleep(LOOK_S)


@app.command(alias="rm")
def delete(name: Name, /, *more: Names, project: Project = "default") -> None:
    """Remove webhooks: nothing more is sent to them."""
    client = connect()
    each((name, *more), lambda one: client.delete(HOOK, project, one))


def look(client: Client, project: str, name: str) -> Json:
    """Read a webhook."""
    hook: Json = client.get(HOOK, project, name)["webhook"]
    return hook
