"""The keys of whoever is signed in: API keys for their programs, SSH keys for their VMs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from cumulet.errors import NotFound
from cumulet.projects.key_operations import (
    create_ssh_key,
    delete_api_key,
    delete_ssh_key,
    generate_api_key,
    get_ssh_key,
    list_api_keys,
    list_ssh_keys,
)
from cumulet.projects.session_operations import list_sessions
from cumulet.projects.wire import ApiKeyAnswer, CreateSshKey, GenerateApiKey
from cumulet.web.listings import MOST
from cumulet.web.site import form, page
from cumulet.web.visit import Gone, Shown, Visit
from cumulet.wire import decode

KEYS: Final = "/keys"
API_KEY: Final = f"{KEYS}/api/{{name:str}}/revoke"
SSH_KEY: Final = f"{KEYS}/ssh/{{id:str}}/delete"
SPANS: Final = (
    ("90", "In 90 days"),
    ("365", "In a year"),
    ("30", "In 30 days"),
    ("7", "In a week"),
    ("1", "Tomorrow"),
    ("", "Never"),
)
"""Days until a key ends, and how people say so."""


@page(KEYS)
def keys_page(visit: Visit) -> Shown:
    """List both kinds, with a form for one more of each."""
    return visit.show(
        "keys/list.html",
        api_keys=visit.ask(list_api_keys, page_size=MOST).api_keys,
        ssh_keys=visit.ask(list_ssh_keys, page_size=MOST).ssh_keys,
        projects=[("", "All that you have"), *((one.id, f"{one.id} alone") for one in visit.projects)],
        spans=SPANS,
        now=datetime.now(UTC),
    )


@form(f"{KEYS}/api", on=keys_page)
def make(visit: Visit) -> Shown:
    """Make an API key, and show it this once."""
    raw = {
        "apikeyId": visit.given("apikeyId"),
        "projectId": visit.given("projectId"),
        "readOnly": visit.given("readOnly") == "yes",
        "expireTime": end_of(visit.given("expireTime")),
    }
    key = visit.ask(generate_api_key, data=decode(GenerateApiKey, raw))
    return visit.show("keys/made.html", key=key)


@page(API_KEY)
def revoke_page(visit: Visit) -> Shown:
    """Say what goes with an API key, before it does."""
    key = api_key_of(visit)
    sessions = [one for one in visit.ask(list_sessions).sessions if one.opened_with == key.id]
    return visit.show("keys/revoke.html", key=key, sessions=sessions)


@form(API_KEY, on=revoke_page)
def revoke(visit: Visit) -> Gone:
    """Revoke it; whoever is signed in by it has to sign in anew."""
    visit.ask(delete_api_key, name=visit.names["name"])
    return Gone(KEYS)


@form(f"{KEYS}/ssh", on=keys_page)
def add(visit: Visit) -> Gone:
    """Add an SSH key."""
    visit.ask(create_ssh_key, data=CreateSshKey(public_key=visit.given("publicKey")))
    return Gone(KEYS)


@page(SSH_KEY)
def delete_page(visit: Visit) -> Shown:
    """Say what removing an SSH key does, and what it does not."""
    return visit.show("keys/delete.html", key=visit.ask(get_ssh_key, id=visit.names["id"]))


@form(SSH_KEY, on=delete_page)
def delete(visit: Visit) -> Gone:
    """Remove an SSH key."""
    visit.ask(delete_ssh_key, id=visit.names["id"])
    return Gone(KEYS)


def end_of(days: str) -> str | None:
    """Say when a key ends that lasts so many days; None for never."""
    is_days = days in {one for one, _ in SPANS if one}
    return (datetime.now(UTC) + timedelta(days=int(days))).isoformat() if is_days else None


def api_key_of(visit: Visit) -> ApiKeyAnswer:
    """Give the API key that the address names; NotFound."""
    for one in visit.ask(list_api_keys, page_size=MOST).api_keys:
        if one.id == visit.names["name"]:
            return one
    raise NotFound.named("API key", visit.names["name"])
