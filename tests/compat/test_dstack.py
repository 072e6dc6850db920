"""What dstack sends and waits for: its own mixture of spellings, and answers told apart by gRPC's numbers."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.waiting import eventually

VM = "dstack-runner-0-0"


@pytest.fixture
def client(endpoint) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {endpoint.key}"}
    with httpx.Client(base_url=f"{endpoint.url}/v1", headers=headers) as client:
        yield client


def body(vm_id: str = VM, **changed: Any) -> dict[str, Any]:
    size = {"storage_class": "STORAGE_CLASS_NETWORK", "size_gib": 100, "id": f"{vm_id}_disk_id"}
    return {
        "bootDisk": size,
        "bootDiskImageId": "ubuntu-2204",
        "dataCenterId": "local",
        "gpuModel": "",
        "gpus": 0,
        "machineType": "standard",
        "memoryGib": 8,
        "vcpus": 2,
        "vmId": vm_id,
        "startScript": "apt-get update && useradd dstack && mkdir /home/dstack",
        "password": None,
        "customSshKeys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 43],
    } | changed


def test_a_key_is_checked_by_who_it_is(client, endpoint):
    assert client.get("/auth").json()["emailAddress"]
    assert httpx.get(f"{endpoint.url}/v1/auth", headers={"Authorization": "Bearer no"}).status_code == 401


def test_a_vm_is_made_found_by_its_public_address_and_terminated_without_a_body(client):
    assert client.post("/projects/default/vm", json=body()).json()["id"] == VM
    path = f"/projects/default/vms/{VM}"
    vm = eventually(
        lambda: next((vm for vm in [client.get(path).json()["VM"]] if vm["state"] == "ACTIVE"), None)
    )
    assert vm["publicIpAddress"]
    assert vm["bootDisk"]["sizeGib"] == 100
    assert vm["bootDisk"]["storageClass"] == "STORAGE_CLASS_NETWORK"
    assert vm["bootDisk"]["id"] == f"{VM}_disk_id"
    assert vm["authorizedSshKeys"] == body()["customSshKeys"][0]
    terminated = client.post(f"{path}/terminate")
    assert (terminated.status_code, terminated.json()) == (200, {})
    eventually(lambda: client.get(path).status_code == 404)


def test_terminating_what_is_gone_is_told_as_such(client):
    gone = client.post("/projects/default/vms/never-there/terminate")
    assert (gone.status_code, gone.json()["code"]) == (404, 5)


def test_too_large_a_wish_has_the_code_that_means_no_capacity(client):
    refused = client.post("/projects/default/vm", json=body("dstack-large", memoryGib=1024, vcpus=16))
    assert refused.json()["code"] == 3
    assert "the nearest size that fits is 16 vCPUs, 63 GiB memory" in refused.json()["message"]


def test_the_same_id_again_has_the_code_that_means_a_clash(client):
    assert client.post("/projects/default/vm", json=body("dstack-twice")).is_success
    assert client.post("/projects/default/vm", json=body("dstack-twice")).json()["code"] == 6
