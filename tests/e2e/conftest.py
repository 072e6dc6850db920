"""Real guests of a real cloud on the private host: one cloud for all tests, and VMs shared by tests that leave them as they are."""

from collections.abc import Iterator

import pytest
from tests.e2e.real_cloud import RealCloud, Vm
from tests.waiting import eventually

NEIGHBOURS = ("ann", "bob", "carl")


@pytest.fixture(scope="session")
def cloud(real_cloud: RealCloud) -> RealCloud:
    return real_cloud


@pytest.fixture(autouse=True, scope="module")
def vms_leave_with_their_tests(cloud: RealCloud) -> Iterator[None]:
    """VMs that one module's tests know are terminated after them: a guest that does nothing keeps an emulated processor busy."""
    before = tuple(cloud.made)
    yield
    own = [vm for vm in cloud.made if vm not in before and vm.name not in NEIGHBOURS and not vm.gone()]
    for vm in own:
        vm.verb("terminate")
    for vm in own:
        eventually(vm.gone)


@pytest.fixture(autouse=True)
def answers(cloud) -> None:
    """The server runs again, if a test that failed left it ended: that is one failure, not a hundred."""
    if cloud.process.poll() is not None:
        cloud.start()


@pytest.fixture(scope="session")
def neighbours(cloud) -> list[Vm]:
    """Two VMs of one project and one of another, asked for at once."""
    ann, bob, carl = NEIGHBOURS
    stranger = cloud.make_project("strangers")
    return [cloud.create(ann), cloud.create(bob), cloud.create(carl, project=stranger)]


@pytest.fixture(scope="session")
def ann(neighbours) -> Vm:
    return neighbours[0].wait_for_ssh()


@pytest.fixture(scope="session")
def bob(neighbours) -> Vm:
    return neighbours[1].wait_for_ssh()


@pytest.fixture(scope="session")
def stranger(neighbours) -> Vm:
    """Of another project, in which addresses are the same."""
    return neighbours[2].wait_for_ssh()
