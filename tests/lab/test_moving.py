"""A VM of a whole cloud goes from one machine to another while it runs: it counts on, answers, and is never there twice.

`KILLS` says how often something is killed at random while it moves; with `SEED` the same again.
"""

import os
import random
import re
import signal
import subprocess
import time
from contextlib import suppress
from threading import Event, Thread

import libvirt
import pytest
from tests.e2e import test_disks as disks
from tests.e2e.looks import look_over
from tests.waiting import eventually

from cumulet.hypervisor.libvirt.connection import start_event_loop

pytestmark = [pytest.mark.lab, pytest.mark.guest]
KILLS = int(os.environ.get("KILLS", "5"))
SEED = int(os.environ.get("SEED", time.time_ns() % 1_000_000))
COUNT = (
    "setsid sh -c 'i=0; while :; do i=$((i+1)); echo $i >/run/count; echo $i >>/root/counts; sync; sleep 0.3; done'"
    " </dev/null >/dev/null 2>&1 &"
)
"""Has a guest count in its memory and on its disk."""
IMAGES = "/v1/projects/default/images"
MORE_THAN_IT_DID = 10**9
"""Bytes between two samples."""
IS_WHOLE = (
    "awk 'NR > 1 && $1 != last + 1 && $1 != 1 { exit 1 } { last = $1 }' /root/counts && md5sum -c /root/sum"
)


class Witness:
    """Looks at the machines all the time: on how many the VM runs at once."""

    def __init__(self, machines):
        start_event_loop()
        self.most = 0
        self._machines = machines
        self._links = {}
        self._ended = Event()
        self._thread = Thread(target=self._watch, daemon=True)
        self._thread.start()

    def close(self):
        self._ended.set()
        self._thread.join()

    def _watch(self):
        while not self._ended.wait(0.05):
            self.most = max(self.most, sum(self._runs_on(machine) for machine in self._machines))

    def _runs_on(self, machine):
        try:
            if machine.name not in self._links:
                self._links[machine.name] = libvirt.openReadOnly(machine.libvirt_uri)
            return len(self._links[machine.name].listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_RUNNING))
        except libvirt.libvirtError:
            self._links.pop(machine.name, None)
            return 0


@pytest.fixture(scope="module")
def machines(make_hosts, ground):
    """Two machines that are the cloud's hosts beside the server's own, which takes nothing."""
    return make_hosts(ground.machines[:2])


@pytest.fixture(scope="module")
def mover(real_cloud, machines):
    """A VM that counts, and keeps a file."""
    mover = real_cloud.create("mover").wait_for_ssh()
    mover.output_of("head -c 1000000 /dev/urandom >/root/file && md5sum /root/file >/root/sum && sync")
    mover.output_of(COUNT)
    yield mover
    mover.verb("terminate")
    eventually(mover.gone)


def where(real_cloud, machines):
    """The machine that the VM is on, and the other one."""
    there = {
        machine.name: real_cloud.ask("GET", f"/v1/hosts/{machine.name}")["host"]["vms"]
        for machine in machines
    }
    return sorted(machines, key=lambda machine: -int(there[machine.name]))


def counted(mover):
    return int(mover.output_of("cat /run/count"))


def settled(real_cloud, mover):
    with suppress(AssertionError):
        return not real_cloud.ask("GET", "/v1/moves")["moves"] and mover.shown()["state"] == "ACTIVE"
    return False


def test_a_guest_counts_on_and_its_address_answers_again(real_cloud, cumulet, machines, mover):
    source, target = where(real_cloud, machines)
    witness = Witness(machines)
    before, boot = counted(mover), mover.output_of("cat /proc/sys/kernel/random/boot_id")
    ping = subprocess.Popen(("ping", "-n", "-i", "0.1", mover.external()), stdout=subprocess.PIPE, text=True)
    cumulet("vm", "move", "mover", "--to", target.name)
    eventually(lambda: settled(real_cloud, mover), within=180)
    assert where(real_cloud, machines) == [target, source], mover.timeline()
    told = mover.told("vm.moved")
    assert re.search(r"while it ran; it stood still for \d+\.\d\d s$", told)
    eventually(lambda: counted(mover) > before + 10)
    ping.terminate()
    heard = ping.communicate()[0].splitlines()
    numbers = [int(found[1]) for line in heard if (found := re.search(r"icmp_seq=(\d+) ", line))]
    print(told, "| pings 0.1 s apart that were lost:", numbers[-1] - len(numbers))  # noqa: T201 - a figure to see
    assert mover.output_of("cat /proc/sys/kernel/random/boot_id") == boot
    mover.output_of(IS_WHOLE)
    witness.close()
    assert witness.most == 1


def test_one_that_has_moved_tells_is_shown_and_is_copied_as_before(real_cloud, mover):
    mover.output_of("echo here I am >/dev/console")
    log = eventually(lambda: "here I am" in (told := console_log(mover)) and told)
    assert "first boot is done" in log, "what it said where it booted"
    look_over(mover)
    samples = eventually(lambda: real_cloud.ask("GET", f"{mover.path}/monitor")["items"])
    assert int(samples[-1]["guestPing"]) >= 1, "its agent answers"
    for counted in ("netRx", "netTx", "diskRdBytes", "diskWrBytes"):
        assert all(0 <= float(sample[counted]) < MORE_THAN_IT_DID for sample in samples), (counted, samples)
    real_cloud.ask("POST", IMAGES, params={"vmId": mover.name, "id": "moved"})
    eventually(lambda: real_cloud.ask("GET", f"{IMAGES}/moved")["image"]["state"] == "READY")
    real_cloud.ask("DELETE", f"{IMAGES}/moved")


def console_log(vm):
    return vm.cloud.api.get(f"{vm.path}/console-log").text


def begins(cumulet, there):
    """Whether it is let go: a host that did not answer a moment ago takes nothing."""
    with suppress(subprocess.CalledProcessError):
        cumulet("vm", "move", "mover", "--to", there)
        return True
    return False


def kill(what, real_cloud, machine, chance):
    """Break something, and mend what does not mend itself."""
    if what == "server":
        real_cloud.kill()
        real_cloud.start()
    elif what == "cable":
        machine.cut()
        time.sleep(chance.uniform(1, 9))
        machine.mend()
    elif what == "sshd":
        _listener, *others = machine.processes(what)  # without that one the machine is off
        for pid in others:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    else:
        machine.kill(what)


def test_a_storage_disk_that_lies_on_one_machine_is_brought_to_a_guest_on_the_other(
    real_cloud, cumulet, machines, mover
):
    source, _ = where(real_cloud, machines)
    disks.create(real_cloud, "luggage")
    disks.attach(mover, "luggage")
    name = eventually(lambda: disks.device(mover, "luggage"))
    mover.output_of(f"dd if=/root/file of=/dev/{name} bs=1000000 count=1 && sync")
    kept = mover.output_of("cut -d' ' -f1 /root/sum").strip()
    disks.detach(real_cloud, "luggage")
    cumulet("host", "cordon", source.name)
    other = real_cloud.create("other").wait_for_ssh()
    cumulet("host", "uncordon", source.name)
    disks.attach(other, "luggage")
    name = eventually(lambda: disks.device(other, "luggage"))
    found = other.output_of(
        f"dd if=/dev/{name} bs=1000000 count=1 2>/dev/null | md5sum | cut -d' ' -f1"
    ).strip()
    assert found == kept
    assert "brought first" in other.told("vm.disk_attach_requested")
    disks.detach(real_cloud, "luggage")
    disks.delete(real_cloud, "luggage")
    other.verb("terminate")
    eventually(other.gone)


@pytest.mark.timeout(300 + 60 * KILLS)
def test_whatever_is_killed_while_it_moves_it_runs_once_and_is_whole(real_cloud, cumulet, machines, mover):
    chance, witness = random.Random(SEED), Witness(machines)  # noqa: S311 - no secret
    outcomes = []
    for _ in range(KILLS):
        source, target = where(real_cloud, machines)
        boot = mover.output_of("cat /proc/sys/kernel/random/boot_id")
        what, machine = (
            chance.choice(("server", "cable", "libvirtd", "python3", "sshd")),
            chance.choice(machines),
        )
        eventually(lambda there=target.name: begins(cumulet, there))
        time.sleep(chance.uniform(0, 2.5))
        kill(what, real_cloud, machine, chance)
        eventually(lambda: settled(real_cloud, mover), within=300)
        mover.wait_for_ssh(within=300)
        booted = mover.output_of("cat /proc/sys/kernel/random/boot_id") != boot
        side = "" if what == "server" else " source" if machine is source else " target"
        outcomes.append(f"{what}{side}{': booted anew' if booted else ''}")
        print(outcomes[-1], mover.told("vm.moved"), flush=True)  # noqa: T201 - a figure to see
        if booted:
            mover.output_of(COUNT)
        mover.output_of(IS_WHOLE)
        assert witness.most <= 1, (SEED, outcomes)
    witness.close()
