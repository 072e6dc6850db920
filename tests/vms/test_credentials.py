"""Who may enter a guest that runs: its password and keys, by its agent."""

import pytest
from passlib.hash import sha512_crypt
from sqlalchemy import select
from tests.made_up import PROJECT
from tests.projects.people import add_user, ed25519_line

from cumulet.errors import Forbidden, Invalid, NotFound, Refused
from cumulet.hypervisor import Guest
from cumulet.journal import Event
from cumulet.projects import Role
from cumulet.vm_record.wire import SshKeySource
from cumulet.vms import change_operations as changes
from cumulet.vms import operations as verbs
from cumulet.vms.wire import UpdateVmAuthorizedSshKeys, UpdateVmPassword

PASSWORD = "Corr3ct-horse"
FIRST, SECOND, BY_HAND = (ed25519_line(number) for number in (1, 2, 3))


def set_password(cloud, password=PASSWORD, caller=None, id="hello"):
    data = UpdateVmPassword(password=password)
    return cloud.call(changes.update_vm_password, caller, project_id=PROJECT, id=id, data=data)


def authorize(cloud, *keys, source=SshKeySource.NONE, caller=None, id="hello"):
    data = UpdateVmAuthorizedSshKeys(ssh_key_source=source, custom_ssh_keys=list(keys))
    return cloud.call(changes.update_vm_authorized_ssh_keys, caller, project_id=PROJECT, id=id, data=data)


def guest(cloud):
    return cloud.host.contents.machines[cloud.row().id]


def test_a_guest_that_runs_takes_another_password(cloud):
    cloud.running(password="aB1!56")
    set_password(cloud)
    cloud.settle()
    assert sha512_crypt.verify(PASSWORD, guest(cloud).password_hash)
    assert guest(cloud).password_hash == cloud.row().password_hash
    assert cloud.events()[-2:] == ["vm.password_requested", "vm.password_set"]


def test_keys_of_the_cloud_are_replaced_and_those_put_there_by_hand_stay(cloud):
    cloud.running(custom_ssh_keys=[FIRST])
    guest(cloud).keys = (FIRST, BY_HAND)
    authorize(cloud, SECOND)
    cloud.settle()
    assert guest(cloud).keys == (BY_HAND, SECOND)
    assert cloud.vm().authorized_ssh_keys == SECOND
    authorize(cloud)
    cloud.settle()
    assert guest(cloud).keys == (BY_HAND,)
    assert cloud.vm().authorized_ssh_keys == ""


def test_a_password_set_by_hand_is_not_undone_by_other_keys(cloud):
    cloud.running(password=PASSWORD)
    guest(cloud).password_hash = "by hand"
    authorize(cloud, SECOND)
    cloud.settle()
    assert guest(cloud).password_hash == "by hand"


def test_a_later_seed_agrees(cloud):
    cloud.running(custom_ssh_keys=[FIRST])
    set_password(cloud)
    authorize(cloud, SECOND)
    cloud.settle()
    cloud.ask(verbs.reboot_vm)
    cloud.settle()
    seed = cloud.host.contents.seeds[cloud.row().id]
    assert (seed.ssh_keys, seed.password_hash) == ((SECOND,), "")  # by its agent it has the password already


def test_a_silent_guest_is_waited_for_and_that_is_shown(cloud):
    cloud.running()
    cloud.host.mute = True
    set_password(cloud)
    cloud.pass_time(30)
    assert "agent does not answer" in cloud.vm().waiting_for
    cloud.host.mute = False
    cloud.pass_time(10)
    assert sha512_crypt.verify(PASSWORD, guest(cloud).password_hash)
    assert cloud.vm().waiting_for == ""


def test_a_guest_that_is_stopped_meanwhile_is_told_when_it_runs_again(cloud):
    cloud.running()
    cloud.host.mute = True
    authorize(cloud, SECOND)
    cloud.ask(verbs.stop_vm)
    cloud.settle()
    assert cloud.due("vm", cloud.row().id) is None
    cloud.host.mute = False
    cloud.ask(verbs.start_vm)
    cloud.settle()
    cloud.pass_time(10)
    assert guest(cloud).keys == (SECOND,)


def test_what_a_guest_refuses_is_told_once_and_keeps_nothing_busy(cloud):
    cloud.running()
    cloud.host.stubborn = True
    set_password(cloud)
    authorize(cloud, SECOND)
    cloud.pass_time(60)
    assert [event for event in cloud.events() if "refused" in event] == [
        "vm.password_refused",
        "vm.keys_refused",
    ]
    assert cloud.due("vm", cloud.row().id) is None


def test_of_two_changes_the_later_counts(cloud):
    cloud.running()
    for password in ("aB1!56", PASSWORD):
        set_password(cloud, password)
    cloud.settle()
    assert sha512_crypt.verify(PASSWORD, guest(cloud).password_hash)


@pytest.mark.parametrize("call", [set_password, authorize])
def test_a_vm_that_does_not_run_is_refused(cloud, call):
    cloud.running()
    cloud.ask(verbs.stop_vm)
    cloud.settle()
    with pytest.raises(Refused) as refusal:
        call(cloud)
    assert refusal.value.reason == "VM_NOT_ACTIVE"


@pytest.mark.parametrize("call", [set_password, authorize])
def test_a_guest_that_still_boots_is_refused(cloud, call):
    cloud.create()
    cloud.settle()
    with pytest.raises(Refused, match="its agent does not answer") as refusal:
        call(cloud)
    assert refusal.value.reason == "VM_NOT_READY"


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_so_is_one_whose_first_boot_would_undo_it(cloud):
    cloud.host.booting = Guest(agent=True, first_boot_done=False, start_script_status=None)
    cloud.running()
    with pytest.raises(Refused, match="its first boot is not finished"):
        set_password(cloud)


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_a_guest_that_never_tells_of_its_first_boot_is_believed_in_time(cloud):
    cloud.host.booting = Guest(agent=True, first_boot_done=False, start_script_status=None)
    cloud.running()
    cloud.pass_time(16 * 60)
    set_password(cloud)
    cloud.settle()
    assert guest(cloud).password_hash == cloud.row().password_hash


@pytest.mark.parametrize("password", ["", "weak", "aB1! \t123"])
@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_a_weak_password_is_refused_and_not_repeated(cloud, password):
    cloud.running()
    with pytest.raises(Invalid) as refusal:
        set_password(cloud, password)
    assert refusal.value.message.startswith("password")
    assert repr(password) not in refusal.value.message
    assert cloud.row().password_hash == ""


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_a_bad_key_is_refused_by_its_place(cloud):
    cloud.running()
    with pytest.raises(Invalid, match=r"customSshKeys\[1\]"):
        authorize(cloud, FIRST, "nonsense")


@pytest.mark.parametrize("call", [set_password, authorize])
@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_only_editors_of_its_project_may(cloud, call):
    cloud.running()
    with cloud.database.writing() as db:
        viewer, stranger = add_user(db, "viewer", default=Role.VIEWER), add_user(db, "stranger")
    with pytest.raises(Forbidden):
        call(cloud, caller=viewer)
    with pytest.raises(NotFound, match="'default'"):
        call(cloud, caller=stranger)
    with pytest.raises(NotFound, match="'nobody'"):
        call(cloud, id="nobody")


def test_no_password_is_kept_or_told_in_the_clear(cloud):
    cloud.running()
    set_password(cloud)
    cloud.settle()
    with cloud.database.reading() as db:
        told = " ".join(db.scalars(select(Event.text)))
    row = cloud.row()
    for place in (
        told,
        row.password_hash,
        row.password_in_guest,
        repr(cloud.vm()),
        guest(cloud).password_hash,
    ):
        assert PASSWORD not in place
    assert row.password_hash not in told + repr(cloud.vm())
