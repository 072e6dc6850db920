import pytest
from tests.fabric.specs import SSH, Project

from cumulet.errors import Unavailable
from cumulet.fabric import Fabric, FabricUnreachable
from cumulet.fabric.memory import MemoryFabric


@pytest.fixture
def fabric():
    return MemoryFabric()


def test_it_is_a_fabric_in_the_eyes_of_the_type_checker(fabric):
    whole: Fabric = fabric
    assert whole.settled()


def test_a_silent_fabric_answers_no_verb(fabric):
    project = Project(fabric)
    fabric.unreachable = True
    with pytest.raises(FabricUnreachable):
        fabric.ping()
    with pytest.raises(Unavailable):
        fabric.put_router(project.router)


@pytest.mark.parametrize(("after", "removed"), [(False, False), (True, True)])
def test_a_call_can_be_made_to_fail_before_or_after_its_effect(fabric, after, removed):
    project = Project(fabric)
    port = project.port()
    fabric.crash_on_call(2, KeyboardInterrupt(), after=after)
    fabric.ping()
    with pytest.raises(KeyboardInterrupt):
        fabric.remove_port(port.id)
    assert (port.id not in fabric.ports()) == removed


def test_what_somebody_else_changed_differs_until_it_is_put_again(fabric):
    project = Project(fabric)
    port = project.port()
    fabric.break_port(port.id)
    fabric.break_network(project.network.id)
    group = project.group(SSH)
    fabric.break_group(group.id)
    assert fabric.groups() != {group.id: group}
    fabric.put_group(group)
    assert fabric.ports()[port.id] != port
    assert fabric.networks()[project.network.id] != project.network
    fabric.put_network(project.network)
    fabric.put_port(port)
    assert fabric.ports() == {port.id: port}
    assert fabric.networks() == {project.network.id: project.network}
