"""What Ctrl-K finds: things of a project, each with its page."""

from cumulet.networks.operations import create_network
from cumulet.networks.wire import CreateNetwork
from cumulet.private_images.create import create_private_vm_image
from cumulet.security_groups.operations import create_security_group
from cumulet.security_groups.wire import CreateSecurityGroup


def test_each_kind_of_thing_is_found_by_a_part_of_its_name_and_leads_to_its_page(signed_in, cloud):
    cloud.running(vm_id="my-vm")
    cloud.create_disk("my-disk")
    network = CreateNetwork(id="my-network", data_center_id="local", ip_range="10.1.0.0/24")
    cloud.call(create_network, project_id="default", data=network)
    cloud.call(create_private_vm_image, project_id="default", vm_id="my-vm", id="my-image")
    group = CreateSecurityGroup(id="my-group", data_center_id="local", rules=[])
    cloud.call(create_security_group, project_id="default", data=group)
    cloud.settle()
    browser = signed_in()
    found = {one["name"]: one["url"] for one in browser.get("/find?q=my-").json()}
    for name, url in {
        "my-vm": "/p/default/vms/my-vm",
        "my-disk": "/p/default/disks/my-disk",
        "my-network": "/p/default/networks/my-network",
        "my-image": "/p/default/images/my-image",
        "my-group": "/p/default/security-groups/my-group",
    }.items():
        assert found[name] == url
        assert browser.get(url).status_code == 200
