"""What the doctors of hosts find is kept with each host, told when it is news, and looked for again."""

from types import SimpleNamespace

import pytest
from tests.made_up import make_cloud

from cumulet.doctor.calls import Finding, Level, degraded
from cumulet.errors import Unavailable
from cumulet.feed.operations import list_all_events
from cumulet.fleet import operations
from cumulet.hosts import Host
from cumulet.line.far_host import FarHost
from cumulet.line.wire import DATA_DIR, PACKAGES, HostWish
from cumulet.reconcile import Run
from cumulet.serve.doctors import examine
from cumulet.settings import read_settings

SLOW = degraded("kvm", "there is no /dev/kvm", cost="VMs run ten times slower", cure="modprobe kvm_intel")
WELL = Finding("memory", Level.OK, "64 GiB")


@pytest.fixture
def cloud(database, tmp_path):
    return make_cloud(database, tmp_path, hypervisor="memory:?hosts=1&vcpus=8&memory_gib=16&disk_gib=100")


def examined(cloud):
    """Have it done now, and show the host."""
    cloud.call(operations.examine_host, id="memory-1")
    cloud.run()
    return cloud.call(operations.get_host, id="memory-1").host


def told(cloud):
    return [one.text for one in cloud.call(list_all_events, event=["host.examined"]).events]


def test_what_is_not_well_is_kept_with_its_cost_and_its_cure(cloud):
    cloud.findings = [WELL, SLOW]
    host = examined(cloud)
    (found,) = host.findings
    assert (found.name, found.level, found.text) == ("kvm", Level.DEGRADED, "there is no /dev/kvm")
    assert (found.cost, found.cure) == ("VMs run ten times slower", "modprobe kvm_intel")
    assert host.examined_time == cloud.clock()


def test_findings_are_told_when_they_are_news(cloud):
    cloud.findings = [SLOW]
    examined(cloud)
    examined(cloud)
    assert told(cloud) == ["to be mended: kvm"]
    cloud.findings = [WELL]
    assert examined(cloud).findings == []
    assert told(cloud) == ["to be mended: kvm", "to be mended: nothing"]


def test_a_host_is_examined_again_every_quarter_of_an_hour(cloud):
    examined(cloud)
    cloud.findings = [SLOW]
    cloud.pass_time(15 * 60)
    assert len(cloud.call(operations.get_host, id="memory-1").host.findings) == 1


def test_what_was_found_stays_while_a_host_does_not_answer(cloud):
    cloud.findings = [SLOW]
    before = examined(cloud)
    cloud.host.unreachable = True
    cloud.clock.advance(60)
    host = examined(cloud)
    assert (host.findings, host.examined_time) == (before.findings, before.examined_time)
    assert cloud.due("examination", cloud.host_id).error == ""


def test_a_host_that_did_not_answer_is_examined_as_soon_as_it_does(cloud):
    cloud.host.unreachable = True
    cloud.findings = [SLOW]
    examined(cloud)
    cloud.host.unreachable = False
    cloud.pass_time(60)
    assert [one.name for one in cloud.call(operations.get_host, id="memory-1").host.findings] == ["kvm"]


def test_a_doctor_that_cannot_look_says_so(cloud, monkeypatch):
    def fail():
        raise Unavailable("examining a host needs root: run it again with sudo")

    monkeypatch.setattr(cloud.host, "ping", fail)
    (found,) = examined(cloud).findings
    assert (found.name, found.text) == ("doctor", "examining a host needs root: run it again with sudo")


def test_nobody_examines_a_host_that_was_removed(cloud):
    examined(cloud)
    cloud.call(operations.remove_host, id="memory-1")
    cloud.pass_time(60 * 60)
    assert cloud.count(Host) == 0


def test_a_host_that_is_far_away_is_looked_at_there_with_its_disk_pools(cloud, tmp_path):
    asked = []
    far = FarHost(lambda: None, HostWish("", tmp_path, {}))
    far.doctor = SimpleNamespace(examine=lambda *given, **more: asked.append((given, more)) or [SLOW])
    cloud.backends.hosts[cloud.host_id] = far
    with cloud.database.writing() as db:
        db.get_one(Host, cloud.host_id).uri = "ssh://root@node-1"
    run = Run(cloud.database, SimpleNamespace(id=cloud.host_id), cloud.clock())
    settings = read_settings({"CUMULET_HYPERVISOR": "qemu:///system", "CUMULET_DATA_DIR": str(tmp_path)})
    assert examine(run, cloud.backends, settings) == [SLOW]
    assert asked == [((DATA_DIR,), {"packages": PACKAGES, "pools": {}, "ceph": {}})]
