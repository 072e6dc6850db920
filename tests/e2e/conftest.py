"""Real guests of a real cloud on the private host: one cloud for all tests, and VMs shared by tests that leave them as they are."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e import world
from tests.e2e.real_cloud import RealCloud, Vm
from tests.fabric.guests import Namespace

from cumulet.images import ImageStore
from cumulet.images.recipes import RECIPES


def lab_dir() -> Path:
    if "LAB_DIR" not in os.environ:
        pytest.fail("this test needs a private host: run it with tests/lab/enter")
    return Path(os.environ["LAB_DIR"])


def built_images() -> Path:
    """Where the images are that guests boot from, built before: a private host has no way to Debian's archive."""
    folder = Path(os.environ.get("CUMULET_TEST_IMAGES", "/var/cache/cumulet-test/images"))
    stored = {image.id for image in ImageStore(folder).list()}
    if missing := sorted(RECIPES.keys() - stored):
        pytest.fail(
            f"build the images first: CUMULET_DATA_DIR={folder.parent} cumulet image build {' '.join(missing)}"
        )
    return folder


@pytest.fixture(scope="session")
def outside() -> Namespace:
    """The world outside."""
    lab_dir()
    return world.make_world()


@pytest.fixture(scope="session")
def cloud(outside: Namespace) -> Iterator[RealCloud]:
    """A cloud whose guests find the world outside, and its resolver."""
    cloud = RealCloud(lab_dir() / "cloud", built_images(), resolver=world.ADDRESS)
    cloud.start()
    yield cloud
    cloud.stop()
    cloud.api.close()


@pytest.fixture(scope="session")
def neighbours(cloud) -> list[Vm]:
    """Two VMs of one project and one of another, asked for at once."""
    stranger = cloud.make_project("strangers")
    return [cloud.create("ann"), cloud.create("bob"), cloud.create("carl", project=stranger)]


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
