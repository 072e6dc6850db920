"""The numbers of the whole cloud for Prometheus: our own, and machines' under the names that dashboards of libvirt know.

Everything is read from the database, where it is at most half a minute old: to be looked at costs hosts nothing.
Names of VMs, projects and hosts are in it, secrets are not; who may read it is decision 11.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session

from cumulet.catalogue import Catalogue
from cumulet.gpus import Gpu, model_name
from cumulet.hosts import Host, Reservation
from cumulet.monitoring.model import Samples
from cumulet.monitoring.series import QUARTER, STEP, Sample, unpack
from cumulet.networks import free_external
from cumulet.operation import Access
from cumulet.projects import authenticate, permit
from cumulet.reconcile import Due
from cumulet.vm_record import Vm

DOMAIN_LABELS: Final = ("domain", "project", "host")
FRESH: Final = STEP * 3
"""Seconds: what was measured earlier is of a machine that does not run now."""
RUNNING: Final = 1
"""VIR_DOMAIN_RUNNING, as `vstate` has it."""

DOMAIN_GAUGES: Final = (
    ("info_vstate", "Whether the machine runs, in libvirt's number for it.", lambda _: RUNNING),
    ("info_virtual_cpus", "vCPUs.", lambda sample: sample.vcpus),
    ("info_memory_usage_bytes", "Memory in use.", lambda sample: sample.memory_bytes),
)
DOMAIN_COUNTERS: Final = (
    ("info_cpu_time_seconds", "CPU time since the start.", lambda sample: sample.cpu_us / 1e6),
    ("block_stats_read_bytes", "Read from all disks.", lambda sample: sample.read_bytes),
    ("block_stats_read_requests", "Read requests to all disks.", lambda sample: sample.read_requests),
    ("block_stats_write_bytes", "Written to all disks.", lambda sample: sample.written_bytes),
    ("block_stats_write_requests", "Write requests to all disks.", lambda sample: sample.write_requests),
    (
        "interface_stats_receive_bytes",
        "Received by the guest on all NICs.",
        lambda sample: sample.received_bytes,
    ),
    ("interface_stats_transmit_bytes", "Sent by the guest on all NICs.", lambda sample: sample.sent_bytes),
)


def read_metrics(db: Session, key: str, now: datetime, *, catalogue: Catalogue) -> bytes:
    """Write all numbers as Prometheus reads them; only for auditors: Unauthenticated, Forbidden for others."""
    permit(db, authenticate(db, key, now=now), Access.AUDITOR, changes=False)
    return exposition([*cloud(db, catalogue, now=now), *machines(db, now=now)])


def exposition(metrics: list[Metric]) -> bytes:
    """Write metrics down."""

    class Once(Collector):
        def collect(self) -> Iterator[Metric]:
            return iter(metrics)

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Once())
    return generate_latest(registry)


def cloud(db: Session, catalogue: Catalogue, *, now: datetime) -> Iterator[Metric]:
    """Count what the cloud has and what it is at."""
    yield gauge(
        "vms",
        "VMs by state.",
        ("project", "state"),
        [
            ((project, state.value), count)
            for project, state, count in db.execute(
                select(Vm.project_id, Vm.state, func.count()).group_by(Vm.project_id, Vm.state)
            )
        ],
    )
    yield from unsettled(db, now=now)
    yield from capacity(db)
    yield from gpus(db, catalogue)
    free = [((one.id,), free_external(db, one, now=now)) for one in catalogue.data_centers]
    yield gauge("external_addresses_free", "Free external addresses.", ("data_center",), free)
    kept = db.scalar(select(func.count()).select_from(Samples)) or 0
    yield gauge(
        "sample_rows", "Rows of samples that are kept, a quarter of an hour of one VM each.", (), [((), kept)]
    )


def unsettled(db: Session, *, now: datetime) -> Iterator[Metric]:
    """Count what is due: where these grow, something is stuck."""
    late = and_(Due.due_at < now, Due.lease.is_(None))
    for name, what, which in (
        ("due", "Resources that are not settled.", Due.since.is_not(None)),
        ("due_late", "Resources that are due and that no worker has claimed.", late),
        ("due_overdue", "Resources not settled for ten minutes.", Due.overdue),
        ("due_failing", "Resources whose last run failed.", Due.error != ""),
    ):
        found = db.execute(select(Due.kind, func.count()).where(which).group_by(Due.kind))
        yield gauge(name, what, ("kind",), [((kind,), count) for kind, count in found])


def capacity(db: Session) -> Iterator[Metric]:
    """Tell what hosts have and what of it VMs have reserved."""
    hosts = db.scalars(select(Host).order_by(Host.name)).all()
    answering = [((host.name,), int(host.unheard_since is None)) for host in hosts]
    yield gauge("host_up", "Whether the host answers.", ("host",), answering)
    states = [((host.name, host.state.value), 1) for host in hosts]
    yield gauge("host_state", "How the host stands: 1 for its state.", ("host", "state"), states)
    for name, has, taken, unit in (
        ("vcpus", Host.cpus, Reservation.vcpus, 1),
        ("memory_bytes", Host.memory_mib, Reservation.memory_mib, 2**20),
    ):
        reserved = select(Host.name, has, func.coalesce(func.sum(taken), 0)).group_by(Host.name, has)
        rows = db.execute(reserved.outerjoin(Reservation, Reservation.host_id == Host.id)).all()
        whole = [((host,), total * unit) for host, total, _ in rows]
        used = [((host,), int(sum_of) * unit) for host, _, sum_of in rows]
        yield gauge(f"host_{name}", "What the host has.", ("host",), whole)
        yield gauge(f"host_reserved_{name}", "What VMs have reserved of it.", ("host",), used)
    yield from disk_capacity(db, hosts)


def disk_capacity(db: Session, hosts: Sequence[Host]) -> Iterator[Metric]:
    """Tell the same of disks, by pool."""
    sums = select(Reservation.host_id, Reservation.pool, func.sum(Reservation.disk_gib))
    grouped = db.execute(sums.group_by(Reservation.host_id, Reservation.pool))
    reserved = {(host_id, pool): int(gib) for host_id, pool, gib in grouped}
    pools = [(host, pool, gib) for host in hosts for pool, gib in host.disk_gib.items()]
    whole = [((host.name, pool), gib * 2**30) for host, pool, gib in pools]
    used = [((host.name, pool), reserved.get((host.id, pool), 0) * 2**30) for host, pool, _ in pools]
    yield gauge("host_disk_bytes", "What the host's disk pool has.", ("host", "pool"), whole)
    yield gauge("host_reserved_disk_bytes", "What is reserved of it.", ("host", "pool"), used)


def gpus(db: Session, catalogue: Catalogue) -> Iterator[Metric]:
    """Count the hosts' GPUs; those that the catalogue does not know by their ids."""
    found = db.execute(select(Host.name, Gpu).join(Host, Host.id == Gpu.host_id)).all()
    named = [((host, model_name(catalogue, gpu.seen)), gpu) for host, gpu in found]
    states = Counter((*where, gpu.state.value) for where, gpu in named)
    yield gauge("gpus", "GPUs by state.", ("host", "model", "state"), [*states.items()])
    withdrawn, faulty = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for where, gpu in named:
        withdrawn[where] += gpu.withdrawn
        faulty[where] += gpu.problem != ""
    labels = ("host", "model")
    yield gauge(
        "gpus_withdrawn", "GPUs, of any state, that no further VM gets.", labels, [*withdrawn.items()]
    )
    yield gauge("gpus_faulty", "GPUs that something befell, held or not.", labels, [*faulty.items()])


def machines(db: Session, *, now: datetime) -> Iterator[Metric]:
    """Give each running VM's newest sample."""
    newest = select(Vm.name, Vm.project_id, Host.name, Vm.memory_gib, Samples.packed)
    newest = newest.join(Samples, Samples.vm_id == Vm.id).join(Host, Host.id == Vm.host_id)
    moment = int(now.timestamp())
    newest = newest.where(Samples.begins > moment - QUARTER - FRESH).order_by(Samples.begins)
    found: dict[tuple[str, str, str], tuple[Sample, int]] = {}
    for name, project, host, memory_gib, packed in db.execute(newest):
        *_, last = unpack(packed)
        if last.at >= moment - FRESH:
            found[name, project, host] = (last, memory_gib)
    for name, what, value in DOMAIN_GAUGES:
        yield domain_metric(
            GaugeMetricFamily, name, what, [(of, value(one)) for of, (one, _) in found.items()]
        )
    most = [(of, memory_gib * 2**30) for of, (_, memory_gib) in found.items()]
    yield domain_metric(GaugeMetricFamily, "info_maximum_memory_bytes", "Memory that it has.", most)
    for name, what, value in DOMAIN_COUNTERS:
        yield domain_metric(
            CounterMetricFamily, name, what, [(of, value(one)) for of, (one, _) in found.items()]
        )


Labelled = Sequence[tuple[Sequence[str], float]]


def gauge(name: str, what: str, labels: tuple[str, ...], values: Labelled) -> Metric:
    """Make a number of ours."""
    metric = GaugeMetricFamily(f"cumulet_{name}", what, labels=labels)
    for of, value in values:
        metric.add_metric(of, value)
    return metric


def domain_metric(
    kind: type[GaugeMetricFamily | CounterMetricFamily],
    name: str,
    what: str,
    values: Labelled,
) -> Metric:
    """Make a number of machines, under the name that exporters of libvirt give it."""
    metric = kind(f"libvirt_domain_{name}", what, labels=DOMAIN_LABELS)
    for of, value in values:
        metric.add_metric(of, value)
    return metric
