from dataclasses import replace
from decimal import Decimal

import pytest
from sqlalchemy import event
from tests.made_up import PROJECT

from cumulet.errors import NotFound
from cumulet.hosts import register_host
from cumulet.vms import operations as verbs
from cumulet.vms.offers import get_vm_machine_type, list_vm_data_centers, list_vm_machine_types2


@pytest.fixture
def statements(cloud):
    """Count the SQL statements of what is done."""

    def count(do):
        seen = []

        def note(*statement):
            seen.append(statement[2])

        event.listen(cloud.database.engine, "before_cursor_execute", note)
        try:
            do()
        finally:
            event.remove(cloud.database.engine, "before_cursor_execute", note)
        return len(seen)

    return count


def list_all(cloud, **query):
    return cloud.call(verbs.list_vms, project_id=PROJECT, **query).vms


def test_listing_many_vms_takes_as_many_statements_as_listing_two(cloud, statements):
    for number in range(2):
        cloud.create(vm_id=f"vm-{number}")
    few = statements(lambda: list_all(cloud))
    for number in range(2, 12):
        cloud.create(vm_id=f"vm-{number}")
    assert len(list_all(cloud)) == 12
    assert statements(lambda: list_all(cloud)) == few


def test_a_list_shows_each_vm_as_it_shows_alone(cloud):
    for name in ("b", "a", "c"):
        cloud.running(vm_id=name)
    assert list_all(cloud) == [cloud.vm(name) for name in ("a", "b", "c")]
    assert cloud.call(verbs.count_vms, project_id=PROJECT).count == 3


def test_an_empty_project_lists_nothing(cloud):
    assert list_all(cloud) == []
    assert cloud.call(verbs.count_vms, project_id=PROJECT).count == 0


def test_only_those_on_a_network_are_listed_when_it_is_named(cloud):
    cloud.create()
    assert [vm.id for vm in list_all(cloud, network_id="default-local")] == ["hello"]
    assert list_all(cloud, network_id="another") == []


def test_the_items_of_a_price_add_up_to_its_total(cloud):
    cloud.create(vcpus=3, memory_gib=7, boot_disk_size_gib=11)
    answer = cloud.ask(verbs.get_vm)
    items = ("vcpu", "memory", "gpu", "storage")
    parts = [Decimal(getattr(answer, f"total_{item}_price_hr").value) for item in items]
    assert sum(parts) + Decimal(answer.ipv4_price_hr.value) == Decimal(answer.total_price_hr.value)
    assert answer.vm.price.total_price_hr == answer.total_price_hr
    assert Decimal(answer.total_vcpu_price_hr.value) == 3 * Decimal(answer.vcpu_price_hr.value)


def test_what_is_free_is_less_by_what_is_reserved(cloud):
    def offered():
        (offer,) = cloud.call(list_vm_machine_types2).machine_types
        (data_center,) = cloud.call(list_vm_data_centers).data_centers
        return offer.total_vcpu_free, offer.total_memory_gib_free, data_center.ipv4_free

    before = offered()
    cloud.create(vcpus=3, memory_gib=5)
    after = offered()
    # the router of the project's first network takes an address too
    assert after == (before[0] - 3, before[1] - 5, before[2] - 2)


def test_a_machine_type_has_the_processor_of_its_hosts_and_can_be_asked_for_by_it(cloud):
    (listed,) = cloud.call(list_vm_machine_types2).machine_types
    assert listed.cpu_model == cloud.host.facts().cpu_model
    cloud.create(cpu_model=listed.cpu_model)
    assert cloud.vm().cpu_model == listed.cpu_model
    other = replace(cloud.host.facts(), name="other", cpu_model="another")
    with cloud.database.writing() as db:
        register_host(db, other, data_center_id="local", uri="memory:", now=cloud.clock())
    (mixed,) = cloud.call(list_vm_machine_types2).machine_types
    assert mixed.cpu_model == ""


def test_one_machine_type_is_shown_as_it_is_listed(cloud):
    (listed,) = cloud.call(list_vm_machine_types2).machine_types
    where = {"data_center_id": "local", "machine_type_id": "standard"}
    assert cloud.call(get_vm_machine_type, **where) == listed
    with pytest.raises(NotFound, match="'huge'"):
        cloud.call(get_vm_machine_type, **(where | {"machine_type_id": "huge"}))


def test_the_console_log_is_what_the_guest_wrote(cloud):
    cloud.running()
    assert cloud.ask(verbs.get_vm_console_log).text == "start 1 of hello\n"
