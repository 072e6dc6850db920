"""Which daemons a host needs, whether they answer, and how to start them when they do not.

libvirt, Open vSwitch and OVN of the host's own making are used as they are and never touched. What does not answer
is started: by systemd where it runs, otherwise under our supervisor. All of them keep their packages' paths, because
libvirt, ovs-vsctl and their like find each other there.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cumulet.doctor.command import CommandFailed, output_of, succeeds
from cumulet.doctor.supervisor import Daemon, Paths, locked, read_daemons, read_status, write_json

PATHS: Final = Paths(Path("/run/cumulet"), Path("/var/log/cumulet"))
START_SECONDS: Final = 30.0
LIBVIRT_SOCKET: Final = "/run/libvirt/libvirt-sock"
VIRTLOG_SOCKET: Final = "/run/libvirt/virtlogd-sock"
OVS_SOCKET: Final = "/run/openvswitch/db.sock"
NORTHBOUND_SOCKET: Final = "/run/ovn/ovnnb_db.sock"
SOUTHBOUND_SOCKET: Final = "/run/ovn/ovnsb_db.sock"
UNITS: Final = {
    "virtlogd": "virtlogd.socket",
    "libvirtd": "libvirtd.service",
    "ovsdb-server": "openvswitch-switch.service",
    "ovs-vswitchd": "openvswitch-switch.service",
    "ovn-nb": "ovn-central.service",
    "ovn-sb": "ovn-central.service",
    "ovn-northd": "ovn-central.service",
    "ovn-controller": "ovn-host.service",
}
"""The units of Debian's and Ubuntu's packages; for the order of keys, each after those it needs."""


@dataclass(frozen=True, slots=True)
class Database:
    """An OVSDB file, which must exist in the installed schema before its daemon starts."""

    file: Path
    schema: Path


SWITCH_DATABASE: Final = Database(
    Path("/etc/openvswitch/conf.db"), Path("/usr/share/openvswitch/vswitch.ovsschema")
)
NORTHBOUND_DATABASE: Final = Database(
    Path("/var/lib/ovn/ovnnb_db.db"), Path("/usr/share/ovn/ovn-nb.ovsschema")
)
SOUTHBOUND_DATABASE: Final = Database(
    Path("/var/lib/ovn/ovnsb_db.db"), Path("/usr/share/ovn/ovn-sb.ovsschema")
)


def accepts_connections(path: str) -> bool:
    """Whether a process listens on a unix socket; a socket left behind by a dead one refuses."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(2)
        with contextlib.suppress(OSError):
            client.connect(path)
            return True
    return False


def answers_control(name: str, control: str = "ovs-appctl") -> bool:
    """Whether an OVS or OVN daemon answers on its control socket."""
    return succeeds(control, "--timeout=2", "--target", name, "version")


ANSWERS: Final[dict[str, Callable[[], bool]]] = {
    "virtlogd": lambda: accepts_connections(VIRTLOG_SOCKET),
    "libvirtd": lambda: accepts_connections(LIBVIRT_SOCKET),
    "ovsdb-server": lambda: accepts_connections(OVS_SOCKET),
    "ovs-vswitchd": lambda: answers_control("ovs-vswitchd"),
    "ovn-nb": lambda: accepts_connections(NORTHBOUND_SOCKET),
    "ovn-sb": lambda: accepts_connections(SOUTHBOUND_SOCKET),
    "ovn-northd": lambda: answers_control("ovn-northd", "ovn-appctl"),
    "ovn-controller": lambda: answers_control("ovn-controller", "ovn-appctl"),
}


def find_silent() -> list[str]:
    """The daemons that do not answer now."""
    return [name for name, answers in ANSWERS.items() if not answers()]


def runs_systemd() -> bool:
    """Whether systemd is this host's init, and not merely installed."""
    return Path("/run/systemd/system").is_dir() and Path("/proc/1/comm").read_text().strip() == "systemd"


def start_daemons(
    *,
    hide_kvm: bool,
    integration: tuple[str, ...],
    paths: Paths = PATHS,
    tell: Callable[[str], None] = lambda _: None,
) -> list[str]:
    """Start what does not answer and wait until everything does; returns the names that were started.

    `hide_kvm` keeps /dev/kvm from libvirtd; `integration` is the ovs-vsctl command that prepares OVS for OVN, run
    before traffic flows. CommandFailed tells which daemon stayed silent and the end of its log.
    """
    if runs_systemd():
        return start_units(tell)
    paths.run_dir.mkdir(parents=True, exist_ok=True)
    paths.log_dir.mkdir(parents=True, exist_ok=True)
    with locked(paths.run_dir / "start.lock", wait=True):
        silent = find_silent()
        kept = read_daemons(paths) if is_supervised(paths) else []
        names = {daemon.name for daemon in kept} | set(silent)
        wanted = [
            daemon
            for daemon in all_daemons(hide_kvm=hide_kvm, integration=integration)
            if daemon.name in names
        ]
        if wanted != kept:
            tell(f"starting {', '.join(silent)} under Cumulet's supervisor")
            prepare_directories()
            write_json(paths.daemons, wanted)
            tell_supervisor(paths)
        wait_until_all_answer(paths)
    return silent


def start_units(tell: Callable[[str], None]) -> list[str]:
    """Start the system's own units of what does not answer."""
    silent = find_silent()
    if silent:
        tell(f"starting {', '.join(silent)}")
    for unit in dict.fromkeys(UNITS[name] for name in silent):
        output_of("systemctl", "start", unit, seconds=90)
    return silent


def stop_daemons(paths: Paths = PATHS) -> bool:
    """Stop the supervisor and all it keeps; False when none runs. Running VMs lose their network."""
    status = read_status(paths)
    if status is None or not is_supervised(paths):
        return False
    os.kill(status.pid, signal.SIGTERM)
    with locked(paths.lock, wait=True):
        paths.daemons.unlink(missing_ok=True)
    return True


def is_supervised(paths: Paths = PATHS) -> bool:
    """Whether a supervisor of ours runs here."""
    if not paths.lock.exists():
        return False
    with locked(paths.lock, wait=False) as free:
        return not free


def tell_supervisor(paths: Paths) -> None:
    """Make the supervisor read its list of daemons, starting one if none runs."""
    status = read_status(paths)
    if status is not None and is_supervised(paths):
        os.kill(status.pid, signal.SIGHUP)
        return
    again = 'until "$@"; do sleep 0.3; done'
    supervisor = (sys.executable, "-m", "cumulet.doctor.supervisor", str(paths.run_dir), str(paths.log_dir))
    # setsid --fork: nobody's child, so that it neither ends with us nor waits for us to collect it
    with (paths.log_dir / "supervisor.log").open("ab") as log:
        subprocess.run(
            ("setsid", "--fork", "tini", "-s", "--", "sh", "-c", again, "supervisor", *supervisor),
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", check=True,
        )  # fmt: skip


def wait_until_all_answer(paths: Paths) -> None:
    """Poll every daemon; CommandFailed names the silent ones with the ends of their logs."""
    deadline = time.monotonic() + START_SECONDS
    while silent := find_silent():
        if time.monotonic() > deadline:
            raise CommandFailed(
                "\n".join(f"{name} does not answer; {last_words(name, paths)}" for name in silent)
            )
        time.sleep(0.02)
    output_of("virsh", "--connect", "qemu:///system", "version")


def last_words(name: str, paths: Paths) -> str:
    """The end of a daemon's log, for a message."""
    log = paths.log_dir / f"{name}.log"
    if not log.exists():
        return f"{log} does not exist"
    return f"{log} ends:\n{log.read_text(errors='replace')[-2000:]}"


def prepare_directories() -> None:
    """Make the directories and databases that the packages' own start scripts would make."""
    for directory in ("/run/libvirt", "/run/openvswitch", "/run/ovn", "/var/log/openvswitch", "/var/log/ovn"):
        Path(directory).mkdir(parents=True, exist_ok=True)
    for database in (SWITCH_DATABASE, NORTHBOUND_DATABASE, SOUTHBOUND_DATABASE):
        prepare_database(database)


def prepare_database(database: Database) -> None:
    """Make an OVSDB file, or bring it to the installed schema."""
    if not database.file.exists():
        database.file.parent.mkdir(parents=True, exist_ok=True)
        output_of("ovsdb-tool", "create", str(database.file), str(database.schema))
    elif (
        output_of("ovsdb-tool", "needs-conversion", str(database.file), str(database.schema)).strip() == "yes"
    ):
        output_of("ovsdb-tool", "convert", str(database.file), str(database.schema))


def all_daemons(*, hide_kvm: bool, integration: tuple[str, ...]) -> list[Daemon]:
    """Every daemon a host needs, as the supervisor is to run it."""
    without_kvm = (
        "unshare",
        "--mount",
        "--propagation",
        "slave",
        "sh",
        str(Path(__file__).parent / "without_kvm.sh"),
    )
    return [
        Daemon("virtlogd", ("virtlogd",), ready=VIRTLOG_SOCKET),
        Daemon("libvirtd", (*(without_kvm if hide_kvm else ()), "libvirtd"), after="virtlogd"),
        Daemon("ovsdb-server", switch_database_argv(), ready=OVS_SOCKET, then=(integration,)),
        Daemon(
            "ovs-vswitchd",
            ("ovs-vswitchd", f"unix:{OVS_SOCKET}", "--mlockall", *logged("/var/log/openvswitch/ovs-vswitchd")),
            ready="/run/openvswitch/br-int.mgmt",
            after="ovsdb-server",
        ),
        central_database("nb", NORTHBOUND_SOCKET, NORTHBOUND_DATABASE),
        central_database("sb", SOUTHBOUND_SOCKET, SOUTHBOUND_DATABASE),
        Daemon(
            "ovn-northd",
            ("ovn-northd", f"--ovnnb-db=unix:{NORTHBOUND_SOCKET}", f"--ovnsb-db=unix:{SOUTHBOUND_SOCKET}",
             *logged("/var/log/ovn/ovn-northd")),
            after="ovn-sb",
        ),
        Daemon(
            "ovn-controller",
            ("ovn-controller", f"unix:{OVS_SOCKET}", *logged("/var/log/ovn/ovn-controller")),
            after="ovs-vswitchd",
            dies_with_it=True,
        ),
    ]  # fmt: skip


def switch_database_argv() -> tuple[str, ...]:
    """Open vSwitch's own database."""
    return (
        "ovsdb-server",
        str(SWITCH_DATABASE.file),
        f"--remote=punix:{OVS_SOCKET}",
        "--remote=db:Open_vSwitch,Open_vSwitch,manager_options",
        "--private-key=db:Open_vSwitch,SSL,private_key",
        "--certificate=db:Open_vSwitch,SSL,certificate",
        "--bootstrap-ca-cert=db:Open_vSwitch,SSL,ca_cert",
        *logged("/var/log/openvswitch/ovsdb-server"),
    )


def central_database(half: str, socket_path: str, database: Database) -> Daemon:
    """OVN's northbound or southbound database, with the table of further places where it listens."""
    schema = {"nb": "OVN_Northbound,NB_Global", "sb": "OVN_Southbound,SB_Global"}[half]
    keys = schema.partition(",")[0]
    argv = (
        "ovsdb-server",
        str(database.file),
        f"--remote=punix:{socket_path}",
        f"--remote=db:{schema},connections",
        f"--private-key=db:{keys},SSL,private_key",
        f"--certificate=db:{keys},SSL,certificate",
        f"--ca-cert=db:{keys},SSL,ca_cert",
        f"--unixctl=/run/ovn/ovn{half}_db.ctl",
        f"--pidfile=/run/ovn/ovn{half}_db.pid",
        f"--log-file=/var/log/ovn/ovsdb-server-{half}.log",
        "-vconsole:emer",
        "-vsyslog:off",
    )
    init = (f"ovn-{half}ctl", "--no-leader-only", f"--db=unix:{socket_path}", "init")
    return Daemon(f"ovn-{half}", argv, ready=socket_path, then=(init,))


def logged(path: str) -> tuple[str, ...]:
    """A daemon's log and pid files where its package would put them."""
    name = Path(path).name
    run_dir = "/run/ovn" if path.startswith("/var/log/ovn") else "/run/openvswitch"
    return (f"--pidfile={run_dir}/{name}.pid", f"--log-file={path}.log", "-vconsole:emer", "-vsyslog:off")
