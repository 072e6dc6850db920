"""Moving VMs between hosts in memory, and watching that they run once."""

from collections import Counter

from sqlalchemy import func, select
from tests.crash.faults import Point, Where
from tests.made_up import PROJECT
from tests.toy_reconcilers import Crash

from cumulet.db import UNREACHABLE
from cumulet.hosts import Host, Reservation
from cumulet.hypervisor import HypervisorError, Power
from cumulet.hypervisor.carrier import Carrier
from cumulet.vms import Backends, move_operations, operations
from cumulet.vms.wire import MoveVm


def names(cloud):
    with cloud.database.reading() as db:
        return dict(db.execute(select(Host.id, Host.name)).all())


def move(cloud, *, to="", restart=False):
    data = MoveVm(project_id=PROJECT, vm_id="hello", host_id=to, restart=restart)
    cloud.call(move_operations.move_vm, data=data)


def abort(cloud):
    cloud.call(move_operations.abort_vm_move, id=f"{PROJECT}:hello")


def host_of(cloud):
    return cloud.hosts[cloud.row().host_id]


def other_of(cloud):
    (other,) = (host for id, host in cloud.hosts.items() if id != cloud.row().host_id)
    return other


def stopped(cloud):
    cloud.running()
    cloud.ask(operations.stop_vm)
    cloud.settle()


def reserved(cloud):
    with cloud.database.reading() as db:
        sums = select(Reservation.host_id, func.sum(Reservation.memory_mib), func.sum(Reservation.disk_gib))
        return {id: (memory, disk) for id, memory, disk in db.execute(sums.group_by(Reservation.host_id))}


def nothing_left(host):
    contents = host.contents
    return not (contents.machines or contents.disks or contents.seeds or contents.consoles)


RUNS = frozenset(Power) - {Power.OFF, Power.IN_MOVE, Power.ARRIVED}
"""A machine that is held still by a move writes nothing."""


class Witness:
    """Looks at all hosts with every call of one: in how many places a VM runs at most."""

    def __init__(self, cloud, monkeypatch):
        self.most = 0
        for host in cloud.hosts.values():
            self._watch(cloud, host, monkeypatch)

    def _watch(self, cloud, host, monkeypatch):
        run_verb = host.run_verb

        def watched(body):
            try:
                return run_verb(body)
            finally:
                machines = [one for each in cloud.hosts.values() for one in each.contents.machines.values()]
                running = Counter(one.spec.id for one in machines if one.power in RUNS)
                self.most = max(self.most, *running.values(), 0)

        monkeypatch.setattr(host, "run_verb", watched)


def survive(cloud, seconds):
    """Let time pass; where the process dies, another one goes on, with nothing on its way."""
    end = cloud.clock.now.timestamp() + seconds
    while (left := end - cloud.clock.now.timestamp()) > 0:
        try:
            cloud.pass_time(left)
        except (Crash, *UNREACHABLE):
            have_another_go_on(cloud)


def have_another_go_on(cloud):
    """Have another process go on, which has nothing on its way."""
    old = cloud.backends
    cloud.backends = Backends(old.hosts, old.fabrics, old.images, carrier=Carrier())
    cloud.reconciler = cloud.new_reconciler()


LONG_ENOUGH = 200.0
"""Seconds: a lease, two looks at the hosts and a grace."""


def calls_of_a_move(cloud, which, *, restart):
    """How many calls of a kind there are until it runs on the other host, and a few."""
    source, target = host_of(cloud), other_of(cloud)
    calls = calls_of(lambda: move(cloud, restart=restart), cloud, which, source=source, target=target)
    assert host_of(cloud) is target
    return calls


def calls_of(ask, cloud, which, *, source, target):
    """How many calls of a kind there are until what is asked for is done, and a few."""

    def count():
        return {
            "source": source.call_count,
            "target": target.call_count,
            "commit": cloud.database.commit_count,
        }

    before = count()
    ask()
    cloud.settle()
    return count()[which] - before[which] + 1


def arm(cloud, which, call, *, after, dies, source, target):
    if which == "commit":
        point = Point(Where.COMMIT, call, after=after, dies=dies)
        cloud.database.fault = (cloud.database.commit_count + call, point)
        return
    host = source if which == "source" else target
    error = Crash(f"{which} {call}") if dies else HypervisorError("stumbled")
    host.crash_on_call(call, error, after=after)
