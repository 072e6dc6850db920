"""Made-up hosts with GPUs, as clients see them in the catalogue."""

import httpx
import pytest
from tests.rest.conftest import serving
from tests.waiting import eventually

from cumulet.serve.build import build
from cumulet.serve.run import started
from cumulet.settings import read_settings


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cloud")
    uri = "memory:?hosts=3&gpus=8&gpu_model=H100 SXM"
    cloud = build(read_settings({"CUMULET_DATA_DIR": str(folder), "CUMULET_HYPERVISOR": uri}))
    with started(cloud), serving(cloud.app) as url:
        yield url


def test_their_model_is_listed(url):
    (model,) = httpx.get(f"{url}/v1/vms/gpu-models").json()["gpuModels"]
    assert (model["id"], model["modelName"]) == ("h100-sxm", "H100 SXM")


def test_a_machine_type_of_its_own_offers_them_beside_the_one_without(url):
    def types():
        return httpx.get(f"{url}/v1/vms/machine-types").json()["machineTypes"]

    eventually(lambda: types()[1]["totalGpuFree"] == 24)
    plain, with_gpus = types()
    assert (plain["machineType"], plain["gpuModel"], plain["maxGpuFree"]) == ("standard", "", 0)
    assert (with_gpus["machineType"], with_gpus["gpuModel"]) == ("standard-h100-sxm", "H100 SXM")
    assert with_gpus["maxGpuFree"] == 8
    assert float(with_gpus["gpuPriceHr"]["value"]) > 0
