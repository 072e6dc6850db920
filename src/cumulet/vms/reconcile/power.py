"""On and off: starting what should run, asking guests to leave, and pulling the plug of those that will not.

The guest's own will counts: one that powers itself off stays off, one that crashed is started again.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final, NoReturn

from sqlalchemy import bindparam, select

from cumulet.db import fetch_columns
from cumulet.disks import Disk, DiskState
from cumulet.events import EventName
from cumulet.gpus import GpuState, gpus_of_vm
from cumulet.hypervisor import Domain, GpuMissing, HostUnreachable, HypervisorError, OffReason, Power, Seed
from cumulet.hypervisor import Hypervisor as Host
from cumulet.reconcile import NotYet, Run
from cumulet.resource import Event, Wanted, change
from cumulet.vm_record.model import Vm
from cumulet.vm_record.wire import VmState
from cumulet.vms.reconcile.observe import look_for_panic

STOP_GRACE: Final = timedelta(seconds=60)
"""How long a guest may take to power off before its plug is pulled."""
ASK_AGAIN: Final = 5.0
"""Seconds between presses of the power button: a guest that still boots hears none."""
IMAGE_LOOK: Final = 5.0
"""Seconds between looks at an image in the making."""
HOST_LOOK: Final = 5.0
"""Seconds between looks at a host that is being shut down."""
RAN_WELL: Final = timedelta(minutes=10)
"""After running this long, earlier crashes are forgiven."""
RESUME_PAUSE: Final = timedelta(seconds=5)
"""Between two tries of what a host failed to write."""
RESUME_LOOK: Final = 0.5
"""Seconds after such a try until it is seen whether it went well."""
PAUSED_ON_IO_ERROR: Final = "paused: its host cannot write to one of its disks (disk full?)"
FIRST_CRASH_PAUSE: Final = timedelta(seconds=2)
LONGEST_CRASH_PAUSE: Final = timedelta(minutes=5)
DISK_STATE: Final = select(Disk.state).where(Disk.id == bindparam("id"))


def ensure_power(run: Run, vm: Vm, domain: Domain | None, host: Host, seed: Seed) -> Domain | None:
    """Have the machine on or off as wanted, and give it as it is then; NotYet while a guest is asked to power off."""
    if domain is None:
        raise NotYet("its machine is missing from the host; recreating it", 0)
    before_reboot = vm.reboot_pending and domain.started == vm.started != 0
    if domain.power is not Power.OFF and (vm.wanted is Wanted.STOPPED or before_reboot):
        wait_for_image(run, vm)
        power_off(run, vm, domain, host)
    elif domain.power is Power.OFF and vm.wanted is Wanted.ACTIVE and not guest_left(run, vm, domain):
        wait_for_host(domain)
        note_crash(run, vm, domain, host)
        wait_for_image(run, vm)
        ensure_gpus_well(run, vm, host)
        host.seeds.write(seed)
        host.machines.start(vm.id, term=vm.term)
        return host.machines.get(vm.id)
    elif domain.power is Power.PAUSED_ON_IO_ERROR:
        resume(run, vm, host)
    return domain


def wait_for_host(domain: Domain) -> None:
    """Leave a machine off that was shut down with its host: NotYet until that is back, and forgot why."""
    if domain.off_reason is OffReason.HOST_SHUTDOWN:
        raise NotYet("its host is being shut down", HOST_LOOK)


def ensure_gpus_well(run: Run, vm: Vm, host: Host) -> None:
    """See that the GPUs of a VM that is to start are those that it was given, and as new after a fault; an error says why not."""
    if not vm.gpus:
        return
    with run.reading() as db:
        gpus = gpus_of_vm(db, vm.id)
    for gpu in gpus:
        if gpu.state is GpuState.ABSENT:
            why = "; ".join(cause["problem"] for cause in gpu.causes) or "it is not on the bus"
            raise GpuMissing(f"GPU {gpu.address} of VM {vm.id}: {why}")
        if gpu.problem:
            host.gpus.clean(gpu.address)


def wait_for_image(run: Run, vm: Vm) -> None:
    """Leave the VM's power as it is while an image of it is in the making; its reconciler wakes us when it is done."""
    with run.reading() as db:
        if (DiskState.CLONE,) in fetch_columns(db, DISK_STATE, id=vm.boot_disk_id):
            raise NotYet("an image of it is being captured", IMAGE_LOOK)


def power_off(run: Run, vm: Vm, domain: Domain, host: Host) -> None:
    """Ask the guest to power off; pull the plug when it has not done so in its time, or cannot.

    The fact is told before the plug is pulled: who dies in between tells it twice, but never not at all.
    """
    if domain.power is Power.FAULTED:
        pull_plug(run, vm, host, "forced off: its guest cannot shut down after the error")
    if vm.power_asked_at is None or run.now - vm.power_asked_at < STOP_GRACE:
        ask_guest(run, vm, host)
        raise NotYet("the guest is shutting down", ASK_AGAIN)
    waited = int(STOP_GRACE.total_seconds())
    pull_plug(run, vm, host, f"forced off after {waited} s")


def pull_plug(run: Run, vm: Vm, host: Host, text: str) -> NoReturn:
    """Tell it and end the machine; NotYet, for what is there then is looked at anew."""
    change(run, vm, {}, Event(EventName.VM_FORCED_OFF, text))
    host.machines.force_off(vm.id)
    raise NotYet("forced off", 0)


def ask_guest(run: Run, vm: Vm, host: Host) -> None:
    """Press the power button, and only then begin to count the guest's time; it also runs where the host cannot ask."""
    try:
        host.machines.request_shutdown(vm.id)
    except HostUnreachable:
        raise
    except HypervisorError:
        begin_grace(run, vm, "the guest cannot be asked to shut down")
        raise
    begin_grace(run, vm, "shutdown requested from the guest")


def begin_grace(run: Run, vm: Vm, text: str) -> None:
    """Write down since when the guest has been asked, once; anew when the clock was set back since."""
    if vm.power_asked_at is None or vm.power_asked_at > run.now:
        change(run, vm, {"power_asked_at": run.now}, Event(EventName.VM_SHUTDOWN_SENT, text))


def resume(run: Run, vm: Vm, host: Host) -> None:
    """Have what the host failed to write tried again, now and then; NotYet, for it may fail again at once."""
    if vm.state is not VmState.SUSPENDED:
        change(
            run,
            vm,
            {"state": VmState.SUSPENDED},
            Event(EventName.VM_PAUSED_ON_IO_ERROR, f"{PAUSED_ON_IO_ERROR}; resumes by itself"),
        )
    if vm.resumed_at is None or not vm.resumed_at <= run.now < vm.resumed_at + RESUME_PAUSE:
        change(run, vm, {"resumed_at": run.now})
        host.machines.resume(vm.id, term=vm.term)
        raise NotYet(PAUSED_ON_IO_ERROR, RESUME_LOOK)
    raise NotYet(PAUSED_ON_IO_ERROR, (vm.resumed_at + RESUME_PAUSE - run.now).total_seconds())


def guest_left(run: Run, vm: Vm, domain: Domain) -> bool:
    """Whether shut down by the guest, unasked: then that is what its owner wants from now on."""
    if vm.started == 0 or vm.reboot_pending or domain.off_reason is not OffReason.GUEST_SHUTDOWN:
        return False
    off = {"wanted": Wanted.STOPPED, "state": VmState.STOPPED, "started": 0}
    change(run, vm, off, Event(EventName.VM_STOPPED, "shut down by the guest"))
    return True


def note_crash(run: Run, vm: Vm, domain: Domain, host: Host) -> None:
    """Count an end that nobody asked for; NotYet while a machine that ends again and again has to pause."""
    if vm.started != 0 and not vm.reboot_pending:
        look_for_panic(run, vm, host)
        ran_well = vm.started_at is not None and run.now - vm.started_at >= RAN_WELL
        event = Event(
            EventName.VM_CRASHED,
            f"crashed ({domain.off_reason.value}); restarting",
        )
        crashes = 1 if ran_well else vm.crashes + 1
        change(run, vm, {"crashes": crashes, "started": 0, "state": VmState.STARTING}, event)
    pause = min(FIRST_CRASH_PAUSE * 2 ** min(vm.crashes - 2, 10), LONGEST_CRASH_PAUSE)
    if vm.crashes > 1 and vm.started_at is not None and vm.started_at <= run.now < vm.started_at + pause:
        left = (vm.started_at + pause - run.now).total_seconds()
        raise NotYet(f"crashed {vm.crashes} times; next restart delayed", left)
