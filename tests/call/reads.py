"""One right request for each operation that only looks, and for those that ask for no key."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from tests.call.changes import (
    BOB,
    GROUP,
    NETWORK,
    PASSWORD,
    WEBHOOK,
    Change,
    a_gpu,
    always,
    an_ssh_key,
    nothing,
    with_password,
    with_ssh_key,
    with_webhook,
)
from tests.crash import network_stories as networks
from tests.crash import test_crash as stories
from tests.made_up import PROJECT, Cloud

from cumulet.operation import Operation, snake
from cumulet.projects import user_operations as users
from cumulet.projects.bootstrap import OWNER_EMAIL
from cumulet.projects.password_wire import Join, SignIn
from cumulet.projects.people_wire import AcceptInvitation, InviteUser
from cumulet.projects.session_wire import CloseSession, OpenSession, RedeemLoginCode
from cumulet.projects.sso_wire import FinishSso
from cumulet.vms import operations as vms


def furnish(cloud: Cloud) -> None:
    """Have one of each thing that can be looked at."""
    stories.with_snapshot(cloud)
    stories.take_image(cloud)
    cloud.settle()
    cloud.ask(vms.start_vm)
    networks.make_network(cloud)
    networks.make_group(cloud)
    with_webhook(cloud)
    with_ssh_key(cloud)
    cloud.settle()


THERE: Final[dict[str, Callable[[Cloud], str]]] = {
    **dict.fromkeys(("project", "projects", "billing-accounts"), lambda _: PROJECT),
    "data-centers": lambda _: "local",
    "disks": lambda _: "data",
    "gpus": lambda cloud: a_gpu(cloud)["id"],
    "hosts": lambda _: "memory-1",
    "images": lambda _: "golden",
    "machine_types": lambda _: "standard",
    "networks": lambda _: NETWORK.id,
    "security-groups": lambda _: GROUP.id,
    "ssh-keys": lambda cloud: an_ssh_key(cloud)["id"],
    "users": lambda _: OWNER_EMAIL,
    "vms": lambda _: "hello",
    "webhooks": lambda _: WEBHOOK.id,
}
"""What the things are called, by the word that is before them in a path."""
NEEDED: Final = {
    "start_time": "2026-02-01T00:00:00Z",
    "end_time": "2026-03-01T00:00:00Z",
    "from_": "203.0.113.7",
    "port": "22",
    "query": "hello",
}
"""What some operations have to be told in their query."""


def look(cloud: Cloud, one: Operation) -> dict[str, Any]:
    """Say what is sent to look at one of those things."""
    path = {snake(name): THERE[kind](cloud) for kind, name in re.findall(r"([\w-]+)/{(\w+)}", one.path)}
    asked = one.query.__struct_fields__ if one.query else ()
    return path | {name: NEEDED[name] for name in asked if name in NEEDED}


def invited(cloud: Cloud) -> str:
    """Have somebody invited; gives their code."""
    return cloud.call(users.invite_user, data=InviteUser(email_address=BOB)).invitation.code


KEYLESS: Final[dict[str, Change]] = {
    "accept_invitation": Change(nothing, lambda cloud: {"data": AcceptInvitation(code=invited(cloud))}),
    "join": Change(nothing, lambda cloud: {"data": Join(code=invited(cloud), password=PASSWORD)}),
    "sign_in": Change(with_password, always(data=SignIn(email_address=OWNER_EMAIL, password=PASSWORD))),
    "open_session": Change(nothing, always(data=OpenSession(ticket="none"))),
    "close_session": Change(nothing, always(data=CloseSession(session="none"))),
    "redeem_login_code": Change(nothing, always(data=RedeemLoginCode(code="none", verifier="none"))),
    "finish_sso": Change(nothing, always(data=FinishSso(code="none", state="none", secret="none"))),
}
"""By the name of the function; the last ones with secrets that nobody has."""
