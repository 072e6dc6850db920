"""Files that a host is given over the line, and gives."""

import pytest
from tests.line.conftest import WISH
from tests.waiting import eventually

from cumulet.hypervisor import BaseImage, HypervisorError
from cumulet.hypervisor.content import carry
from cumulet.hypervisor.file_content import give_file
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


def test_the_content_of_an_image_is_on_the_host_only_until_its_copy_is(host, real_host, file):
    real_host.copy_step = 0.5
    image = BaseImage(DIGEST, "raw", file, 1)
    brought = spool_of(WISH.state_dir) / DIGEST
    eventually(lambda: host.images.copy(image).fraction == 0.5)
    assert brought.read_bytes() == file.read_bytes()
    assert host.images.copy(image).ready
    assert not brought.exists()


def test_an_image_that_is_not_on_the_server_is_told(host, tmp_path):
    copy = host.images.copy(BaseImage(DIGEST, "raw", tmp_path / "gone", 1))
    assert (copy.ready, "No such file" in copy.error) == (False, True)
