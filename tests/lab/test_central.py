"""OVN's databases on three machines together, which lead out too: one of them dies, and all of it goes on.

A fourth machine has them before, and after: the server's own stay as other tests have them.
"""

import json
import socket
import subprocess
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from tests.fabric.guests import ask_tcp, once_back
from tests.fabric.specs import Project, a_port
from tests.lab.conftest import plugging
from tests.lab.ground import NAMES, OUTSIDE_RANGE, UPLINK, uplinks_of
from tests.waiting import eventually

from cumulet.doctor.calls import Level, Proof
from cumulet.doctor.daemon_specs import CENTRAL
from cumulet.errors import CumuletError
from cumulet.fabric import ExternalSpec, FabricUnreachable
from cumulet.fabric.ovn import Way, open_fabric
from cumulet.hosts.central import Look
from cumulet.hosts.overlay import Centre, Vouching
from cumulet.line.wire import DATA_DIR
from cumulet.self_signed import ensure_client

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def vouching(tmp_path_factory):
    """The authority of a cloud of its own."""
    return Vouching.below(tmp_path_factory.mktemp("cloud"), lambda: datetime.now(UTC))


@pytest.fixture(scope="module")
def first(ground, vouching):
    """The machine that has the databases alone."""
    ground.spare.switch_on()
    Centre(None, vouching).take_in(ground.spare.doctor, ground.spare.name)
    yield ground.spare
    ground.spare.switch_off()


@pytest.fixture(scope="module")
def taken_in(ground, first, vouching):
    """The other machines, taken into its network."""
    for machine in ground.machines:
        Centre(first.doctor, vouching).take_in(machine.doctor, machine.name)
        machine.open_tunnels()
    return ground.machines


@pytest.fixture(scope="module")
def bring(taken_in, first, vouching):
    """Brings the databases to hosts, by as many looks as it takes, and tells how it stands then."""
    doctors = {machine.name: machine.doctor for machine in (first, *taken_in)}

    def bring(*wanted, without=()):
        asked = {name: doctor for name, doctor in doctors.items() if name not in without}

        def end():
            with suppress(CumuletError):  # a reconciler tries again too
                seen = Look(asked, wanted, vouching, hold=lambda: None).take()
                return None if seen.has_more or seen.problem else seen
            return None

        return eventually(end)

    yield bring
    bring(first.name)


@pytest.fixture(scope="module")
def together(bring):
    """The databases are on the three machines, and no longer on the first."""
    seen = bring(*NAMES)
    assert seen.central == {*NAMES}
    return seen


@pytest.fixture(scope="module")
def way(together, vouching, tmp_path_factory):
    """How a server that is on any machine asks them."""
    tls = ensure_client(
        vouching.central,
        tmp_path_factory.mktemp("server"),
        "server",
        datetime.now(UTC),
        renewed=timedelta(),
    )
    return lambda: Way(",".join(f"ssl:{address}:6641" for address in together.members), tls)


@pytest.fixture(scope="module")
def theirs(way):
    """The fabric as a server has it that reaches their databases by TLS."""
    theirs = open_fabric("", installation="here", find_way=way)
    yield theirs
    theirs.close()


@pytest.fixture
def plug_at(theirs, way, monkeypatch):
    now = way()
    key, certificate, believed = now.tls
    monkeypatch.setenv("OVN_NB_DB", now.northbound)
    monkeypatch.setenv("OVN_NBCTL_OPTIONS", f"-p {key} -c {certificate} -C {believed}")
    with plugging(theirs) as plug_at:
        yield plug_at


def closed(machine, port):
    """Whether a machine's port lets nobody in from the server."""
    with socket.socket() as client:
        client.settimeout(5)
        return client.connect_ex((machine.address, port)) != 0


def test_what_members_say_to_each_other_is_closed_to_all_others(taken_in, together):
    for machine in taken_in:
        assert [closed(machine, port) for port in (6641, 6642, 6643, 6644, 16642)] == [
            False,
            False,
            True,
            True,
            True,
        ]


def asked_by(machine, proof, program, port):
    """How a program of OVN's ends that a machine runs with what it proves itself by."""
    files = f"/etc/openvswitch/cumulet-{proof}"
    tls = ("-p", f"{files}.key", "-c", f"{files}.pem", "-C", "/etc/openvswitch/cumulet-overlay-authority.pem")
    remote = f"--db=ssl:{machine.address}:{port}"
    argv = machine.inside(program, "--timeout=5", "--no-leader-only", remote, *tls, "show")
    return subprocess.run(argv, capture_output=True, check=False).returncode


def test_no_host_asks_the_northbound_database_by_what_all_hosts_have(taken_in, together):
    machine = taken_in[0]
    assert asked_by(machine, Proof.CENTRAL, "ovn-nbctl", 6641) == 0
    assert asked_by(machine, Proof.HOST, "ovn-sbctl", 6642) == 0
    assert asked_by(machine, Proof.HOST, "ovn-nbctl", 6641) != 0


def shown(machine, way):
    """The number of the certificate that its southbound database shows."""
    key, certificate, _ = way().tls
    argv = ("openssl", "s_client", "-connect", f"{machine.address}:6642", "-cert", certificate, "-key", key)
    met = subprocess.run(argv, input="", capture_output=True, text=True, check=False).stdout
    read = ("openssl", "x509", "-noout", "-serial")
    return subprocess.run(read, input=met, capture_output=True, text=True, check=True).stdout


def test_a_certificate_that_is_made_anew_is_taken_up_with_nothing_started_anew(taken_in, vouching, way):
    machine = taken_in[0]
    before, running = shown(machine, way), machine.processes("ovsdb-server")
    vouching.certify(machine.doctor, machine.doctor.read_place().chassis, Proof.CENTRAL)
    eventually(lambda: shown(machine, way) != before)
    assert machine.processes("ovsdb-server") == running


@pytest.fixture
def uplinks(ground):
    with uplinks_of(ground.machines):
        for machine in ground.machines:
            machine.doctor.ensure_operators_uplink(UPLINK)
        yield


def leading_out(theirs, *machines):
    """The external range as these machines lead out into it, the first one before the others."""
    names = {chassis.host: chassis.name for chassis in theirs.chassis() if UPLINK in chassis.bridges}
    carriers = tuple(names[machine.name] for machine in machines)
    return ExternalSpec(UPLINK, OUTSIDE_RANGE, OUTSIDE_RANGE[1], carriers=carriers, everywhere=False)


def write(fabric, port):
    """Write as a reconciler does: again, until it is done."""

    def written():
        with suppress(FabricUnreachable):
            fabric.put_port(port)
            return True
        return False

    eventually(written)


def test_the_leader_dies_that_leads_out_too_and_no_write_is_lost_packets_pass_and_its_place_is_taken(
    taken_in, first, bring, theirs, plug_at, uplinks
):
    places = {machine.name: machine.doctor.read_place() for machine in taken_in}
    dying = next(one for one in taken_in if "nb" in places[one.name].cluster.leads)
    one, other = (machine for machine in taken_in if machine is not dying)
    project = Project(theirs, external=leading_out(theirs, dying, one, other))
    near, far = plug_at(one, project.port(10)), plug_at(other, project.port(11, str(OUTSIDE_RANGE[11])))
    far.serve(b"far")
    assert once_back(lambda: near.connect("10.0.0.11", 80)) == (b"far", "10.0.0.10")
    assert once_back(lambda: ask_tcp(str(OUTSIDE_RANGE[11]), 80)) == (b"far", str(OUTSIDE_RANGE[1]))
    dying.switch_off()
    ports = [a_port(project.network, number) for number in range(12, 22)]
    for port in ports:
        assert near.connect("10.0.0.11", 80)[0] == b"far"
        write(theirs, port)
    assert {port.id for port in ports} <= theirs.ports().keys()
    assert once_back(lambda: ask_tcp(str(OUTSIDE_RANGE[11]), 80)) == (b"far", str(OUTSIDE_RANGE[1]))
    near.serve(b"near")
    write(theirs, replace(near.port, external_address=OUTSIDE_RANGE[10]))
    assert once_back(lambda: ask_tcp(str(OUTSIDE_RANGE[10]), 80)) == (b"near", str(OUTSIDE_RANGE[1])), (
        "hosts follow what is written now"
    )
    (told,) = [one_found for one_found in one.doctor.examine(DATA_DIR) if one_found.name == "OVN's databases"]
    assert told.level is Level.DEGRADED
    assert f"no connection to {dying.address}" in told.text
    heirs = (one.name, other.name, first.name)
    assert bring(*heirs, without=[dying.name]).central == {*heirs}
    assert near.connect("10.0.0.11", 80)[0] == b"far"
    dying.switch_on()
    dying.doctor.prepare_host()
    dying.open_tunnels()
    assert bring(*heirs).central == {*heirs}
    assert dying.doctor.read_place().cluster is None
    assert not CENTRAL & {*json.loads(dying.run("cat", "/run/cumulet/status.json"))["daemons"]}
    assert {port.id for port in ports} <= theirs.ports().keys()
