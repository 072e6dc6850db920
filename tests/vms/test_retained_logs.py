"""The last words of VMs that are gone."""

import pytest
from tests.made_up import PROJECT, Cloud, make_cloud, with_limits
from tests.projects.people import add_user

from cumulet.errors import NotFound
from cumulet.projects import Role
from cumulet.vms import operations as verbs
from cumulet.vms import retained_logs

DAY = 24 * 3600
WEEK = 7 * DAY


def make_and_remove(cloud: Cloud, id: str = "hello", said: bytes = b"") -> None:
    cloud.create(vm_id=id)
    cloud.settle()
    cloud.host.contents.consoles[cloud.row(id).id] += said
    cloud.ask(verbs.terminate_vm, id)
    cloud.settle()


def said(cloud: Cloud, id: str = "hello", caller=None) -> str:
    return cloud.ask(verbs.get_vm_console_log, id, caller).text


def test_what_a_vm_said_can_be_read_when_it_is_gone(cloud):
    make_and_remove(cloud, said=b"panic \xff!\n")
    assert said(cloud) == "start 1 of hello\npanic \ufffd!\n"
    assert cloud.host.contents.consoles == {}


def test_only_members_of_its_project_read_it(cloud):
    make_and_remove(cloud)
    with cloud.database.writing() as db:
        viewer, stranger = add_user(db, "vera", **{PROJECT: Role.VIEWER}), add_user(db, "stan")
    assert said(cloud, caller=viewer)
    with pytest.raises(NotFound, match="there is no project 'default'"):
        said(cloud, caller=stranger)


def test_a_vm_that_never_was_has_said_nothing(cloud):
    make_and_remove(cloud)
    with pytest.raises(NotFound, match="there is no VM 'other'"):
        said(cloud, "other")


def test_a_new_vm_of_that_name_speaks_for_itself_and_the_newest_that_is_gone_is_shown(cloud):
    make_and_remove(cloud, said=b"the first\n")
    cloud.create()
    cloud.settle()
    assert said(cloud) == "start 2 of hello\n"
    cloud.pass_time(5)
    cloud.ask(verbs.terminate_vm)
    cloud.settle()
    assert said(cloud) == "start 2 of hello\n"


def test_it_is_kept_for_a_week(cloud):
    make_and_remove(cloud)
    cloud.clock.advance(WEEK - 60)
    cloud.sweep()
    assert said(cloud)
    cloud.clock.advance(120)
    cloud.sweep()
    with pytest.raises(NotFound, match="there is no VM 'hello'"):
        said(cloud)
    assert cloud.count(retained_logs.KeptLog) == 0


def test_it_is_kept_for_as_many_days_as_the_operator_says(database, tmp_path):
    cloud = make_cloud(database, tmp_path, catalogue=with_limits(console_log_days=2))
    make_and_remove(cloud)
    cloud.clock.advance(2 * DAY + 60)
    cloud.sweep()
    assert cloud.count(retained_logs.KeptLog) == 0


def test_of_each_project_as_many_of_the_newest_are_kept_as_the_operator_says(database, tmp_path):
    cloud = make_cloud(database, tmp_path, catalogue=with_limits(console_logs_per_project=2))
    for id in ("one", "two", "three"):
        make_and_remove(cloud, id)
        cloud.clock.advance(1)
    assert said(cloud, "two")
    assert said(cloud, "three")
    with pytest.raises(NotFound):
        said(cloud, "one")


def test_only_the_newest_of_a_long_log_is_kept(cloud):
    make_and_remove(cloud, said=b"old " * 100_000 + b"new")
    kept = said(cloud)
    assert len(kept) == retained_logs.CONSOLE_LOG_BYTES
    assert kept.endswith("old new")


def test_a_vm_that_never_ran_leaves_nothing(cloud):
    cloud.create()
    cloud.ask(verbs.terminate_vm)
    cloud.settle()
    assert cloud.count(retained_logs.KeptLog) == 0
