"""The real daemons on a private host: run by `tests/lab/enter pytest -m lab tests/doctor`."""

import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path

import pytest
from tests.waiting import eventually

from cumulet.doctor import bridges, daemon_specs, daemons, forwarding
from cumulet.doctor.clear import clear_host
from cumulet.doctor.command import CommandFailed, output_of, succeeds
from cumulet.doctor.daemon_specs import ANSWERS
from cumulet.doctor.daemons import PATHS, find_silent, instruct_supervisor, is_supervised, stop_daemons
from cumulet.doctor.examine import examine
from cumulet.doctor.findings import Level
from cumulet.doctor.ports import ensure_ports
from cumulet.doctor.prepare import ensure_bridges, ensure_uplink, prepare_host
from cumulet.doctor.supervisor import read_status
from cumulet.doctor.uplink import NOTHING, Reach
from cumulet.errors import Refused

pytestmark = pytest.mark.lab

GATEWAY = IPv4Interface("203.0.113.1/24")
DIES_WITH_LIBVIRT = """
<domain type='qemu'><name>bare</name><memory unit='MiB'>32</memory>
  <os><type arch='x86_64' machine='q35'>hvm</type></os>
  <devices><interface type='bridge'><source bridge='br-int'/><virtualport type='openvswitch'/></interface></devices>
</domain>
"""


def daemon_pid(name):
    return read_status(PATHS).daemons[name].pid


@pytest.fixture
def external(host):
    """The private host with an external bridge."""
    bridges.ensure_external_bridge("br-ex", GATEWAY, datapath=host.datapath)
    yield host
    bridges.remove_external_bridge("br-ex")


@pytest.fixture
def vm(host):
    """A VM of no use but to be there; the pid of its QEMU."""
    output_of("virsh", "create", "/dev/stdin", stdin=DIES_WITH_LIBVIRT)
    yield int(Path("/run/libvirt/qemu/bare.pid").read_text())
    succeeds("virsh", "destroy", "bare")


def is_ovn_connected():
    return "connected" in output_of("ovn-appctl", "-t", "ovn-controller", "connection-status").split()


def test_a_bare_host_is_prepared_once(bare_host):
    assert find_silent() == list(ANSWERS)
    first = prepare_host()
    assert first.started == tuple(ANSWERS)
    assert find_silent() == []
    eventually(lambda: first.chassis in output_of("ovn-sbctl", "show"))
    pids = [daemon_pid(name) for name in ANSWERS]
    assert prepare_host().started == ()
    assert [daemon_pid(name) for name in ANSWERS] == pids


def test_two_who_prepare_at_once_start_one_of_each(bare_host):
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda _: prepare_host(), range(3)))
    for program in ("libvirtd", "ovs-vswitchd", "ovn-controller"):
        count = ("pgrep", "--count", "--exact", program)  # with children that are about to be another program
        eventually(lambda count=count: output_of(*count).strip() == "1")


@pytest.mark.parametrize("name", ANSWERS)
def test_a_killed_daemon_comes_back(host, name):
    before = daemon_pid(name)
    os.kill(before, signal.SIGKILL)
    eventually(lambda: daemon_pid(name) not in (None, before) and ANSWERS[name]())


def test_ovn_does_not_wait_when_the_switch_was_killed(host):
    eventually(is_ovn_connected)
    before = daemon_pid("ovn-controller")
    os.kill(daemon_pid("ovs-vswitchd"), signal.SIGKILL)
    eventually(
        lambda: daemon_pid("ovn-controller") not in (None, before) and succeeds("ovn-appctl", "version")
    )
    eventually(lambda: ANSWERS["ovn-controller"]() and is_ovn_connected())


def test_a_host_that_got_another_name_is_entered_under_that_alone(host):
    output_of("ovs-vsctl", "set", "Open_vSwitch", ".", "external_ids:system-id=renamed")
    os.kill(daemon_pid("ovn-controller"), signal.SIGKILL)
    assert prepare_host().chassis == "renamed"
    eventually(lambda: "renamed" in output_of("ovn-sbctl", "--bare", "--columns=name", "list", "Chassis"))
    eventually(lambda: host.chassis not in output_of("ovn-sbctl", "show"))


def test_a_vm_outlives_the_supervisor_and_libvirt_finds_it_again(vm):
    supervisor = read_status(PATHS).pid
    os.kill(supervisor, signal.SIGKILL)
    eventually(lambda: read_status(PATHS).pid != supervisor and is_supervised() and not find_silent())
    assert output_of("virsh", "domstate", "bare").strip() == "running"
    assert Path(f"/proc/{vm}/comm").read_text().startswith("qemu-system")


def test_a_dead_vm_is_reaped_though_its_libvirt_was_killed(vm):
    os.kill(daemon_pid("libvirtd"), signal.SIGKILL)
    os.kill(vm, signal.SIGKILL)
    eventually(lambda: not Path(f"/proc/{vm}").exists())


def test_a_missing_daemon_is_started_beside_those_of_others(bare_host):
    """An existing libvirtd and Open vSwitch are used and left alone; only OVN is started."""
    for directory in ("/run/libvirt", "/run/openvswitch"):
        Path(directory).mkdir(exist_ok=True)
    with subprocess.Popen(("virtlogd",)) as virtlogd, subprocess.Popen(("libvirtd",)) as libvirtd:
        switch = "/usr/share/openvswitch/scripts/ovs-ctl"
        output_of(switch, "start", "--system-id=theirs", "--no-record-hostname")
        try:
            eventually(ANSWERS["libvirtd"])
            prepared = prepare_host()
            assert prepared.started == ("ovn-nb", "ovn-sb", "ovn-northd", "ovn-controller")
            assert prepared.chassis == "theirs"
            stop_daemons()
            assert find_silent() == ["ovn-nb", "ovn-sb", "ovn-northd", "ovn-controller"]
        finally:
            output_of(switch, "stop")
            libvirtd.terminate()
            virtlogd.terminate()


def test_an_external_bridge_leads_out(external):
    assert "inet 203.0.113.1/24" in output_of("ip", "address", "show", "br-ex")
    assert "masquerade" in output_of("nft", "list", "table", "inet", "cumulet_br-ex")
    assert forwarding.FORWARDING.read_text() == "1\n"
    assert 'iifname "br-ex" accept' in output_of("nft", "list", "table", "inet", "cumulet_forwarding")
    assert "tx-checksumming: off" in output_of("ethtool", "--show-offload", "br-ex")
    assert bridges.read_switch().mappings == "br-ex:br-ex"


def test_a_bridge_that_is_right_is_not_touched(external):
    changes = output_of("ovs-vsctl", "get", "Open_vSwitch", ".", "next_cfg")
    bridges.ensure_external_bridge("br-ex", GATEWAY, datapath=external.datapath)
    assert output_of("ovs-vsctl", "get", "Open_vSwitch", ".", "next_cfg") == changes


@pytest.mark.parametrize(
    "harm",
    [
        ("ovs-vsctl", "del-br", "br-ex"),
        ("ip", "address", "flush", "dev", "br-ex"),
        ("ip", "link", "set", "br-ex", "down"),
        ("nft", "delete", "table", "inet", "cumulet_br-ex"),
        ("nft", "delete", "table", "inet", "cumulet_forwarding"),
        ("ovs-vsctl", "remove", "Open_vSwitch", ".", "external_ids", "ovn-bridge-mappings"),
    ],
    ids=lambda harm: " ".join(harm[:3]),
)
def test_what_was_taken_from_a_bridge_by_hand_is_mended(external, harm):
    output_of(*harm)
    bridges.ensure_external_bridge("br-ex", GATEWAY, datapath=external.datapath)
    test_an_external_bridge_leads_out(external)


def test_preparing_again_mends_the_bridges_that_are_known(external):
    output_of("ip", "address", "flush", "dev", "br-ex")
    prepare_host()
    test_an_external_bridge_leads_out(external)


def test_a_bridge_may_get_another_range(external):
    bridges.ensure_external_bridge("br-ex", IPv4Interface("198.51.100.1/25"), datapath=external.datapath)
    shown = output_of("ip", "address", "show", "br-ex")
    assert "198.51.100.1/25" in shown
    assert "203.0.113.1" not in shown
    rules = output_of("nft", "list", "table", "inet", "cumulet_br-ex")
    assert "198.51.100.0/25" in rules
    assert "203.0.113.0" not in rules


def test_what_guests_may_reach_is_mended_by_whoever_does_not_know_it(external):
    reach = Reach(networks=(IPv4Network("192.168.1.0/24"),), services=("8480/tcp",))
    bridges.ensure_external_bridge("br-ex", GATEWAY, datapath=external.datapath, reach=reach)
    rules = output_of("nft", "list", "table", "inet", "cumulet_br-ex")
    output_of("nft", "delete", "table", "inet", "cumulet_br-ex")
    prepare_host()
    assert output_of("nft", "list", "table", "inet", "cumulet_br-ex") == rules
    assert "8480" in rules


def test_forwarding_ends_with_the_last_bridge_on_a_host_that_did_not_forward(external):
    bridges.remove_external_bridge("br-ex")
    assert forwarding.FORWARDING.read_text() == "0\n"
    assert not succeeds("nft", "list", "table", "inet", "cumulet_forwarding")


def test_a_host_that_forwarded_before_forwards_for_all_and_goes_on_so(external):
    bridges.remove_external_bridge("br-ex")
    forwarding.FORWARDING.write_text("1\n")
    bridges.ensure_external_bridge("br-ex", GATEWAY, datapath=external.datapath)
    assert not succeeds("nft", "list", "table", "inet", "cumulet_forwarding")
    bridges.remove_external_bridge("br-ex")
    assert forwarding.FORWARDING.read_text() == "1\n"
    forwarding.FORWARDING.write_text("0\n")


def test_removing_a_bridge_leaves_nothing_and_touches_no_other(external):
    bridges.ensure_external_bridge("br-two", IPv4Interface("198.51.100.1/24"), datapath=external.datapath)
    for _ in range(2):
        bridges.remove_external_bridge("br-two")
    assert not succeeds("ip", "link", "show", "br-two")
    assert not succeeds("nft", "list", "table", "inet", "cumulet_br-two")
    test_an_external_bridge_leads_out(external)


def test_a_host_that_is_cleared_keeps_our_daemons_as_long_as_machines_need_them(host, vm):
    ensure_uplink("cx-ours", GATEWAY, datapath=host.datapath, reach=NOTHING)
    bridges.ensure_external_bridge("cy-other", IPv4Interface("198.51.100.1/24"), datapath=host.datapath)
    clear_host("cx-")
    assert bridges.external_bridges().keys() == {"cy-other"}
    assert is_supervised()
    output_of("virsh", "destroy", "bare")
    clear_host("cy-")
    assert not is_supervised()


def test_somebody_else_s_bridge_is_refused(host):
    output_of("ovs-vsctl", "add-br", "br-theirs", "--", "set", "bridge", "br-theirs", "datapath_type=netdev")
    try:
        for change in (
            lambda: bridges.ensure_external_bridge("br-theirs", GATEWAY, datapath=host.datapath),
            lambda: bridges.remove_external_bridge("br-theirs"),
        ):
            with pytest.raises(Refused, match="not Cumulet's"):
                change()
        assert succeeds("ovs-vsctl", "br-exists", "br-theirs")
    finally:
        output_of("ovs-vsctl", "del-br", "br-theirs")


def test_a_port_whose_vm_is_gone_is_removed_and_a_living_one_stays(vm):
    living = output_of("ovs-vsctl", "list-ports", "br-int").split()
    dead = ("ovs-vsctl", "--no-wait", "add-port", "br-int", "vnet99", "--", "set", "Interface", "vnet99")
    output_of(*dead, "external_ids:vm-id=11111111-2222-4333-8444-555555555555")
    ensure_ports()
    assert output_of("ovs-vsctl", "list-ports", "br-int").split() == living


def test_the_integration_bridge_comes_back_with_the_ports_of_running_vms(host, vm):
    ports = output_of("ovs-vsctl", "list-ports", "br-int")
    known_by = ("ovs-vsctl", "get", "Interface", ports.strip(), "external_ids")
    ids = output_of(*known_by)
    output_of("ovs-vsctl", "--no-wait", "del-br", "br-int")
    ensure_bridges(host.datapath)
    assert output_of("ovs-vsctl", "get", "Bridge", "br-int", "fail_mode").strip() == "secure"
    assert output_of("ovs-vsctl", "list-ports", "br-int") == ports
    assert output_of(*known_by) == ids


def test_a_prepared_host_has_nothing_broken(external, tmp_path):
    findings = examine(tmp_path)
    assert [finding for finding in findings if finding.level is Level.BROKEN] == []
    assert all(finding.cost for finding in findings if finding.level is Level.DEGRADED)


def test_a_bare_host_names_what_does_not_run(bare_host, tmp_path):
    broken = {finding.name: finding for finding in examine(tmp_path) if finding.level is Level.BROKEN}
    assert broken.keys() >= {"libvirt", "Open vSwitch", "OVN"}
    assert all(finding.cure for finding in broken.values())


def test_a_daemon_that_stays_silent_is_named_with_its_last_words(bare_host, monkeypatch):
    log = PATHS.log_dir / "ovsdb-server.log"

    def tell_and_hear(paths):
        instruct_supervisor(paths)
        eventually(lambda: log.exists() and "no room" in log.read_text())

    monkeypatch.setattr(daemons, "instruct_supervisor", tell_and_hear)
    monkeypatch.setattr(daemons, "START_SECONDS", 0)
    monkeypatch.setattr(daemon_specs, "switch_database_argv", lambda: ("sh", "-c", "echo no room; exit 1"))
    with pytest.raises(CommandFailed, match=r"ovsdb-server does not answer; .*ends:\n(.*\n)*no room"):
        prepare_host()
