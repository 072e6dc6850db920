import errno
import os
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.hypervisor.contract import eventually

from cumulet.hypervisor import BaseImage, HypervisorError
from cumulet.hypervisor.libvirt import image_copies
from cumulet.hypervisor.libvirt.image_copies import ImageCopies


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "store.qcow2"
    path.write_bytes(os.urandom(100_000))
    return BaseImage("ab" * 32, "qcow2", path, size_gib=1)


@pytest.fixture
def copies(layout):
    return ImageCopies(layout)


@pytest.fixture
def apart(monkeypatch):
    """The store and the copies lie on file systems of their own."""

    def refuse(_source, _target):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(image_copies.os, "link", refuse)


def test_on_the_stores_file_system_a_copy_is_there_at_once(copies, layout, image):
    assert copies.ensure(image).ready
    assert copies.ensure(image).ready
    assert layout.image(image).samefile(image.path)


def test_elsewhere_a_copy_is_made_in_the_background(copies, layout, image, apart):
    assert not copies.ensure(image).ready
    eventually(lambda: copies.ensure(image).ready)
    assert layout.image(image).read_bytes() == image.path.read_bytes()
    assert copies.complete() == {image.sha256}
    assert [path.name for path in layout.images.iterdir()] == [layout.image(image).name]


def test_a_copy_that_was_interrupted_is_begun_again(copies, layout, image, apart):
    part = image_copies.part_of(layout.image(image))
    part.write_bytes(b"x" * 50_000)
    assert copies.complete() == frozenset()
    assert copies.find(image.sha256) is None
    assert copies.ensure(image).fraction in {0.0, 0.5, 1.0}
    eventually(lambda: copies.ensure(image).ready)
    assert layout.image(image).read_bytes() == image.path.read_bytes()


def test_another_process_at_the_same_copy_is_left_to_it(copies, layout, image, apart):
    part = image_copies.part_of(layout.image(image))
    part.write_bytes(b"x" * 25_000)
    with image_copies.locked(part, image_copies.fcntl.LOCK_EX):
        image_copies.copy_whole(image.path, layout.image(image))
        assert copies.ensure(image).fraction == 0.25
        assert part.read_bytes() == b"x" * 25_000


def test_copies_that_nobody_is_at_any_more_are_swept_away(copies, layout, image, apart):
    theirs, nobodys = layout.images / "aa.qcow2.part", layout.images / "bb.qcow2.part"
    theirs.touch()
    nobodys.touch()
    with image_copies.locked(theirs, image_copies.fcntl.LOCK_EX):
        image_copies.remove_abandoned(layout.images)
    assert list(layout.images.iterdir()) == [theirs]


def test_a_copy_that_fails_says_why_once_and_is_tried_again(copies, image, apart):
    content = image.path.read_bytes()
    image.path.unlink()
    assert "No such file" in eventually(lambda: copies.ensure(image).error)
    image.path.write_bytes(content)
    eventually(lambda: copies.ensure(image).ready)


def test_a_disk_of_a_missing_copy_is_refused(copies, image):
    with pytest.raises(HypervisorError, match="not on this host"), copies.held(image):
        pass


def test_a_copy_is_not_released_while_a_disk_is_made_of_it(copies, layout, image):
    copies.ensure(image)
    released = threading.Event()

    def release():
        with copies.released(layout.image(image)):
            released.set()

    waiting = threading.Thread(target=release)
    with ExitStack() as making:
        making.enter_context(copies.held(image))
        waiting.start()
        assert not released.wait(0.05)
    waiting.join(10)
    assert released.is_set()


def test_a_copy_removed_while_a_disk_waited_for_it_is_refused(copies, layout, image):
    copies.ensure(image)
    told: list[str] = []

    def make_disk():
        try:
            with copies.held(image):
                told.append("made")
        except HypervisorError as error:
            told.append(str(error))

    making = threading.Thread(target=make_disk)
    path: Path = layout.image(image)
    with copies.released(path):
        making.start()
        path.unlink()
    making.join(10)
    assert "not on this host" in told[0]
