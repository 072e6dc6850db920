"""How much a create and a look at a VM ask of the database and of its host, and who wakes one that waits."""

from collections import Counter

import pytest
from sqlalchemy import event
from tests.made_up import PROJECT, make_cloud
from tests.watching import statements_of
from tests.words import APPLYING_GROUPS

from cumulet.catalogue import read_catalogue, with_gpus
from cumulet.hypervisor.memory import made_up_id
from cumulet.reconcile import wake
from cumulet.security_groups import operations as groups
from cumulet.security_groups.wire import CreateSecurityGroup
from cumulet.vm_record import VmState


@pytest.fixture
def cloud(database, tmp_path):
    """A cloud whose host has GPUs: who asks for none pays nothing for them."""
    offered = with_gpus(read_catalogue(None), "H100", made_up_id("H100"))
    uri = "memory:?gpus=16&gpu_model=H100"
    cloud = make_cloud(database, tmp_path, hypervisor=uri, catalogue=offered)
    cloud.sweep()
    return cloud


@pytest.fixture
def asked_of(cloud, monkeypatch):
    """Count the transactions and statements, and what is asked of the host, while something is done."""

    def count(do):
        asked = Counter()

        def note_transaction(_connection):
            asked.update(["transaction"])

        def look(vm_id, one_look=cloud.host.machines.get):
            asked.update(["domain"])
            return one_look(vm_id)

        event.listen(cloud.database.engine, "begin", note_transaction)
        with monkeypatch.context() as patch, statements_of(cloud.database) as statements:
            patch.setattr(cloud.host.machines, "get", look)
            do()
        event.remove(cloud.database.engine, "begin", note_transaction)
        return asked + Counter(statement=len(statements))

    return count


def settle_first(cloud, kind):
    """Run what is due now, those of one kind first."""
    claims = cloud.reconciler._claim(limit=1000)
    for claim in sorted(claims, key=lambda claim: claim.kind != kind):
        cloud.reconciler.settle(claim)


def look_at(cloud):
    with cloud.database.writing() as db:
        wake(db, "vm", cloud.row().id, now=cloud.clock())
    (claim,) = cloud.reconciler._claim(limit=10)
    return lambda: cloud.reconciler.settle(claim)


def test_a_look_at_a_settled_vm_reads_once_writes_once_and_asks_its_host_for_it_once(cloud, asked_of):
    cloud.running()
    asked = asked_of(look_at(cloud))
    assert (asked["transaction"], asked["domain"]) == (2, 1)


def test_a_create_takes_as_many_statements_however_many_vms_there_are(cloud, asked_of):
    cloud.running(vm_id="first")
    asked = asked_of(lambda: cloud.create(vm_id="second"))
    assert (asked["transaction"], asked["statement"] <= 30) == (2, True), asked
    for number in range(5):
        cloud.create(vm_id=f"vm-{number}")
    assert asked_of(lambda: cloud.create(vm_id="last")) == asked


def test_a_create_takes_a_few_statements_more_for_each_gpu_however_many_vms_there_are(cloud, asked_of):
    def create(id, gpus):
        return lambda: cloud.create(vm_id=id, vcpus=4, machine_type="standard-h100", gpus=gpus)

    cloud.running(vm_id="first")
    plain = asked_of(lambda: cloud.create(vm_id="second"))["statement"]
    one, four = (asked_of(create(f"with-{gpus}", gpus)) for gpus in (1, 4))
    assert one["statement"] - plain <= 2 + 3
    assert four["statement"] - plain <= 2 + 4 * 3
    for number in range(5):
        cloud.create(vm_id=f"vm-{number}")
    assert asked_of(create("last", 4)) == four


def test_a_new_vm_runs_after_one_run_that_looks_for_its_machine_as_often_as_it_changes_it(cloud, asked_of):
    cloud.running(vm_id="first")
    cloud.create()
    asked = asked_of(cloud.run)
    assert cloud.vm().state is VmState.ACTIVE
    assert (asked["domain"], asked["statement"] <= 26) == (3, True)


def test_a_vm_that_waits_for_its_network_goes_on_as_soon_as_that_is_made(cloud):
    cloud.create()
    settle_first(cloud, "vm")
    assert cloud.vm().state is VmState.STARTING
    cloud.run()
    assert cloud.vm().state is VmState.ACTIVE


def test_a_vm_that_waits_for_a_security_group_goes_on_as_soon_as_that_is_in_force(cloud):
    cloud.running(vm_id="first")  # its network is there
    cloud.call(
        groups.create_security_group,
        project_id=PROJECT,
        data=CreateSecurityGroup(id="web", data_center_id="local"),
    )
    cloud.create(security_group_ids=["web"])
    settle_first(cloud, "vm")
    assert cloud.vm().waiting_for == APPLYING_GROUPS
    cloud.run()
    assert cloud.vm().state is VmState.ACTIVE


def test_a_vm_that_is_woken_before_it_is_looked_at_is_looked_at_once(cloud):
    cloud.create()
    settle_first(cloud, "network")  # the network wakes the VM, which is claimed by then
    assert cloud.vm().state is VmState.ACTIVE
    assert cloud.reconciler.run_due() == 0
