"""The server's own user, and what is handed over to it: root's to do, so on a private host."""

import os
import pwd
import subprocess
import sys

import pytest

from cumulet.doctor.account import ensure_account, hand_over

pytestmark = pytest.mark.lab

NOBODY = pwd.getpwnam("nobody")
MAKE = """
import pwd
from pathlib import Path
from cumulet.doctor.account import ensure_account
made = ensure_account("cumulet-test", Path("/srv/cloud"))
assert ensure_account("cumulet-test", Path("/elsewhere")) == made
print(made.pw_dir, made.pw_shell, made.pw_uid < 1000, made.pw_uid != 0)
"""
WITH_ACCOUNTS_OF_ITS_OWN = 'cp -a /etc/. "$1" && mount --bind "$1" /etc && exec "$2" -c "$3"'


def test_a_service_s_account_is_made_once_and_nobody_logs_in_as_it(tmp_path):
    words = (
        "unshare",
        "--mount",
        "sh",
        "-ec",
        WITH_ACCOUNTS_OF_ITS_OWN,
        "sh",
        tmp_path,
        sys.executable,
        MAKE,
    )
    made = subprocess.run(words, check=True, capture_output=True, text=True)
    assert made.stdout.split() == ["/srv/cloud", "/usr/sbin/nologin", "True", "True"]
    with pytest.raises(KeyError):
        pwd.getpwnam("cumulet-test")  # it was made there alone


def test_an_account_that_is_there_is_taken_as_it_is(tmp_path):
    assert ensure_account("nobody", tmp_path) == NOBODY


@pytest.fixture
def left(tmp_path):
    """What a server that ran as root left."""
    folder = tmp_path / "data"
    for place in (
        "host/disks/a.qcow2",
        "helper/code.py",
        "images/x/image.json",
        "tls/server.key",
        "cumulet.db",
    ):
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).touch()
    return folder


def owner(path):
    found = path.lstat()
    return found.st_uid, found.st_gid


def test_the_server_s_user_gets_all_but_what_is_the_host_s(left):
    for _ in range(2):
        hand_over(left, *NOBODY[2:4])
        theirs = {path.relative_to(left).as_posix() for path in left.rglob("*") if owner(path) == NOBODY[2:4]}
        assert theirs == {"images", "images/x", "images/x/image.json", "tls", "tls/server.key", "cumulet.db"}
        assert owner(left) == NOBODY[2:4]


def test_nothing_elsewhere_is_handed_over_by_a_link(left, tmp_path):
    (secret := tmp_path / "secret").touch()
    (other := tmp_path / "other").mkdir()
    (left / "images/secret").symlink_to(secret)
    (left / "images/other").symlink_to(other)
    (left / "images/hard").hardlink_to(secret)
    hand_over(left, *NOBODY[2:4])
    assert [owner(path) for path in (secret, other, left / "images/hard")] == [(0, 0)] * 3


def test_what_is_somebody_else_s_stays_theirs(left):
    os.chown(left / "cumulet.db", 1, 1)
    hand_over(left, *NOBODY[2:4])
    assert owner(left / "cumulet.db") == (1, 1)


def test_a_directory_that_is_missing_is_made(tmp_path):
    hand_over(tmp_path / "a/b", *NOBODY[2:4])
    assert owner(tmp_path / "a/b") == NOBODY[2:4]


def test_what_root_makes_for_a_server_that_is_not_is_the_server_s(tmp_path):
    os.chown(tmp_path, *NOBODY[2:4])
    words = (sys.executable, "-m", "cumulet", "tls", "self-signed", "localhost")
    subprocess.run(words, env=os.environ | {"CUMULET_DATA_DIR": str(tmp_path)}, check=True)
    assert owner(tmp_path / "tls/server.key") == NOBODY[2:4]
