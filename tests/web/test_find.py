"""What Ctrl-K finds: things of a project, who belongs to it, and keys, each with its page."""

from tests.projects.people import add_user, ed25519_line

from cumulet.disks.snapshot_operations import create_disk_snapshot
from cumulet.disks.wire import CreateDiskSnapshot
from cumulet.networks.operations import create_network
from cumulet.networks.wire import CreateNetwork
from cumulet.private_images.create import create_private_vm_image
from cumulet.projects import Role
from cumulet.security_groups.operations import create_security_group
from cumulet.security_groups.wire import CreateSecurityGroup


def test_each_kind_of_thing_is_found_by_a_part_of_its_name_and_leads_to_its_page(signed_in, cloud):
    cloud.running(vm_id="my-vm")
    cloud.used_disk("my-disk")
    network = CreateNetwork(id="my-network", data_center_id="local", ip_range="10.1.0.0/24")
    cloud.call(create_network, project_id="default", data=network)
    cloud.call(create_private_vm_image, project_id="default", vm_id="my-vm", id="my-image")
    group = CreateSecurityGroup(id="my-group", data_center_id="local", rules=[])
    cloud.call(create_security_group, project_id="default", data=group)
    cloud.settle()
    snapshot = CreateDiskSnapshot(snapshot_id="my-snapshot")
    cloud.call(create_disk_snapshot, project_id="default", id="my-disk", data=snapshot)
    browser = signed_in()
    found = {one["name"]: one["url"] for one in browser.get("/find?q=my-").json()}
    for name, url in {
        "my-vm": "/p/default/vms/my-vm",
        "my-disk": "/p/default/disks/my-disk",
        "my-snapshot": "/p/default/disks/my-disk#snapshots",
        "my-network": "/p/default/networks/my-network",
        "my-image": "/p/default/images/my-image",
        "my-group": "/p/default/security-groups/my-group",
    }.items():
        assert found[name] == url
        assert browser.get(url).status_code == 200


def test_one_s_own_keys_are_found_and_nobody_else_s(signed_in):
    ann = signed_in()
    ann.send("/keys/api", on="/keys", apikeyId="my-robot", expireTime="")
    ann.send("/keys/ssh", on="/keys", publicKey=ed25519_line(7, "ann@my-laptop"))
    found = ann.get("/find?q=My-").json()
    assert [(one["what"], one["url"]) for one in found] == [
        ("API key", "/keys#api"),
        ("SSH key", "/keys#ssh"),
    ]
    assert found[1]["name"].startswith("SHA256:")
    assert found[1]["name"].endswith(" ann@my-laptop")
    assert signed_in(Role.VIEWER, "bob").get("/find?q=my-").json() == []


def test_who_belongs_to_the_project_at_hand_is_found(signed_in, cloud):
    browser = signed_in(Role.VIEWER)
    with cloud.database.writing() as db:
        id = add_user(db, "zoe", default=Role.EDITOR).user_id
    url = f"/p/default/members#member-{id}"
    assert [one["url"] for one in browser.get("/find?q=zoe&project=default").json()] == [url]
    assert f'id="member-{id}"' in browser.get("/p/default/members").text
    assert browser.get("/find?q=zoe").json() == []
    assert browser.get("/find?q=zoe&project=nowhere").status_code == 404
