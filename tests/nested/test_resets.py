"""What resets a device where the kernel is real, and what is told when nothing does."""

import re

import pytest

pytestmark = pytest.mark.lab

EDU = 0x010000ED
"""What that device of QEMU's says of itself in its first register."""


@pytest.fixture
def came_of(told):
    return told.of("resets", dict[str, str | int])


def test_a_device_that_can_reset_itself_does(came_of):
    assert came_of["by itself"] == ""


def test_a_device_that_does_not_come_back_is_told_with_all_that_was_tried(came_of):
    words = r"GPU \S+ cannot be reset \(by bridge \S+: it does not work, by VFIO: it does not work\)"
    assert re.fullmatch(words, came_of["failing"])


def test_vfio_resets_a_card_whose_functions_all_are_its_own(came_of):
    assert came_of["by VFIO"] == ""


def test_an_error_that_a_device_reports_is_counted(came_of):
    assert came_of["errors"] == 1


def test_a_register_of_a_device_that_is_asleep_is_read(came_of):
    assert came_of["register"] == f"{EDU:#x}"
