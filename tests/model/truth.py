"""What must hold once a cloud has settled: its rows, its host, its fabric and what it has reserved tell the same."""

from __future__ import annotations

from sqlalchemy import select
from tests.made_up import PROJECT, Cloud
from tests.room import counted, kept

from cumulet.disks import Disk, DiskState, DiskType, Snapshot, snapshot_operations
from cumulet.disks import operations as disk_operations
from cumulet.gpus import Gpu, GpuState
from cumulet.hosts import Reservation
from cumulet.hypervisor import Power
from cumulet.networks import Network, Nic
from cumulet.networks import operations as network_operations
from cumulet.networks.model import Router
from cumulet.networks.specs import port_specs
from cumulet.private_images import ImageState, PrivateImage
from cumulet.private_images import operations as image_operations
from cumulet.quotas import operations as quota_operations
from cumulet.reconcile import Due
from cumulet.resource import Wanted
from cumulet.security_groups import SecurityGroup
from cumulet.security_groups import operations as group_operations
from cumulet.security_groups.reconcile import group_spec
from cumulet.vm_record import Vm
from cumulet.vm_record.wire import VmState
from cumulet.vms import operations


def check(cloud: Cloud) -> None:
    """Compare everything with everything."""
    with cloud.database.reading() as db:
        rows = {
            table: db.scalars(select(table)).all()
            for table in (Vm, Disk, Snapshot, PrivateImage, Network, Router, SecurityGroup, Nic, Gpu, Due)
        }
        ports = {spec.id: spec for _, spec in port_specs(db)}
        reserved = {
            row.holder_id: (row.project_id, row.vcpus, row.memory_mib, row.disk_gib)
            for row in db.scalars(select(Reservation))
        }
        assert kept(db) == counted(db)
    check_nothing_waits(cloud, rows[Due])
    check_machines(cloud, rows[Vm], rows[Disk])
    check_gpus(cloud, rows[Vm], rows[Gpu])
    placed = {vm.id for vm in rows[Vm] if vm.waits_until is None}
    check_disks(cloud, rows[Disk], rows[Snapshot], placed)
    check_images(cloud, rows[PrivateImage])
    check_fabric(cloud, rows, ports, {nic.id for nic in rows[Nic] if nic.vm_id in placed})
    assert reserved == what_is_taken(rows)


def check_shown(cloud, told):
    """Compare what the API lists with what its owner was told."""
    vms = cloud.call(operations.list_vms, project_id=PROJECT).vms
    assert [vm.id for vm in vms] == sorted(told.vms)
    check_line(cloud, told, {vm.id: vm for vm in vms})
    for vm in vms:
        mine = told.vms[vm.id]
        assert mine.ends is None or mine.protected or mine.ends > cloud.clock()
        assert vm.deletion_protection is mine.protected
        assert vm.queue_deadline == mine.waits
        if mine.waits is None:
            assert vm.state.value in mine.power, vm.id
            mine.power = {vm.state.value}
        assert (vm.memory, vm.metadata, vm.expire_time) == (mine.memory_gib, mine.labels, mine.ends)
        assert vm.gpu_quantity == mine.gpus
        assert set(vm.security_group_ids) == mine.groups
    disks = cloud.call(disk_operations.list_disks, project_id=PROJECT).disks
    shown = {disk.id: (disk.size_gib, disk.vm_id, sizes_of_snapshots(cloud, disk.id)) for disk in disks}
    assert shown == {id: (disk.size_gib, disk.vm, disk.snapshots) for id, disk in told.disks.items()}
    assert {disk.id for disk in disks if disk.deletion_protection} == {
        id for id, disk in told.disks.items() if disk.protected
    }
    quotas = cloud.call(quota_operations.list_quotas, project_id=PROJECT).quotas
    used = told.used()
    assert {one.name: one.used for one in quotas if one.name in used} == used
    images = cloud.call(image_operations.list_private_vm_images, project_id=PROJECT).images
    assert {image.id: image.size_gib for image in images} == told.images
    networks = cloud.call(network_operations.list_networks, project_id=PROJECT).networks
    assert {network.id: network.state.value for network in networks} == told.networks
    groups = cloud.call(group_operations.list_security_groups, project_id=PROJECT).security_groups
    assert {group.id for group in groups} == told.groups


def check_line(cloud, told, shown):
    """The first that waits lacks something, all are shown their place, and who waited too long has failed."""
    line = told.line()
    assert not line or told.vms[line[0]].gpus > told.free_gpus()
    assert [shown[id].waiting_for.partition(":")[0] for id in line] == [
        f"place {place} in line" for place in range(1, len(line) + 1)
    ]
    for id, mine in told.vms.items():
        if mine.waits is not None:
            in_time = mine.waits > cloud.clock()
            assert (id in line, shown[id].state.value) == (in_time, "PENDING" if in_time else "FAILED")


def sizes_of_snapshots(cloud, disk_id):
    snapshots = cloud.call(snapshot_operations.list_disk_snapshots, project_id=PROJECT, id=disk_id).snapshots
    return {snapshot.id: snapshot.size_gib for snapshot in snapshots}


def check_nothing_waits(cloud, dues):
    assert all(due.since is None and due.due_at > cloud.clock() for due in dues)
    assert [(due.kind, due.why, due.error) for due in dues if due.why or due.error] == []


def check_machines(cloud, vms, disks):
    machines = cloud.host.machines.list()
    placed = [vm for vm in vms if vm.waits_until is None]
    assert machines.keys() == cloud.host.seeds.list() == {vm.id for vm in placed}
    for vm in placed:
        machine = machines[vm.id]
        runs = machine.power is Power.RUNNING
        assert (vm.wanted, vm.state) in {(Wanted.ACTIVE, VmState.ACTIVE), (Wanted.STOPPED, VmState.STOPPED)}
        assert runs is (vm.wanted is Wanted.ACTIVE)
        assert (vm.started, vm.reboot_pending, vm.credentials_pending and runs) == (
            machine.started,
            False,
            False,
        )
        assert vm.power_asked_at is None
        spec = cloud.host.contents.machines[vm.id]
        storage = {disk.id for disk in disks if disk.vm_id == vm.id and disk.type is DiskType.STORAGE}
        assert set(spec.spec.disks) == storage
        assert spec.plugged == (storage if runs else set())


def check_gpus(cloud, vms, gpus):
    """Each VM has as many as it was promised, its machine just those, and the others are free and clean."""
    assert {gpu.vm_id for gpu in gpus} <= {None, *(vm.id for vm in vms)}
    for vm in vms:
        held = [gpu.address for gpu in gpus if gpu.vm_id == vm.id]
        if vm.waits_until is not None:
            assert held == []
            continue
        assert len(held) == vm.gpus
        assert [one.functions[0] for one in cloud.host.contents.machines[vm.id].spec.gpus] == sorted(held)
    assert all(gpu.state is (GpuState.HELD if gpu.vm_id else GpuState.FREE) for gpu in gpus)
    assert set(cloud.host.contents.used_gpus) <= {gpu.address for gpu in gpus if gpu.vm_id}


def check_disks(cloud, disks, snapshots, placed):
    made = {disk.id: disk.size_gib for disk in disks if disk.is_made}
    assert cloud.host.disks.list() == made
    for disk in disks:
        at_rest = {DiskState.INIT, DiskState.READY}
        assert disk.state in ({DiskState.USED} if disk.vm_id in placed else at_rest)
        assert (disk.wanted, disk.reverting) == (Wanted.KEPT, False)
        mine = {one.id for one in snapshots if one.disk_id == disk.id}
        assert (cloud.host.disks.snapshots(disk.id) if disk.is_made else set()) == mine
    assert all(one.made and not one.deleting for one in snapshots)


def check_images(cloud, images):
    assert {image.state for image in images} <= {ImageState.READY}
    assert set(cloud.images.private_ids()) == {image.id for image in images}
    assert cloud.host.images.captures() == frozenset()


def check_fabric(cloud, rows, ports, plugged):
    assert ports.keys() == {nic.id for nic in rows[Nic]}
    assert cloud.fabric.ports() == {id: spec for id, spec in ports.items() if id in plugged}
    assert cloud.fabric.networks().keys() == {row.id for row in rows[Network]}
    assert cloud.fabric.routers().keys() == {row.id for row in rows[Router]}
    assert cloud.fabric.groups() == {row.id: group_spec(row) for row in rows[SecurityGroup]}


def what_is_taken(rows):
    """Count what every row takes, without looking at what was reserved for it."""
    snapshots = {disk.id: 0 for disk in rows[Disk]}
    for snapshot in rows[Snapshot]:
        snapshots[snapshot.disk_id] += snapshot.size_gib
    placed = [vm for vm in rows[Vm] if vm.waits_until is None]
    waiting = {vm.boot_disk_id for vm in rows[Vm]} - {vm.boot_disk_id for vm in placed}
    taken = [disk for disk in rows[Disk] if disk.id not in waiting]
    return (
        {vm.id: (PROJECT, vm.vcpus, vm.memory_gib * 1024, 0) for vm in placed}
        | {disk.id: (PROJECT, 0, 0, disk.size_gib + snapshots[disk.id]) for disk in taken}
        | {image.id: (PROJECT, 0, 0, image.size_gib) for image in rows[PrivateImage]}
    )
