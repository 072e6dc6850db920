"""Every daemon that a host needs: how it is run, how it is asked whether it answers, and which unit runs it.

All keep their packages' paths, because libvirt, ovs-vsctl and their like find each other there.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cumulet.doctor.command import output_of, succeeds
from cumulet.doctor.overlay import is_central, read_overlay
from cumulet.doctor.supervisor import Daemon

LIBVIRT_SOCKET: Final = "/run/libvirt/libvirt-sock"
VIRTLOG_SOCKET: Final = "/run/libvirt/virtlogd-sock"
OVS_SOCKET: Final = "/run/openvswitch/db.sock"
NORTHBOUND_SOCKET: Final = "/run/ovn/ovnnb_db.sock"
SOUTHBOUND_SOCKET: Final = "/run/ovn/ovnsb_db.sock"
CENTRAL_SOCKETS: Final = (NORTHBOUND_SOCKET, SOUTHBOUND_SOCKET)
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
CENTRAL: Final = frozenset({"ovn-nb", "ovn-sb", "ovn-northd"})
"""Those that only one host of a cloud runs."""
USERSPACE: Final = "netdev"
"""Open vSwitch's own datapath, where the kernel has none."""
CACHE_EXACTLY: Final = ("ovs-appctl", "--timeout=10", "upcall/disable-megaflows")
"""Makes that datapath remember packets one by one instead of by patterns: of two patterns that overlap it corrects the
wrong one when rules change, and a port that was closed stays open to whoever keeps sending (seen with OVS 3.1.0)."""


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


def roster() -> list[str]:
    """The daemons that this host needs, each after those it needs itself."""
    central = is_central(read_overlay())
    return [name for name in ANSWERS if central or name not in CENTRAL]


def all_daemons(*, hide_kvm: bool, integration: tuple[str, ...], datapath: str) -> list[Daemon]:
    """Every daemon that a host can need, as the supervisor is to run it."""
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
            then=(CACHE_EXACTLY,) if datapath == USERSPACE else (),
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


def prepare_directories() -> None:
    """Make the directories and databases that the packages' own start scripts would make."""
    for directory in ("/run/libvirt", "/run/openvswitch", "/run/ovn", "/var/log/openvswitch", "/var/log/ovn"):
        Path(directory).mkdir(parents=True, exist_ok=True)
    central = (NORTHBOUND_DATABASE, SOUTHBOUND_DATABASE) if is_central(read_overlay()) else ()
    for database in (SWITCH_DATABASE, *central):
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
