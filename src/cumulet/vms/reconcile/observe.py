"""Writing down what we see: a VM's state follows its machine, and its timeline tells each change once."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import structlog

from cumulet.events import EventName
from cumulet.hypervisor import Domain, Guest, Power
from cumulet.hypervisor import Hypervisor as Host
from cumulet.reconcile import NotYet, Run
from cumulet.resource import Event, Wanted, note
from cumulet.vm_record.model import Vm
from cumulet.vm_record.wire import VmState
from cumulet.vms.boot import (
    NO_WORD,
    end_in_words,
    is_wordless,
    last_words,
    panic_in,
    problems_text,
    stage_in,
    stage_in_words,
    stage_of,
    why_of,
)

log = structlog.get_logger()

EAGER: Final = timedelta(minutes=2)
"""A guest that booted this recently is looked at every second, one that takes longer every five."""
AGENT_TIMEOUT: Final = timedelta(minutes=15)
"""Then we no longer expect a word from the guest."""
CONSOLE_BYTES: Final = 16 * 1024
"""Of the console's end: a panic and its trace fit in."""
FAULTED: Final = "an error that its guest cannot recover from stopped it: stop and start it, or terminate it"
GPU_FAULTED: Final = f"a GPU of it reported errors, or {FAULTED}"
SILENT: Final = "the guest never answered: its image may have no agent; password and start script are removed from its seed"

STATES: Final[Mapping[tuple[Power, Wanted], VmState]] = {
    (Power.RUNNING, Wanted.ACTIVE): VmState.ACTIVE,
    (Power.RUNNING, Wanted.STOPPED): VmState.STOPPING,
    (Power.PAUSED, Wanted.ACTIVE): VmState.SUSPENDED,
    (Power.PAUSED, Wanted.STOPPED): VmState.STOPPING,
    (Power.PAUSED_ON_IO_ERROR, Wanted.ACTIVE): VmState.SUSPENDED,
    (Power.PAUSED_ON_IO_ERROR, Wanted.STOPPED): VmState.STOPPING,
    (Power.IN_MOVE, Wanted.ACTIVE): VmState.SUSPENDED,
    (Power.IN_MOVE, Wanted.STOPPED): VmState.STOPPING,
    (Power.ARRIVED, Wanted.ACTIVE): VmState.SUSPENDED,
    (Power.ARRIVED, Wanted.STOPPED): VmState.STOPPING,
    (Power.FAULTED, Wanted.ACTIVE): VmState.FAILED,
    (Power.FAULTED, Wanted.STOPPED): VmState.STOPPING,
    (Power.OFF, Wanted.ACTIVE): VmState.STARTING,
    (Power.OFF, Wanted.STOPPED): VmState.STOPPED,
}


News = tuple[dict[str, Any], list[Event]]
"""What to write into columns, and the events that tell why."""


def observe(run: Run, vm: Vm, domain: Domain | None, host: Host) -> datetime | None:
    """Take over what the host and the guest say; answer when to look again."""
    if domain is None or (domain.power is Power.OFF and vm.wanted is Wanted.ACTIVE):
        raise NotYet("its machine stopped right after its start", 1)
    began, events = news_of_start(run, vm, domain)
    became, more = news_of_state(run, vm, domain)
    if seen := began | became:
        note(run, vm, seen, *events, *more)
    looks = [vm.ends_at, vm.commitment_end_time, watch_guest(run, vm, host)]
    return min((look for look in looks if look is not None), default=None)


def news_of_start(run: Run, vm: Vm, domain: Domain) -> News:
    """Tell of a run of the machine that we had not seen."""
    if domain.started in {0, vm.started}:
        return {}, []
    began: dict[str, Any] = {
        "started": domain.started,
        "started_at": run.now,
        "power_asked_at": None,
        "reboots_done": vm.reboots_asked,
        "agent_at": None,
        "guest_silent": False,
        "panic_at": None,
    }
    return began, [Event(EventName.VM_STARTED, "started")]


def news_of_state(run: Run, vm: Vm, domain: Domain) -> News:
    """Tell the state when it changed; one that was only out of sight has not stopped anew."""
    state = STATES[domain.power, vm.wanted]
    if state is VmState.STOPPED and vm.state not in {state, VmState.UNKNOWN, VmState.MIGRATING}:
        delay = (
            f", {(run.now - vm.power_asked_at).total_seconds():.0f} s after the request"
            if vm.power_asked_at
            else ""
        )
        off = {"state": state, "started": 0, "power_asked_at": None}
        return off, [Event(EventName.VM_STOPPED, f"stopped ({domain.off_reason.value}{delay})")]
    if vm.state is state:
        return {}, []
    if state is VmState.FAILED:
        log.warning("a VM's machine faulted", id=str(vm.id), host=str(vm.host_id), gpus=vm.gpus)
        return {"state": state}, [Event(EventName.VM_FAULTED, GPU_FAULTED if vm.gpus else FAULTED)]
    goes_on = vm.state in {VmState.SUSPENDED, VmState.FAILED} and state is VmState.ACTIVE
    return {"state": state}, [Event(EventName.VM_RESUMED, "resumed")] if goes_on else []


def watch_guest(run: Run, vm: Vm, host: Host) -> datetime | None:
    """Follow a guest's boot until it has told all there is; answer when to ask again."""
    if vm.state is not VmState.ACTIVE or vm.started_at is None:
        return None
    boot_reported = vm.agent_at is not None and vm.first_boot_at is not None
    if boot_reported or vm.guest_silent:
        note_left_alone(run, vm, host)
        look_for_panic(run, vm, host)
        return None
    guest = host.guests.ask(vm.id)
    note_left_alone(run, vm, host)
    age = run.now - vm.started_at
    if guest.agent:
        note_guest(run, vm, guest, age)
    else:
        look_at_console(run, vm, host, age)
    if vm.guest_silent or (vm.agent_at and vm.first_boot_at):
        return None
    if age >= AGENT_TIMEOUT:
        note(run, vm, {"guest_silent": True}, Event(EventName.VM_GUEST_SILENT, SILENT))
        return None
    return run.now + timedelta(seconds=1 if age < EAGER else 5)


def note_left_alone(run: Run, vm: Vm, host: Host) -> None:
    """Tell that the guest's agent is asked nothing more, once until the next start."""
    if not vm.guest_silent and (why := host.guests.why_left_alone(vm.id)):
        note(run, vm, {"guest_silent": True}, Event(EventName.VM_AGENT_IGNORED, why))


def note_guest(run: Run, vm: Vm, guest: Guest, age: timedelta) -> None:
    """Tell what a guest that answers says of its boot, each thing once."""
    answers, events = news_of_agent(run, vm, age)
    went_on, more = news_of_boot(run, vm, guest, age)
    if seen := answers | went_on:
        note(run, vm, seen, *events, *more)


def news_of_agent(run: Run, vm: Vm, age: timedelta) -> News:
    """Tell that the guest's agent answers for the first time in this run."""
    if vm.agent_at is not None:
        return {}, []
    text = f"guest agent connected {age.total_seconds():.0f} s after the start"
    return {"agent_at": run.now}, [Event(EventName.VM_AGENT_CONNECTED, text)]


def news_of_boot(run: Run, vm: Vm, guest: Guest, age: timedelta) -> News:
    """Tell that the first boot has gone on, or has ended."""
    if vm.first_boot_at is not None:
        return {}, []
    if guest.first_boot_done:
        return news_of_first_boot(run, guest, age)
    also = {"boot_problems": problems_text(guest.problems), "boot_log": guest.log}
    return news_of_stage(vm, stage_of(guest, age), also)


def news_of_stage(vm: Vm, stage: str, also: Mapping[str, Any]) -> News:
    """Tell that the first boot has come to another stage; the words are what counts, not who said them."""
    if stage == vm.boot_stage:
        return {}, []
    words = stage_in_words(stage)
    is_news = words not in {"", stage_in_words(vm.boot_stage)}
    return {"boot_stage": stage, **also}, [Event(EventName.VM_BOOT_STAGE, words)] if is_news else []


def news_of_first_boot(run: Run, guest: Guest, age: timedelta) -> News:
    """Tell that the first boot has ended, how the start script did and, if badly, its last words."""
    status = guest.start_script_status
    script = "" if status is None else f"; start script exited with status {status}"
    words = f": {last_words(guest.log)}" if status and guest.log else ""
    text = (
        f"first boot finished {age.total_seconds():.0f} s after the start{end_in_words(guest)}{script}{words}"
    )
    ended = {
        "first_boot_at": run.now,
        "start_script_status": status,
        "boot_stage": "",
        "boot_problems": problems_text(guest.problems),
        "boot_log": guest.log,
    }
    return ended, [Event(EventName.VM_FIRST_BOOT_DONE, text)]


def look_at_console(run: Run, vm: Vm, host: Host, age: timedelta) -> None:
    """See what a guest that says nothing else wrote to its console: that its kernel panicked, how far it is, nothing."""
    console = look_for_panic(run, vm, host)
    stage = NO_WORD if age >= EAGER and is_wordless(console) else stage_in(console)
    if vm.first_boot_at is None and stage:
        seen, events = news_of_stage(vm, stage, {})
        if seen:
            note(run, vm, seen, *events)


def look_for_panic(run: Run, vm: Vm, host: Host) -> str:
    """Tell of a kernel that panicked: its console says so last, whether the guest hangs or is gone; gives its end."""
    console = host.consoles.log(vm.id, max_bytes=CONSOLE_BYTES).decode(errors="replace").replace("\0", "")
    panic = panic_in(console)
    if panic and panic != vm.panic:
        seen = {"panic": panic, "panic_at": run.now}
        note(run, vm, seen, Event(EventName.VM_PANICKED, f"guest kernel panic: {why_of(panic)}"))
    return console
