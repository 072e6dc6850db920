"""What arrives on a host where others arrive as well, or where what is there is not whole."""

import hashlib
import io
import json
import os
import platform
import signal
import subprocess
import sys
import tarfile
from contextlib import suppress
from importlib.resources import files
from pathlib import Path

import pytest

from cumulet.line.run import leave

SLOW_HELPER = """\
import os, socket, sys, time
time.sleep({seconds})
open(sys.argv[1] + ".pid", "a").write(f"{{os.getpid()}} ")
listener = socket.create_server(sys.argv[1], family=socket.AF_UNIX)
while True:
    listener.accept()[0].sendall(bytes(5))
"""


def a_bundle(seconds=0.5):
    """What arrive takes for a bundle: its helper does nothing but answer, after a while."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, text in {
            "cumulet/__init__.py": "",
            "cumulet/line/__init__.py": "",
            "cumulet/line/run.py": SLOW_HELPER.format(seconds=seconds),
        }.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return made.getvalue()


class Place:
    """Where bundles lie on a host, and where their helpers listen."""

    def __init__(self, folder):
        self.root, self.run = folder / "root", folder / "run"
        self.arrived = []

    def arrive(self, bundle):
        """Come there with a bundle, as a server does by SSH, and stay."""
        python = f"{sys.version_info[0]}.{sys.version_info[1]}"
        code = files("cumulet.line").joinpath("arrive.py").read_text()
        words = (digest_of(bundle), len(bundle), python, platform.machine(), self.root, self.run)
        one = subprocess.Popen(
            (sys.executable, "-c", code, *map(str, words)), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.arrived.append(one)
        return one

    def socket(self, bundle):
        return self.run / f"{digest_of(bundle)[:16]}.sock"

    def end(self):
        for one in self.arrived:
            one.kill()
            one.communicate()
        for path in self.run.glob("*.pid"):
            for pid in path.read_text().split():
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)


def digest_of(bundle):
    return hashlib.sha256(bundle).hexdigest()


def said(one, bundle):
    """What is answered in the end; the bundle is sent if it is asked for."""
    for line in one.stdout:
        word = json.loads(line)
        if "send" not in word:
            return word
        one.stdin.write(bundle)
        one.stdin.flush()
    raise AssertionError("it ended without a word")


@pytest.fixture
def place(tmp_path_factory):
    place = Place(tmp_path_factory.mktemp("p"))
    yield place
    place.end()


def test_a_bundle_that_comes_while_another_ones_helper_starts_leaves_that_alone(place):
    old, new = a_bundle(seconds=1), a_bundle(seconds=0)
    first, second = place.arrive(old), place.arrive(new)
    assert [said(first, old), said(second, new)] == [{"ready": True}] * 2
    assert {folder.name for folder in place.root.iterdir()} == {digest_of(old), digest_of(new)}


def test_several_servers_bring_one_bundle_and_one_helper_runs(place):
    bundle = a_bundle()
    servers = [place.arrive(bundle) for _ in range(4)]
    assert [said(one, bundle) for one in servers] == [{"ready": True}] * 4
    assert len(Path(f"{place.socket(bundle)}.pid").read_text().split()) == 1


def test_a_bundle_that_is_not_whole_is_brought_anew(place):
    bundle = a_bundle(seconds=0)
    half = place.root / digest_of(bundle) / "cumulet"
    half.mkdir(parents=True)
    (half / "__init__.py").touch()
    assert "the helper does not start" in said(place.arrive(bundle), bundle)["refused"]
    assert said(place.arrive(bundle), bundle) == {"ready": True}


def test_what_was_left_half_brought_or_half_removed_goes(place):
    bundle = a_bundle(seconds=0)
    for name in ("one.part", "two.gone", "three"):
        (place.root / name).mkdir(parents=True)
    said(place.arrive(bundle), bundle)
    assert [folder.name for folder in place.root.iterdir()] == [digest_of(bundle)]


def test_a_helper_that_leaves_takes_its_bundle_along_unless_another_serves_from_it(place):
    bundle = a_bundle(seconds=0)
    said(place.arrive(bundle), bundle)
    folder, listens = place.root / digest_of(bundle), place.socket(bundle)
    holder = "import fcntl, sys, time; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); print(); time.sleep(99)"
    argv = (sys.executable, "-uc", holder, str(listens.with_suffix(".lock")))
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        leave(listens, folder)
        other.kill()
    assert folder.is_dir()
    leave(listens, folder)
    assert not list(place.root.iterdir())
