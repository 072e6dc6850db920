"""Two servers on one PostgreSQL and one world, in real time: one of them is killed at work, the other goes on."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select
from tests.made_up import PROJECT, make_cloud
from tests.toy_reconcilers import Crash
from tests.waiting import eventually

from cumulet import reconcile
from cumulet.hypervisor import Power
from cumulet.journal import Event
from cumulet.reconcile import Reconciler
from cumulet.vm_record import Vm
from cumulet.vm_record.wire import VmState
from cumulet.vms import operations as verbs

NAMES = [f"vm-{number:02}" for number in range(12)]


@pytest.fixture
def cloud(database, tmp_path):
    cloud = make_cloud(database, tmp_path, hypervisor="memory:?hosts=3")
    cloud.clock = lambda: datetime.now(UTC)
    return cloud


def server_that_dies(database, cloud, runs):
    """A reconciler whose process is gone after so many runs, in the midst of those under way."""
    left = itertools.count(runs, -1)
    real = cloud.reconcilers(cloud.database)

    def dying(run):
        if next(left) <= 0:
            raise Crash
        look_again = real[run.claim.kind](run)
        if next(left) <= 0:
            raise Crash
        return look_again

    return Reconciler(database, dict.fromkeys(real, dying), workers=2)


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_what_a_killed_server_left_the_other_one_finishes(cloud, open_database, monkeypatch):
    monkeypatch.setattr(reconcile, "LEASE", timedelta(seconds=1))
    dying = server_that_dies(open_database(), cloud, runs=15)
    living = Reconciler(open_database(), cloud.reconcilers(cloud.database), workers=2)
    for name in NAMES:
        cloud.create(vm_id=name)
    dying.start()
    living.start()
    eventually(lambda: states(cloud) == dict.fromkeys(NAMES, VmState.ACTIVE))
    machines = [machine for host in cloud.hosts.values() for machine in host.machines.list().values()]
    assert [machine.power for machine in machines] == [Power.RUNNING] * len(NAMES)
    assert starts(cloud) == len(NAMES)
    for name in NAMES:
        cloud.ask(verbs.terminate_vm, name)
    eventually(lambda: cloud.count(Vm) == 0)
    living.stop()
    dying.stop()
    assert not any(host.machines.list() or host.disks.list() for host in cloud.hosts.values())


def states(cloud):
    vms = cloud.call(verbs.list_vms, project_id=PROJECT).vms
    return {vm.id: vm.state for vm in vms}


def starts(cloud):
    """How often the journal tells that a machine was started."""
    with cloud.database.reading() as db:
        return len(db.scalars(select(Event).where(Event.event == "vm.started")).all())
