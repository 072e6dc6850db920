"""Who looks after a data center: its hosts are there for them and no others, as far as their role goes."""

import pytest
from tests.made_up import make_cloud
from tests.projects.people import add_user

from cumulet.errors import Forbidden, Invalid, NotFound
from cumulet.fleet import member_operations as members
from cumulet.fleet import operations as hosts
from cumulet.fleet.wire import AskOfHost
from cumulet.gpus import operations as gpus
from cumulet.hosts import Host
from cumulet.journal import Event
from cumulet.operation import OPERATIONS
from cumulet.projects import Role
from cumulet.projects.model import DataCenterMember
from cumulet.projects.people_wire import AddPermission, PermissionRole, RemovePermission

ONE, TWO = "memory-1", "memory-2"


@pytest.fixture
def cloud(database, tmp_path):
    """Two data centers of a host each, as far as their operators know."""
    cloud = make_cloud(database, tmp_path, hypervisor="memory:?hosts=2&gpus=1&gpu_model=H100")
    cloud.sweep()
    with database.writing() as db:
        db.query(Host).filter(Host.name == TWO).one().data_center_id = "far"
    return cloud


@pytest.fixture
def ann(cloud):
    with cloud.database.writing() as db:
        return add_user(db, "ann")


def add(cloud, role, address="ann@example.org", caller=None, data_center_id="local"):
    data = AddPermission(address, PermissionRole[role])
    return cloud.call(
        members.add_data_center_user_permission, caller, data_center_id=data_center_id, data=data
    )


def remove(cloud, caller=None, **whom):
    data = RemovePermission(**whom)
    cloud.call(members.remove_data_center_user_permission, caller, data_center_id="local", data=data)


def listed(cloud, caller=None, **which):
    shown = cloud.call(OPERATIONS["list_user_permissions"].function, caller, **which)
    return {(one.user_email, one.data_center_id): one.role for one in shown.data_center_permissions}


def test_a_viewer_sees_the_hosts_and_gpus_of_their_data_center_alone(cloud, ann):
    add(cloud, "OWNER", "bob@example.org")
    assert listed(cloud, ann, data_center_id="local") == {}
    with pytest.raises(Forbidden, match="AUDITOR in this cloud, or VIEWER in a data center"):
        cloud.call(hosts.list_hosts, ann)
    assert add(cloud, "VIEWER").invitation is None
    assert [one.id for one in cloud.call(hosts.list_hosts, ann).hosts] == [ONE]
    assert cloud.call(hosts.get_host, ann, id=ONE).host.id == ONE
    (gpu,) = cloud.call(gpus.list_gpus, ann).gpus
    assert cloud.call(gpus.get_gpu, ann, id=gpu.id).gpu.host_id == ONE
    for verb, id in ((hosts.get_host, TWO), (gpus.get_gpu, gpu.id.replace(ONE, TWO))):
        with pytest.raises(NotFound) as refused:
            cloud.call(verb, ann, id=id)
        assert TWO not in str(refused.value).replace(id, "")
    with pytest.raises(NotFound):
        cloud.call(gpus.list_gpus, ann, host_id=TWO)
    with pytest.raises(Forbidden, match="EDITOR"):
        cloud.call(hosts.cordon_host, ann, id=ONE, data=AskOfHost())


def test_an_editor_keeps_the_hosts_there_and_an_owner_decides_who_may(cloud, ann):
    add(cloud, "EDITOR")
    cloud.call(hosts.cordon_host, ann, id=ONE, data=AskOfHost())
    (gpu,) = cloud.call(gpus.list_gpus, ann).gpus
    cloud.call(gpus.withdraw_gpu, ann, id=gpu.id)
    with pytest.raises(NotFound):
        cloud.call(hosts.cordon_host, ann, id=TWO, data=AskOfHost())
    for verb in (hosts.lose_host, hosts.remove_host):
        with pytest.raises(Forbidden, match="OPERATOR"):
            cloud.call(verb, ann, id=ONE, **({"data": None} if verb is hosts.lose_host else {}))
    with pytest.raises(Forbidden):
        add(cloud, "VIEWER", "bob@example.org", ann)
    add(cloud, "OWNER")
    assert add(cloud, "VIEWER", "bob@example.org", ann).invitation.code
    assert listed(cloud, ann, data_center_id="local") == {
        ("ann@example.org", "local"): "OWNER",
        ("bob@example.org", "local"): "VIEWER",
    }


def test_a_role_in_one_data_center_is_none_in_another(cloud, ann):
    with cloud.database.writing() as db:
        db.add(DataCenterMember(user_id=ann.user_id, data_center_id="far", role=Role.OWNER))
        db.add(DataCenterMember(user_id=ann.user_id, data_center_id="local", role=Role.VIEWER))
    with pytest.raises(Forbidden, match="you are VIEWER in data center 'local'"):
        add(cloud, "VIEWER", "bob@example.org", ann)
    with pytest.raises(Forbidden, match="VIEWER in data center 'local'"):
        remove(cloud, ann, user_email="ann@example.org")
    with pytest.raises(Forbidden, match="EDITOR"):
        cloud.call(hosts.cordon_host, ann, id=ONE, data=AskOfHost())
    cloud.call(hosts.cordon_host, ann, id=TWO, data=AskOfHost())
    assert listed(cloud, ann, data_center_id="nowhere") == {}
    assert listed(cloud, ann) == {("ann@example.org", "far"): "OWNER", ("ann@example.org", "local"): "VIEWER"}


def test_who_is_taken_out_sees_no_host_any_more_and_all_of_it_is_told(cloud, ann):
    add(cloud, "VIEWER")
    add(cloud, "VIEWER")
    add(cloud, "EDITOR")
    with pytest.raises(Invalid, match="role"):
        remove(cloud, user_email="ann@example.org", role=PermissionRole.OWNER)
    remove(cloud, user_id=str(ann.user_id), role=PermissionRole.EDITOR)
    with pytest.raises(Forbidden):
        cloud.call(hosts.list_hosts, ann)
    with pytest.raises(Invalid, match="userEmail"):
        remove(cloud, user_email="ann@example.org")
    with cloud.database.reading() as db:
        told = [
            one.text for one in db.query(Event).filter(Event.subject_id == ann.user_id).order_by(Event.id)
        ]
    assert told == [
        "owner@localhost gave ann@example.org the role VIEWER in local",
        "owner@localhost gave ann@example.org the role EDITOR in local",
        "owner@localhost took the role EDITOR in local from ann@example.org",
    ]


def test_what_is_not_right_is_refused_by_its_name(cloud):
    for field, words in (
        ("role", {"role": "UNKNOWN"}),
        ("userEmail", {"role": "VIEWER", "address": "nobody"}),
    ):
        with pytest.raises(Invalid, match=field):
            add(cloud, **words)
    with pytest.raises(NotFound, match="local"):
        add(cloud, "VIEWER", data_center_id="nowhere")


def test_a_removed_user_looks_after_nothing(cloud, ann):
    add(cloud, "OWNER")
    cloud.call(OPERATIONS["remove_user"].function, id="ann@example.org")
    assert listed(cloud, data_center_id="local") == {}
