"""The ground of a cloud: a server and three machines, each a private host of its own, on two networks between them.

        server 10.98.0.1     h1 10.98.0.11     h2 10.98.0.12     h3 10.98.0.13    (h4 10.98.0.14, a spare one, is off)
          │  └───────── line ───┴─│───────────────┴─│───────────────┘ │          SSH, OVN's databases
          └───────── tunnels ─────┴─────────────────┴─────────────────┘          10.97.0.x: Geneve

The server is the private host that the tests run on. A machine has SSH and nothing else until it is prepared; what
runs on it is reached by SSH as a cloud would, or by this module in ways that work when nothing on it answers any more.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from hashlib import sha256
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, Final

from tests.fabric.guests import run
from tests.waiting import eventually

HERE: Final = Path(__file__).parent
NAMES: Final = ("h1", "h2", "h3")
SPARE: Final = "h4"
LINE, TUNNELS = "line", "tunnels"
SUBNETS: Final = {LINE: "10.98.0", TUNNELS: "10.97.0"}
SERVER: Final = f"{SUBNETS[LINE]}.1"
SERVER_TUNNELS: Final = f"{SUBNETS[TUNNELS]}.1"
FILTER_OF_BRIDGES: Final = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
OUTSIDE, UPLINK = "outside", "br-out"
OUTSIDE_RANGE: Final = IPv4Network("198.19.240.0/24")
"""Of external addresses, in a network of their own."""
TUNNEL_BRIDGE: Final = "br-tunnels"
ALL_NAMESPACES: Final = ("--mount", "--uts", "--net", "--pid", "--cgroup")
AS_ITS_OWN: Final = (
    'for group in /sys/fs/cgroup/*/cgroup.procs; do echo 0 >"$group" || :; done 2>/dev/null; exec "$@"'
)
"""Runs a command in the machine's control groups, so that what it starts is the machine's."""
ASK: Final = """
import pickle, sys
from cumulet.doctor import calls
name, args, kwargs = pickle.load(sys.stdin.buffer)
pickle.dump(getattr(calls, name)(*args, **kwargs), sys.stdout.buffer)
"""
"""A call of the doctor's, and its answer."""


class Machine:
    """A machine that can be a host: with a name, SSH for root at `destination`, and a line that can be cut."""

    def __init__(self, number: int, name: str, *, folder: Path) -> None:
        self.number = number
        self.name = name
        self.address = f"{SUBNETS[LINE]}.{10 + number}"
        self.tunnel_address = f"{SUBNETS[TUNNELS]}.{10 + number}"
        self.destination = f"root@{self.name}"
        self._folder = folder
        self._log = folder / f"{self.name}.log"

    def switch_on(self) -> None:
        """Boot it, and return when it answers SSH; of an earlier life what lies on its disks is there."""
        environment = {name: value for name, value in os.environ.items() if name != "LAB_DIR"}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                (HERE / "enter", HERE / "machine", self.name, self._folder / "hosts", self._folder / "id.pub"),
                env=environment | {"LAB_KEEP": str(self._folder / self.name)},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        self.init = eventually(self._find_init)
        self._space = namespace_of(self.init, "pid")
        for number, (network, subnet) in enumerate(SUBNETS.items()):
            plug(self.name, f"eth{number}", network, namespace=self.init)
            there = ("nsenter", f"--target={self.init}", "--net", "ip", "address", "add")
            run(*there, f"{subnet}.{10 + self.number}/24", "dev", f"eth{number}")
        eventually(self._answers)

    def is_on(self) -> bool:
        """Whether it has power."""
        return self._process.poll() is None

    def switch_off(self) -> None:
        """Take its power: all that runs there is gone at once."""
        with suppress(ProcessLookupError):
            os.kill(self.init, signal.SIGKILL)
        self._process.wait()
        for network in SUBNETS:  # the kernel takes its cables away a moment later
            eventually(lambda link=f"{self.name}-{network}": not Path("/sys/class/net", link).exists())

    def run(self, *argv: object) -> str:
        """Have a command succeed there, and return what it printed."""
        return run(*self.inside(*argv))

    def inside(self, *argv: object) -> list[str]:
        """The command that runs another one there, beside SSH."""
        words = [str(word) for word in argv]
        return ["nsenter", f"--target={self.init}", *ALL_NAMESPACES, "sh", "-c", AS_ITS_OWN, "sh", *words]

    @property
    def doctor(self) -> Any:
        """The doctor's calls (`cumulet.doctor.calls`), done there."""
        return Doctor(self)

    def open_tunnels(self) -> None:
        """Have its tunnels end at its own address for them."""
        open_tunnels(self.run, self.tunnel_address)

    def processes(self, name: str) -> list[int]:
        """The ids, as this process sees them, of what runs there under a name (as /proc/PID/comm has it)."""
        return [
            pid for pid in every_process() if namespace_of(pid, "pid") == self._space and command(pid) == name
        ]

    def kill(self, name: str) -> None:
        """Kill every process there of that name."""
        for pid in self.processes(name):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def cut(self, network: str = LINE) -> None:
        """Pull its cable to a network."""
        run("ip", "link", "set", f"{self.name}-{network}", "down")

    def mend(self, network: str = LINE) -> None:
        """Plug that cable in again."""
        run("ip", "link", "set", f"{self.name}-{network}", "up")

    @property
    def libvirt_socket(self) -> Path:
        """Where its libvirtd answers, as this process sees it."""
        return Path(f"/proc/{self.init}/root/run/libvirt/libvirt-sock")

    @property
    def libvirt_uri(self) -> str:
        """Its libvirtd, as a process on the server can reach it."""
        return f"qemu+unix:///system?socket={self.libvirt_socket}"

    def _find_init(self) -> int | None:
        """The first process of the machine, which takes all others with it."""
        for pid in descendants(self._process.pid):
            if namespace_of(pid, "pid") not in ("", namespace_of(os.getpid(), "pid")):
                return pid
        return None

    def _answers(self) -> bool:
        """Whether SSH answers; fails when the machine has ended."""
        assert self._process.poll() is None, f"{self.name} ended: {self._log.read_text()}"
        return "Server listening" in self._log.read_text()


def plug(name: str, device: str, network: str, *, namespace: object) -> None:
    """Give the machine, or the server, whose network namespace a process is in a NIC in a network.

    It has the same MAC whenever the machine is switched on: others would go on speaking to another one for a while.
    """
    outer, inner = f"{name}-{network}", f"{name}-{device}"
    mac = f"02:{sha256(inner.encode()).digest()[:5].hex(':')}"
    run("ip", "link", "add", outer, "type", "veth", "peer", "name", inner, "address", mac)
    run("ethtool", "--offload", outer, "tx", "off")
    run("ip", "link", "set", outer, "master", network, "up")
    run("ip", "link", "set", inner, "netns", namespace, "name", device)
    there = ("nsenter", f"--target={namespace}", "--net")
    run(*there, "ethtool", "--offload", device, "tx", "off")
    run(*there, "ip", "link", "set", device, "up")


def open_tunnels(run: Callable[..., str], address: str) -> None:
    """Have a host's tunnels end on a bridge that `eth1` is in: OVS's userspace datapath sends from nowhere else."""
    datapath = run("ovs-vsctl", "get", "Bridge", "br-int", "datapath_type").strip()
    run(
        "ovs-vsctl", "--may-exist", "add-br", TUNNEL_BRIDGE,
        "--", "set", "Bridge", TUNNEL_BRIDGE, f"datapath_type={datapath}",
        "--", "--may-exist", "add-port", TUNNEL_BRIDGE, "eth1",
        "--", "set", "Open_vSwitch", ".", f"external_ids:ovn-encap-ip={address}",
    )  # fmt: skip
    run("ip", "address", "flush", "dev", "eth1")
    run("ip", "address", "replace", f"{address}/24", "dev", TUNNEL_BRIDGE)
    run("ethtool", "--offload", TUNNEL_BRIDGE, "tx", "off")
    run("ip", "link", "set", TUNNEL_BRIDGE, "up")


@contextmanager
def uplinks_of(machines: list[Machine]) -> Iterator[None]:
    """Put the server and machines with Open vSwitch into the network of an external range for a while, these by bridges of an operator's."""
    run("ip", "link", "add", OUTSIDE, "address", "02:00:00:00:00:99", "type", "bridge")
    run("ethtool", "--offload", OUTSIDE, "tx", "off")
    run("ip", "address", "add", f"{OUTSIDE_RANGE[1]}/24", "dev", OUTSIDE)
    run("ip", "link", "set", OUTSIDE, "up")
    for machine in machines:
        plug(machine.name, "eth2", OUTSIDE, namespace=machine.init)
        datapath = machine.run("ovs-vsctl", "get", "Bridge", "br-int", "datapath_type").strip()
        machine.run(
            "ovs-vsctl", "--may-exist", "add-br", UPLINK, "--", "set", "Bridge", UPLINK, f"datapath_type={datapath}",
            "--", "--may-exist", "add-port", UPLINK, "eth2",
        )  # fmt: skip
    try:
        yield
    finally:
        for machine in machines:
            machine.run("ovs-vsctl", "--if-exists", "del-br", UPLINK)
            with suppress(AssertionError):  # one that was switched off meanwhile took its cable along
                run("ip", "link", "delete", f"{machine.name}-{OUTSIDE}")
        run("ip", "link", "delete", OUTSIDE)


class Doctor:
    """The doctor on a machine; who prepares it hears nothing meanwhile."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def prepare_host(self, _: object = None, **kwargs: object) -> Any:
        return self._ask("prepare_host", **kwargs)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return partial(self._ask, name)

    def _ask(self, name: str, *args: object, **kwargs: object) -> Any:
        asked = subprocess.run(
            self._machine.inside(sys.executable, "-c", ASK),
            input=pickle.dumps((name, args, kwargs)),
            capture_output=True,
            timeout=180,
            check=False,
        )
        assert asked.returncode == 0, f"{self._machine.name}: {name}: {asked.stderr.decode()}"
        return pickle.loads(asked.stdout)  # noqa: S301 - written by us


class Ground:
    """The machines, all on, one to spare that is off, and the server's key for them."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.key = folder / "id"
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "server", "-f", self.key)
        every = [Machine(number, name, folder=folder) for number, name in enumerate((*NAMES, SPARE), 1)]
        *self.machines, self.spare = every
        names = {"server": SERVER} | {machine.name: machine.address for machine in every}
        known = "".join(f"{address} {name}\n" for name, address in names.items())
        (folder / "hosts").write_text(f"127.0.0.1 localhost\n{known}")
        run("mount", "--bind", folder / "hosts", "/etc/hosts")
        if FILTER_OF_BRIDGES.exists():  # cables are no business of the server's firewall
            FILTER_OF_BRIDGES.write_text("0")
        for number, network in enumerate(SUBNETS):
            own = f"02:00:00:00:00:{number:02x}"  # or it would be another with each NIC that comes and goes
            run("ip", "link", "add", network, "address", own, "type", "bridge")
            run("ethtool", "--offload", network, "tx", "off")
            run("ip", "link", "set", network, "up")
        run("ip", "address", "add", f"{SERVER}/24", "dev", LINE)
        plug("server", "eth1", TUNNELS, namespace="1")
        for machine in self.machines:
            machine.switch_on()

    def close(self) -> None:
        """Switch all off."""
        for machine in self.machines:
            machine.switch_off()
        run("umount", "/etc/hosts")
        run("ip", "link", "delete", "eth1")
        for network in SUBNETS:
            run("ip", "link", "delete", network)

    def ssh(self, machine: Machine, *argv: object) -> list[str]:
        """The command by which the server has another one run on a machine."""
        trusting = (
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
            "-o",
            "LogLevel=ERROR",
        )
        return ["ssh", "-i", str(self.key), *trusting, machine.destination, *map(str, argv)]


def every_process() -> Iterator[int]:
    """The ids of all processes that this one sees."""
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal())


def descendants(pid: int) -> Iterator[int]:
    """Children, and theirs, the nearest first."""
    with suppress(FileNotFoundError):
        children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        yield from children
        for child in children:
            yield from descendants(child)


def namespace_of(pid: int, kind: str) -> str:
    """Which namespace a process is in; `""` when it has ended."""
    with suppress(OSError):
        return str(Path(f"/proc/{pid}/ns/{kind}").readlink())
    return ""


def command(pid: int) -> str:
    """What a process runs; `""` when it has ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""
