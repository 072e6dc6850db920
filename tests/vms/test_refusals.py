"""Every field of CreateVM out of its rule, and every verb out of place: the code, the words, and no row written."""

from dataclasses import replace
from datetime import timedelta
from ipaddress import IPv4Network

import pytest
from sqlalchemy import select
from tests.made_up import NOON, PROJECT
from tests.projects.people import add_user, ed25519_line
from tests.words import A_TIME_TO_COME

from cumulet.catalogue import CommitmentTerm, StorageClass
from cumulet.disks import Disk as DiskRow
from cumulet.disks.wire import Disk
from cumulet.errors import (
    AlreadyExists,
    Exhausted,
    Forbidden,
    Invalid,
    NotFound,
    Refused,
)
from cumulet.hosts import Reservation
from cumulet.journal import Event
from cumulet.networks import ExternalAddress, Network, Nic
from cumulet.projects import Role
from cumulet.reconcile import Due
from cumulet.vm_record import Vm
from cumulet.vm_record.wire import VmState
from cumulet.vms import operations as verbs
from cumulet.vms.wire import CpuTopology, NicRequest

SECRET = "hunter2"
EVERY_TABLE = (Vm, DiskRow, Nic, Network, ExternalAddress, Reservation, Event, Due)

OUT_OF_RULE = [
    # field, value, what the message says besides the field
    ("vmId", {"vm_id": ""}, "''"),
    ("vmId", {"vm_id": "Hello"}, "'Hello'"),
    ("vmId", {"vm_id": "1st"}, "beginning with a letter"),
    ("vmId", {"vm_id": "ends-"}, "not ending with '-'"),
    ("vmId", {"vm_id": "x" * 71}, "1 to 70"),
    ("vcpus", {"vcpus": 0}, "0 is not accepted; expected 1 to 256"),
    ("vcpus", {"vcpus": 257}, "257"),
    ("vcpus", {"vcpus": 64, "memory_gib": 1}, "vCPUs for each GiB"),
    ("memoryGib", {"memory_gib": 0}, "0 is not accepted; expected 1 to 4096"),
    ("memoryGib", {"memory_gib": 4097}, "4097"),
    ("gpus", {"gpus": -1}, "-1 is not accepted; expected 0: machine type 'standard' has none"),
    ("gpus", {"gpus": 1}, "1 is not accepted; expected 0: machine type 'standard' has none"),
    ("cpuModel", {"cpu_model": "z80"}, "'z80'"),
    ("gpuModel", {"gpu_model": "H100"}, "'H100'"),
    ("gpuModelId", {"gpu_model_id": "h100"}, "'h100'"),
    ("bootDiskSizeGib", {"boot_disk_size_gib": -5}, "-5 is not accepted; expected 1 to 65536"),
    ("bootDiskSizeGib", {"boot_disk_size_gib": 65537}, "65537"),
    (
        "bootDiskSizeGib",
        {"boot_disk": Disk(size_gib=2), "boot_disk_size_gib": 3},
        "the same as bootDisk.sizeGib, 2",
    ),
    ("bootDisk.id", {"boot_disk": Disk(id="UPPER")}, "'UPPER'"),
    ("bootDisk.id", {"boot_disk": Disk(id="x" * 129)}, "1 to 128"),
    ("topology", {"topology": CpuTopology(sockets=3, cores=1, threads=1)}, "3 x 1 x 1"),
    ("topology", {"topology": CpuTopology(sockets=-1, cores=-2)}, "-1 x -2 x 0"),
    ("password", {"password": SECRET}, "upper-case"),
    ("password", {"password": "aB1!"}, "6 to 64"),
    ("password", {"password": "aB1!" * 17}, "6 to 64"),
    ("password", {"password": "aB1! \t123"}, "symbol"),
    ("startScript", {"start_script": SECRET + "x" * 65536}, "at most 65536"),
    ("startScript", {"start_script": SECRET + "\0"}, "NUL"),
    ("metadata", {"metadata": {"": "x"}}, "names of 1 to 255"),
    ("metadata", {"metadata": {"x" * 256: "x"}}, "names of 1 to 255"),
    ("metadata.x", {"metadata": {"x": "y" * 4097}}, "at most 4096"),
    ("metadata", {"metadata": {str(n): "" for n in range(65)}}, "65 entries"),
    ("customSshKeys[0]", {"custom_ssh_keys": ["ssh-ed25519 nonsense"]}, ""),
    ("customSshKeys[1]", {"custom_ssh_keys": [ed25519_line(1), "nonsense"]}, ""),
    ("customSshKeys", {"custom_ssh_keys": [ed25519_line(1)] * 101}, "at most 100"),
    ("nics", {"nics": [NicRequest()] * 9}, "at most 8"),
    (
        "nics[2].assignPublicIp",
        {"nics": [NicRequest(), *[NicRequest(assign_public_ip=True)] * 2]},
        "one NIC",
    ),
    ("expireTime", {"expire_time": NOON - timedelta(seconds=1)}, A_TIME_TO_COME),
    ("ttl", {"ttl": "one hour"}, "'one hour'"),
    ("ttl", {"ttl": "0s"}, "'0s'"),
    ("ttl", {"ttl": "-5s"}, "'-5s'"),
    ("ttl", {"ttl": "999999999999s"}, "ten years"),
    ("ttl", {"ttl": "60s", "expire_time": NOON + timedelta(hours=1)}, "only one"),
    (
        "commitmentTerm",
        {"commitment_term": CommitmentTerm.MONTHS_1, "ttl": "3600s"},
        "or one that ends before it expires",
    ),
]
UNKNOWN = [
    ("dataCenterId", {"data_center_id": "mars"}, "'mars'; there is only 'local'"),
    ("machineType", {"machine_type": "huge"}, "called 'huge'; there is only 'standard'"),
    ("bootDiskImageId", {"boot_disk_image_id": "windows"}, "no image 'windows'; there is only 'micro'"),
    ("bootDiskImageId", {"boot_disk_image_id": "../../etc"}, "'../../etc'; there is only 'micro'"),
    ("nics[0].networkId", {"nics": [NicRequest(network_id="mine")]}, "no network 'mine'; there are none"),
    ("securityGroupIds", {"security_group_ids": ["mine"]}, "no security group 'mine'; there are none"),
    (
        "nics[1].securityGroupIds",
        {"nics": [NicRequest(), NicRequest(security_group_ids=["mine"])]},
        "no security group 'mine'",
    ),
    ("storageDiskIds", {"storage_disk_ids": ["mine"]}, "no disk 'mine'; there are none"),
    ("gpuModel", {"gpu_model": "H100"}, "no GPU model 'H100'; there are none"),
    ("gpuModelId", {"gpu_model_id": "h100"}, "no GPU model 'h100'; there are none"),
]


def ids(case):
    return "" if not isinstance(case, str) else case


@pytest.fixture
def written(cloud):
    """How many rows there are of everything."""
    return lambda: [cloud.count(table) for table in EVERY_TABLE]


@pytest.fixture
def refused(cloud, written):
    """Ask for a VM that must be refused so; gives the refusal, when nothing was written."""

    def refused(kind, **fields):
        before = written()
        with pytest.raises(kind) as refusal:
            cloud.create(**fields)
        assert written() == before
        return refusal.value

    return refused


@pytest.mark.parametrize(("field", "fields", "words"), OUT_OF_RULE + UNKNOWN, ids=ids)
@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_a_field_out_of_its_rule_is_refused_by_name(refused, field, fields, words):
    refusal = refused(Invalid, **fields)
    assert refusal.message.startswith(f"{field}: ")
    assert words in refusal.message
    assert SECRET not in refusal.message
    (violation,) = refusal.details[0]["fieldViolations"]
    assert violation["field"] == field


def test_every_rule_s_edge_is_accepted(cloud):
    edges = {
        "vm_id": "x" * 70,
        "password": "aB1!56",
        "boot_disk": Disk(id="dstack_disk_id", size_gib=3, storage_class=StorageClass.NETWORK),
        "metadata": {"x" * 255: "y" * 4096},
        "topology": CpuTopology(cores=2),
        "custom_ssh_keys": [ed25519_line(1), ed25519_line(1)],
        "start_script": "x" * 65536,
        "ttl": "0.5s",
    }
    vm = cloud.create(**edges)
    assert vm.boot_disk.id == "dstack_disk_id"
    assert vm.authorized_ssh_keys == ed25519_line(1)
    assert vm.expire_time == NOON + timedelta(seconds=0.5)


def test_no_room_tells_what_was_short_and_what_would_fit(refused):
    refusal = refused(Invalid, vcpus=5, memory_gib=300)
    assert "memory-1: 255 GiB memory free, 300 requested" in refusal.message
    assert "nearest size that fits is 5 vCPUs, 255 GiB memory, 1 GiB disk" in refusal.message
    assert refusal.details[0]["reason"] == "NO_CAPACITY"


def test_the_nearest_size_can_be_had(cloud):
    cloud.create(vm_id="large", vcpus=200, memory_gib=253)
    with pytest.raises(Invalid, match="nearest size that fits is 32 vCPUs, 2 GiB memory, 1 GiB disk"):
        cloud.create(vcpus=64, memory_gib=4)
    assert cloud.create(vcpus=32, memory_gib=2).state is VmState.PENDING


def test_an_id_that_is_taken_is_refused(cloud, refused):
    cloud.create()
    assert "'hello'" in refused(AlreadyExists).message
    assert "'hello-boot'" in refused(AlreadyExists, vm_id="other", boot_disk=Disk(id="hello-boot")).message


def test_a_network_that_is_full_refuses(cloud, refused):
    small_range(cloud, network_range=IPv4Network("10.77.0.0/29"))
    for number in range(5):
        cloud.create(vm_id=f"vm-{number}")
    refusal = refused(Refused)
    assert (refusal.code, refusal.reason) == (9, "NETWORK_NOT_READY")
    assert "all 5 addresses of 10.77.0.0/29 are taken" in refusal.message


def test_an_external_range_that_is_used_up_refuses(cloud, refused):
    small_range(cloud, external_range=IPv4Network("198.19.0.0/29"))
    for number in range(4):
        cloud.create(vm_id=f"vm-{number}")
    refusal = refused(Exhausted)
    assert refusal.code == 8
    assert "198.19.0.0/29" in refusal.message


def small_range(cloud, **ranges):
    small = replace(cloud.catalogue.data_centers[0], **ranges)
    cloud.catalogue = replace(cloud.catalogue, data_centers=(small,))
    cloud.backends = replace(
        cloud.backends, fabrics=replace(cloud.backends.fabrics, catalogue=cloud.catalogue)
    )


# Verbs
VERBS = [verbs.start_vm, verbs.stop_vm, verbs.reboot_vm, verbs.terminate_vm]
READS = [verbs.get_vm, verbs.get_vm_timeline, verbs.get_vm_console_log]


def name_of(verb):
    return getattr(verb, "__name__", "")


@pytest.mark.parametrize(
    ("verb", "stopped", "reason"),
    [
        (verbs.start_vm, False, "VM_NOT_STOPPED"),
        (verbs.stop_vm, True, "VM_NOT_ACTIVE"),
        (verbs.reboot_vm, True, "VM_NOT_ACTIVE"),
    ],
    ids=name_of,
)
def test_a_verb_in_the_wrong_state_is_refused_with_the_contract_s_reason(
    cloud, written, verb, stopped, reason
):
    cloud.running()
    if stopped:
        cloud.ask(verbs.stop_vm)
        cloud.settle()
    before = written()
    with pytest.raises(Refused) as refusal:
        cloud.ask(verb)
    assert refusal.value.code == 9
    (violation,) = refusal.value.details[0]["violations"]
    assert (violation["type"], violation["subject"]) == (reason, "hello")
    assert written() == before


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
class TestOthers:
    @pytest.mark.parametrize("verb", VERBS + READS, ids=name_of)
    def test_somebody_else_s_project_is_not_there(self, cloud, verb):
        cloud.create()
        with cloud.database.writing() as db:
            stranger = add_user(db, "stranger")
        with pytest.raises(NotFound, match="'default'"):
            cloud.ask(verb, caller=stranger)

    @pytest.mark.parametrize("verb", VERBS, ids=name_of)
    def test_a_viewer_may_look_and_nothing_else(self, cloud, verb):
        cloud.running()
        with cloud.database.writing() as db:
            viewer = add_user(db, "viewer", default=Role.VIEWER)
        assert cloud.ask(verbs.get_vm, caller=viewer).vm.id == "hello"
        with pytest.raises(Forbidden, match="EDITOR"):
            cloud.ask(verb, caller=viewer)
        with pytest.raises(Forbidden):
            cloud.create(viewer, vm_id="other")

    def test_neither_may_create_list_or_count(self, cloud):
        with cloud.database.writing() as db:
            stranger = add_user(db, "stranger")
        with pytest.raises(NotFound):
            cloud.create(stranger)
        for verb in (verbs.list_vms, verbs.count_vms):
            with pytest.raises(NotFound):
                cloud.call(verb, stranger, project_id=PROJECT)


def test_no_secret_is_kept_in_the_clear(cloud):
    cloud.running(password="aB1!" + SECRET, start_script="echo " + SECRET)
    with cloud.database.reading() as db:
        told = db.scalars(select(Event.text)).all()
    assert SECRET not in cloud.row().password_hash
    assert SECRET not in " ".join(told)
    assert SECRET not in repr(cloud.vm())
