"""A catalogue that was edited under VMs that have GPUs."""

from dataclasses import replace

import pytest
from tests.gpus.clouds import URI
from tests.made_up import make_cloud

from cumulet.catalogue import read_catalogue, with_gpus
from cumulet.errors import Invalid
from cumulet.gpus import check_gpu_models_still_offered
from cumulet.hypervisor.memory import made_up_id
from cumulet.serve import build
from cumulet.settings import read_settings


@pytest.fixture
def cloud(database, tmp_path):
    offered = with_gpus(read_catalogue(None), "H100", made_up_id("H100"))
    cloud = make_cloud(database, tmp_path, hypervisor=URI, catalogue=offered)
    cloud.sweep()
    return cloud


def check(cloud, catalogue):
    with cloud.database.reading() as db:
        check_gpu_models_still_offered(db, catalogue)


def test_a_model_of_which_vms_have_gpus_must_stay(cloud):
    without = replace(cloud.catalogue, gpu_models=())
    cloud.create(vm_id="plain")
    check(cloud, without)
    for id in ("one", "two"):
        cloud.create(vm_id=id, machine_type="standard-h100", gpus=1)
    with pytest.raises(Invalid) as refused:
        check(cloud, without)
    assert refused.value.message == (
        "catalogue: gpu_models: [] is not accepted; expected 'h100' among them, because 2 VMs have GPUs of it"
    )
    check(cloud, cloud.catalogue)


def test_a_server_does_not_start_without_a_model_of_which_a_vm_has_gpus(cloud, tmp_path, monkeypatch):
    cloud.create(machine_type="standard-h100", gpus=1)
    monkeypatch.setattr(build, "Database", lambda _: cloud.database)
    settings = {"CUMULET_DATA_DIR": str(tmp_path), "CUMULET_HYPERVISOR": "memory:"}
    with pytest.raises(Invalid, match="'h100' among them, because 1 VM has GPUs of it"):
        build.build(read_settings(settings))
