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
from cumulet.doctor.overlay import (
    NORTHBOUND_PORT,
    NORTHD_PORT,
    Overlay,
    Proof,
    identity,
    is_central,
    read_overlay,
)
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
CENTRAL_UNITS: Final = ("ovn-ovsdb-server-nb.service", "ovn-ovsdb-server-sb.service", "ovn-northd.service")
"""Those that `ovn-central.service` stands for."""
UNIT_OPTIONS: Final = Path("/etc/openvswitch/cumulet-central.env")
"""What they are told where several hosts have OVN's databases together."""
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


@dataclass(frozen=True, slots=True)
class CentralDatabase(Database):
    """One of the two that tell all hosts what packets do."""

    half: str
    """`nb` or `sb`."""
    name: str
    root: str
    """The table whose one row says where it listens."""
    socket: str
    port: int
    """Where it hears the others of its cluster."""

    @property
    def control(self) -> str:
        """Where its server takes commands."""
        return f"/run/ovn/ovn{self.half}_db.ctl"

    def member(self, address: str) -> str:
        """Write where the one at an address hears the others of its cluster."""
        return f"ssl:{address}:{self.port}"

    def ctl(self, *arguments: str) -> str:
        """Have OVN's own program ask or change it."""
        reach = ("--timeout=10", "--no-leader-only", f"--db=unix:{self.socket}")
        return output_of(f"ovn-{self.half}ctl", *reach, *arguments)


NORTHBOUND: Final = CentralDatabase(
    Path("/var/lib/ovn/ovnnb_db.db"), Path("/usr/share/ovn/ovn-nb.ovsschema"),
    "nb", "OVN_Northbound", "NB_Global", NORTHBOUND_SOCKET, 6643,
)  # fmt: skip
SOUTHBOUND: Final = CentralDatabase(
    Path("/var/lib/ovn/ovnsb_db.db"), Path("/usr/share/ovn/ovn-sb.ovsschema"),
    "sb", "OVN_Southbound", "SB_Global", SOUTHBOUND_SOCKET, 6644,
)  # fmt: skip
HALVES: Final = (NORTHBOUND, SOUTHBOUND)


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
        *central_daemons(read_overlay()),
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


def central_daemons(overlay: Overlay | None) -> list[Daemon]:
    """OVN's databases and northd, which translates one into the other; of several northds one is at work."""
    members = overlay.members if overlay else ()
    files = identity(Proof.CENTRAL)
    northbound, southbound = f"unix:{NORTHBOUND_SOCKET}", f"unix:{SOUTHBOUND_SOCKET}"
    if members:
        northbound, southbound = remotes(members, NORTHBOUND_PORT), remotes(members, NORTHD_PORT)
    proof = tls_options(*files.tls) if members else ()
    argv = ("ovn-northd", f"--ovnnb-db={northbound}", f"--ovnsb-db={southbound}", *proof)
    return [
        central_database(NORTHBOUND, files.believed if members else None),
        central_database(SOUTHBOUND, files.heard if members else None),
        Daemon("ovn-northd", (*argv, *logged("/var/log/ovn/ovn-northd")), after="ovn-sb"),
    ]


def central_options(overlay: Overlay | None) -> str:
    """What OVN's own start script is told on a host that has the databases together with others; nothing elsewhere."""
    if not overlay or not overlay.members:
        return ""
    files = identity(Proof.CENTRAL)
    northbound, southbound = remotes(overlay.members, NORTHBOUND_PORT), remotes(overlay.members, NORTHD_PORT)
    words = [f"--ovn-northd-nb-db={northbound}", f"--ovn-northd-sb-db={southbound}"]
    for program, authorities in (
        ("nb-db", files.believed),
        ("sb-db", files.heard),
        ("northd", files.believed),
    ):
        words += [f"--ovn-{program}-ssl-key={files.key}", f"--ovn-{program}-ssl-cert={files.certificate}"]
        words += [f"--ovn-{program}-ssl-ca-cert={authorities}"]
    return " ".join(words)


def remotes(members: tuple[str, ...], port: int) -> str:
    """Write where those of a cluster listen at a port."""
    return ",".join(f"ssl:{address}:{port}" for address in members)


def tls_options(key: str, certificate: str, authorities: str) -> tuple[str, ...]:
    """The options by which OVS's programs are told their files for TLS."""
    return f"--private-key={key}", f"--certificate={certificate}", f"--ca-cert={authorities}"


def central_database(database: CentralDatabase, heard: Path | None) -> Daemon:
    """OVN's northbound or southbound database, with the table of further places where it listens.

    One of several knows by which files it speaks TLS and whom it hears before it has any content; one that is alone reads
    that in itself.
    """
    half, name = database.half, database.name
    key, certificate, _ = identity(Proof.CENTRAL).tls
    from_itself = (f"db:{name},SSL,{column}" for column in ("private_key", "certificate", "ca_cert"))
    argv = (
        "ovsdb-server",
        str(database.file),
        f"--remote=punix:{database.socket}",
        f"--remote=db:{name},{database.root},connections",
        *(tls_options(key, certificate, str(heard)) if heard else tls_options(*from_itself)),
        f"--unixctl={database.control}",
        f"--pidfile=/run/ovn/ovn{half}_db.pid",
        f"--log-file=/var/log/ovn/ovsdb-server-{half}.log",
        "-vconsole:emer",
        "-vsyslog:off",
    )
    init = (f"ovn-{half}ctl", "--no-leader-only", f"--db=unix:{database.socket}", "init")
    return Daemon(f"ovn-{half}", argv, ready=database.socket, then=() if heard else (init,))


def logged(path: str) -> tuple[str, ...]:
    """A daemon's log and pid files where its package would put them."""
    name = Path(path).name
    run_dir = "/run/ovn" if path.startswith("/var/log/ovn") else "/run/openvswitch"
    return (f"--pidfile={run_dir}/{name}.pid", f"--log-file={path}.log", "-vconsole:emer", "-vsyslog:off")


def prepare_directories() -> None:
    """Make the directories and databases that the packages' own start scripts would make."""
    for directory in ("/run/libvirt", "/run/openvswitch", "/run/ovn", "/var/log/openvswitch", "/var/log/ovn"):
        Path(directory).mkdir(parents=True, exist_ok=True)
    overlay = read_overlay()
    alone = is_central(overlay) and not (overlay and overlay.members)
    for database in (SWITCH_DATABASE, *(HALVES if alone else ())):
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
