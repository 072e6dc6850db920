"""One network over several hosts: what passes between stand-ins for VMs on different machines, and what does not."""

import json
import socket
import subprocess

import pytest
from tests.fabric import guests
from tests.fabric.guests import ask_tcp, once_back, run, texts_until, udp_frame
from tests.fabric.specs import SSH, Project
from tests.lab.conftest import FROM_THE_SERVER
from tests.waiting import eventually

from cumulet.doctor.daemon_specs import CENTRAL

pytestmark = pytest.mark.lab


@pytest.fixture
def project(fabric):
    return Project(fabric, external=FROM_THE_SERVER)


def test_a_host_runs_no_databases_of_ovn_and_is_known_by_its_name(fabric, taken_in):
    assert {chassis.host for chassis in fabric.chassis()} >= {machine.name for machine in taken_in}
    for machine in taken_in:  # of one that had them itself they are being stopped
        eventually(lambda there=machine: not CENTRAL & kept(there))


def kept(machine):
    """The daemons that a machine's supervisor keeps."""
    return json.loads(machine.run("cat", "/run/cumulet/status.json"))["daemons"].keys()


def test_vms_on_two_hosts_reach_each_other_with_packets_as_large_as_they_are_told(project, plug_at, taken_in):
    one, two = plug_at(taken_in[0], project.port(10)), plug_at(taken_in[1], project.port(11))
    two.serve(b"two")
    assert once_back(lambda: one.connect("10.0.0.11", 80)) == (b"two", "10.0.0.10")
    _, offer = guests.dhcp(one)
    mtu = int.from_bytes(offer[26], "big")
    one.give("10.0.0.10/24")
    ping = ("ip", "netns", "exec", one.name, "ping", "-c1", "-W2", "-Mdo")
    run(*ping, f"-s{mtu - 28}", "10.0.0.11")


def test_an_external_address_answers_wherever_its_vm_is_and_the_world_is_reached_from_there(
    project, plug_at, taken_in
):
    guest = plug_at(taken_in[1], project.port(10, "192.0.2.10"))
    bare = plug_at(taken_in[2], project.port(11))
    guest.serve(b"there")
    assert once_back(lambda: ask_tcp("192.0.2.10", 80)) == (b"there", "192.0.2.1")
    guests.serve_tcp(b"server", 8085)
    assert once_back(lambda: guest.connect("192.0.2.1", 8085)) == (b"server", "192.0.2.10")
    assert once_back(lambda: bare.connect("192.0.2.1", 8085)) == (b"server", "192.0.2.2")


def test_groups_and_spoof_protection_hold_between_hosts(project, plug_at, taken_in):
    group = project.group(SSH)
    one = plug_at(taken_in[0], project.port(10))
    two = plug_at(taken_in[1], project.port(11, groups={group.id}))
    for port in (22, 80):
        two.serve(b"%d" % port, port)
    assert once_back(lambda: one.connect("10.0.0.11", 22)) == (b"22", "10.0.0.10")
    with one.entered(), pytest.raises(TimeoutError):
        socket.create_connection(("10.0.0.11", 80), timeout=0.7)


def test_nobody_takes_a_name_that_is_anothers_on_a_host_far_away(project, plug_at, taken_in):
    one, two = plug_at(taken_in[0], project.port(10)), plug_at(taken_in[1], project.port(11))
    two.serve(b"two")
    assert once_back(lambda: one.connect("10.0.0.11", 80))
    target, own = (two.port.mac, "10.0.0.11"), (one.port.mac, "10.0.0.10")
    with one.frames() as sender, two.udp(9) as receiver:
        for source in ((one.port.mac, "10.0.0.12"), ("0a:00:00:01:00:0c", "10.0.0.10")):
            sender.send(udp_frame(b"spoofed", source=source, target=target))
        sender.send(udp_frame(b"the end", source=own, target=target))
        assert texts_until(receiver, b"the end") == []


def test_hosts_ask_the_southbound_database_by_tls_alone_with_a_key_of_their_own(taken_in):
    keys = [machine.run("cat", "/etc/openvswitch/cumulet-overlay.key") for machine in taken_in]
    assert len({*keys}) == len(taken_in)
    for machine in taken_in:
        settings = machine.run("ovs-vsctl", "get", "Open_vSwitch", ".", "external_ids:ovn-remote")
        assert settings.strip() == '"ssl:10.98.0.1:6642"'
        assert machine.run("stat", "-c%a", "/etc/openvswitch/cumulet-overlay.key").strip() == "600"


def sbctl(machine, *command):
    """What comes of a command to the southbound database from a machine."""
    folder = "/etc/openvswitch/cumulet-overlay"
    tls = (f"--private-key={folder}.key", f"--certificate={folder}.pem", f"--ca-cert={folder}-authority.pem")
    argv = machine.inside("ovn-sbctl", "--timeout=5", "--db=ssl:10.98.0.1:6642", *tls, *command)
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def test_a_host_changes_nothing_of_another_host(taken_in):
    names = {
        machine.name: machine.run("ovs-vsctl", "get", "Open_vSwitch", ".", "external_ids:system-id")
        .strip()
        .strip('"')
        for machine in taken_in
    }
    assert sbctl(taken_in[0], "list", "Chassis", names["h2"]).returncode == 0
    refused = sbctl(taken_in[0], "set", "Chassis", names["h2"], "hostname=stolen")
    assert "permission error" in refused.stderr


def test_who_has_no_certificate_of_the_cloud_is_not_heard(taken_in):
    machine = taken_in[0]
    made = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=stranger")
    machine.run(*made, "-keyout", "/run/stranger.key", "-out", "/run/stranger.pem")
    tls = (
        "--private-key=/run/stranger.key",
        "--certificate=/run/stranger.pem",
        "--ca-cert=/etc/openvswitch/cumulet-overlay-authority.pem",
    )
    argv = machine.inside("ovn-sbctl", "--timeout=3", "--db=ssl:10.98.0.1:6642", *tls, "list", "Chassis")
    assert subprocess.run(argv, capture_output=True, check=False).returncode
