"""VMs with GPUs that are joined beside PCI: by the partitions of NVSwitches, or in a hive; on both kinds of database."""

import re
from dataclasses import replace

import pytest
from sqlalchemy import select, update
from tests.made_up import PROJECT, make_cloud

from cumulet.catalogue import read_catalogue, with_gpus
from cumulet.errors import Invalid
from cumulet.gpus import Gpu, GpuState
from cumulet.gpus.operations import get_gpu, list_gpus
from cumulet.gpus.partitions import GpuPartition
from cumulet.hypervisor import Power
from cumulet.hypervisor.memory import made_up_id
from cumulet.projects.operations import create_project
from cumulet.projects.wire import CreateProject
from cumulet.vm_record import Vm
from cumulet.vm_record.wire import VmState
from cumulet.vms import change_operations as changes
from cumulet.vms import operations as verbs

MODEL = "H100"


def new_cloud(database, tmp_path, fabric, hosts=1):
    uri = f"memory:?hosts={hosts}&gpus=8&gpu_model={MODEL}&gpu_fabric={fabric}"
    offered = with_gpus(read_catalogue(None), MODEL, made_up_id(MODEL), fabric=fabric)
    plain, gpu_type = offered.machine_types
    offered = replace(offered, machine_types=(plain, replace(gpu_type, min_vcpu_per_gpu=0.1)))
    cloud = make_cloud(database, tmp_path, hypervisor=uri, catalogue=offered)
    cloud.sweep()
    cloud.settle()
    return cloud


@pytest.fixture
def board(database, tmp_path):
    return new_cloud(database, tmp_path, "nvswitch")


@pytest.fixture
def hive(database, tmp_path):
    return new_cloud(database, tmp_path, "xgmi")


def create(cloud, gpus, name="hello", **fields):
    return cloud.create(vm_id=name, machine_type="standard-h100", gpus=gpus, **fields)


def refusal(cloud, gpus, **fields):
    with pytest.raises(Invalid) as refused:
        create(cloud, gpus, "late", **fields)
    return str(refused.value)


def places(cloud, name="hello"):
    """Which GPUs a VM has, by their places on the board."""
    with cloud.database.reading() as db:
        mine = set(db.scalars(select(Gpu.address).join(Vm, Vm.id == Gpu.vm_id).where(Vm.name == name)))
    return [place for place, gpu in enumerate(cloud.host.host_gpus.gpus) if gpu.address in mine]


def active(cloud):
    return [one.number for one in cloud.host.gpus.read().partitions if one.active]


def end(cloud, name="hello"):
    """Terminate a VM and wait until its GPUs are clean."""
    cloud.ask(verbs.terminate_vm, name)
    cloud.clock.advance(60)
    cloud.settle()


def test_what_a_host_offers_gets_rows_that_are_written_only_when_it_changes(board):
    def rows():
        with board.database.reading() as db:
            return {row.number: row.addresses for row in db.scalars(select(GpuPartition))}

    there = board.host.host_gpus
    assert rows() == {one.number: list(one.addresses) for one in there.partitions}
    board.host.host_gpus = replace(there, partitions=there.partitions[1:])
    board.sweep()
    assert rows() == {one.number: list(one.addresses) for one in there.partitions[1:]}


def test_the_operator_sees_behind_which_switch_a_gpu_is_and_in_which_partitions(board):
    third = board.host.host_gpus.gpus[2]
    gpu = board.call(get_gpu, id=f"memory-1:{third.address}").gpu
    assert gpu.switch == third.bridges[1]
    assert [(one.number, one.gpus) for one in gpu.partitions] == [(0, 8), (1, 4), (4, 2), (9, 1)]
    assert gpu == board.call(list_gpus).gpus[2]


def test_a_vm_has_a_whole_partition_which_is_active_while_it_may_run(board):
    create(board, 4)
    create(board, 2, "other")
    board.settle()
    assert (places(board), places(board, "other")) == ([0, 1, 2, 3], [4, 5])
    assert active(board) == [1, 5]
    end(board)
    assert active(board) == [5]
    create(board, 4, "next")
    board.settle()
    assert (places(board, "next"), active(board)) == ([0, 1, 2, 3], [1, 5])


def test_a_number_that_no_partition_has_is_refused_with_those_there_are(board):
    words = refusal(board, 3)
    assert words.endswith(
        "3 is not accepted; expected 1, 2, 4 or 8: so many H100 GPUs are joined with each other"
    )
    assert "1 to 8: no host has more H100 GPUs" in refusal(board, 9)


def test_gpus_that_are_free_but_in_no_free_partition_are_refused_in_words(board):
    create(board, 1)
    create(board, 4, "half")
    assert "3 of 8 H100 GPUs free, at most 2 together, 5 held, 4 requested" in refusal(board, 4)


def test_a_vm_that_is_resized_gets_the_partition_around_its_gpus_and_is_joined_anew(board):
    create(board, 1, "first")
    create(board, 1)
    board.settle()
    end(board, "first")
    assert (places(board), active(board)) == ([1], [8])
    for gpus, expected, partitions in ((2, [0, 1], [3]), (4, [0, 1, 2, 3], [1]), (2, [0, 1], [3])):
        board.ask(verbs.stop_vm)
        board.settle()
        board.call(changes.resize_vm, project_id=PROJECT, id="hello", gpus=gpus)
        board.ask(verbs.start_vm)
        board.clock.advance(60)
        board.settle()
        assert (board.vm().state, places(board)) == (VmState.ACTIVE, expected)
        assert active(board) == partitions


def test_gpus_whose_partitions_are_not_known_are_given_to_nobody(board):
    there = board.host.host_gpus
    gpus = tuple(replace(one, fabric_problem="fmpm -l: it does not answer") for one in there.gpus)
    board.host.host_gpus = replace(there, gpus=gpus, partitions=())
    board.sweep()
    assert "0 of 8 H100 GPUs free, 8 unfit, 1 requested" in refusal(board, 1)


def test_the_machine_that_cannot_be_joined_says_so_and_starts_once_it_can(board):
    create(board, 2)
    board.host.contents.active_partitions.add(0)  # by hand, and not ours
    board.run()
    (machine,) = board.host.contents.machines.values()
    assert machine.power is Power.OFF
    assert "cannot be joined now" in board.due("vm", board.row().id).error
    board.host.contents.active_partitions.clear()
    board.clock.advance(60)
    board.settle()
    assert active(board) == [3]


def test_a_hive_has_gpus_of_one_project_alone(hive):
    hive.call(create_project, data=CreateProject(id="others"))
    create(hive, 2)
    words = refusal(hive, 1, project_id="others")
    assert "0 of 8 H100 GPUs free, 2 held, 6 joined with GPUs of another project, 1 requested" in words
    create(hive, 4, "more")
    hive.settle()
    assert (len(places(hive)), len(places(hive, "more"))) == (2, 4)
    for name in ("hello", "more"):
        end(hive, name)
    create(hive, 8, "all", project_id="others")


def test_a_hive_is_closed_until_all_that_was_left_in_it_is_gone(hive):
    with hive.database.writing() as db:
        first = db.scalars(select(Gpu.id).order_by(Gpu.address)).first()
        db.execute(update(Gpu).where(Gpu.id == first).values(state=GpuState.QUARANTINED))
    words = refusal(hive, 1)
    assert re.search(r"0 of 8 H100 GPUs free, 7 joined with GPUs that are not clean, 1 quarantined", words)
