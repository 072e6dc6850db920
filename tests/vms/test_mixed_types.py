"""Machine types that promise a core once and several times, on the same host."""

from dataclasses import replace

import pytest
from tests.made_up import PROJECT, make_cloud

from cumulet.catalogue import read_catalogue
from cumulet.errors import Invalid
from cumulet.vms import change_operations, weigh_vcpus
from cumulet.vms import operations as verbs
from cumulet.vms.offers import list_vm_machine_types2


def catalogue_of(**vcpus_per_core):
    catalogue = read_catalogue(None)
    (standard,) = catalogue.machine_types
    types = [replace(standard, id=id, vcpus_per_core=ratio) for id, ratio in vcpus_per_core.items()]
    return replace(catalogue, machine_types=tuple(types))


@pytest.fixture
def cloud(database, tmp_path):
    """A host of eight cores; `exact` promises each once, `shared` four times."""
    catalogue = catalogue_of(exact=1, shared=4)
    return make_cloud(database, tmp_path, hypervisor="memory:?vcpus=8", catalogue=catalogue)


def free(cloud):
    offers = cloud.call(list_vm_machine_types2).machine_types
    return {offer.machine_type: offer.total_vcpu_free for offer in offers}


def test_each_vm_takes_of_its_host_what_its_own_type_promises(cloud):
    assert free(cloud) == {"exact": 8, "shared": 32}
    cloud.running(vm_id="whole", machine_type="exact", vcpus=4)
    assert free(cloud) == {"exact": 4, "shared": 16}
    cloud.running(vm_id="quarters", machine_type="shared", vcpus=8)
    assert free(cloud) == {"exact": 2, "shared": 8}
    with pytest.raises(Invalid, match="2 vCPUs free, 3 requested"):
        cloud.create(machine_type="exact", vcpus=3)
    cloud.create(machine_type="shared", vcpus=8)
    assert free(cloud) == {"exact": 0, "shared": 0}


def test_a_vm_grows_by_what_its_own_type_promises(cloud):
    cloud.running(vm_id="whole", machine_type="exact", vcpus=4)
    cloud.running(machine_type="shared", vcpus=4)
    cloud.ask(verbs.stop_vm)
    cloud.settle()
    resize = {"project_id": PROJECT, "id": "hello"}
    with pytest.raises(Invalid, match="16 vCPUs free, 17 requested"):
        cloud.call(change_operations.resize_vm, vcpus=17, **resize)
    cloud.call(change_operations.resize_vm, vcpus=16, **resize)
    assert free(cloud) == {"exact": 0, "shared": 0}


def test_another_promise_in_the_catalogue_counts_for_the_vms_that_there_are(cloud):
    cloud.create(machine_type="exact", vcpus=4)
    cloud.catalogue = catalogue_of(exact=2, shared=4)
    with cloud.database.writing() as db:
        weigh_vcpus(db, cloud.catalogue)
    assert free(cloud) == {"exact": 12, "shared": 24}
    cloud.catalogue = catalogue_of(shared=4)
    with cloud.database.writing() as db:
        weigh_vcpus(db, cloud.catalogue)
    assert free(cloud) == {"shared": 24}
