"""What is true in a guest and at its host, whatever the cloud says of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.e2e import world
from tests.e2e.real_cloud import Vm
from tests.e2e.traces import Parts, output_of
from tests.waiting import eventually

BOOT_ID = "cat /proc/sys/kernel/random/boot_id"
IDENTITY = "hostname; cat /etc/machine-id; cat /etc/dropbear/*_host_key | md5sum"
PROCESSORS = re.compile(r"^CPU\(s\): +(\d+)$", re.MULTILINE)
BUSY = "sh -c 'while :; do :; done' </dev/null >/dev/null 2>&1 &"


def domains(project: str) -> set[str]:
    """The VMs of a project that libvirt runs, by the titles of its domains."""
    titles = [line.split()[-1] for line in output_of("virsh", "--quiet", "list", "--title").splitlines()]
    return {title.removeprefix(f"{project}/") for title in titles if title.startswith(f"{project}/")}


def tap_of(vm: Vm) -> str:
    """The host's end of the VM's only NIC."""
    return output_of("virsh", "--quiet", "domiflist", Parts.of(vm).vm).split()[0]


def pings_heard(vm: Vm) -> int:
    """How many echo requests ever came to the guest."""
    names, values = (line.split() for line in vm.output_of("grep ^Icmp: /proc/net/snmp").splitlines())
    return int(values[names.index("InEchos")])


def processors() -> int:
    """The host's."""
    return processors_in(output_of("virsh", "nodeinfo"))


def promised_vcpus(vm: Vm) -> int:
    """The vCPUs of all machines that the cloud of a VM has defined."""
    id = Parts.of(vm).vm
    ours = output_of("virsh", "domname", id).strip().removesuffix(id)
    names = [name for name in output_of("virsh", "list", "--all", "--name").split() if name.startswith(ours)]
    return sum(processors_in(output_of("virsh", "dominfo", name)) for name in names)


def processors_in(told: str) -> int:
    found = PROCESSORS.search(told)
    assert found, told
    return int(found[1])


def boot_id(vm: Vm) -> str:
    """Which boot of the guest this is; nothing while it does not answer."""
    return vm.ssh(BOOT_ID).stdout.decode()


def disks_in(vm: Vm) -> dict[str, int]:
    """The guest's disks by their serial numbers, with their sectors; the seed has no number."""
    look = 'for disk in /sys/block/vd*; do echo "$(cat $disk/serial):$(cat $disk/size)"; done'
    found = (line.partition(":") for line in vm.output_of(look).splitlines())
    return {serial: int(size) for serial, _, size in found}


@contextmanager
def seated_at_console(vm: Vm) -> Iterator[subprocess.Popen[bytes]]:
    """Somebody at the serial console, as the command line has it."""
    key = vm.cloud.api.headers["Authorization"].removeprefix("Bearer ")
    environment = os.environ | {"CUMULET_URL": vm.cloud.url, "CUMULET_API_KEY": key}
    argv = (sys.executable, "-m", "cumulet", "vm", "console", vm.name)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(argv, env=environment, bufsize=0, **pipes) as seat:
        assert seat.stdout
        os.set_blocking(seat.stdout.fileno(), False)
        try:
            yield seat
        finally:
            seat.kill()


def says(seat: subprocess.Popen[bytes], typed: bytes, until: bytes) -> None:
    """Type something, and wait until the console shows these words."""
    seen = b""

    def shown() -> bool:
        nonlocal seen
        assert seat.stdout
        seen += seat.stdout.read() or b""
        return until in seen

    assert seat.stdin
    seat.stdin.write(typed)
    eventually(shown)


def leaves(seat: subprocess.Popen[bytes]) -> bool:
    """Press Ctrl-], which ends the command and nothing else."""
    assert seat.stdin
    seat.stdin.write(b"\x1d")
    return seat.wait(30) == 0


def look_over(vm: Vm) -> None:
    """See that it told what it did, is shown, is reached from the world, and asks at its console who is there."""
    assert "login:" in vm.cloud.api.get(f"{vm.path}/console-log").text
    assert vm.cloud.api.get(f"{vm.path}/screenshot").is_success
    asked = {"from": world.ADDRESS, "protocol": "tcp", "port": 22}
    assert vm.cloud.ask("GET", f"{vm.path}/reachability", params=asked)["reachable"]
    with seated_at_console(vm) as seat:
        says(seat, b"\r", until=b"login:")
        assert leaves(seat)


@contextmanager
def kept_busy(vm: Vm) -> Iterator[None]:
    """Have all processors of a guest at work."""
    vm.output_of(f"for one in $(seq $(nproc)); do {BUSY} echo $! >>/run/busy; done")
    try:
        yield
    finally:
        vm.output_of("kill $(cat /run/busy); rm /run/busy")
