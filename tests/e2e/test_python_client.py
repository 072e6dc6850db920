"""The published Python client, unchanged, takes a real guest through its whole life."""

import cudo_compute
import pytest
from cudo_compute.rest import ApiException
from tests.e2e.real_cloud import URL, RealCloud, Vm
from tests.waiting import eventually

pytestmark = pytest.mark.lab

PROJECT = "default"
NAME = "py-client"


@pytest.fixture(scope="module")
def client(cloud: RealCloud) -> cudo_compute.ApiClient:
    configuration = cudo_compute.Configuration()
    configuration.host = URL
    client = cudo_compute.ApiClient(configuration)
    client.default_headers["Authorization"] = cloud.api.headers["Authorization"]
    return client


@pytest.fixture(scope="module")
def vms(client) -> cudo_compute.VirtualMachinesApi:
    return cudo_compute.VirtualMachinesApi(client)


def test_it_knows_who_it_is_and_where_it_may_work(client):
    assert cudo_compute.UserApi(client).get().email_address
    projects = cudo_compute.ProjectsApi(client)
    assert PROJECT in [project.id for project in projects.list_projects().projects]
    assert projects.get_project(PROJECT).id == PROJECT


def test_it_reads_the_catalogue(client, vms):
    assert [one.id for one in vms.list_vm_data_centers().data_centers] == ["local"]
    (machine_type,) = vms.list_vm_machine_types2().machine_types
    assert float(machine_type.vcpu_price_hr.value) > 0
    assert machine_type.max_vcpu_free > 0
    assert cudo_compute.DefaultApi(client).list_vm_machine_types().machine_types[0].prices
    assert vms.list_vm_gpu_models().gpu_models == []
    assert {"micro", "debian-12"} <= {image.id for image in vms.list_public_vm_images().images}


def test_it_keeps_ssh_keys(client, cloud):
    keys = cudo_compute.SSHKeysApi(client)
    made = keys.create_ssh_key(cudo_compute.SshKey(public_key=cloud.key.public))
    assert made.fingerprint.startswith("SHA256:")
    assert made.id in [key.id for key in keys.list_ssh_keys().ssh_keys]
    assert keys.get_ssh_key(made.id).public_key == cloud.key.public
    keys.delete_ssh_key(made.id)
    assert made.id not in [key.id for key in keys.list_ssh_keys().ssh_keys]


def create_body(cloud: RealCloud) -> cudo_compute.CreateVMBody:
    return cudo_compute.CreateVMBody(
        vm_id=NAME,
        data_center_id="local",
        machine_type="standard",
        boot_disk_image_id="micro",
        boot_disk=cudo_compute.Disk(id=f"{NAME}-disk", size_gib=3, storage_class="STORAGE_CLASS_NETWORK"),
        vcpus=1,
        memory_gib=1,
        gpus=0,
        ssh_key_source="SSH_KEY_SOURCE_NONE",
        custom_ssh_keys=[cloud.key.public],
        start_script="hostname > /root/name",
        metadata={"made-by": "the client"},
        ttl="7200s",
    )


def plug_a_disk_in_and_out(disks: cudo_compute.DisksApi, vms: cudo_compute.VirtualMachinesApi) -> None:
    disk = cudo_compute.Disk(id="py-disk", size_gib=1, storage_class="STORAGE_CLASS_LOCAL")
    body = cudo_compute.CreateStorageDiskBody(data_center_id="local", disk=disk)
    disks.create_storage_disk(PROJECT, body)
    eventually(lambda: disk_of(disks).disk_state == "DISK_STATE_READY")
    listed = disks.list_disks(PROJECT, page_size=100, data_center_id="local")
    assert listed.total_count == len(listed.disks)
    assert {"py-disk", f"{NAME}-disk"} <= {one.id for one in listed.disks}
    disks.attach_storage_disk(PROJECT, "py-disk", vm_id=NAME)
    eventually(lambda: disk_of(disks).disk_state == "DISK_STATE_USED")
    vms.resize_vm_disk(PROJECT, NAME, disk_id="py-disk", size_gib=2)
    eventually(lambda: disk_of(disks).disk_state == "DISK_STATE_USED")
    found = [(one.disk_type, one.size_gib, one.vm_id) for one in vms.list_vm_disks(PROJECT, NAME).disks]
    assert found == [("DISK_TYPE_BOOT", 3, NAME), ("DISK_TYPE_STORAGE", 2, NAME)]
    assert [one.id for one in vms.get_vm(PROJECT, NAME).vm.storage_disks] == ["py-disk"]
    disks.detach_storage_disk(PROJECT, "py-disk")
    eventually(lambda: disk_of(disks).disk_state == "DISK_STATE_READY")
    disks.delete_storage_disk(PROJECT, "py-disk")
    eventually(lambda: "py-disk" not in {one.id for one in disks.list_disks(PROJECT).disks})


def take_an_image(vms: cudo_compute.VirtualMachinesApi) -> None:
    """Of the VM as it is, and all that can be done with it but a VM."""
    image = vms.create_private_vm_image(PROJECT, vm_id=NAME, id="py-image", description="old").image
    assert (image.id, image.data_center_id, image.size_gib, image.description) == (
        "py-image",
        "local",
        3,
        "old",
    )
    eventually(lambda: vms.get_vm(PROJECT, NAME).vm.boot_disk.disk_state == "DISK_STATE_USED")
    vms.update_private_vm_image(PROJECT, "py-image", description="new")
    assert vms.get_private_vm_image(PROJECT, "py-image").image.description == "new"
    listed = vms.list_private_vm_images(PROJECT, page_number=1, page_size=10)
    assert ([one.id for one in listed.images], listed.total_count) == (["py-image"], 1)
    vms.delete_private_vm_image(PROJECT, "py-image")
    eventually(lambda: vms.list_private_vm_images(PROJECT).total_count == 0)


def go_back_to_a_snapshot(disks: cudo_compute.DisksApi) -> None:
    """Of the boot disk, while its VM is stopped."""
    boot = f"{NAME}-disk"
    disks.create_disk_snapshot(
        PROJECT, boot, cudo_compute.CreateDiskSnapshotBody(snapshot_id="one", vm_id=NAME)
    )
    eventually(lambda: disk_of(disks, boot).disk_state == "DISK_STATE_USED")
    (snapshot,) = disks.list_disk_snapshots(PROJECT, boot).snapshots
    assert (snapshot.id, snapshot.size_gib, snapshot.active) == ("one", 3, True)
    disks.revert_disk(PROJECT, boot, "one", NAME)
    eventually(lambda: disk_of(disks, boot).disk_state == "DISK_STATE_USED")
    disks.delete_disk_snapshot(PROJECT, boot, "one", NAME)
    eventually(lambda: disk_of(disks, boot).disk_state == "DISK_STATE_USED")
    assert disks.get_disk(PROJECT, boot).snapshots == []


def disk_of(disks: cudo_compute.DisksApi, id: str = "py-disk") -> cudo_compute.Disk:
    return disks.get_disk(PROJECT, id).disk


def test_it_takes_a_vm_and_disks_through_their_lives(cloud, client, vms):
    disks = cudo_compute.DisksApi(client)
    before = vms.count_vms(PROJECT).count
    assert vms.create_vm(PROJECT, create_body(cloud)).id == NAME
    eventually(lambda: vms.get_vm(PROJECT, NAME).vm.state == "ACTIVE")
    assert vms.count_vms(PROJECT).count == before + 1

    shown = vms.get_vm(PROJECT, NAME)
    assert (shown.vm.short_state, shown.vm.boot_disk.size_gib, shown.vm.metadata) == (
        "runn",
        3,
        {"made-by": "the client"},
    )
    items = ("total_vcpu", "total_memory", "total_gpu", "total_storage")
    sum_of_items = sum(float(getattr(shown, f"{item}_price_hr").value) for item in items)
    total = float(shown.total_price_hr.value)
    assert total == pytest.approx(sum_of_items + float(shown.ipv4_price_hr.value))
    assert NAME in [vm.id for vm in vms.list_vms(PROJECT).vms]

    eventually(lambda: cloud_ssh(cloud, "cat /root/name") == f"{NAME}\n")
    link = vms.connect_vm(PROJECT, NAME, connection_id="one")
    assert link.connect_url == f"{URL}/console/{PROJECT}/{NAME}/screen#{link.token}"
    change_it(cloud, vms)
    vms.reboot_vm(PROJECT, NAME)
    eventually(lambda: story(cloud).count("vm.started: ") == 2)
    eventually(lambda: cloud_ssh(cloud, "cat /root/name") == f"{NAME}\n")
    plug_a_disk_in_and_out(disks, vms)
    vms.stop_vm(PROJECT, NAME)
    eventually(lambda: vms.get_vm(PROJECT, NAME).vm.state == "STOPPED")
    take_an_image(vms)
    go_back_to_a_snapshot(disks)
    assert vms.resize_vm(PROJECT, NAME, vcpus=2).vm.vcpus == 2
    vms.start_vm(PROJECT, NAME)
    eventually(lambda: vms.get_vm(PROJECT, NAME).vm.state == "ACTIVE")
    vms.terminate_vm(PROJECT, NAME)
    eventually(lambda: is_gone(vms))


def test_it_keeps_networks(client):
    networks = cudo_compute.NetworksApi(client)
    body = cudo_compute.CreateNetworkBody(
        id="py-net", data_center_id="local", cidr_prefix="10.40.0.0/24", vrouter_size="VROUTER_INSTANCE_SMALL"
    )
    networks.create_network(PROJECT, body)
    eventually(lambda: networks.get_network(PROJECT, "py-net").network.state == "ACTIVE")
    network = networks.get_network(PROJECT, "py-net").network
    assert (network.ip_range, network.gateway, network.short_state) == ("10.40.0.0/24", "10.40.0.1", "runn")
    listed = networks.list_networks(PROJECT, page_number=1, page_size=50)
    assert "py-net" in [one.id for one in listed.networks]
    networks.stop_network(PROJECT, "py-net")
    eventually(lambda: networks.get_network(PROJECT, "py-net").network.state == "STOPPED")
    networks.start_network(PROJECT, "py-net")
    networks.delete_network(PROJECT, "py-net")
    eventually(lambda: "py-net" not in [one.id for one in networks.list_networks(PROJECT).networks])


def test_it_keeps_security_groups_and_puts_vms_in_them(client, vms, cloud, ann):
    groups = cudo_compute.NetworksApi(client)
    rule = cudo_compute.Rule(protocol="PROTOCOL_TCP", ports="22,80", rule_type="RULE_TYPE_INBOUND")
    body = cudo_compute.SecurityGroup(
        id="py-group", data_center_id="local", description="From Python.", rules=[rule]
    )
    made = groups.create_security_group(PROJECT, body).security_group
    assert (made.id, made.rules[0].ports) == ("py-group", "22,80")
    vms.attach_security_group(PROJECT, ann.name, security_group_id="py-group")
    assert "py-group" in vms.get_vm(PROJECT, ann.name).vm.security_group_ids
    assert vms.get_vm(PROJECT, ann.name).vm.rules[0].ports == "22,80"
    change = cudo_compute.SecurityGroup1(data_center_id="local", rules=[])
    assert groups.update_security_group(PROJECT, "py-group", change).security_group.rules == []
    assert groups.get_security_group(PROJECT, "py-group").security_group.rules == []
    vms.detach_security_group(PROJECT, ann.name, security_group_id="py-group")
    listed = groups.list_security_groups(PROJECT, data_center_id="local")
    assert "py-group" in [one.id for one in listed.security_groups]
    groups.delete_security_group(PROJECT, "py-group")
    with pytest.raises(ApiException):
        groups.get_security_group(PROJECT, "py-group")


def change_it(cloud: RealCloud, vms: cudo_compute.VirtualMachinesApi) -> None:
    """Call what changes a VM that runs."""
    others = cudo_compute.DefaultApi(vms.api_client)
    labels = cudo_compute.UpdateVMMetadataBody(metadata={"and": "more"}, merge=True)
    assert vms.update_vm_metadata(PROJECT, NAME, labels).metadata == {"made-by": "the client", "and": "more"}
    later = cudo_compute.UpdateVMExpireTimeBody(ttl="7300s")
    expires = others.update_vm_expire_time(PROJECT, NAME, later).expire_time
    assert vms.get_vm(PROJECT, NAME).vm.expire_time == expires
    eventually(lambda: "first boot finished" in story(cloud))
    password = cudo_compute.UpdateVMPasswordBody(password="Corr3ct-horse")
    others.update_vm_password(PROJECT, NAME, password)
    eventually(lambda: "password set" in story(cloud))
    items = eventually(lambda: vms.monitor_vm(PROJECT, NAME).items)
    assert items[0].cpu >= 0
    assert int(items[0].memory) > 0


def test_its_exceptions_show_what_was_refused(cloud, vms):
    with pytest.raises(ApiException) as refused:
        vms.create_vm(PROJECT, create_body(cloud).__class__(**{**body(cloud), "vcpus": 10_000}))
    assert refused.value.status == 400
    assert b'"code":3' in as_bytes(refused.value.body)
    with pytest.raises(ApiException) as missing:
        vms.get_vm(PROJECT, "nobody")
    assert missing.value.status == 404


def body(cloud: RealCloud) -> dict[str, object]:
    whole = create_body(cloud)
    return {name: getattr(whole, name) for name in whole.swagger_types if getattr(whole, name) is not None}


def as_bytes(text: bytes | str) -> bytes:
    return text.encode() if isinstance(text, str) else text


def is_gone(vms: cudo_compute.VirtualMachinesApi) -> bool:
    try:
        vms.get_vm(PROJECT, NAME)
    except ApiException as answer:
        return bool(answer.status == 404)
    return False


def cloud_ssh(cloud: RealCloud, command: str) -> str:
    return Vm(cloud, NAME, PROJECT).ssh(command).stdout.decode()


def story(cloud: RealCloud) -> str:
    return "\n".join(Vm(cloud, NAME, PROJECT).timeline())
