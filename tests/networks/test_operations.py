"""The verbs of networks, and what becomes of them: made, cut off, joined again, deleted."""

from dataclasses import replace
from ipaddress import IPv4Network

import pytest
from sqlalchemy import select
from tests.made_up import NOON, PROJECT
from tests.projects.people import add_user

from cumulet.errors import AlreadyExists, Exhausted, Forbidden, Invalid, NotFound, Refused
from cumulet.hosts.model import Host
from cumulet.journal import Event
from cumulet.networks import ExternalAddress, Network, operations
from cumulet.networks.allocate import COOL_DOWN
from cumulet.networks.model import CoolingAddress, Router
from cumulet.networks.wire import CreateNetwork, NetworkState
from cumulet.projects import Role
from cumulet.reconcile import Due
from cumulet.vms import operations as verbs
from cumulet.vms.wire import NicRequest


@pytest.fixture
def make(cloud):
    """Ask for a network."""

    def make(id="backend", ip_range="10.1.0.0/24", caller=None, **fields):
        data = CreateNetwork(id=id, data_center_id="local", ip_range=ip_range, **fields)
        return cloud.call(operations.create_network, caller, project_id=PROJECT, data=data)

    return make


@pytest.fixture
def made(cloud, make):
    """A network that is there, as it answers after whatever was asked of it."""
    make()
    cloud.settle()
    return lambda: cloud.call(operations.get_network, project_id=PROJECT, id="backend")


@pytest.fixture
def ask(cloud):
    return lambda verb, caller=None: cloud.call(verb, caller, project_id=PROJECT, id="backend")


def the_only(mapping):
    (one,) = mapping.values()
    return one


# Making
def test_a_network_answers_at_once_and_is_made(cloud, make, ask):
    asked = make()
    assert (asked.state, asked.short_state, asked.vm_state) == (NetworkState.CREATING, "boot", "STARTING")
    cloud.settle()
    network = ask(operations.get_network).network
    assert (network.state, network.short_state, network.ip_range) == (
        NetworkState.ACTIVE,
        "runn",
        "10.1.0.0/24",
    )
    assert (network.gateway, network.internal_ip_address) == ("10.1.0.1", "10.1.0.1")
    assert network.external_ip_address == str(the_only(cloud.fabric.routers()).address)
    assert the_only(cloud.fabric.networks()).range == IPv4Network("10.1.0.0/24")
    assert the_only(cloud.fabric.networks()).local_range.is_private


def test_it_answers_flat_and_wrapped(made):
    answer = made()
    assert answer.network.id == answer.id == "backend"
    assert answer.network.create_time == answer.create_time == NOON


def test_clients_of_2024_write_its_range_otherwise(make):
    assert make(ip_range="", cidr_prefix="10.3.0.0/16").ip_range == "10.3.0.0/16"


def test_networks_are_listed_by_id_in_pages(cloud, make):
    for number in (3, 1, 2):
        make(id=f"net-{number}", ip_range=f"10.{number}.0.0/24")
    first = cloud.call(operations.list_networks, project_id=PROJECT, page_size=2)
    second = cloud.call(operations.list_networks, project_id=PROJECT, page_size=2, page_number=2)
    assert [network.id for network in first.networks] == ["net-1", "net-2"]
    assert [network.id for network in second.networks] == ["net-3"]
    assert (second.total_count, second.page_number, second.page_size) == (3, 2, 2)


def test_networks_of_a_project_share_its_router(cloud, make):
    make()
    make(id="other", ip_range="10.2.0.0/24")
    cloud.settle()
    assert len(cloud.fabric.routers()) == 1
    assert {network.router_id for network in cloud.fabric.networks().values()} == set(cloud.fabric.routers())


RANGES = [
    ("", "RFC 1918"),
    ("nonsense", "RFC 1918"),
    ("8.8.8.0/24", "RFC 1918"),
    ("10.1.0.0/30", "at least a /29"),
    ("10.1.0.0", "at least a /29"),
    ("10.0.0.0/7", "RFC 1918"),
    ("fd00::/64", "RFC 1918"),
    ("10.1.0.5/24", "10.1.0.0/24, which begins at its first address"),
    ("10.77.5.0/24", "which network default-local uses"),
    ("172.20.0.0/16", "which a host reaches directly"),
    ("192.168.0.0/16", "which network taken uses"),
]


@pytest.mark.parametrize(("text", "words"), RANGES, ids=[text or "none" for text, _ in RANGES])
def test_a_range_out_of_its_rule_is_refused(cloud, make, text, words):
    make(id="taken", ip_range="192.168.1.0/24")
    with cloud.database.writing() as db:
        db.scalars(select(Host)).one().routes = ["172.20.7.0/24"]
    before = cloud.count(Network), cloud.count(Event), cloud.count(Due)
    with pytest.raises(Invalid) as refusal:
        make(ip_range=text)
    assert refusal.value.message.startswith(f"ipRange: {text!r} is not accepted")
    assert words in refusal.value.message
    assert before == (cloud.count(Network), cloud.count(Event), cloud.count(Due))


@pytest.mark.parametrize("id", ["", "Upper", "1st", "ends-", "x" * 64, "under_score"])
def test_an_id_out_of_its_rule_is_refused(make, id):
    with pytest.raises(Invalid, match=r"^id: "):
        make(id=id)


def test_two_ranges_that_differ_are_refused(make):
    with pytest.raises(Invalid, match=r"cidrPrefix: .* the same as ipRange"):
        make(cidr_prefix="10.2.0.0/24")


def test_an_id_that_is_taken_is_refused(make):
    make()
    with pytest.raises(AlreadyExists, match="'backend'"):
        make(ip_range="10.2.0.0/24")


def test_what_is_not_there_is_named(cloud, ask, make):
    for verb in (operations.get_network, operations.start_network, operations.stop_network):
        with pytest.raises(NotFound, match="network 'backend'"):
            ask(verb)
    with pytest.raises(Invalid, match=r"^dataCenterId: .* 'mars'; there is only 'local'"):
        cloud.call(
            operations.create_network,
            project_id=PROJECT,
            data=CreateNetwork(id="backend", data_center_id="mars", ip_range="10.1.0.0/24"),
        )


def test_a_viewer_looks_and_changes_nothing(cloud, made, make, ask):
    with cloud.database.writing() as db:
        viewer = add_user(db, "viewer", **{PROJECT: Role.VIEWER})
    assert ask(operations.get_network, caller=viewer).id == "backend"
    for verb in (operations.delete_network, operations.stop_network, operations.start_network):
        with pytest.raises(Forbidden):
            ask(verb, caller=viewer)
    with pytest.raises(Forbidden):
        make(id="other", ip_range="10.2.0.0/24", caller=viewer)


# Cutting off and joining
def test_a_network_that_is_stopped_has_no_leg_of_the_router(cloud, made, ask):
    ask(operations.stop_network)
    assert made().state is NetworkState.STOPPING
    cloud.settle()
    assert (made().state, made().short_state) == (NetworkState.STOPPED, "poff")
    assert not the_only(cloud.fabric.networks()).joined
    ask(operations.start_network)
    cloud.settle()
    assert made().state is NetworkState.ACTIVE
    assert the_only(cloud.fabric.networks()).joined


@pytest.mark.usefixtures("made")
def test_a_verb_out_of_place_is_refused_with_its_reason(ask):
    with pytest.raises(Refused, match="is ACTIVE and must be STOPPED") as refusal:
        ask(operations.start_network)
    assert refusal.value.reason == "NETWORK_NOT_READY"
    ask(operations.stop_network)
    with pytest.raises(Refused, match="must be ACTIVE"):
        ask(operations.stop_network)


@pytest.mark.usefixtures("made")
def test_no_vm_is_put_on_a_network_that_is_stopped(cloud, ask):
    ask(operations.stop_network)
    with pytest.raises(Refused, match="network 'backend' is STOPPING and must be ACTIVE") as refusal:
        cloud.create(nics=[NicRequest(network_id="backend")])
    assert refusal.value.reason == "NETWORK_NOT_READY"


# Deleting
def test_the_last_network_takes_the_router_along(cloud, made, ask):
    address = made().external_ip_address
    ask(operations.delete_network)
    assert made().state is NetworkState.DELETING
    cloud.settle()
    with pytest.raises(NotFound):
        made()
    assert (cloud.fabric.networks(), cloud.fabric.routers()) == ({}, {})
    assert (cloud.count(Network), cloud.count(Router), cloud.count(ExternalAddress)) == (0, 0, 0)
    with cloud.database.reading() as db:
        assert db.scalars(select(CoolingAddress.address)).all() == [address]


@pytest.mark.usefixtures("made")
def test_a_router_stays_for_the_networks_that_are_left(cloud, make, ask):
    make(id="other", ip_range="10.2.0.0/24")
    cloud.settle()
    ask(operations.delete_network)
    cloud.settle()
    assert len(cloud.fabric.routers()) == len(cloud.fabric.networks()) == 1


@pytest.mark.usefixtures("made")
def test_a_network_in_use_is_not_deleted(cloud, ask):
    cloud.running(nics=[NicRequest(network_id="backend")])
    with pytest.raises(Refused, match=r"VMs use it \(hello\): terminate them first"):
        ask(operations.delete_network)
    cloud.ask(verbs.terminate_vm)
    cloud.settle()
    ask(operations.delete_network)
    cloud.settle()
    assert cloud.fabric.networks() == {}


@pytest.mark.usefixtures("made")
def test_its_story_is_told(cloud, ask):
    with cloud.database.reading() as db:
        id = db.scalars(select(Network.id)).one()
    for verb in (operations.stop_network, operations.start_network, operations.delete_network):
        ask(verb)
        cloud.settle()
    with cloud.database.reading() as db:
        events = db.scalars(select(Event.event).where(Event.subject_id == id).order_by(Event.id)).all()
    assert events == [
        "network.create_requested",
        "network.active",
        "network.stop_requested",
        "network.stopped",
        "network.start_requested",
        "network.active",
        "network.delete_requested",
        "network.deleted",
    ]


# External addresses
@pytest.fixture
def narrow(cloud):
    """A data center with three external addresses: one is a router's."""
    data_center = replace(cloud.catalogue.data_centers[0], external_range=IPv4Network("192.0.2.0/29"))
    cloud.catalogue = replace(cloud.catalogue, data_centers=(data_center,))
    return cloud


def test_an_address_that_was_given_back_rests_before_another_gets_it(narrow):
    names = [f"vm-{number}" for number in range(4)]
    for name in names:
        narrow.create(vm_id=name)
    narrow.settle()
    with pytest.raises(Exhausted, match=r"no external address left in 192\.0\.2\.0/29$"):
        narrow.create(vm_id="late")
    given = narrow.vm("vm-2").external_ip_address
    narrow.ask(verbs.terminate_vm, "vm-2")
    narrow.settle()
    with pytest.raises(Exhausted, match=f"is available again in {COOL_DOWN.seconds} s"):
        narrow.create(vm_id="late")
    narrow.clock.advance(COOL_DOWN.total_seconds())
    assert narrow.create(vm_id="late").external_ip_address == given
