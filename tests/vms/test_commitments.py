"""Commitments: what a committed VM costs, what it does not let be done, and its end."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select
from tests.made_up import NOON, PROJECT, make_cloud
from tests.words import PROTECTED

from cumulet.catalogue import CommitmentTerm, read_catalogue, with_gpus
from cumulet.errors import Invalid, NotFound, Refused
from cumulet.hypervisor.memory import made_up_id
from cumulet.journal import Event
from cumulet.vm_record.wire import VmState
from cumulet.vms import change_operations as changes
from cumulet.vms import commitment_operations as commitments
from cumulet.vms import operations as verbs
from cumulet.vms.reconcile import vm as reconcile
from cumulet.vms.wire import CommitVm, UpdateVmDeletionProtection, UpdateVmExpireTime

MONTH, QUARTER, YEAR = CommitmentTerm.MONTHS_1, CommitmentTerm.MONTHS_3, CommitmentTerm.MONTHS_12
IN_A_MONTH = NOON.replace(month=4)
VCPU = Decimal("0.0021")
"""Without a commitment; a month is sold with 5 % off, three with 10."""


def commit(cloud, term):
    cloud.call(commitments.commit_vm, project_id=PROJECT, id="hello", data=CommitVm(commitment_term=term))


def resize(cloud, **size):
    cloud.call(changes.resize_vm, project_id=PROJECT, id="hello", **size)


def expire(cloud, ttl):
    data = UpdateVmExpireTime(ttl=ttl)
    cloud.call(changes.update_vm_expire_time, project_id=PROJECT, id="hello", data=data)


def wait_until(cloud, instant):
    cloud.pass_time((instant - cloud.clock()).total_seconds())


def vcpu_price(cloud):
    return Decimal(cloud.vm().price.vcpu_price_hr.value)


def told(cloud, name):
    """The data of the newest event of that name."""
    with cloud.database.reading() as db:
        return db.scalars(select(Event.data).where(Event.event == name).order_by(Event.id.desc())).first()


def test_a_vm_is_created_at_the_prices_of_its_term_and_shows_when_that_ends(cloud):
    vm = cloud.create(commitment_term=MONTH)
    assert (vm.commitment_term, vm.commitment_end_time) == (MONTH, IN_A_MONTH)
    assert vcpu_price(cloud) == VCPU * Decimal("0.95")
    assert Decimal(vm.price.ipv4_address_price_hr.value) == Decimal("0.0038")


def test_a_vm_without_a_commitment_has_no_end_of_one(cloud):
    vm = cloud.create()
    assert (vm.commitment_term, vm.commitment_end_time) == (CommitmentTerm.NONE, None)
    assert "commitment_term" not in told(cloud, "vm.create_requested")


def test_gpus_are_discounted_exactly(database, tmp_path):
    catalogue = with_gpus(read_catalogue(None), "H100", made_up_id("H100"))
    plain, gpu_type = catalogue.machine_types
    gpu_type = replace(gpu_type, gpu_price_hr=Decimal("1.37"), commitment_discount_percent={12: 13})
    catalogue = replace(catalogue, machine_types=(plain, gpu_type))
    uri = "memory:?gpus=4&gpu_model=H100"
    cloud = make_cloud(database, tmp_path, hypervisor=uri, catalogue=catalogue)
    cloud.sweep()
    vm = cloud.create(machine_type="standard-h100", gpus=2, commitment_term=YEAR)
    assert vm.price.gpu_price_hr.value == "1.1919"
    assert vm.price.total_gpu_price_hr.value == "2.3838"
    assert told(cloud, "vm.create_requested")["gpu_price"] == "1.1919"
    with pytest.raises(Invalid, match="commitmentTerm: 'COMMITMENT_TERM_1_MONTH' is not accepted"):
        cloud.create(vm_id="other", machine_type="standard-h100", gpus=1, commitment_term=MONTH)


def test_a_vm_that_runs_is_committed_from_now_on(cloud):
    cloud.running()
    cloud.clock.now = NOON + timedelta(days=2)
    commit(cloud, QUARTER)
    shown = cloud.vm()
    assert shown.commitment_end_time == (NOON + timedelta(days=2)).replace(month=6)
    assert vcpu_price(cloud) == VCPU * Decimal("0.90")
    data = told(cloud, "vm.committed")
    assert (data["commitment_term"], data["vcpu_price"]) == ("COMMITMENT_TERM_3_MONTHS", "0.00189")
    assert data["commitment_end_time"] == "2026-06-03T12:00:00Z"


def test_a_committed_vm_is_not_terminated_before_the_end_of_its_term(cloud):
    cloud.running(commitment_term=MONTH)
    with pytest.raises(Refused, match="its commitment ends at 2026-04-01 12:00:00 UTC") as refused:
        cloud.ask(verbs.terminate_vm)
    assert refused.value.reason == "VM_COMMITTED"
    cloud.clock.now = IN_A_MONTH - timedelta(seconds=1)
    with pytest.raises(Refused):
        cloud.ask(verbs.terminate_vm)
    cloud.clock.now = IN_A_MONTH
    cloud.ask(verbs.terminate_vm)
    cloud.settle()
    with pytest.raises(NotFound):
        cloud.vm()


def test_a_commitment_ends_by_itself_in_that_second(cloud):
    cloud.running(commitment_term=MONTH)
    wait_until(cloud, IN_A_MONTH - timedelta(seconds=1))
    assert (cloud.vm().commitment_term, vcpu_price(cloud)) == (MONTH, VCPU * Decimal("0.95"))
    wait_until(cloud, IN_A_MONTH)
    shown = cloud.vm()
    assert (shown.commitment_term, shown.commitment_end_time) == (CommitmentTerm.NONE, None)
    assert vcpu_price(cloud) == VCPU
    assert shown.state is VmState.ACTIVE
    assert Decimal(told(cloud, "vm.commitment_ended")["vcpu_price"]) == VCPU
    (entry,) = [one for one in cloud.ask(verbs.get_vm_timeline).entries if one.event == "vm.commitment_ended"]
    assert entry.time == IN_A_MONTH


def test_a_stopped_vm_s_commitment_ends_as_well(cloud):
    cloud.running(commitment_term=MONTH)
    cloud.ask(verbs.stop_vm)
    wait_until(cloud, IN_A_MONTH)
    assert cloud.vm().commitment_end_time is None


def test_a_vm_whose_machine_type_is_not_sold_any_more_keeps_its_prices(cloud):
    cloud.running(commitment_term=MONTH)
    gone = replace(cloud.catalogue, machine_types=())
    fabrics = replace(cloud.backends.fabrics, catalogue=gone)
    cloud.backends = replace(cloud.backends, fabrics=fabrics)
    cloud.reconciler = cloud.new_reconciler()
    wait_until(cloud, IN_A_MONTH)
    assert (cloud.vm().commitment_end_time, vcpu_price(cloud)) == (None, VCPU * Decimal("0.95"))


def test_a_committed_vm_grows_at_its_prices_and_does_not_shrink(cloud):
    cloud.running(vcpus=2, memory_gib=4, commitment_term=MONTH)
    cloud.ask(verbs.stop_vm)
    cloud.settle()
    for less in ({"vcpus": 1}, {"memory_gib": 3}, {"vcpus": 4, "memory_gib": 2}):
        with pytest.raises(Refused, match="cannot shrink VM 'hello': its commitment ends"):
            resize(cloud, **less)
    resize(cloud, vcpus=4)
    shown = cloud.vm()
    assert (shown.vcpus, shown.commitment_term, shown.commitment_end_time) == (4, MONTH, IN_A_MONTH)
    assert vcpu_price(cloud) == VCPU * Decimal("0.95")


def test_a_longer_term_replaces_a_shorter_and_no_other(cloud):
    cloud.running(commitment_term=QUARTER)
    for term in (MONTH, QUARTER):
        with pytest.raises(Invalid, match="a term longer than COMMITMENT_TERM_3_MONTHS"):
            commit(cloud, term)
    commit(cloud, YEAR)
    assert cloud.vm().commitment_end_time > NOON.replace(year=2027)
    assert vcpu_price(cloud) == VCPU * Decimal("0.80")


def test_none_is_no_term_to_commit_to(cloud):
    cloud.running()
    with pytest.raises(Invalid, match="commitmentTerm: 'COMMITMENT_TERM_NONE' is not accepted"):
        commit(cloud, CommitmentTerm.NONE)


def test_no_commitment_outlasts_its_vm(cloud):
    cloud.running()
    expire(cloud, "86400s")
    with pytest.raises(Invalid, match="a term that ends before it expires, at 2026-03-02"):
        commit(cloud, MONTH)
    expire(cloud, f"{86400 * 40}s")
    commit(cloud, MONTH)
    with pytest.raises(Refused, match="its commitment ends at"):
        expire(cloud, "60s")


def test_a_vm_that_is_being_terminated_is_not_committed_any_more(cloud):
    cloud.running()
    cloud.ask(verbs.terminate_vm)
    with pytest.raises(Refused, match="already being terminated"):
        commit(cloud, MONTH)


def test_a_vm_that_is_committed_anew_while_its_term_ends_stays_committed(cloud, monkeypatch):
    cloud.running(commitment_term=MONTH)
    cloud.clock.now = IN_A_MONTH
    end = reconcile.end_commitment

    def commit_and_end(run, vm, catalogue):
        monkeypatch.setattr(reconcile, "end_commitment", end)
        commit(cloud, MONTH)
        end(run, vm, catalogue)

    monkeypatch.setattr(reconcile, "end_commitment", commit_and_end)
    cloud.settle()
    cloud.run()
    assert cloud.vm().commitment_end_time == NOON.replace(month=5)
    assert vcpu_price(cloud) == VCPU * Decimal("0.95")


def test_a_protected_vm_may_be_committed_and_protected_all_the_while(cloud):
    cloud.running(commitment_term=MONTH)
    data = UpdateVmDeletionProtection(deletion_protection=True)
    cloud.call(changes.update_vm_deletion_protection, project_id=PROJECT, id="hello", data=data)
    wait_until(cloud, IN_A_MONTH)
    with pytest.raises(Refused, match=PROTECTED):
        cloud.ask(verbs.terminate_vm)
