"""A project's network, its router and its ports: made with the first VM, kept right by the look at the whole fabric."""

from dataclasses import replace
from uuid import uuid4

import pytest
from sqlalchemy import select, update
from tests.made_up import NOON, PROJECT
from tests.projects.people import add_user

from cumulet.fabric import Chassis, FabricUnreachable
from cumulet.feed.operations import list_all_events
from cumulet.hosts.orphans import GRACE
from cumulet.limits import Quotas
from cumulet.networks import (
    Network,
    Nic,
    default_network,
    external_address,
    free_external,
    steer_nics,
    take_external,
)
from cumulet.networks.addresses import capacity
from cumulet.networks.allocate import COOL_DOWN
from cumulet.networks.model import NicGroup, Router
from cumulet.networks.reconcile import ensure_uplink
from cumulet.networks.specs import PortSpecs
from cumulet.networks.wire import NetworkState
from cumulet.projects.model import Project
from cumulet.quotas import lock_allowance
from cumulet.reconcile import NotYet
from cumulet.security_groups import operations as groups
from cumulet.security_groups.wire import CreateSecurityGroup
from cumulet.vms import operations as verbs

AFTER_GRACE = GRACE.total_seconds() + 1


@pytest.fixture
def data_center(cloud):
    return cloud.catalogue.data_centers[0]


@pytest.fixture
def another_project(cloud):
    """A second project of the same owner; gives its id."""
    with cloud.database.writing() as db:
        user = add_user(db, "founder")
        db.add(Project(id="other", billing_account_id="x", created_by=user.user_id, created_at=NOON))
    return "other"


def the_only(mapping):
    (one,) = mapping.values()
    return one


def test_the_first_vm_brings_its_project_a_network_and_a_router(cloud, data_center):
    cloud.running()
    network, router = the_only(cloud.fabric.networks()), the_only(cloud.fabric.routers())
    assert (network.range, network.gateway) == (data_center.network_range, data_center.network_range[1])
    assert network.router_id == router.id
    assert router.address in data_center.external_range
    with cloud.database.reading() as db:
        assert db.scalars(select(Network.state)).one() is NetworkState.ACTIVE


def test_further_vms_share_it_each_with_addresses_of_its_own(cloud):
    vms = [cloud.running(vm_id=f"vm-{number}") for number in range(3)]
    assert len({vm.internal_ip_address for vm in vms}) == len({vm.external_ip_address for vm in vms}) == 3
    assert len(cloud.fabric.networks()) == 1


def allowed(db, project):
    return lock_allowance(db, project, Quotas())


def test_another_project_gets_a_network_of_its_own_with_the_same_range(cloud, data_center, another_project):
    with cloud.database.writing() as db:
        both = [
            default_network(db, allowed(db, project), data_center, now=NOON)
            for project in ("default", another_project)
        ]
        again = default_network(db, allowed(db, "default"), data_center, now=NOON)
    cloud.settle()
    assert again.id == both[0].id != both[1].id
    assert len({network.range for network in cloud.fabric.networks().values()}) == 1
    assert len(cloud.fabric.routers()) == 2


def test_a_vm_waits_until_its_network_is_made(cloud):
    cloud.fabric.unreachable = True
    cloud.create()
    cloud.run()
    assert cloud.vm().waiting_for == "creating the network"
    cloud.fabric.unreachable = False
    cloud.settle()
    assert cloud.vm().waiting_for == ""


def test_a_fabric_that_does_not_answer_is_told(cloud):
    cloud.running()
    cloud.fabric.unreachable = True
    cloud.ask(verbs.reboot_vm)
    cloud.run()
    assert cloud.vm().problem == FabricUnreachable.for_owner
    cloud.fabric.unreachable = False
    cloud.settle()
    assert cloud.vm().problem == ""


def test_external_addresses_are_counted_from_the_rows(cloud, data_center):
    whole = capacity(data_center.external_range)
    with cloud.database.writing() as db:
        assert free_external(db, data_center, now=NOON) == whole
        address = take_external(db, holder := uuid4(), data_center, project_id=None, now=NOON)
        assert external_address(db, holder) == address
        assert free_external(db, data_center, now=NOON) == whole - 1


# The look at the whole fabric
@pytest.fixture
def fabric(cloud):
    """The fabric below a VM that runs, and how it ought to be."""
    cloud.running()
    right = (cloud.fabric.routers(), cloud.fabric.networks(), cloud.fabric.ports())
    yield cloud.fabric
    cloud.sweep()
    cloud.settle()
    cloud.clock.advance(AFTER_GRACE)
    cloud.sweep()
    cloud.settle()
    assert (cloud.fabric.routers(), cloud.fabric.networks(), cloud.fabric.ports()) == right


def only_id(mapping):
    (id,) = mapping
    return id


class TestItIsMendedWhen:
    """What others do to the fabric; how it ends is looked at by the fixture."""

    def test_a_port_is_changed(self, fabric):
        fabric.break_port(only_id(fabric.ports()))

    def test_a_port_is_removed(self, fabric):
        fabric.remove_port(only_id(fabric.ports()))

    def test_a_network_is_changed(self, fabric):
        fabric.break_network(only_id(fabric.networks()))

    def test_a_network_is_removed_with_all_in_it(self, fabric):
        fabric.remove_network(only_id(fabric.networks()))

    def test_a_router_is_removed(self, fabric):
        fabric.remove_router(only_id(fabric.routers()))

    def test_everything_is_removed(self, fabric):
        fabric.remove_network(only_id(fabric.networks()))
        fabric.remove_router(only_id(fabric.routers()))

    def test_a_port_without_an_owner_is_left(self, fabric):
        fabric.put_port(replace(the_only(fabric.ports()), id=uuid4()))

    def test_a_network_and_a_router_without_an_owner_are_left(self, fabric):
        fabric.put_router(left := replace(the_only(fabric.routers()), id=uuid4()))
        fabric.put_network(replace(the_only(fabric.networks()), id=uuid4(), router_id=left.id))


def test_what_others_changed_on_the_fabric_is_told_and_what_is_under_way_is_not(cloud):
    cloud.running()
    cloud.sweep()
    cloud.fabric.break_port(the_only(cloud.fabric.ports()).id)
    cloud.sweep()
    (told,) = cloud.call(list_all_events, event=["fabric.corrected"]).events
    assert told.text == "not as it should be, and made so again: VM hello of default"
    cloud.ask(verbs.stop_vm)
    cloud.fabric.break_port(the_only(cloud.fabric.ports()).id)
    cloud.sweep()
    assert len(cloud.call(list_all_events, event=["fabric.corrected"]).events) == 1
    left = uuid4()
    cloud.fabric.put_port(replace(the_only(cloud.fabric.ports()), id=left))
    cloud.sweep()
    cloud.clock.advance(AFTER_GRACE)
    cloud.sweep()
    (told,) = cloud.call(list_all_events, event=["fabric.leftovers_removed"]).events
    assert told.text == f"removed what nobody has any more: port {left}"


def test_routers_are_carried_by_the_hosts_that_lead_out(cloud):
    cloud.running()
    assert the_only(cloud.fabric.routers()).external.carriers == ("memory",)
    assert the_only(cloud.fabric.routers()).external.everywhere
    (first,) = cloud.fabric.known_chassis
    second = Chassis("second", "host-2", first.bridges)
    for chassis, carriers in (
        ((first, second), ("memory", "second")),
        ((first, replace(second, bridges=frozenset())), ("memory",)),
    ):
        cloud.fabric.known_chassis = chassis
        cloud.sweep()
        cloud.settle()
        external = the_only(cloud.fabric.routers()).external
        assert (external.carriers, external.everywhere) == (carriers, False)


def test_an_operators_bridge_that_all_hosts_have_leads_out_of_each(cloud, data_center):
    shared = replace(data_center, external_bridge="br-public")
    fabrics = replace(cloud.backends.fabrics, bridges={"local": "br-public"})
    mapped = Chassis("first", "host-1", frozenset({"br-public"}))
    cloud.fabric.known_chassis = (mapped, replace(mapped, name="second"))
    assert fabrics.external_spec(shared).everywhere
    cloud.fabric.known_chassis = (mapped, Chassis("second", "host-2", frozenset()))
    assert not fabrics.external_spec(shared).everywhere


def test_a_network_waits_until_a_host_leads_out(cloud):
    fabrics = replace(cloud.backends.fabrics, open_uplink=lambda *_: None)
    with pytest.raises(NotYet, match="no host leads out"):
        ensure_uplink(fabrics, cloud.catalogue.data_centers[0])


def test_the_ports_of_a_vm_that_moves_are_steered(cloud):
    cloud.running()
    for hosts in (("host-1", "host-2"), ()):
        with cloud.database.writing() as db:
            steer_nics(db, cloud.row().id, hosts)
        cloud.sweep()
        cloud.settle()
        assert the_only(cloud.fabric.ports()).hosts == hosts


def test_a_port_as_it_should_be_is_left_alone(cloud):
    cloud.running()
    cloud.sweep()
    assert cloud.due("vm", cloud.row().id) is None


def test_a_port_without_an_owner_stands_for_the_grace(cloud):
    cloud.running()
    left = replace(the_only(cloud.fabric.ports()), id=uuid4())
    cloud.fabric.put_port(left)
    cloud.sweep()
    cloud.clock.advance(AFTER_GRACE / 2)
    cloud.sweep()
    assert left.id in cloud.fabric.ports()
    cloud.clock.advance(AFTER_GRACE / 2)
    cloud.sweep()
    assert left.id not in cloud.fabric.ports()


def test_the_fabric_is_looked_at_again_after_it_was_away(cloud):
    cloud.running()
    cloud.sweep()
    cloud.fabric.unreachable = True
    cloud.pass_time(120)
    cloud.fabric.unreachable = False
    cloud.fabric.break_port(only_id(cloud.fabric.ports()))
    cloud.pass_time(90)
    assert the_only(cloud.fabric.ports()).mac


def test_what_ports_ought_to_be_is_made_out_anew_only_when_a_row_changed(cloud):
    cloud.running()
    data = CreateSecurityGroup(id="web", data_center_id="local")
    cloud.call(groups.create_security_group, project_id=PROJECT, data=data)
    cloud.settle()
    specs, group_id = PortSpecs(), only_id(cloud.fabric.groups())

    def read():
        with cloud.database.reading() as db:
            return specs.read(db)

    before = read()
    assert read() is before
    with cloud.database.writing() as db:
        db.execute(update(Nic).values(hostname="renamed"))
    ((_, renamed),) = read()
    assert renamed == replace(before[0][1], hostname="renamed")
    with cloud.database.writing() as db:
        db.add(NicGroup(nic_id=renamed.id, group_id=group_id))
    assert [spec for _, spec in read()] == [replace(renamed, groups=frozenset({group_id}))]


def test_what_was_taken_is_given_back_with_the_vm(cloud, data_center):
    cloud.running()
    with cloud.database.reading() as db:
        before = free_external(db, data_center, now=cloud.clock())
    cloud.ask(verbs.terminate_vm)
    cloud.settle()
    with cloud.database.reading() as db:
        assert free_external(db, data_center, now=cloud.clock()) == before
        assert free_external(db, data_center, now=cloud.clock() + COOL_DOWN) == before + 1
        assert not db.scalars(select(Nic)).all()
        assert len(db.scalars(select(Router)).all()) == 1


def test_without_resolvers_guests_ask_by_way_of_the_external_gateway(cloud, data_center):
    """Questions to the network's own gateway would stay on the router, where no names are."""
    assert data_center.resolvers == ()
    cloud.running()
    assert the_only(cloud.fabric.networks()).resolvers == (data_center.external_range[1],)
