"""What SkyPilot does by the published Python client: a table of short states that it knows, and no others."""

import threading
from collections.abc import Iterator
from typing import Any

import cudo_compute
import pytest
from cudo_compute.rest import ApiException
from tests.waiting import PATIENCE_S, eventually

from cumulet.call import making

PROJECT = "default"
HEAD = "sky-0123-root-head"
KNOWN_TO_STATUS = {"init", "pend", "prol", "boot", "runn", "stop", "susp", "done", "poff"}
"""`sky status` breaks on every other one."""
CAN_GO_DOWN = {"pend", "poff", "runn", "stop", "susp", "unde", "fail"}
KEY_WITH_LINE_END = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 43 + " skypilot\n"


@pytest.fixture
def vms(endpoint) -> Iterator[cudo_compute.VirtualMachinesApi]:
    configuration = cudo_compute.Configuration()
    configuration.host = endpoint.url
    configuration.api_key["Authorization"] = endpoint.key
    configuration.api_key_prefix["Authorization"] = "Bearer"
    client = cudo_compute.ApiClient(configuration)
    yield cudo_compute.VirtualMachinesApi(client)
    client.rest_client.pool_manager.clear()


def of_this_cluster(vms: cudo_compute.VirtualMachinesApi) -> dict[str, dict[str, Any]]:
    """Its own VMs, read as it reads them."""
    shown = vms.list_vms(PROJECT).to_dict()["vms"]
    assert all(vm["short_state"] in KNOWN_TO_STATUS for vm in shown)
    return {vm["id"]: vm for vm in shown if vm["metadata"].get("cluster") == "sky"}


def body(vm_id: str = HEAD) -> cudo_compute.CreateVMBody:
    return cudo_compute.CreateVMBody(
        ssh_key_source="SSH_KEY_SOURCE_NONE",
        custom_ssh_keys=[KEY_WITH_LINE_END],
        vm_id=vm_id,
        machine_type="standard",
        data_center_id="local",
        boot_disk_image_id="ubuntu-2204-nvidia-535-docker-v20240214",
        memory_gib=8,
        vcpus=2,
        gpus=0,
        boot_disk=cudo_compute.Disk(storage_class="STORAGE_CLASS_NETWORK", size_gib=50),
        metadata={"cluster": "sky"},
    )


def test_a_cluster_goes_up_and_down(vms):
    assert of_this_cluster(vms) == {}
    assert vms.create_vm(PROJECT, body()).to_dict()["id"] == HEAD
    eventually(lambda: of_this_cluster(vms)[HEAD]["short_state"] == "runn")
    head = of_this_cluster(vms)[HEAD]
    assert head["external_ip_address"]
    assert head["internal_ip_address"] not in {"", head["external_ip_address"]}

    assert vms.get_vm(PROJECT, HEAD).to_dict()["vm"]["short_state"] in CAN_GO_DOWN
    vms.terminate_vm(PROJECT, HEAD)
    assert of_this_cluster(vms) == {}
    eventually(lambda: status_of(vms, HEAD) == 404)


def test_it_looks_for_a_vm_whose_create_has_only_begun(endpoint, vms, monkeypatch):
    name = "sky-4567-root-head"
    come_in = threading.Event()
    filled = making.filled
    monkeypatch.setattr(making, "filled", lambda *which: come_in.set() or filled(*which))
    monkeypatch.setattr(making, "PATIENCE_S", PATIENCE_S)
    with endpoint.database.writing():
        creating = vms.create_vm(PROJECT, body(name), async_req=True)
        assert come_in.wait(PATIENCE_S)
        looking = vms.get_vm(PROJECT, name, async_req=True)
        looking.wait(0.2)
    assert (creating.get().id, looking.get().vm.id) == (name, name)


def status_of(vms: cudo_compute.VirtualMachinesApi, id: str) -> int:
    """What a look at a VM is answered with."""
    try:
        vms.get_vm(PROJECT, id)
    except ApiException as refused:
        return refused.status
    return 200
