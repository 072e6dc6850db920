"""Files that a host is given over the line, and gives."""

from functools import partial

import pytest
from msgspec.structs import replace
from tests.line.conftest import WISH
from tests.waiting import eventually

from cumulet.hypervisor import BaseImage, CephPool, HypervisorError
from cumulet.hypervisor.content import carry
from cumulet.hypervisor.file_content import give_file
from cumulet.line.connections import dial_unix
from cumulet.line.far_host import FarHost
from cumulet.line.spool import Spool, spool_of

DIGEST = "ab" * 32


@pytest.fixture
def spool(tmp_path):
    return Spool(tmp_path / "spool")


def bring(spool, path, name=DIGEST):
    with give_file(path) as source, spool.receive(name) as target:
        carry(source, target, carried=lambda *_: None)


@pytest.fixture
def file(tmp_path):
    (path := tmp_path / "file").write_bytes(b"a" * 3_000_000 + bytes(3_000_000) + b"b")
    return path


def test_a_file_is_brought_whole_given_again_and_dropped(spool, file, tmp_path):
    bring(spool, file)
    again = Spool(tmp_path / "again")
    with spool.send(DIGEST) as source, again.receive(DIGEST) as target:
        carry(source, target, carried=lambda *_: None)
    assert (tmp_path / "again" / DIGEST).read_bytes() == file.read_bytes()
    spool.drop(DIGEST)
    spool.drop(DIGEST)
    with pytest.raises(HypervisorError, match="not on the host any more"):
        spool.send(DIGEST)


@pytest.mark.parametrize("name", ["../../etc/shadow", "", "a", f"{DIGEST}/x"])
def test_no_name_leads_out_of_the_folder(spool, name):
    for verb in (spool.send, spool.receive, spool.drop):
        with pytest.raises(HypervisorError, match="no name of a file"):
            verb(name)


@pytest.fixture
def image(tmp_path):
    """One as a host in memory takes it in: its digest is its content."""
    (path := tmp_path / "image").write_text(DIGEST)
    return BaseImage(DIGEST, "raw", path, 1)


@pytest.fixture
def open_far(helper, place):
    """Open a host, with some of its pools in Ceph."""
    opened = []

    def open_far(**pools):
        opened.append(FarHost(partial(dial_unix, str(place)), replace(WISH, **pools)))
        return opened[-1]

    yield open_far
    for far in opened:
        far.close()


def test_an_image_is_a_copy_as_it_comes_and_lies_nowhere_else_on_the_host(open_far, image):
    host = open_far()
    assert eventually(lambda: host.images.copy(image).ready)
    assert host.images.copies("local").keys() == {DIGEST}
    assert not (spool_of(WISH.state_dir) / DIGEST).exists()


def test_content_that_is_another_than_the_image_s_is_told_and_no_copy(open_far, image):
    host = open_far()
    image.path.write_text("x" * len(DIGEST))
    assert f"what came is not image {DIGEST[:12]}" in eventually(lambda: host.images.copy(image).error)
    assert host.images.copies() == {}


def test_the_content_of_an_image_for_ceph_is_on_the_host_only_until_its_copy_is(open_far, real_host, image):
    host = open_far(ceph={"fast": CephPool("vms", "cumulet")})
    real_host.copy_step = 0.5
    brought = spool_of(WISH.state_dir) / DIGEST
    eventually(lambda: host.images.copy(image, "fast").fraction == 0.5)
    assert brought.read_text() == DIGEST
    assert host.images.copy(image, "fast").ready
    assert not brought.exists()


def test_an_image_that_is_not_on_the_server_is_told(host, tmp_path):
    copy = host.images.copy(BaseImage(DIGEST, "raw", tmp_path / "gone", 1))
    assert (copy.ready, "No such file" in copy.error) == (False, True)
