"""What gpuhunt, the price catalogue of dstack, reads: one call without a key, then arithmetic."""

import math
from typing import Any

import httpx
import pytest
from tests.waiting import PATIENCE_S

PRICES = ("vcpuPriceHr", "memoryGibPriceHr", "gpuPriceHr", "minStorageGibPriceHr", "ipv4PriceHr")
RATIOS = ("minVcpuPerMemoryGib", "maxVcpuPerMemoryGib", "minVcpuPerGpu", "maxVcpuPerGpu")
ROOM = ("maxVcpuFree", "maxMemoryGibFree", "maxGpuFree", "maxStorageGibFree")


@pytest.fixture(scope="module")
def offers(endpoint) -> list[dict[str, Any]]:
    return httpx.get(f"{endpoint.url}/v1/vms/machine-types", timeout=PATIENCE_S).json()["machineTypes"]


def test_it_names_what_can_be_asked_for(offers):
    assert [(offer["dataCenterId"], offer["machineType"], offer["gpuModel"]) for offer in offers] == [
        ("local", "standard", "")
    ]


def test_it_can_reckon_with_every_number(offers):
    for offer in offers:
        assert all(float(offer[price]["value"]) >= 0 for price in PRICES)
        assert all(math.isfinite(offer[ratio]) for ratio in RATIOS)
        assert all(isinstance(offer[room], int) for room in ROOM)
        assert offer["maxVcpuFree"] >= offer["minVcpu"]
