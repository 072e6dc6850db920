"""Stories of VMs with GPUs, on a host that has two, and what of them is there in the end."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from sqlalchemy import delete, select
from tests.crash.faults import insist, survive
from tests.made_up import PROJECT, Cloud, make_cloud, two_pools

from cumulet.catalogue import read_catalogue, with_gpus
from cumulet.db import Database
from cumulet.errors import Invalid
from cumulet.gpus import Gpu
from cumulet.gpus import operations as gpu_verbs
from cumulet.hypervisor.memory import made_up_id
from cumulet.reconcile import Due
from cumulet.vm_record import Vm
from cumulet.vms import change_operations as changes
from cumulet.vms import operations as verbs

MODEL: Final = "H100"
A_WHILE: Final = 130.0
"""Seconds: two leases."""


def gpu_cloud(database: Database, folder: Path) -> Cloud:
    """A cloud with two disk pools whose host has two GPUs, both clean."""
    offered = with_gpus(two_pools(read_catalogue(None)), MODEL, made_up_id(MODEL))
    cloud = make_cloud(database, folder, hypervisor=f"memory:?gpus=2&gpu_model={MODEL}", catalogue=offered)
    cloud.sweep()
    with database.writing() as db:
        db.execute(delete(Due))  # looks at the host have stories of their own
    return cloud


def create(cloud: Cloud, gpus: int, vm_id: str = "hello") -> None:
    cloud.create(vm_id=vm_id, machine_type="standard-h100", gpus=gpus)


def create_two(cloud: Cloud) -> None:
    """Ask for both GPUs, and for one of them once more."""
    create(cloud, 2)
    with suppress(Invalid):
        create(cloud, 1, "late")


def create_after_another(cloud: Cloud) -> None:
    """Delete the VM that has both, and ask for them as soon as they may be clean, whoever died over it."""
    insist(lambda: cloud.ask(verbs.terminate_vm))
    survive(cloud, A_WHILE)
    insist(lambda: create(cloud, 2, "next"))


def clean(cloud: Cloud) -> None:
    """Have a GPU cleaned."""
    with cloud.database.reading() as db:
        address = db.scalars(select(Gpu.address).order_by(Gpu.address)).first()
    cloud.call(gpu_verbs.clean_gpu, id=f"memory-1:{address}")


def running(cloud: Cloud, gpus: int) -> None:
    create(cloud, gpus)
    cloud.settle()
    cloud.pass_time(5)


def stopped(cloud: Cloud, gpus: int) -> None:
    running(cloud, gpus)
    cloud.ask(verbs.stop_vm)
    cloud.settle()


def resize(cloud: Cloud, gpus: int) -> None:
    cloud.call(changes.resize_vm, project_id=PROJECT, id="hello", gpus=gpus)


class GpuStory(NamedTuple):
    """How the cloud was before, and what is asked of it."""

    before: Callable[[Cloud], object]
    act: Callable[[Cloud], object]


GPU_STORIES: Final = {
    "two creates for the last GPUs": GpuStory(lambda _: None, create_two),
    "terminate with GPUs": GpuStory(
        lambda cloud: running(cloud, 2), lambda cloud: cloud.ask(verbs.terminate_vm)
    ),
    "create with the GPUs of another": GpuStory(lambda cloud: running(cloud, 2), create_after_another),
    "clean a GPU": GpuStory(lambda _: None, clean),
    "take another GPU": GpuStory(lambda cloud: stopped(cloud, 1), lambda cloud: resize(cloud, 2)),
    "give a GPU back": GpuStory(lambda cloud: stopped(cloud, 2), lambda cloud: resize(cloud, 1)),
}


def gpu_snapshot(cloud: Cloud) -> dict[str, Any]:
    """Whose each GPU is, whether it is clean, and whether machines have just those that their VMs hold."""
    host = cloud.host.contents
    with cloud.database.reading() as db:
        gpus = db.scalars(select(Gpu)).all()
        vms = {vm.id: vm for vm in db.scalars(select(Vm))}
    held = {id: {gpu.address for gpu in gpus if gpu.vm_id == id} for id in vms}
    plugged = {id: {one.functions[0] for one in machine.spec.gpus} for id, machine in host.machines.items()}
    assert not host.leaked_gpus, "a machine met what another one left"
    return {
        "gpus": sorted(
            (vms[gpu.vm_id].name if gpu.vm_id else "", gpu.state.value, gpu.failures, gpu.problem)
            for gpu in gpus
        ),
        "promised": sorted((vm.name, vm.gpus, len(held[id])) for id, vm in vms.items()),
        "plugged as held": plugged == held,
        "left unclean": len(set(host.used_gpus) - set().union(*held.values())),
    }
