import errno
import hashlib
import os
import threading
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from tests.waiting import PATIENCE_S, eventually

from cumulet.hypervisor import BaseImage, HypervisorError, file_content
from cumulet.hypervisor.content import Broken, carry
from cumulet.hypervisor.file_content import give_file
from cumulet.hypervisor.libvirt import image_copies
from cumulet.hypervisor.libvirt.image_copies import ImageCopies
from cumulet.hypervisor.libvirt.jobs import Record, try_lock, write_record


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "store.qcow2"
    path.write_bytes(content := os.urandom(100_000))
    return BaseImage(hashlib.sha256(content).hexdigest(), "qcow2", path, size_gib=1)


@pytest.fixture
def copies(paths):
    return ImageCopies(paths)


def test_a_copy_is_made_in_the_background_and_is_for_nobody_to_write(copies, paths, image):
    assert not copies.ensure(image).ready
    eventually(lambda: copies.ensure(image).ready)
    copy = paths.image(image)
    assert copy.read_bytes() == image.path.read_bytes()
    assert not copy.samefile(image.path)
    assert (copy.stat().st_mode & 0o777, copy.stat().st_uid) == (0o444, os.geteuid())
    assert copies.complete().keys() == {image.sha256}
    assert [path.name for path in paths.images.iterdir()] == [paths.image(image).name]


def test_a_copy_that_was_interrupted_is_begun_again(copies, paths, image):
    part = image_copies.part_of(paths.image(image))
    part.write_bytes(b"x" * 50_000)
    assert copies.complete() == {}
    assert copies.find(image.sha256) is None
    assert copies.ensure(image).fraction in {0.0, 0.5, 1.0}
    eventually(lambda: copies.ensure(image).ready)
    assert paths.image(image).read_bytes() == image.path.read_bytes()


@pytest.fixture
def begin_copy(paths):
    """What another process leaves on the disk that is at a copy, or died at it; answers its part, and its lock."""

    def begin(sha256):
        part = paths.images / f"{sha256}.qcow2.part"
        part.write_bytes(b"x" * 25_000)
        write_record(paths.copies, sha256, Record(source="", part=str(part), fraction=0.25))
        return part, try_lock(paths.copies / f"{sha256}.lock")

    return begin


def test_another_process_at_the_same_copy_is_left_to_it(copies, image, begin_copy):
    part, lock = begin_copy(image.sha256)
    with lock:
        assert copies.ensure(image).fraction == 0.25
        assert part.read_bytes() == b"x" * 25_000


def test_a_copy_that_another_host_made_meanwhile_in_a_directory_they_share_stays(image, tmp_path):
    (theirs := tmp_path / "copy").write_bytes(image.path.read_bytes())
    inode = theirs.stat().st_ino
    image_copies.copy_whole(image.path, theirs, part=tmp_path / "copy.h2.part", anew=False)
    assert theirs.stat().st_ino == inode
    assert not (tmp_path / "copy.h2.part").exists()


def test_copies_that_nobody_is_at_any_more_are_swept_away(copies, paths, begin_copy):
    theirs, lock = begin_copy("aa")
    _, died = begin_copy("bb")
    died.close()
    with lock:
        copies.remove_abandoned()
    assert list(paths.images.iterdir()) == [theirs]


def test_a_copy_that_fails_says_why_once_and_is_tried_again(copies, image):
    content = image.path.read_bytes()
    image.path.unlink()
    assert "No such file" in eventually(lambda: copies.ensure(image).error)
    image.path.write_bytes(content)
    eventually(lambda: copies.ensure(image).ready)


def test_a_disk_of_a_missing_copy_is_refused(copies, image):
    with pytest.raises(HypervisorError, match="not on this host"), copies.held(image):
        pass


@pytest.fixture
def copied(copies, paths, image):
    eventually(lambda: copies.ensure(image).ready)
    return paths.image(image)


@pytest.mark.parametrize("how", ["in place", "by another file"])
def test_a_copy_that_was_changed_is_not_used_and_made_anew_and_that_is_told(copies, image, copied, how):
    before = copied.stat()
    if how == "in place":
        copied.chmod(0o644)
        with copied.open("r+b") as file:
            file.write(b"another beginning")
        os.utime(copied, ns=(before.st_atime_ns, before.st_mtime_ns))
    else:
        (other := copied.with_suffix(".other")).write_bytes(os.urandom(100_000))
        other.rename(copied)
    with pytest.raises(HypervisorError, match="has changed"), copies.held(image):
        pass
    assert "was changed: it is copied again" in eventually(lambda: copies.ensure(image).error)
    eventually(lambda: copies.ensure(image).ready)
    assert copied.read_bytes() == image.path.read_bytes()
    with copies.held(image):
        pass


def bring(copies, image, path):
    """Bring an image in from a file, as a server does; gives the receiver's word."""
    with give_file(path) as source, copies.take(image) as target:
        carry(source, target, carried=lambda *_: None)


def test_what_is_brought_is_a_copy_that_is_looked_at_no_more(copies, paths, image, monkeypatch):
    monkeypatch.setattr(image_copies, "digest_of", None)
    bring(copies, image, image.path)
    assert copies.ensure(replace(image, path=Path("/nowhere"))).ready
    copy = paths.image(image)
    assert copy.read_bytes() == image.path.read_bytes()
    assert copy.stat().st_mode & 0o777 == 0o444
    assert list(paths.images.iterdir()) == [copy]
    with copies.held(image):
        pass


def test_what_is_brought_and_is_not_the_image_is_no_copy(copies, paths, image, tmp_path):
    content = image.path.read_bytes()
    (other := tmp_path / "other").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(Broken, match="is not image"):
        bring(copies, image, other)
    assert list(paths.images.iterdir()) == []


def test_what_does_not_fit_is_told_and_nothing_of_it_is_left(copies, paths, image, monkeypatch):
    def refuse(_file, _block):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(file_content, "write_all", refuse)
    image.path.write_bytes(os.urandom(3_000_000))  # more than a line holds
    with pytest.raises(Broken, match="No space left on device"):
        bring(copies, image, image.path)
    assert list(paths.images.iterdir()) == []


def test_a_copy_that_was_there_already_stays_when_it_is_brought_again(copies, paths, image, copied):
    inode = copied.stat().st_ino
    bring(copies, image, image.path)
    assert copied.stat().st_ino == inode
    assert list(paths.images.iterdir()) == [copied]


def test_a_changed_copy_whose_image_is_not_at_hand_is_told_and_made_anew_of_what_is_brought(
    copies, image, copied
):
    copied.chmod(0o644)
    copied.write_bytes(b"changed")
    elsewhere = replace(image, path=Path("/nowhere"))
    assert "was changed: it is copied again" in eventually(lambda: copies.ensure(elsewhere).error)
    bring(copies, image, image.path)
    eventually(lambda: copies.ensure(elsewhere).ready)
    assert copied.read_bytes() == image.path.read_bytes()


def test_a_copy_that_was_only_touched_is_looked_at_and_used(copies, image, copied):
    inode = copied.stat().st_ino
    copied.chmod(0o666)
    eventually(lambda: copies.ensure(image).ready)
    assert copied.stat().st_mode & 0o777 == 0o444
    assert copied.stat().st_ino == inode


def test_a_copy_that_another_process_made_is_looked_at_before_it_is_used(copies, paths, image, copied):
    other = ImageCopies(paths)
    with pytest.raises(HypervisorError, match="checked first"), other.held(image):
        pass
    assert not other.ensure(image).ready
    eventually(lambda: other.ensure(image).ready)


def test_a_copy_of_earlier_days_that_shares_its_file_with_the_store_is_made_safe(copies, paths, image):
    os.link(image.path, paths.image(image))
    eventually(lambda: copies.ensure(image).ready)
    assert image.path.stat().st_mode & 0o777 == 0o444


def test_an_image_that_is_not_what_it_was_in_the_store_is_not_copied(copies, paths, image):
    image.path.write_bytes(b"another")
    assert "has changed" in eventually(lambda: copies.ensure(image).error)
    assert list(paths.images.iterdir()) == []


def test_where_files_cannot_be_shared_they_are_copied(copies, paths, image, monkeypatch):
    def refuse(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(image_copies.os, "copy_file_range", refuse)
    eventually(lambda: copies.ensure(image).ready)
    assert paths.image(image).read_bytes() == image.path.read_bytes()


def test_a_copy_is_not_released_while_a_disk_is_made_of_it(copies, paths, image, copied):
    released = threading.Event()

    def release():
        with copies.released(paths.image(image)):
            released.set()

    waiting = threading.Thread(target=release)
    with ExitStack() as making:
        making.enter_context(copies.held(image))
        waiting.start()
        assert not released.wait(0.05)
    waiting.join(PATIENCE_S)
    assert released.is_set()


def test_a_copy_removed_while_a_disk_waited_for_it_is_refused(copies, paths, image, copied):
    told: list[str] = []

    def make_disk():
        try:
            with copies.held(image):
                told.append("made")
        except HypervisorError as error:
            told.append(str(error))

    making = threading.Thread(target=make_disk)
    path: Path = paths.image(image)
    with copies.released(path):
        making.start()
        path.unlink()
    making.join(PATIENCE_S)
    assert "not on this host" in told[0]
