import math
from dataclasses import replace
from typing import Any

import cudo_compute
import msgspec
import pytest
from tests.made_up import two_pools

from cumulet.catalogue import (
    Catalogue,
    CommitmentTerm,
    DataCenter,
    FreeCapacity,
    GpuModel,
    ListVmDataCentersResponse,
    ListVmMachineTypesResponse,
    StorageClass,
    data_center_view,
    machine_type_view,
    matching_data_centers,
    read_catalogue,
)
from cumulet.catalogue.operations import list_regions, list_vm_gpu_models
from cumulet.operation import OPERATIONS, Access
from cumulet.wire import Wire

H100 = GpuModel(id="h100-sxm", vendor_name="NVIDIA", model_name="H100 SXM", memory_gib=80)
FREE = FreeCapacity(
    max_vcpus=500,
    total_vcpus=900,
    max_memory_gib=64,
    total_memory_gib=128,
    max_gpus=2,
    total_gpus=5,
    max_storage_gib=1000,
    total_storage_gib=3000,
)


@pytest.fixture
def catalogue() -> Catalogue:
    offered = read_catalogue(None)
    (local,), (standard,) = offered.data_centers, offered.machine_types
    green = replace(local, id="green", region_id="north", renewable_energy=True)
    return replace(
        offered,
        data_centers=(local, green),
        machine_types=(standard, replace(standard, id="h100", data_center_id="green", gpu_model_id=H100.id)),
        gpu_models=(H100,),
    )


def as_the_official_client_reads_it(answer: Wire, model: str) -> Any:
    class Response:
        data = msgspec.json.encode(answer).decode()

    return cudo_compute.ApiClient().deserialize(Response, model)


def test_the_official_client_reads_data_centers(catalogue: Catalogue) -> None:
    answer = ListVmDataCentersResponse(
        data_centers=[data_center_view(one, 7) for one in catalogue.data_centers]
    )
    local, green = as_the_official_client_reads_it(answer, "ListVMDataCentersResponse").data_centers
    assert (local.id, local.ipv4_free, local.ipv4_price_hr.value) == ("local", 7, "0.0038")
    assert (green.region_id, green.renewable_energy) == ("north", True)
    assert green.disk_pool_pricing[0].disk_gib_price_hr.value == "0.000116"


@pytest.mark.parametrize("model", ["ListVMMachineTypes2Response", "ListVMMachineTypesResponse"])
def test_the_official_client_reads_machine_types(catalogue: Catalogue, model: str) -> None:
    answer = ListVmMachineTypesResponse(
        machine_types=[machine_type_view(catalogue, one, FREE) for one in catalogue.machine_types]
    )
    standard, h100 = as_the_official_client_reads_it(answer, model).machine_types
    assert (standard.machine_type, standard.gpu_model, standard.gpu_model_id) == ("standard", "", "")
    assert (h100.data_center_id, h100.gpu_model, h100.gpu_model_id) == ("green", "H100 SXM", "h100-sxm")
    assert (h100.vcpu_price_hr.value, h100.min_storage_gib_price_hr.value) == ("0.0021", "0.000116")


def test_the_official_client_reads_gpu_models(catalogue: Catalogue) -> None:
    answer = as_the_official_client_reads_it(list_vm_gpu_models(catalogue), "ListVMGpuModelsResponse")
    (model,) = answer.gpu_models
    assert (model.id, model.vendor_name, model.model_name, model.memory_gib) == (
        "h100-sxm",
        "NVIDIA",
        "H100 SXM",
        80,
    )


def test_each_storage_class_has_the_price_of_its_pool_and_the_least_of_them_is_named() -> None:
    offered = two_pools(read_catalogue(None))
    (local,), (standard,) = offered.data_centers, offered.machine_types
    assert prices_by_class(local) == {StorageClass.NETWORK: "0.000116", StorageClass.LOCAL: "0.000232"}
    assert machine_type_view(offered, standard, FREE).min_storage_gib_price_hr.value == "0.000116"


def test_a_pool_that_serves_no_class_is_not_offered() -> None:
    offered = two_pools(read_catalogue(None))
    (local,), (standard,) = offered.data_centers, offered.machine_types
    own, fast = local.disk_pools
    local = replace(local, disk_pools=(replace(own, storage_classes=()), fast))
    assert prices_by_class(local) == {StorageClass.LOCAL: "0.000232"}
    shown = machine_type_view(replace(offered, data_centers=(local,)), standard, FREE)
    assert shown.min_storage_gib_price_hr.value == "0.000232"


def prices_by_class(data_center: DataCenter) -> dict[StorageClass, str]:
    priced = data_center_view(data_center, 7).disk_pool_pricing
    return {one.storage_class: one.disk_gib_price_hr.value for one in priced}


def test_free_capacity_is_shown_but_no_vm_larger_than_the_type_allows(catalogue: Catalogue) -> None:
    shown = machine_type_view(catalogue, catalogue.machine_types[0], FREE)
    assert (shown.max_vcpu_free, shown.total_vcpu_free) == (256, 900)
    assert (shown.max_memory_gib_free, shown.total_memory_gib_free) == (64, 128)
    assert (shown.max_gpu_free, shown.total_gpu_free) == (2, 5)
    assert (shown.max_storage_gib_free, shown.total_storage_gib_free) == (1000, 3000)


def test_each_commitment_has_its_price(catalogue: Catalogue) -> None:
    shown = machine_type_view(catalogue, catalogue.machine_types[0], FREE)
    prices = {price.commitment_term: price.vcpu_price_hr.value for price in shown.prices}
    assert next(iter(prices)) is CommitmentTerm.NONE
    assert prices[CommitmentTerm.NONE] == shown.vcpu_price_hr.value == "0.0021"
    assert prices[CommitmentTerm.MONTHS_12] == "0.00168"


def test_every_number_is_finite(catalogue: Catalogue) -> None:
    shown = machine_type_view(catalogue, catalogue.machine_types[0], FREE)
    numbers = [value for value in msgspec.to_builtins(shown).values() if isinstance(value, int | float)]
    assert len(numbers) > 10
    assert all(math.isfinite(number) for number in numbers)


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        ({}, ["local", "green"]),
        ({"region_ids": ["north"]}, ["green"]),
        ({"region_ids": ["north", "local"]}, ["local", "green"]),
        ({"region_ids": ["south"]}, []),
        ({"renewable_energy": True}, ["green"]),
        ({"region_ids": ["local"], "renewable_energy": True}, []),
    ],
)
def test_data_centers_are_chosen_by_region_and_energy(
    catalogue: Catalogue, wish: dict[str, Any], expected: list[str]
) -> None:
    assert [one.id for one in matching_data_centers(catalogue, **wish)] == expected


def test_the_catalogue_is_open_to_all() -> None:
    assert OPERATIONS["list_vm_gpu_models"].access is Access.OPEN


@pytest.mark.parametrize("term", CommitmentTerm)
def test_a_term_has_as_many_months_as_its_name_says(term: CommitmentTerm) -> None:
    assert str(term.months) in str(term.value) or term is CommitmentTerm.NONE
    assert (term.months == 0) == (term is CommitmentTerm.NONE)


def test_regions_are_those_of_the_data_centers():
    here = read_catalogue(None).data_centers[0]
    data_centers = (
        here,
        replace(here, id="next"),
        replace(here, id="far", region_id="se", region_name="Sweden"),
    )
    regions = list_regions(replace(read_catalogue(None), data_centers=data_centers)).regions
    assert [(one.id, [inner.id for inner in one.data_centers]) for one in regions] == [
        (here.region_id, ["local", "next"]),
        ("se", ["far"]),
    ]
