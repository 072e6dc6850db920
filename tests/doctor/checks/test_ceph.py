import pytest

from cumulet.doctor.checks.ceph import ask_ceph
from cumulet.doctor.findings import Level
from cumulet.hypervisor import CephPool, HypervisorError, ceph_client
from cumulet.hypervisor.ceph_client import CephClient, own_words


@pytest.fixture
def conf(tmp_path, monkeypatch):
    monkeypatch.setattr(ceph_client, "CONF", tmp_path / "ceph.conf")
    (tmp_path / "ceph.client.cumulet.keyring").touch(mode=0o600)
    (tmp_path / "ceph.conf").touch()
    return tmp_path


@pytest.fixture
def answers(conf, monkeypatch):
    """What a cluster says of its pools, or in what words it fails."""

    def answer(words):
        def ceph(_client, *_):
            if isinstance(words, str):
                return words
            raise words

        monkeypatch.setattr(CephClient, "ceph", ceph)

    return answer


def look():
    return ask_ceph("net", CephClient(CephPool("vms", "cumulet")))


def test_a_pool_in_ceph_is_told_with_its_room(answers):
    pools = '{"name": "other", "stats": {"stored": 0, "max_avail": 0}}, {"name": "vms", "stats": {"stored": %d, "max_avail": %d}}'
    answers('{"pools": [%s]}' % (pools % (3 << 30, 4 << 30)))
    finding = look()
    assert (finding.name, finding.level) == ("disk pool net", Level.OK)
    assert finding.text == "7 GiB in pool 'vms' of Ceph"


@pytest.mark.parametrize("missing", ["ceph.conf", "ceph.client.cumulet.keyring"])
def test_a_host_that_was_not_given_what_leads_to_ceph_is_told_of_with_the_cure(conf, missing):
    (conf / missing).unlink()
    finding = look()
    assert (finding.level, finding.text) == (Level.DEGRADED, f"{conf / missing} is not there")
    assert "ceph auth get client.cumulet" in finding.cure


def test_a_key_that_others_may_read_is_told_of(conf):
    (conf / "ceph.client.cumulet.keyring").chmod(0o640)
    finding = look()
    assert finding.level is Level.DEGRADED
    assert finding.cure.startswith("chmod 600 ")


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ('{"pools": []}', "Ceph has no pool 'vms'"),
        (ceph_client.CephRefused("timed out", number=1), "Ceph does not answer: timed out"),
        (HypervisorError("the host has no ceph: install ceph-common"), "install ceph-common"),
    ],
)
def test_a_cluster_that_does_not_have_the_pool_or_does_not_answer_is_told_of(answers, answer, text):
    answers(answer)
    finding = look()
    assert finding.level is Level.DEGRADED
    assert text in finding.text


def test_a_program_of_cephs_is_quoted_without_its_librarys_log():
    said = "2026-11-28T10:03:15.936+0000 7f76f3e94380 -1 librbd: no\n\nrbd: rename error: (2) No such file or directory\n"
    assert own_words(said) == "rbd: rename error: (2) No such file or directory"
