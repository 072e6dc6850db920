"""What is not settled, as operators are told of it."""

from datetime import timedelta

from tests.made_up import PROJECT

from cumulet.due import Due, Kind
from cumulet.hosts import Host
from cumulet.monitoring.unsettled import list_unsettled
from cumulet.vm_record import Vm


def test_what_failed_or_is_overdue_is_told_by_name_the_longest_first(cloud):
    cloud.running(vm_id="web")
    with cloud.database.writing() as db:
        db.query(Due).delete()
        ((vm, host),) = db.query(Vm.id, Host.id).join(Host, Host.id == Vm.host_id)
        facts = {"due_at": cloud.clock(), "lease": None, "leased_until": None, "held_until": None}
        for kind, id, minutes, overdue, error in (
            (Kind.VM, vm, 3, False, "no room"),
            (Kind.HOST, host, 20, True, ""),
            (Kind.FABRIC, vm, 1, False, ""),
        ):
            since = cloud.clock() - timedelta(minutes=minutes)
            db.add(Due(kind=kind, id=id, since=since, overdue=overdue, error=error, **facts))
    first, second = cloud.call(list_unsettled).unsettled
    assert (first.kind, first.project_id, first.overdue) == ("host", "", True)
    assert first.id.startswith("memory")
    assert (second.kind, second.project_id, second.id, second.error) == ("vm", PROJECT, "web", "no room")
