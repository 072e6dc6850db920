"""VMs with GPUs: who gets which, what is said when there is none, what it costs, and who has them afterwards."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from uuid import uuid4

import pytest
from sqlalchemy import select, update
from tests.made_up import NOON, PROJECT, make_cloud
from tests.projects.people import add_user

from cumulet.catalogue import read_catalogue, with_gpus
from cumulet.errors import Invalid, Refused
from cumulet.gpus import Gpu, GpuState
from cumulet.hosts import Host, HostState
from cumulet.hypervisor import Power
from cumulet.hypervisor.memory import made_up_id
from cumulet.journal import Event
from cumulet.projects import Role
from cumulet.vm_record import Vm
from cumulet.vm_record.wire import VmState
from cumulet.vms import change_operations as changes
from cumulet.vms import move_operations, offers
from cumulet.vms import operations as verbs
from cumulet.vms.wire import MoveVm

MODEL = "H100"
TYPE = "standard-h100"


def catalogue(**changes):
    """What is offered on hosts with made-up H100s: each with 1 to 32 vCPUs."""
    offered = with_gpus(read_catalogue(None), MODEL, made_up_id(MODEL))
    plain, gpu_type = offered.machine_types
    gpu_type = replace(gpu_type, **{"max_vcpu_per_gpu": 32.0, **changes})
    return replace(offered, machine_types=(plain, gpu_type))


@pytest.fixture
def new_cloud(database, tmp_path):
    """A cloud of made-up hosts, whose GPUs have been looked at."""

    def new_cloud(hosts=1, gpus=8, **changes):
        uri = f"memory:?hosts={hosts}&gpus={gpus}&gpu_model={MODEL}"
        cloud = make_cloud(database, tmp_path, hypervisor=uri, catalogue=catalogue(**changes))
        cloud.sweep()
        return cloud

    return new_cloud


@pytest.fixture
def cloud(new_cloud):
    return new_cloud()


def create(cloud, gpus=1, **fields):
    return cloud.create(**{"machine_type": TYPE, "gpus": gpus} | fields)


def move(cloud, *, restart=True):
    data = MoveVm(project_id=PROJECT, vm_id="hello", restart=restart)
    cloud.call(move_operations.move_vm, data=data)


def test_a_vm_goes_to_another_hosts_gpus_by_a_restart_and_those_that_it_had_are_cleaned(new_cloud):
    cloud = new_cloud(hosts=2)
    create(cloud, gpus=2)
    cloud.settle()
    source = cloud.row().host_id
    with pytest.raises(Refused, match="it has GPUs; with restart it is shut down, moved, and started again"):
        move(cloud, restart=False)
    move(cloud)
    assert Counter(gpu.host_id for gpu in rows(cloud, Gpu.vm_id == cloud.row().id)) == dict.fromkeys(
        cloud.hosts, 2
    )
    cloud.settle()
    cloud.pass_time(60)
    there = rows(cloud, Gpu.vm_id == cloud.row().id)
    assert (cloud.vm().state, cloud.row().host_id == source) == (VmState.ACTIVE, False)
    assert [gpu.host_id for gpu in there] == [cloud.row().host_id] * 2
    machine = cloud.hosts[cloud.row().host_id].machines.get(cloud.row().id)
    assert set(machine.gpus) == {gpu.address for gpu in there}
    assert {gpu.state for gpu in rows(cloud, Gpu.host_id == source)} == {GpuState.FREE}
    assert all(gpu.cleaned_at for gpu in rows(cloud, Gpu.host_id == source)[:2])


def test_one_that_is_called_back_keeps_its_gpus_and_no_others(new_cloud):
    cloud = new_cloud(hosts=2)
    create(cloud, gpus=2)
    cloud.settle()
    before = {gpu.id for gpu in rows(cloud, Gpu.vm_id == cloud.row().id)}
    move(cloud)
    cloud.call(move_operations.abort_vm_move, id=f"{PROJECT}:hello")
    cloud.settle()
    assert {gpu.id for gpu in rows(cloud, Gpu.vm_id == cloud.row().id)} == before
    assert cloud.vm().state is VmState.ACTIVE


def test_one_is_not_moved_where_there_are_no_gpus_for_it(new_cloud):
    cloud = new_cloud(hosts=2)
    create(cloud, gpus=8, vcpus=8, memory_gib=8)
    cloud.settle()
    change(cloud, rows(cloud, Gpu.host_id != cloud.row().host_id)[:1], withdrawn=True)
    with pytest.raises(Invalid, match="GPU"):
        move(cloud)
    assert held(cloud) == {"hello": 8}


def held(cloud):
    """How many GPUs each VM has that has some."""
    with cloud.database.reading() as db:
        return Counter(db.scalars(select(Vm.name).join(Gpu, Gpu.vm_id == Vm.id)))


def rows(cloud, *which):
    with cloud.database.reading() as db:
        return db.scalars(select(Gpu).where(*which).order_by(Gpu.host_id, Gpu.address)).all()


def change(cloud, rows, **values):
    with cloud.database.writing() as db:
        db.execute(update(Gpu).where(Gpu.id.in_([row.id for row in rows])).values(**values))


def refusal(cloud, **fields):
    """What an owner is told who does not run the cloud."""
    with cloud.database.writing() as db:
        owner = add_user(db, f"owner-{uuid4()}", default=Role.OWNER)
    with pytest.raises(Invalid) as refused:
        create(cloud, caller=owner, **fields)
    return refused.value


def test_a_vm_has_its_gpus_from_its_create_to_its_end(cloud):
    create(cloud, gpus=2)
    mine = {row.address for row in rows(cloud, Gpu.vm_id.is_not(None))}
    assert (held(cloud), {row.state for row in rows(cloud, Gpu.vm_id.is_not(None))}) == (
        {"hello": 2},
        {GpuState.HELD},
    )
    cloud.settle()
    (machine,) = cloud.host.contents.machines.values()
    assert {gpu.functions[0] for gpu in machine.spec.gpus} == mine
    assert machine.power is Power.RUNNING
    cloud.ask(verbs.stop_vm)
    cloud.settle()
    assert (cloud.vm().state, held(cloud)) == (VmState.STOPPED, {"hello": 2})
    cloud.ask(verbs.terminate_vm)
    assert held(cloud) == {"hello": 2}
    cloud.clock.advance(60)
    cloud.settle()
    assert (cloud.count(Vm), held(cloud)) == (0, {})
    after = {row.address for row in rows(cloud, Gpu.cleaned_at > NOON, Gpu.state == GpuState.FREE)}
    assert mine <= after


def test_deleting_a_vm_does_not_wait_until_its_gpus_are_clean(cloud):
    create(cloud)
    cloud.settle()
    (mine,) = rows(cloud, Gpu.vm_id.is_not(None))
    cloud.host.sick_gpus[mine.address] = "it does not come back from its reset"
    cloud.ask(verbs.terminate_vm)
    cloud.run()
    assert cloud.count(Vm) == 0
    (mine,) = rows(cloud, Gpu.id == mine.id)
    assert (mine.vm_id, mine.state is GpuState.FREE) == (None, False)


def test_what_it_is_to_have_is_shown_and_priced(cloud):
    vm = create(cloud, gpus=3, vcpus=6)
    assert (vm.gpu_model, vm.gpu_model_id, vm.gpu_quantity) == ("H100", "h100", 3)
    price = vm.price
    assert (price.gpu_price_hr.value, price.total_gpu_price_hr.value) == ("1.5", "4.5")
    parts = (
        price.total_vcpu_price_hr,
        price.total_memory_price_hr,
        price.total_gpu_price_hr,
        price.total_storage_price_hr,
        price.ipv4_address_price_hr,
    )
    assert Decimal(price.total_price_hr.value) == sum(Decimal(part.value) for part in parts)
    listed = cloud.call(verbs.list_vms, project_id=PROJECT).vms
    assert [(one.gpu_model, one.gpu_quantity) for one in listed] == [("H100", 3)]
    shown = cloud.ask(verbs.get_vm)
    assert shown.total_gpu_price_hr.value == "4.5"


def test_a_vm_without_gpus_shows_none(cloud):
    vm = cloud.create()
    assert (vm.gpu_model, vm.gpu_model_id, vm.gpu_quantity) == ("", "", 0)
    assert vm.price.total_gpu_price_hr.value == "0"


def test_its_events_carry_what_its_gpus_cost(cloud):
    create(cloud, gpus=2)
    cloud.settle()
    cloud.ask(verbs.stop_vm)
    cloud.settle()
    resize(cloud, gpus=1)
    cloud.ask(verbs.terminate_vm)
    cloud.run()
    with cloud.database.reading() as db:
        told = {
            event: (data.get("gpus"), data.get("gpu_model_id"), data.get("gpu_price"))
            for event, data in db.execute(select(Event.event, Event.data).where(Event.subject == "vm"))
        }
    for event in ("vm.create_requested", "vm.started", "vm.stopped"):
        assert told[event] == (2, "h100", "1.5")
    for event in ("vm.resize_requested", "vm.deleted"):
        assert told[event] == (1, "h100", "1.5")


def test_both_ways_to_name_its_model_are_understood(cloud):
    create(cloud, gpu_model="H100", gpu_model_id="h100", vm_id="both")
    assert "expected 'H100' or none" not in str(create(cloud, vm_id="neither").gpu_model)
    for field, value in (("gpu_model", "H200"), ("gpu_model_id", "h200")):
        assert f"'{value}'" in refusal(cloud, **{field: value}).message


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"gpus": 0}, "gpus: 0 is not accepted; expected at least 1, as machine type 'standard-h100' is for"),
        (
            {"gpus": 9, "vcpus": 18, "memory_gib": 18},
            "gpus: 9 is not accepted; expected 1 to 8: no host has more H100 GPUs",
        ),
        (
            {"gpus": 1, "vcpus": 33, "memory_gib": 33},
            "vcpus: 33 is not accepted; expected 2 to 32 vCPUs for each GPU",
        ),
        (
            {"gpus": 4, "vcpus": 7},
            "vcpus: 7 is not accepted; expected 2 to 32 vCPUs for each GPU (4 requested)",
        ),
    ],
)
@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_numbers_out_of_the_machine_type_s_rules_are_refused(new_cloud, fields, words):
    cloud = new_cloud(min_vcpu_per_gpu=2.0)
    assert words in refusal(cloud, **fields).message
    assert held(cloud) == {}


def test_a_refusal_tells_what_the_others_are_at(cloud):
    create(cloud, gpus=2, vm_id="other")
    free = rows(cloud, Gpu.vm_id.is_(None))
    change(cloud, free[:1], state=GpuState.CLEANING)
    change(cloud, free[1:2], state=GpuState.QUARANTINED, problem="it does not come back from its reset")
    change(cloud, free[2:3], state=GpuState.UNFIT, causes=[{"problem": "it drives the screen", "cure": ""}])
    change(cloud, free[3:4], withdrawn=True)
    refused = refusal(cloud, gpus=3, vcpus=3)
    assert refused.message == (
        "no host has capacity for this VM (1 host: 2 of 8 H100 GPUs free, 1 being cleaned, 2 held, 1 quarantined, "
        "1 unfit, 1 withdrawn, 3 requested); "
        "the nearest size that fits is 2 GPUs, 3 vCPUs, 4 GiB memory, 1 GiB disk"
    )
    assert "memory-1: 2 of 8 H100" in refused.for_operator
    assert "1 quarantined (it does not come back from its reset)" in refused.for_operator
    assert "1 unfit (it drives the screen)" in refused.for_operator
    assert refused.details[0]["reason"] == "NO_CAPACITY"


def test_hosts_that_lack_alike_are_told_together(new_cloud):
    cloud = new_cloud(hosts=3, gpus=4)
    for number in range(3):
        create(cloud, gpus=2, vm_id=f"vm-{number}")
    create(cloud, gpus=1, vm_id="small")
    message = refusal(cloud, gpus=3, vcpus=3).message
    assert "3 hosts: 5 of 12 H100 GPUs free, at most 2 together, 7 held, 3 requested" in message


def test_hosts_without_the_model_and_those_that_do_not_answer_are_told_apart(new_cloud):
    cloud = new_cloud(hosts=3, gpus=1)
    first, second, third = {row.host_id for row in rows(cloud)}
    change(cloud, rows(cloud, Gpu.host_id == first), state=GpuState.ABSENT)
    with cloud.database.writing() as db:
        db.execute(update(Host).where(Host.id == second).values(state=HostState.SILENT))
    change(cloud, rows(cloud, Gpu.host_id == third), state=GpuState.CLEANING)
    message = refusal(cloud).message
    for words in ("1 host: no H100 GPUs", "1 host: no answer", "1 host: 0 of 1 H100 GPUs free"):
        assert words in message
    assert message.endswith("no smaller size fits now")


def test_the_nearest_size_can_be_had(new_cloud):
    cloud = new_cloud(gpus=3, min_vcpu_per_gpu=2.0, max_vcpu_per_gpu=4.0)
    create(cloud, gpus=2, vcpus=8, vm_id="other")
    message = refusal(cloud, gpus=2, vcpus=8).message
    assert message.endswith("the nearest size that fits is 1 GPU, 4 vCPUs, 4 GiB memory, 1 GiB disk")
    assert create(cloud, gpus=1, vcpus=4, memory_gib=4).state is VmState.PENDING


def test_of_all_hosts_it_goes_where_its_gpus_lie_together(new_cloud):
    cloud = new_cloud(hosts=2, gpus=4)
    first, second = sorted({row.host_id for row in rows(cloud)})
    apart = [rows(cloud, Gpu.host_id == first)[at] for at in (0, 2)]  # one on each node
    change(cloud, apart, withdrawn=True)
    create(cloud, gpus=2, vm_id="one")
    assert {row.host_id for row in rows(cloud, Gpu.vm_id.is_not(None))} == {second}
    create(cloud, gpus=2, vm_id="two")
    create(cloud, gpus=2, vm_id="three")
    assert Counter(row.host_id for row in rows(cloud, Gpu.vm_id.is_not(None))) == {second: 4, first: 2}


def test_two_who_ask_at_once_for_the_last_gpu_get_it_once(new_cloud):
    cloud = new_cloud(gpus=1)

    def take(number):
        with suppress(Invalid):
            return create(cloud, vm_id=f"vm-{number}").id

    with ThreadPoolExecutor(4) as pool:
        created = [id for id in pool.map(take, range(8)) if id]
    assert held(cloud) == dict.fromkeys(created, 1)
    assert len(created) == 1
    assert "0 of 1 H100 GPUs free, 1 held, 1 requested" in refusal(cloud, vm_id="late").message


def test_to_validate_only_takes_none(cloud):
    vm = create(cloud, gpus=8, vcpus=8, validate_only=True)
    assert vm.price.total_gpu_price_hr.value == "12"
    assert held(cloud) == {}


def test_an_owner_reads_how_many_and_no_names(new_cloud):
    cloud = new_cloud(gpus=1)
    create(cloud, vm_id="other")
    with cloud.database.writing() as db:
        owner = add_user(db, "anna", default=Role.EDITOR)
    with pytest.raises(Invalid) as refused:
        create(cloud, caller=owner)
    assert "memory-1" not in refused.value.message


# Resize
def resize(cloud, **size):
    return cloud.call(changes.resize_vm, project_id=PROJECT, id="hello", **size).vm


def stopped(cloud, **fields):
    create(cloud, **fields)
    cloud.settle()
    cloud.ask(verbs.stop_vm)
    cloud.settle()


def addresses(cloud):
    return {row.address for row in rows(cloud, Gpu.vm_id.is_not(None))}


def test_a_stopped_vm_gets_more_gpus_beside_those_it_has(cloud):
    stopped(cloud, gpus=2)
    before = addresses(cloud)
    vm = resize(cloud, gpus=4, vcpus=4)
    assert (vm.gpu_quantity, vm.vcpus, vm.memory) == (4, 4, 4)
    assert vm.price.total_gpu_price_hr.value == "6"
    assert before < addresses(cloud)
    cloud.ask(verbs.start_vm)
    cloud.settle()
    (machine,) = cloud.host.contents.machines.values()
    assert {gpu.functions[0] for gpu in machine.spec.gpus} == addresses(cloud)
    assert len(addresses(cloud)) == 4


def test_a_stopped_vm_gives_gpus_back_and_nobody_gets_them_before_they_are_clean(cloud):
    stopped(cloud, gpus=4, vcpus=4)
    before = addresses(cloud)
    for address in before:
        cloud.host.sick_gpus[address] = "it does not come back from its reset"
    assert resize(cloud, gpus=2).gpu_quantity == 2
    assert addresses(cloud) < before
    cloud.run()
    given_back = rows(cloud, Gpu.address.in_(before - addresses(cloud)))
    assert GpuState.FREE not in {row.state for row in given_back}
    assert len(given_back) == 2


def test_a_change_of_vcpus_alone_leaves_its_gpus(cloud):
    stopped(cloud, gpus=2)
    before = addresses(cloud)
    assert resize(cloud, vcpus=4).gpu_quantity == 2
    assert addresses(cloud) == before


@pytest.mark.parametrize(
    ("size", "words"),
    [
        ({"gpus": 2}, "at least one must change; VM 'hello' has 4 vCPUs, 4 GiB memory, 2 GPUs"),
        ({"gpus": -1}, "gpus: -1 is not accepted; expected at least 1"),
        ({"gpus": 9, "vcpus": 18, "memory_gib": 18}, "gpus: 9 is not accepted; expected 1 to 8"),
        ({"gpus": 3}, "vcpus: 4 is not accepted; expected 2 to 32 vCPUs for each GPU (3 requested)"),
        ({"vcpus": 3}, "vcpus: 3 is not accepted; expected 2 to 32 vCPUs for each GPU (2 requested)"),
        (
            {"gpus": 4, "vcpus": 8},
            "3 of 8 H100 GPUs free, 5 held, 4 requested); the nearest size that fits is 3 GPUs",
        ),
    ],
    ids=str,
)
@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_another_number_out_of_the_rules_changes_nothing(new_cloud, size, words):
    cloud = new_cloud(min_vcpu_per_gpu=2.0)
    create(cloud, gpus=5, vcpus=10, memory_gib=10, vm_id="other")
    stopped(cloud, gpus=2, vcpus=4)
    before = addresses(cloud)
    with pytest.raises(Invalid) as refused:
        resize(cloud, **size)
    assert words in refused.value.message
    assert (addresses(cloud), cloud.vm().gpu_quantity, cloud.vm().vcpus) == (before, 2, 4)


def test_whether_there_are_gpus_is_told_before_a_vm_is_stopped_for_it(cloud):
    create(cloud, gpus=2)
    cloud.settle()
    before = addresses(cloud)
    vm = resize(cloud, gpus=4, vcpus=4, validate_only=True)
    assert (vm.gpu_quantity, vm.price.total_gpu_price_hr.value) == (4, "6")
    assert (addresses(cloud), cloud.vm().gpu_quantity) == (before, 2)


def test_a_vm_of_another_machine_type_gets_none(cloud):
    cloud.running()
    cloud.ask(verbs.stop_vm)
    cloud.settle()
    with pytest.raises(
        Invalid, match="gpus: 1 is not accepted; expected 0: machine type 'standard' has none"
    ):
        resize(cloud, gpus=1)


# Offers
def offered(cloud):
    """What the machine type with GPUs offers: the most of one VM, and all."""
    (one,) = (
        one for one in cloud.call(offers.list_vm_machine_types2).machine_types if one.machine_type == TYPE
    )
    return one.max_gpu_free, one.total_gpu_free


def test_what_is_offered_is_what_can_be_had(new_cloud):
    cloud = new_cloud(hosts=3, gpus=4)
    assert offered(cloud) == (4, 12)
    create(cloud, gpus=3, vcpus=3)
    assert offered(cloud) == (4, 9)
    free = rows(cloud, Gpu.vm_id.is_(None))
    change(cloud, free[:1], state=GpuState.CLEANING)
    change(cloud, free[1:2], withdrawn=True)
    change(cloud, free[2:3], state=GpuState.QUARANTINED)
    change(cloud, free[3:4], state=GpuState.ABSENT)
    change(cloud, free[4:5], state=GpuState.UNFIT)
    most, total = offered(cloud)
    assert total == 4
    create(cloud, vm_id="as-many", gpus=most, vcpus=most)
    with cloud.database.writing() as db:
        db.execute(update(Host).values(state=HostState.SILENT))
    assert offered(cloud) == (0, 0)
