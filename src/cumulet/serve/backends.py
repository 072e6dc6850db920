"""What a cloud stands on: the hosts that its database tells of, opened, and the fabric between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from ipaddress import IPv4Interface
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import structlog

from cumulet.catalogue import Catalogue, DataCenter
from cumulet.db import Database
from cumulet.doctor import calls
from cumulet.doctor.calls import PreparedHost, Reach
from cumulet.errors import Invalid, Refused, Unavailable
from cumulet.fabric import Fabric, FabricUnreachable
from cumulet.fabric.memory import MemoryFabric
from cumulet.hosts import central_addresses, list_hosts, register_host
from cumulet.hosts.overlay import RENEWED, northbound_at
from cumulet.hypervisor import CEPH_PACKAGES, HostUnreachable, Hypervisor, HypervisorError
from cumulet.hypervisor.memory import memory_hosts
from cumulet.images import ImageStore, offer_made_up_images
from cumulet.line.bundle import make_bundle
from cumulet.line.connections import Connections, dial_unix
from cumulet.line.far_host import FarHost, FarPart
from cumulet.line.ssh import OPEN_SECONDS, SshLine, read_destination
from cumulet.line.verbs import DOCTOR
from cumulet.line.wire import DATA_DIR, HostWish
from cumulet.networks import Fabrics, bridge_name
from cumulet.self_signed import ensure_client
from cumulet.serve.doors import FAR
from cumulet.settings import HELPED, Settings
from cumulet.vms import Backends

if TYPE_CHECKING:
    from cumulet.fabric.ovn import Way

log = structlog.get_logger()


OpenUri = Callable[[str, DataCenter], Mapping[str, Hypervisor]]
"""Opens the hosts of a data center that a URI leads to, by their names.

Invalid where it leads nowhere, HypervisorError when nobody answers.
"""


def memory_backends(
    settings: Settings, catalogue: Catalogue, database: Database, installation: str
) -> Backends:
    """Make backends of made-up hosts, with images for them: for a look, for tests and for load."""
    offer_made_up_images(ImageStore(settings.images_dir), catalogue.image_aliases.values())
    fabric = MemoryFabric()
    return make_backends(
        settings,
        catalogue,
        installation,
        hosts=open_hosts(database, catalogue, default_uri=settings.hypervisor, open_uri=open_made_up),
        fabric=fabric,
        open_uplink=lambda _, bridge: fabric.lead_out(bridge),
    )


def open_made_up(uri: str, data_center: DataCenter) -> Mapping[str, Hypervisor]:
    """Open the hosts of a `memory:` URI."""
    return memory_hosts(
        uri, pools=[one.id for one in data_center.disk_pools], shared=data_center.shared_pools
    )


def real_backends(
    settings: Settings, catalogue: Catalogue, database: Database, installation: str
) -> Backends:
    """Make this machine a host and reach it by libvirt and OVN."""
    from cumulet.fabric.ovn import open_fabric  # noqa: PLC0415 - needs OVS's Python, which made-up hosts do not

    find_way = partial(find_ovn, settings, database)
    fabric = open_fabric(settings.fabric, installation=installation, find_way=find_way)
    if settings.serves_no_host:
        check_bridges(catalogue)
        return make_backends(
            settings, catalogue, installation, hosts={}, fabric=fabric, open_uplink=lambda *_: None
        )
    doctor = own_doctor(settings)
    prepared = prepare(doctor, catalogue)
    open_uri = partial(
        open_here, state_dir=settings.data_dir / "host", installation=installation, prepared=prepared
    )
    return make_backends(
        settings,
        catalogue,
        installation,
        hosts=open_hosts(database, catalogue, default_uri=settings.hypervisor, open_uri=open_uri),
        fabric=fabric,
        open_uplink=partial(open_uplink, doctor, prepared),
        repair=doctor.prepare_host,
    )


def check_bridges(catalogue: Catalogue) -> None:
    """Return when each data center names the bridge that leads out of it; Invalid: a server that serves no host makes none."""
    for data_center in catalogue.data_centers:
        if not data_center.external_bridge:
            raise Invalid(
                f"data center {data_center.id!r}: CUMULET_HYPERVISOR=none needs external_bridge in the catalogue, the Open "
                "vSwitch bridge on hosts that leads to the external range"
            )


def find_ovn(settings: Settings, database: Database) -> Way:
    """Say where OVN's databases are now: on hosts that were chosen, asked by TLS, or where the settings have them."""
    from cumulet.fabric.ovn import Way  # noqa: PLC0415 - needs OVS's Python

    with database.reading() as db:
        members = central_addresses(db)
    if not members:
        if settings.serves_no_host:
            raise FabricUnreachable("there is no host with OVN's databases yet: add one (cumulet host add)")
        return Way(settings.fabric)
    tls = ensure_client(
        settings.shared_dir / "central",
        settings.data_dir / "central-client",
        "a server",
        datetime.now(UTC),
        renewed=RENEWED,
    )
    return Way(northbound_at(members), tls)


def own_doctor(settings: Settings) -> Any:  # noqa: ANN401 - the calls by their names, as in `doctor.calls`
    """Give the doctor's calls, done on this machine: in this process, or by the helper where there is one."""
    if settings.helper is None:
        return calls
    nobodys = HostWish("", settings.data_dir / "host", {})  # the doctor's calls are about the machine itself
    return FarPart(DOCTOR, Connections(partial(dial_unix, str(settings.helper)), nobodys))


def prepare(doctor: Any, catalogue: Catalogue) -> PreparedHost:  # noqa: ANN401 - likewise
    """Make this machine a host; Unavailable says what is in the way."""
    packages = CEPH_PACKAGES if any(one.ceph_pools for one in catalogue.data_centers) else ()
    try:
        prepared: PreparedHost = doctor.prepare_host(
            lambda words: log.info("preparing the host", step=words), packages=packages
        )
    except HostUnreachable as absence:
        raise Unavailable(f"{absence}: `cumulet helper` must run, for this very user") from absence
    return prepared


def open_here(
    uri: str, data_center: DataCenter, *, state_dir: Path, installation: str, prepared: PreparedHost
) -> Mapping[str, Hypervisor]:
    """Open the machine that the server runs on: by libvirt in this process, or by its helper."""
    if uri.startswith(HELPED):
        dial = partial(dial_unix, uri.removeprefix(HELPED))
        helped = FarHost(dial, wish_for(data_center, installation, state_dir))
        return {helped.facts().name: helped}
    from cumulet.hypervisor.libvirt import open_host  # noqa: PLC0415 - needs libvirt, which made-up hosts do not

    host = open_host(
        uri,
        installation=installation,
        state_dir=state_dir,
        pools=data_center.pool_paths,
        shared=data_center.shared_pools,
        ceph=data_center.ceph_pools,
        kvm_works=prepared.kvm.works,
        userspace_datapath=prepared.datapath == "netdev",
    )
    return {host.facts().name: host}


def wish_for(data_center: DataCenter, installation: str, state_dir: Path) -> HostWish:
    """Say to a helper which host is meant."""
    return HostWish(
        installation,
        state_dir,
        data_center.pool_paths,
        data_center.shared_pools,
        data_center.ceph_pools,
    )


def open_uplink(doctor: Any, prepared: PreparedHost, data_center: DataCenter, bridge: str) -> None:  # noqa: ANN401 - likewise
    """Prepare this machine's end of a data center's external range, and what its switch must hold.

    The operator's own bridge may be on other hosts alone.
    """
    if data_center.external_bridge:
        try:
            doctor.ensure_operators_uplink(bridge)
        except Refused as absence:
            log.info("this machine does not lead out", data_center=data_center.id, why=str(absence))
        return
    gateway = IPv4Interface(f"{data_center.external_gateway}/{data_center.external_range.prefixlen}")
    reach = Reach(data_center.resolvers, data_center.reachable_networks, data_center.reachable_services)
    doctor.ensure_uplink(bridge, gateway, datapath=prepared.datapath, reach=reach)


def make_backends(
    settings: Settings,
    catalogue: Catalogue,
    installation: str,
    *,
    hosts: Mapping[UUID, Hypervisor],
    fabric: Fabric,
    open_uplink: Callable[[DataCenter, str], None],
    repair: Callable[[], object] = lambda: None,
) -> Backends:
    """Give the reconcilers all that they touch."""
    bridges = {
        one.id: one.external_bridge or bridge_name(installation, one.id) for one in catalogue.data_centers
    }
    return Backends(
        hosts=hosts,
        fabrics=Fabrics(catalogue=catalogue, fabric=fabric, open_uplink=open_uplink, bridges=bridges),
        images=ImageStore(settings.images_dir),
        repair=repair,
    )


def open_hosts(
    database: Database, catalogue: Catalogue, *, default_uri: str, open_uri: OpenUri
) -> dict[UUID, Hypervisor]:
    """Open each host that has a row, by the row's URI; those of the default URI get rows in the first data center.

    A host that cannot be opened, or is another than its row says, is left out: nothing of it is touched, and the look
    at it tells why it is silent. The default ones must answer.
    """
    default = catalogue.data_centers[0]
    found = {(default_uri, default.id): open_uri(default_uri, default)}
    with database.writing() as db:
        for host in found[default_uri, default.id].values():
            register_host(db, host.facts(), data_center_id=default.id, uri=default_uri, now=datetime.now(UTC))
        rows = list_hosts(db)
    data_centers = {one.id: one for one in catalogue.data_centers}
    rows = [row for row in rows if not row.uri.startswith(FAR)]  # their doors are lines, which ask nobody yet
    for uri, id in {(row.uri, row.data_center_id) for row in rows} - found.keys():
        found[uri, id] = open_others(open_uri, uri, data_centers.get(id))
    hosts = {}
    for row in rows:
        if there := found[row.uri, row.data_center_id].get(row.name):
            hosts[row.id] = there
        else:
            log.warning("a host is skipped: its URI does not lead to it", host=row.name, uri=row.uri)
    for strange in {host for opened in found.values() for host in opened.values()} - {*hosts.values()}:
        strange.close()
    return hosts


def open_far_host(
    uri: str,
    data_center_id: str,
    *,
    catalogue: Catalogue,
    installation: str,
    identity: Path,
    patience: float = OPEN_SECONDS,
) -> FarHost:
    """Open the line to a host by its URI; asks nobody yet. The first call waits so many seconds for it."""
    data_center = catalogue.find_data_center(data_center_id)
    wish = wish_for(data_center, installation, DATA_DIR / "host")
    line = SshLine(read_destination(uri), identity=identity, bundle=make_bundle(), patience=patience)
    return FarHost(line.dial, wish, hang_up=line.close)


def open_others(open_uri: OpenUri, uri: str, data_center: DataCenter | None) -> Mapping[str, Hypervisor]:
    """Open what a URI leads to; nothing where that fails, which must not keep the other hosts from being served."""
    if data_center is None:
        return {}
    try:
        return open_uri(uri, data_center)
    except (Invalid, HypervisorError) as problem:
        log.warning("hosts cannot be opened", uri=uri, problem=str(problem))
        return {}
