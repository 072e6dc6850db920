"""What of a VM's secrets lies on its host: all until its guest has read them, then nothing."""

import base64

import pytest
from tests.made_up import PROJECT, store_image

from cumulet.disks import snapshot_operations as snapshot_verbs
from cumulet.disks.wire import CreateDiskSnapshot
from cumulet.errors import Invalid
from cumulet.hypervisor import NO_GUEST
from cumulet.private_images import create as image_verbs
from cumulet.vms import operations as verbs
from cumulet.vms.reconcile.observe import AGENT_TIMEOUT

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f ann"
SECRETS = {"password": "Corr3ct-horse", "start_script": "TOKEN=secret; exit 3", "custom_ssh_keys": [KEY]}
CONFIG = "#cloud-config\nruncmd: [reboot]\n"


def seed(cloud):
    return cloud.host.contents.seeds[cloud.row().id]


def test_once_the_first_boot_is_done_the_seed_has_no_secrets_and_tells_the_same_machine(cloud):
    cloud.host.booting = NO_GUEST
    cloud.create(**SECRETS)
    cloud.settle()
    assert (seed(cloud).start_script, seed(cloud).password_hash) == (
        SECRETS["start_script"],
        cloud.row().password_hash,
    )
    cloud.host.booting = None
    cloud.pass_time(10)
    assert (seed(cloud).start_script, seed(cloud).password_hash) == ("", "")
    assert (seed(cloud).instance_id, seed(cloud).ssh_keys) == (str(cloud.row().id), (KEY,))


def test_a_later_start_brings_no_secret_back(cloud):
    cloud.running(**SECRETS)
    cloud.pass_time(10)
    cloud.ask(verbs.reboot_vm)
    cloud.settle()
    cloud.pass_time(10)
    assert (seed(cloud).start_script, seed(cloud).password_hash) == ("", "")
    assert cloud.vm().guest.start_script_status == 3


def test_a_guest_that_never_speaks_loses_them_when_nobody_expects_a_word_any_more(cloud):
    cloud.host.mute = True
    cloud.create(**SECRETS)
    cloud.settle()
    cloud.pass_time(AGENT_TIMEOUT.total_seconds() - 60)
    assert seed(cloud).start_script
    cloud.pass_time(120)
    assert (seed(cloud).start_script, seed(cloud).password_hash) == ("", "")
    cloud.ask(verbs.reboot_vm)
    cloud.pass_time(120)
    assert seed(cloud).start_script == ""


def test_a_disk_that_goes_back_to_before_the_first_boot_gets_the_whole_seed_again(cloud):
    cloud.host.mute = True
    cloud.create(**SECRETS)
    cloud.settle()
    cloud.ask(verbs.stop_vm)
    cloud.pass_time(100)
    take = CreateDiskSnapshot(snapshot_id="new", vm_id="hello")
    disk = {"project_id": PROJECT, "id": "hello-boot"}
    cloud.call(snapshot_verbs.create_disk_snapshot, **disk, data=take)
    cloud.settle()
    cloud.host.mute = False
    cloud.ask(verbs.start_vm)
    cloud.pass_time(10)
    assert seed(cloud).start_script == ""
    cloud.ask(verbs.stop_vm)
    cloud.settle()
    cloud.call(snapshot_verbs.revert_disk, **disk, snapshot_id="new", vm_id="hello")
    cloud.host.mute = True
    cloud.ask(verbs.start_vm)
    cloud.settle()
    assert seed(cloud).start_script == SECRETS["start_script"]


@pytest.mark.parametrize("script", [CONFIG, base64.b64encode(CONFIG.encode()).decode(), "#include\nhttp://x"])
def test_an_image_without_cloud_init_refuses_what_only_that_understands_and_so_do_images_of_its_vms(
    cloud, script
):
    store_image(cloud.images, "scripts-only", cloud_init=False)
    with pytest.raises(
        Invalid, match=r"startScript: .*expected a shell script: image 'scripts-only' has no cloud-init"
    ):
        cloud.create(boot_disk_image_id="scripts-only", start_script=script)
    cloud.running(boot_disk_image_id="scripts-only", start_script="exit 0")
    cloud.call(image_verbs.create_private_vm_image, project_id=PROJECT, vm_id="hello", id="taken")
    cloud.settle()
    with pytest.raises(Invalid, match="image 'taken' has no cloud-init"):
        cloud.create(vm_id="other", boot_disk_image_id="taken", start_script=script)
    cloud.create(vm_id="third", boot_disk_image_id="taken", start_script="exit 0")


def test_an_image_with_cloud_init_takes_them(cloud):
    cloud.running(start_script=CONFIG)


def test_user_data_that_cloud_init_would_pass_over_is_refused(cloud):
    with pytest.raises(Invalid, match="begins with #cloud-confg"):
        cloud.create(start_script="#cloud-confg\n")
