"""Who may enter a guest that runs: what its owner asked for and what it has differ until its agent has taken it."""

from __future__ import annotations

from typing import Final

from cumulet.events import EventName
from cumulet.hypervisor import GuestRefused, GuestSilent
from cumulet.hypervisor import Hypervisor as Host
from cumulet.reconcile import NotYet, Run
from cumulet.resource import Event, change
from cumulet.vm_record.model import Vm
from cumulet.vm_record.wire import VmState

ASK_AGAIN: Final = 5.0
"""Seconds until a silent guest is asked again."""


def ensure_credentials(run: Run, vm: Vm, host: Host) -> None:
    """Have a running guest let in whom its owner wants; NotYet while its agent is silent.

    What a guest refuses is told and not asked again: only its owner can do something about it.
    """
    if vm.state is not VmState.ACTIVE or not vm.credentials_pending:
        return
    try:
        ensure_password(run, vm, host)
        ensure_keys(run, vm, host)
    except GuestSilent as silence:
        raise NotYet(f"{silence.message}; its password or keys wait for it", ASK_AGAIN) from None


def ensure_password(run: Run, vm: Vm, host: Host) -> None:
    """Have root's password set."""
    if vm.password_in_guest == vm.password_hash:
        return
    event = Event(EventName.VM_PASSWORD_SET, "password set")
    try:
        host.guests.set_password(vm.id, vm.password_hash)
    except GuestRefused as refusal:
        event = Event(EventName.VM_PASSWORD_REFUSED, f"password not set: {refusal.message}")
    change(run, vm, {"password_in_guest": vm.password_hash}, event)


def ensure_keys(run: Run, vm: Vm, host: Host) -> None:
    """Have root's keys replaced."""
    if vm.keys_in_guest == vm.ssh_keys:
        return
    event = Event(EventName.VM_KEYS_SET, "SSH keys replaced")
    try:
        host.guests.replace_keys(vm.id, vm.ssh_keys.splitlines(), instead_of=vm.keys_in_guest.splitlines())
    except GuestRefused as refusal:
        event = Event(EventName.VM_KEYS_REFUSED, f"SSH keys not replaced: {refusal.message}")
    change(run, vm, {"keys_in_guest": vm.ssh_keys}, event)
