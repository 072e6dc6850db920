"""What the forms on a VM's pages do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cumulet.errors import Invalid
from cumulet.operation import OPERATIONS
from cumulet.security_groups.attach_operations import attach_security_group, detach_security_group
from cumulet.vms.change_operations import (
    resize_vm,
    update_vm_deletion_protection,
    update_vm_expire_time,
    update_vm_metadata,
)
from cumulet.vms.operations import reboot_vm, start_vm, stop_vm, terminate_vm
from cumulet.vms.wire import UpdateVmDeletionProtection, UpdateVmExpireTime, UpdateVmMetadata
from cumulet.web.pages.group_changes import move
from cumulet.web.pages.vm import (
    VM,
    console_link,
    console_page,
    delete_page,
    found,
    network_page,
    of_vm,
    settings_page,
    vm_page,
)
from cumulet.web.site import form
from cumulet.web.visit import Answer, Gone, Visit
from cumulet.wire import decode


@form(f"{VM}/start", on=vm_page)
def start(visit: Visit) -> Gone:
    """Start it."""
    return done(visit, start_vm)


@form(f"{VM}/stop", on=vm_page)
def stop(visit: Visit) -> Gone:
    """Stop it."""
    return done(visit, stop_vm)


@form(f"{VM}/restart", on=vm_page)
def restart(visit: Visit) -> Gone:
    """Restart it."""
    return done(visit, reboot_vm)


@form(f"{VM}/console", on=console_page)
def console(visit: Visit) -> Gone:
    """Lead to its screen or its serial console, in a window of its own."""
    return Gone(console_link(visit))


@form(f"{VM}/delete", on=delete_page)
def delete(visit: Visit) -> Gone:
    """Delete it; one that is protected only when its name was typed."""
    vm = found(visit)
    if vm.deletion_protection:
        check_typed_name(visit, vm.id)
        lift = UpdateVmDeletionProtection(deletion_protection=False)
        visit.ask(update_vm_deletion_protection, **of_vm(visit), data=lift)
    visit.ask(terminate_vm, **of_vm(visit))
    return Gone(visit.url("vms"))


@form(f"{VM}/labels", on=settings_page)
def labels(visit: Visit) -> Gone:
    """Replace its labels."""
    data = UpdateVmMetadata(metadata=read_labels(visit.given("metadata")))
    return done(visit, update_vm_metadata, data=data)


@form(f"{VM}/protection", on=settings_page)
def protection(visit: Visit) -> Gone:
    """Protect it from deletion, or not any more."""
    data = UpdateVmDeletionProtection(deletion_protection=visit.given("deletionProtection") == "yes")
    return done(visit, update_vm_deletion_protection, data=data)


@form(f"{VM}/end", on=settings_page)
def end(visit: Visit) -> Gone:
    """Say when it will be deleted."""
    return done(
        visit, update_vm_expire_time, data=decode(UpdateVmExpireTime, {"ttl": read_span(visit.given("ttl"))})
    )


@form(f"{VM}/size", on=settings_page)
def size(visit: Visit) -> Gone:
    """Change its size."""
    query = OPERATIONS["resize_vm"].query
    assert query is not None  # noqa: S101 - it has sizes
    raw = {name: text for name in ("vcpus", "memoryGib") if (text := visit.given(name))}
    sizes: Any = decode(query, raw)
    return done(visit, resize_vm, vcpus=sizes.vcpus, memory_gib=sizes.memory_gib)


@form(f"{VM}/group/attach", on=network_page)
def attach_group(visit: Visit) -> Answer:
    """Put its NICs into a security group."""
    return change_group(visit, attach_security_group, is_in=True)


@form(f"{VM}/group/detach", on=network_page)
def detach_group(visit: Visit) -> Answer:
    """Take its NICs out of a security group."""
    return change_group(visit, detach_security_group, is_in=False)


def check_typed_name(visit: Visit, name: str) -> None:
    """Refuse to delete what is protected unless its name was typed."""
    if visit.given("name") != name:
        raise Invalid.field("name", visit.given("name"), f"{name}, because it is protected from deletion")


def change_group(visit: Visit, verb: Callable[..., Any], *, is_in: bool) -> Answer:
    """Do it with the group that a form names."""
    there = visit.url("vms", visit.names["id"], "network")
    return move(visit, verb, visit.names["id"], visit.given("securityGroupId"), there, is_in=is_in)


def done(visit: Visit, operation: Callable[..., Any], **sent: object) -> Gone:
    """Do it, and go back to where the form was."""
    visit.ask(operation, **of_vm(visit), **sent)
    return Gone(visit.came_from(visit.url("vms", visit.names["id"])))


def read_labels(text: str) -> dict[str, str]:
    """Read labels, KEY=VALUE or KEY in each line or separated by commas."""
    words = [word.strip() for line in text.splitlines() for word in line.split(",")]
    return {name.strip(): value.strip() for word in words if word for name, _, value in [word.partition("=")]}


def read_span(text: str) -> str:
    """Write a span as the API has it: `90m` is `5400s`; what is no span stays, and is refused there."""
    seconds = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    number, unit = text[:-1], text[-1:].lower()
    return (
        f"{int(number) * seconds[unit]}s"
        if number.isascii() and number.isdecimal() and unit in seconds
        else text
    )
