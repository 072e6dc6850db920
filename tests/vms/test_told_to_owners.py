"""What fails under a VM is told to its owner without what only the operator may know: hosts, paths, addresses, processes."""

import msgspec
import pytest
from tests.made_up import PROJECT
from tests.projects.people import add_user

from cumulet.console import operations as screens
from cumulet.disks import operations as disk_verbs
from cumulet.errors import CumuletError, Failure
from cumulet.fabric import FabricError
from cumulet.hypervisor import GuestRefused, HypervisorError, ImageCapture, ImageCopy
from cumulet.networks import operations as network_verbs
from cumulet.private_images import create as taking_verbs
from cumulet.private_images import operations as image_verbs
from cumulet.projects import Role
from cumulet.rest.faults import encoded
from cumulet.vms import operations

SECRET = "qemu+ssh://root@rack7/system 10.9.8.7 /var/lib/cumulet/disks/x.qcow2 pid 4711"
CALLS = 8


@pytest.fixture
def database_kind() -> str:
    """What is told of a failure is decided before anything is written; the words are plain ones."""
    return "sqlite"


def kinds_of(kind):
    """A class of failures and all below it."""
    return {kind}.union(*map(kinds_of, kind.__subclasses__()))


OF_HOSTS = sorted(kinds_of(HypervisorError) - {GuestRefused}, key=lambda kind: kind.__name__)
"""What a guest refuses it does in its own words, which are its owner's."""
OF_FABRICS = sorted(kinds_of(FabricError), key=lambda kind: kind.__name__)
MISTAKES = [OSError, KeyError, ValueError]


def read_by_owner(cloud):
    """All that the project's members can read now."""
    shown = [
        cloud.call(operations.list_vms, project_id=PROJECT),
        cloud.call(disk_verbs.list_disks, project_id=PROJECT),
        cloud.call(network_verbs.list_networks, project_id=PROJECT),
        cloud.call(image_verbs.list_private_vm_images, project_id=PROJECT),
        cloud.vm(),
        cloud.ask(operations.get_vm_timeline),
    ]
    return msgspec.json.encode(shown).decode()


@pytest.mark.parametrize("kind", [*OF_HOSTS, *MISTAKES], ids=lambda kind: kind.__name__)
def test_whatever_a_host_fails_with_only_the_operator_reads_why(kind, cloud):
    cloud.create()
    for n in range(1, CALLS):
        cloud.host.crash_on_call(n, kind(SECRET), after=False)
        cloud.run()
        assert "rack7" not in read_by_owner(cloud)
        assert "pid 4711" not in read_by_owner(cloud)
        cloud.pass_time(61)
    cloud.ask(operations.stop_vm)
    cloud.host.crash_on_call(2, kind(SECRET), after=False)
    cloud.run()
    assert "rack7" not in read_by_owner(cloud)


@pytest.mark.parametrize("kind", [*OF_FABRICS, *MISTAKES], ids=lambda kind: kind.__name__)
def test_whatever_a_fabric_fails_with_only_the_operator_reads_why(kind, cloud):
    cloud.create()
    for n in range(1, CALLS):
        cloud.fabric.crash_on_call(n, kind(SECRET), after=False)
        cloud.run()
        assert "rack7" not in read_by_owner(cloud)
        cloud.pass_time(61)


@pytest.mark.parametrize("kind", [*OF_HOSTS, *OF_FABRICS], ids=lambda kind: kind.__name__)
def test_a_failure_under_a_call_answers_without_its_reason_which_logs_have(kind):
    failure = kind(SECRET)
    assert b"rack7" not in encoded(failure)
    assert failure.message
    assert (str(failure), failure.for_operator) == (SECRET, SECRET)


def test_what_is_built_on_fails_in_the_one_way_that_keeps_reasons_from_owners():
    assert {*OF_HOSTS, *OF_FABRICS} <= kinds_of(Failure)
    assert issubclass(Failure, CumuletError)


def test_a_picture_that_a_host_cannot_take_is_refused_without_its_reason(cloud):
    cloud.running()
    cloud.host.crash_on_call(1, HypervisorError(SECRET), after=False)
    with cloud.database.writing() as db:
        owner = add_user(db, "ann", default=Role.OWNER)
    with pytest.raises(CumuletError) as refused:
        cloud.ask(screens.get_vm_screenshot, caller=owner)
    assert b"rack7" not in encoded(refused.value)
    assert "rack7" in refused.value.for_operator


def test_images_that_cannot_be_copied_or_taken_say_so_without_the_hosts_reason(cloud, monkeypatch):
    cloud.running()
    monkeypatch.setattr(cloud.host.images, "capture", lambda _: ImageCapture(0.4, error=SECRET))
    cloud.call(taking_verbs.create_private_vm_image, project_id=PROJECT, vm_id="hello", id="golden")
    cloud.settle()
    assert "rack7" not in read_by_owner(cloud)
    monkeypatch.setattr(
        cloud.host.images, "copy", lambda *_: ImageCopy(ready=False, fraction=0, error=SECRET)
    )
    cloud.create(vm_id="second")
    cloud.run()
    assert "rack7" not in read_by_owner(cloud)
    assert "cannot be copied to the host" in cloud.vm("second").problem
