"""Each of the reference's 25 operations at a real guest: asked for as the reference writes it, and seen in the guest or at its host.

A test has the name of its operation and fails when that was not answered in it, at the verb and path of the reference.
"""

import re
import tomllib
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from tests.conformance import python_name, reference
from tests.e2e.looks import (
    BOOT_ID,
    IDENTITY,
    boot_id,
    disks_in,
    domains,
    kept_busy,
    processors,
    promised_vcpus,
)
from tests.e2e.processes import QEMU, pids_of
from tests.e2e.real_cloud import RealCloud, Vm
from tests.e2e.screen import name_of_screen
from tests.e2e.test_network import host_connects
from tests.e2e.test_security_groups import is_pinged
from tests.e2e.traces import Parts, output_of, traces
from tests.waiting import eventually

pytestmark = pytest.mark.lab

NAME = "operations"
PROJECT = f"/v1/projects/{NAME}"
IMAGES = f"{PROJECT}/images"
GUEST = "guest"
GIB = 1 << 30
SECTORS = GIB // 512
GPUS = """
[[gpu_models]]
id = "nvidia-l40s"
vendor_name = "NVIDIA"
model_name = "L40S (compute mode)"
memory_gib = 48

[[machine_types]]
id = "with-gpus"
data_center_id = "local"
gpu_model_id = "nvidia-l40s"
min_vcpu = 1
max_vcpu = 128
min_memory_gib = 1
max_memory_gib = 1024
min_vcpu_per_memory_gib = 0.1
max_vcpu_per_memory_gib = 4
min_vcpu_per_gpu = 1
max_vcpu_per_gpu = 32
vcpu_price_hr = 0.0024
memory_gib_price_hr = 0.0042
gpu_price_hr = 0.87
"""


@pytest.fixture(scope="module")
def vm(cloud: RealCloud) -> Iterator[Vm]:
    """A guest made of what the catalogue lists, with a second disk and a trace of its first boot; it stays at rest."""
    cloud.make_project(NAME)
    (data_center,) = cloud.ask("GET", "/v1/vms/data-centers")["dataCenters"]
    (machine_type,) = cloud.ask("GET", "/v1/vms/machine-types-2")["machineTypes"]
    disk = {"dataCenterId": data_center["id"], "id": "data", "sizeGib": 1}
    cloud.ask("POST", f"{PROJECT}/disks", json=disk)
    eventually(lambda: cloud.ask("GET", f"{PROJECT}/disks/data")["disk"]["diskState"] == "DISK_STATE_READY")
    vm = cloud.create(
        GUEST,
        project=NAME,
        dataCenterId=data_center["id"],
        machineType=machine_type["machineType"],
        storageDiskIds=["data"],
        startScript="echo once >>/root/first-boot",
    ).wait_for_ssh()
    eventually(lambda: vm.shown()["guest"]["firstBootDone"])
    yield vm
    vm.verb("terminate")
    eventually(vm.gone)


@pytest.fixture
def running(vm: Vm) -> Vm:
    if vm.shown()["state"] == "STOPPED":
        vm.verb("start")
    return vm.wait_for_ssh()


@pytest.fixture
def stopped(vm: Vm) -> Vm:
    if vm.shown()["state"] == "ACTIVE":
        vm.verb("stop")
    vm.wait_for("STOPPED")
    return vm


@pytest.fixture(autouse=True)
def answered(request: pytest.FixtureRequest, cloud: RealCloud) -> Iterator[None]:
    """Fail a test that has not had its operation answered; what its fixtures ask does not count."""
    for other in set(request.fixturenames) - {request.fixturename}:
        request.getfixturevalue(other)
    name = request.node.name.removeprefix("test_")
    (promise,) = [one for one in reference() if python_name(one) == name]
    path = re.compile(re.sub(r"{[^}]+}", "[^/]+", promise.path))
    seen = []

    def note(answer: httpx.Response) -> None:
        asked = answer.request
        if answer.is_success and asked.method == promise.method and path.fullmatch(asked.url.path):
            seen.append(asked.url)

    cloud.api.event_hooks = {"response": [note]}
    yield
    cloud.api.event_hooks = {}
    assert seen, f"{promise.method} {promise.path} was not answered"


def test_create_vm(cloud, vm):
    wanted = {
        "dataCenterId": "local",
        "machineType": "standard",
        "vmId": "created",
        "bootDiskImageId": "micro",
        "bootDisk": {"sizeGib": 2},
        "vcpus": 1,
        "memoryGib": 1,
        "gpus": 0,
        "sshKeySource": "SSH_KEY_SOURCE_NONE",
        "customSshKeys": [cloud.key.public],
        "startScript": "hostname >/root/says",
        "metadata": {"team": "blue"},
    }
    answer = cloud.ask("POST", f"{PROJECT}/vm", json=wanted)
    assert (answer["id"], answer["vm"]["id"], answer["vm"]["shortState"]) == ("created", "created", "pend")
    created = Vm(cloud, "created", NAME).wait_for_ssh()
    eventually(lambda: created.ssh("cat /root/says").stdout == b"created\n")
    assert created.output_of("cat /root/.ssh/authorized_keys").strip() == cloud.key.public
    assert created.output_of("cat /sys/block/vda/size") == f"{2 * SECTORS}\n"
    assert "created" in domains(NAME)
    created.verb("terminate")
    eventually(created.gone)


def test_get_vm(cloud, running):
    shown = cloud.ask("GET", f"{PROJECT}/vms/{GUEST}")["VM"]
    assert (shown["id"], shown["state"], shown["shortState"]) == (GUEST, "ACTIVE", "runn")
    assert running.output_of("hostname; nproc").split() == [shown["id"], str(shown["vcpus"])]
    assert f"inet {shown['internalIpAddress']}/" in running.output_of("ip -4 addr show eth0")
    eventually(lambda: host_connects(shown["externalIpAddress"]))
    assert disks_in(running)[shown["bootDisk"]["serial"]] == shown["bootDiskSizeGib"] * SECTORS
    assert running.output_of("cat /root/.ssh/authorized_keys").strip() == shown["authorizedSshKeys"]


def test_list_vms(cloud, running):
    (network,) = cloud.ask("GET", f"{PROJECT}/networks")["networks"]
    listed = cloud.ask("GET", f"{PROJECT}/vms")["VMs"]
    assert {one["id"] for one in listed} == domains(NAME) == {GUEST}
    assert f"inet {listed[0]['internalIpAddress']}/" in running.output_of("ip -4 addr show eth0")
    on_it = cloud.ask("GET", f"{PROJECT}/vms", params={"networkId": network["id"]})["VMs"]
    assert IPv4Address(on_it[0]["internalIpAddress"]) in IPv4Network(network["ipRange"])
    assert cloud.ask("GET", f"{PROJECT}/vms", params={"networkId": "elsewhere"})["VMs"] == []


def test_count_vms(cloud, running):
    def count() -> int:
        return cloud.ask("GET", f"{PROJECT}/count-vms")["count"]

    assert count() == len(domains(NAME)) == 1
    counted = cloud.create("counted", project=NAME)
    counted.wait_for("ACTIVE")
    assert count() == len(domains(NAME)) == 2
    counted.verb("terminate")
    eventually(counted.gone)
    assert count() == len(domains(NAME)) == 1


def test_connect_vm(cloud, running):
    link = cloud.ask("GET", f"{PROJECT}/vms/{GUEST}/connect", params={"connectionId": "one"})
    page, _, ticket = link["connectUrl"].partition("#")
    assert ticket == link["token"]
    shown = httpx.get(page, timeout=60)
    assert (shown.status_code, shown.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert Parts.of(running).vm in name_of_screen(page, ticket)


def test_update_vm_metadata(cloud, running):
    path, before = f"{PROJECT}/vm/{GUEST}/metadata", boot_id(running)
    assert cloud.ask("POST", path, json={"metadata": {"team": "blue"}}) == {"metadata": {"team": "blue"}}
    both = {"team": "blue", "stage": "test"}
    answer = cloud.ask("POST", path, json={"metadata": {"stage": "test"}, "merge": True})
    assert answer["metadata"] == running.shown()["metadata"] == both
    assert running.output_of(BOOT_ID) == before, "it went on running"


def test_list_vm_disks(cloud, running):
    listed = cloud.ask("GET", f"{PROJECT}/vms/{GUEST}/disks")["disks"]
    assert [disk["diskType"] for disk in listed] == ["DISK_TYPE_BOOT", "DISK_TYPE_STORAGE"]
    found = disks_in(running)
    assert {disk["serial"]: disk["sizeGib"] * SECTORS for disk in listed}.items() <= found.items()
    assert len(found) == len(listed) + 1, "and the seed"


def test_resize_vm_disk(cloud, running):
    path = f"{PROJECT}/vms/{GUEST}/disks"
    for disk in cloud.ask("GET", path)["disks"]:
        gib = disk["sizeGib"] + 1
        assert cloud.ask("PATCH", path, params={"diskId": disk["id"], "sizeGib": gib}) == {}
        eventually(lambda disk=disk, gib=gib: disks_in(running)[disk["serial"]] == gib * SECTORS)
    assert running.shown()["bootDiskSizeGib"] == cloud.ask("GET", path)["disks"][0]["sizeGib"]


@pytest.fixture(scope="module")
def group(cloud: RealCloud, vm: Vm) -> str:
    """A group that lets in SSH and nothing else."""
    ssh = {"id": "ssh", "protocol": "PROTOCOL_TCP", "ruleType": "RULE_TYPE_INBOUND", "ports": "22"}
    cloud.ask("POST", f"{PROJECT}/security-groups", json={"id": "g", "dataCenterId": "local", "rules": [ssh]})
    return "g"


def regroup(vm: Vm, verb: str, group: str) -> None:
    path = f"{PROJECT}/vm/{GUEST}/security-group/{verb}"
    assert vm.cloud.ask("PATCH", path, params={"securityGroupId": group}) == {}


def test_attach_security_group(cloud, running, group):
    address = running.external()
    eventually(lambda: is_pinged(address))
    regroup(running, "attach", group)
    eventually(lambda: not is_pinged(address))
    eventually(running.answers)
    assert running.shown()["securityGroupIds"] == [group]
    refused = cloud.api.delete(f"{PROJECT}/security-groups/{group}").json()
    assert refused["details"][0]["violations"][0]["type"] == "SECURITY_GROUP_IN_USE"
    regroup(running, "detach", group)


def test_detach_security_group(running, group):
    address = running.external()
    regroup(running, "attach", group)
    eventually(lambda: not is_pinged(address))
    regroup(running, "detach", group)
    eventually(lambda: is_pinged(address))
    assert running.shown()["securityGroupIds"] == []


def take(cloud: RealCloud, id: str) -> dict[str, Any]:
    """Take an image of the guest; what is shown of it when it is whole."""
    wanted = {"vmId": GUEST, "id": id, "description": "Of a test"}
    made = cloud.ask("POST", IMAGES, params=wanted)["image"]
    assert (made["id"], made["description"], made["state"]) == (id, "Of a test", "CREATING")
    eventually(lambda: cloud.ask("GET", f"{IMAGES}/{id}")["image"]["state"] == "READY")
    return cloud.ask("GET", f"{IMAGES}/{id}")["image"]


def delete(cloud: RealCloud, id: str) -> None:
    assert cloud.ask("DELETE", f"{IMAGES}/{id}") == {}
    eventually(lambda: cloud.api.get(f"{IMAGES}/{id}").status_code == httpx.codes.NOT_FOUND)


def file_of(cloud: RealCloud, id: str) -> Path:
    """Where an image lies."""
    (key,) = cloud.column("select id from private_image where project_id = ? and name = ?", NAME, id)
    return cloud.data_dir / "private-images" / f"{UUID(key)}.qcow2"


@pytest.fixture
def image(cloud: RealCloud, vm: Vm) -> Iterator[str]:
    take(cloud, "kept")
    yield "kept"
    delete(cloud, "kept")


def test_create_private_vm_image(cloud, running):
    digest = running.output_of("head -c 20m /dev/urandom >/root/work; sync; md5sum /root/work")
    identity = running.output_of(IDENTITY).splitlines()
    assert take(cloud, "taken")["takenFrom"] == "FROZEN"
    running.output_of("touch /root/it-writes-on && sync")
    twin = cloud.create(
        "twin", project=NAME, image="taken", startScript="hostname >/root/says"
    ).wait_for_ssh()
    eventually(lambda: twin.ssh("cat /root/says").stdout == b"twin\n")
    assert twin.output_of("md5sum /root/work") == digest
    assert twin.output_of("cat /root/first-boot") == "once\n", "the start script of before did not run again"
    assert not set(twin.output_of(IDENTITY).splitlines()) & set(identity)
    twin.verb("terminate")
    eventually(twin.gone)
    delete(cloud, "taken")


def test_get_private_vm_image(cloud, image):
    shown = cloud.ask("GET", f"{IMAGES}/{image}")["image"]
    told = output_of("qemu-img", "info", "-U", str(file_of(cloud, image)))
    assert f"({shown['sizeGib'] * GIB} bytes)" in told
    assert (shown["id"], shown["dataCenterId"], shown["state"]) == (image, "local", "READY")


def test_list_private_vm_images(cloud, image):
    page = cloud.ask("GET", IMAGES, params={"pageNumber": 1, "pageSize": 10})
    assert [one["id"] for one in page["images"]] == [image]
    assert (page["totalCount"], page["pageNumber"], page["pageSize"]) == (1, 1, 10)
    assert file_of(cloud, image).exists()


def test_update_private_vm_image(cloud, image):
    before = file_of(cloud, image).stat()
    assert cloud.ask("POST", f"{IMAGES}/{image}", params={"description": "Another"}) == {}
    assert cloud.ask("GET", f"{IMAGES}/{image}")["image"]["description"] == "Another"
    after = file_of(cloud, image).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_delete_private_vm_image(cloud, running):
    take(cloud, "passing")
    file = file_of(cloud, "passing")
    assert file.exists()
    delete(cloud, "passing")
    assert not file.exists()
    assert cloud.ask("GET", IMAGES)["totalCount"] == 0


def test_list_vm_data_centers(cloud, running):
    (one,) = cloud.ask("GET", "/v1/vms/data-centers")["dataCenters"]
    (offered,) = tomllib.loads(cloud.catalogue.read_text())["data_centers"]
    assert (one["id"], one["supplierName"]) == (offered["id"], offered["supplier_name"])
    assert running.shown()["datacenterId"] == one["id"]
    usable = IPv4Network(offered["external_range"]).num_addresses - 3  # the network, its host, everybody
    held = cloud.column("select address from external_address where data_center_id = ?", one["id"])
    cooling = cloud.column("select address from cooling_address where data_center_id = ?", one["id"])
    assert running.external() in held
    assert usable - len(held) - len(cooling) <= one["ipv4Free"] <= usable - len(held)


def test_list_vm_machine_types2(cloud, running):
    def listed() -> dict[str, Any]:
        (one,) = cloud.ask("GET", "/v1/vms/machine-types-2")["machineTypes"]
        return one

    (offered,) = tomllib.loads(cloud.catalogue.read_text())["machine_types"]
    room = processors() * offered["vcpus_per_core"]
    eventually(lambda: listed()["totalVcpuFree"] == room - promised_vcpus(running))
    one = listed()
    assert (one["machineType"], one["gpuModelId"]) == (running.shown()["machineType"], "")

    def ask_for(vcpus: int) -> httpx.Response:
        size = {"vcpus": vcpus, "memoryGib": one["maxMemoryGibFree"], "gpus": 0, "validateOnly": True}
        where = {"dataCenterId": one["dataCenterId"], "machineType": one["machineType"]}
        what = {"vmId": "large", "bootDiskImageId": "micro"}
        return cloud.api.post(f"{PROJECT}/vm", json=size | where | what)

    assert ask_for(one["maxVcpuFree"]).is_success
    assert ask_for(one["maxVcpuFree"] + 1).json()["code"] == 3


@pytest.fixture
def gpus_offered(cloud: RealCloud) -> Iterator[None]:
    """A catalogue with GPUs, which no host of this cloud has."""
    before = cloud.catalogue.read_text()
    cloud.offer(before + GPUS)
    yield
    cloud.offer(before)


def test_list_vm_gpu_models(cloud, running, gpus_offered):
    (model,) = cloud.ask("GET", "/v1/vms/gpu-models")["gpuModels"]
    assert (model["id"], model["vendorName"], model["memoryGib"]) == ("nvidia-l40s", "NVIDIA", 48)
    types = cloud.ask("GET", "/v1/vms/machine-types-2")["machineTypes"]
    assert [(one["gpuModelId"], one["totalGpuFree"]) for one in types] == [("", 0), (model["id"], 0)]
    wanted = {"dataCenterId": "local", "machineType": "with-gpus", "vmId": "fast", "bootDiskImageId": "micro"}
    size = {"vcpus": 1, "memoryGib": 1, "gpus": 1, "validateOnly": True}
    refusal = cloud.api.post(f"{PROJECT}/vm", json=wanted | size).json()["message"]
    assert "no L40S (compute mode) GPUs" in refusal
    assert "0x0302" not in running.output_of("cat /sys/bus/pci/devices/*/class"), "nor has a guest one"


def test_list_public_vm_images(cloud, running):
    images = {one["id"]: one for one in cloud.ask("GET", "/v1/vms/public-images")["images"]}
    assert images.keys() == {path.name for path in (cloud.data_dir / "images").iterdir() if path.is_symlink()}
    micro = images[running.shown()["publicImageId"]]
    assert micro["platform"] == running.output_of("uname -s").strip().lower()
    versions = {one["name"]: one["version"] for one in micro["installedPackages"]}
    assert f"linux-image-{running.output_of('uname -r').strip()}" in versions
    assert versions["busybox-static"].split("+")[0] in running.output_of("busybox | head -n 1")


def test_monitor_vm(cloud, running):
    def items() -> list[dict[str, Any]]:
        return cloud.ask("GET", f"{PROJECT}/vms/{GUEST}/monitor")["items"]

    def most(counted: str) -> float:
        later = [item for item in items() if int(item["timestamp"]) > int(quiet["timestamp"])]
        return max((float(item[counted]) for item in later), default=0)

    quiet = eventually(lambda: next((item for item in items()[-1:] if item["cpu"] < 30), None), within=300)
    running.output_of("dd if=/dev/zero of=/root/written bs=1M count=64 conv=fsync; rm /root/written")
    running.output_of("cat >/dev/null", stdin=bytes(8 << 20), timeout=300)
    with kept_busy(running):
        eventually(lambda: most("cpu") > quiet["cpu"] + 15)
        eventually(lambda: most("diskWrBytes") > 500_000)
        eventually(lambda: most("netRx") > 50_000)
    assert most("memory") > 2**25
    assert max(int(item["guestPing"]) for item in items()) >= 1


def test_stop_vm(cloud, running):
    id, address = Parts.of(running).vm, running.external()
    assert pids_of(QEMU, id)
    assert cloud.ask("POST", f"{PROJECT}/vms/{GUEST}/stop") == {}
    running.wait_for("STOPPED")
    eventually(lambda: not pids_of(QEMU, id))
    assert output_of("virsh", "domstate", id).strip() == "shut off"
    assert not host_connects(address)


def test_resize_vm(cloud, stopped):
    path = f"{PROJECT}/vms/{GUEST}/resize"
    resized = cloud.ask("POST", path, params={"vcpus": 2, "memoryGib": 2})["vm"]
    assert (resized["vcpus"], resized["memory"]) == (2, 2)
    stopped.verb("start")
    stopped.wait_for_ssh()
    assert stopped.output_of("nproc") == "2\n"
    kibibytes = int(stopped.output_of("awk '/^MemTotal/ {print $2}' /proc/meminfo"))
    assert 1.85 < kibibytes / 2**20 < 2


def test_start_vm(cloud, stopped):
    assert cloud.ask("POST", f"{PROJECT}/vms/{GUEST}/start") == {}
    stopped.wait_for_ssh()
    assert len(pids_of(QEMU, Parts.of(stopped).vm)) == 1
    assert stopped.output_of("cat /root/first-boot") == "once\n"


def test_reboot_vm(cloud, running):
    before = running.output_of(BOOT_ID)
    assert cloud.ask("POST", f"{PROJECT}/vms/{GUEST}/reboot") == {}
    eventually(lambda: boot_id(running) not in {"", before})
    assert running.output_of("cat /root/first-boot") == "once\n"


def test_terminate_vm(cloud, vm):
    brief = cloud.create("brief", project=NAME).wait_for_ssh()
    address, parts = brief.external(), Parts.of(brief)
    assert len(traces(cloud, parts)) >= 8
    assert cloud.ask("POST", f"{PROJECT}/vms/brief/terminate") == {}
    eventually(brief.gone)
    eventually(lambda: traces(cloud, parts) == [])
    assert not host_connects(address)
