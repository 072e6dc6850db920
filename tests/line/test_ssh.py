"""The line over a real SSH server on this machine's loopback, with keys and files of its own."""

import io
import os
import signal
import socket
import subprocess
import tarfile
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from tests.line.conftest import WISH
from tests.waiting import eventually

from cumulet.errors import Invalid
from cumulet.hypervisor import HostLost, HostUnreachable, reopened_link
from cumulet.line.bundle import make_bundle
from cumulet.line.far_host import FarHost
from cumulet.line.ssh import Destination, Places, SshLine, read_destination


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Key pairs of a server, its host and a stranger."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("server", "host", "stranger"):
        make = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", folder / name)
        subprocess.run(make, check=True)
    return folder


@pytest.fixture
def places(tmp_path):
    return Places(root=tmp_path / "there/helper", run=tmp_path / "there/run")


@contextmanager
def ssh_server(keys, *prefix, port):
    """An SSH server that lets in whoever has the server's key."""
    Path("/run/sshd").mkdir(exist_ok=True)
    options = (
        "UsePAM=no", "StrictModes=no", "PidFile=none", "ListenAddress=127.0.0.1",
        "SetEnv=HOME=/nowhere",  # what the shell of whoever runs the tests does at a login is none of theirs
        f"HostKey={keys / 'host'}", f"AuthorizedKeysFile={keys / 'server.pub'}",
    )  # fmt: skip
    words = [f"-o{option}" for option in options]
    with subprocess.Popen((*prefix, "/usr/sbin/sshd", "-D", "-f", "none", f"-p{port}", *words)) as sshd:
        eventually(lambda: answers(port))
        yield sshd
        sshd.terminate()


def answers(port):
    with socket.socket() as knock:
        return knock.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def destination(keys, port):
    return Destination("root", "127.0.0.1", port, " ".join((keys / "host.pub").read_text().split()[:2]))


@pytest.fixture
def sshd(keys, port, places):
    with ssh_server(keys, port=port) as sshd:
        yield sshd
    for pid in processes(places.run):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def line_to(destination, keys, places):
    """Makes lines to the host, each with what is different about it."""
    lines = []

    def make(destination=destination, identity="server", bundle=None, places=places):
        line = SshLine(destination, identity=keys / identity, bundle=bundle or make_bundle(), places=places)
        lines.append((line, far := FarHost(line.dial, WISH)))
        return far

    yield make
    for line, far in lines:
        far.close()
        line.close()


def processes(run):
    """The helpers that listen in a folder."""
    return [pid for pid, words in commands() if words[2:3] == ["cumulet.line.run"] and str(run) in words[3]]


def ssh_of(port):
    """The ssh that forwards to that port."""
    return [pid for pid, words in commands() if words[0] == "ssh" and str(port) in words]


def commands():
    """What runs on this machine, by process id."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            yield int(path.parent.name), path.read_text(errors="replace").split("\0")


def why(far):
    with pytest.raises(HostUnreachable) as refusal:
        far.doctor.find_resolvers()
    return str(refusal.value)


def test_a_host_with_nothing_but_ssh_and_python_is_asked(sshd, line_to, places):
    far = line_to()
    there = far.doctor.find_resolvers()
    assert isinstance(there, tuple | list)
    (folder,) = places.root.iterdir()
    assert folder.name == make_bundle().digest
    assert not list(folder.rglob("memory")), "no host is made up there"
    assert places.run.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("was_there", [True, False])
def test_qemus_user_gets_through_on_a_host_whose_root_keeps_all_files_to_itself(
    keys, port, line_to, places, was_there
):
    there = places.root.parent
    if was_there:
        there.mkdir(mode=0o700)
    with ssh_server(keys, "sh", "-c", 'umask 077 && exec "$0" "$@"', port=port):
        line_to().doctor.find_resolvers()
        (helper,) = processes(places.run)
        assert there.stat().st_mode & 0o001
        assert {folder.stat().st_mode & 0o777 for folder in (places.root, places.run)} == {0o700}
        assert "Umask:\t0022" in Path(f"/proc/{helper}/status").read_text()
        os.kill(helper, signal.SIGKILL)


def test_servers_of_one_version_share_a_helper_and_bring_its_bundle_once(sshd, line_to, places):
    line_to().doctor.find_resolvers()
    (folder,) = places.root.iterdir()
    before = folder.stat().st_ctime_ns
    line_to().doctor.find_resolvers()
    assert (len(processes(places.run)), folder.stat().st_ctime_ns) == (1, before)


def test_a_line_is_one_ssh_and_neither_end_of_it_opens_a_port(sshd, line_to, places, port):
    far = line_to()
    for _ in range(3):
        far.doctor.find_resolvers()
    (helper,), (ssh,) = processes(places.run), ssh_of(port)
    ports = {
        row.split()[9]
        for table in ("tcp", "tcp6", "udp", "udp6")
        for row in Path("/proc/net", table).read_text().splitlines()[1:]
        if row.split()[3] in LISTENS
    }
    assert not ports & (sockets_of(helper) | sockets_of(ssh))


LISTENS = ("0A", "07")
"""As the kernel's tables say it of TCP, and of UDP that has no peer."""


def sockets_of(pid):
    """The inodes of a process's sockets."""
    links = (str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir())
    return {link.removeprefix("socket:[").removesuffix("]") for link in links if link.startswith("socket:")}


def test_what_an_earlier_version_left_goes_once_its_helper_runs_no_more(sshd, line_to, places):
    (places.root / ("0" * 64)).mkdir(parents=True)
    line_to().doctor.find_resolvers()
    assert [folder.name for folder in places.root.iterdir()] == [make_bundle().digest]


def test_a_server_whose_key_the_host_does_not_know_is_told_so(sshd, line_to):
    told = why(line_to(identity="stranger"))
    assert "Permission denied" in told
    assert told.endswith("append what `cumulet host key` prints to /root/.ssh/authorized_keys there")


def test_a_host_that_proves_itself_by_another_key_than_the_pinned_one_is_not_asked(
    sshd, line_to, destination, keys
):
    other = replace(destination, host_key=" ".join((keys / "stranger.pub").read_text().split()[:2]))
    told = why(line_to(other))
    assert "Host key verification failed: it proves itself by another SSH key than it was known by" in told


def test_a_host_without_ssh_is_told_so(line_to):
    assert "Connection refused" in why(line_to())


def test_a_host_with_another_python_is_told_which_one_it_needs(sshd, line_to, places):
    there = why(line_to(bundle=replace(make_bundle(), python="3.99")))
    assert "is Python 3.11 on x86_64; the server's is 3.99" in there
    assert not places.root.exists()


def test_a_host_without_python_is_told_so(sshd, line_to, places):
    assert "/nowhere/python3" in why(line_to(places=replace(places, python="/nowhere/python3")))


def test_a_host_whose_disk_is_full_is_told_so_and_keeps_nothing_half(keys, port, line_to, places):
    places.root.mkdir(parents=True)
    small = (
        "unshare",
        "--mount",
        "sh",
        "-c",
        'mount -t tmpfs -o size=256k small "$0" && exec "$@"',
        str(places.root),
    )
    with ssh_server(keys, *small, port=port) as sshd:
        assert "No space left on device" in why(line_to())
        assert list(Path(f"/proc/{sshd.pid}/root{places.root}").iterdir()) == []


def test_a_helper_that_does_not_start_says_why(sshd, line_to):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("empty"))
    broken = replace(make_bundle(), content=packed.getvalue())
    assert "the helper does not start on the host; it said: " in why(line_to(bundle=broken))


def test_a_call_whose_ssh_is_killed_is_lost_and_the_next_finds_the_same_helper(sshd, line_to, places, port):
    far = line_to()
    far.doctor.find_resolvers()
    helper = processes(places.run)
    for pid in ssh_of(port):
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: resolves(far))
    assert processes(places.run) == helper


def test_a_helper_that_is_killed_is_started_anew(sshd, line_to, places, port):
    far = line_to()
    far.doctor.find_resolvers()
    (helper,) = processes(places.run)
    os.kill(helper, signal.SIGKILL)
    eventually(lambda: resolves(far))
    assert processes(places.run) not in ([], [helper])


def test_a_host_that_takes_its_time_holds_nobody_up_for_long(destination, keys, places, port, monkeypatch):
    monkeypatch.setattr(reopened_link, "AGAIN_SECONDS", 0.1)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", port))
        silent.listen()
        line = SshLine(
            destination, identity=keys / "server", bundle=make_bundle(), places=places, patience=0.1
        )
        far = FarHost(line.dial, WISH, hang_up=line.close)
        assert [("connecting takes long" in why(far)) for _ in range(3)] == [True] * 3
        far.close()


def resolves(far):
    try:
        far.doctor.find_resolvers()
    except (HostUnreachable, HostLost):
        return False
    return True


def test_nothing_of_a_line_is_left_once_it_is_closed(sshd, line_to, port):
    far = line_to()
    far.doctor.find_resolvers()
    (ssh,) = ssh_of(port)
    words = Path(f"/proc/{ssh}/cmdline").read_bytes()
    folder = Path(words.split(b"UserKnownHostsFile=")[1].split(b"\0")[0].decode()).parent
    os.kill(ssh, signal.SIGKILL)
    eventually(lambda: not folder.exists())


@pytest.mark.parametrize(
    ("uri", "destination"),
    [
        ("ssh://root@server2", Destination("root", "server2", 22, "")),
        ("ssh://server2:2222", Destination("root", "server2", 2222, "")),
        (
            "ssh://op@[fd00::2]:2222?host_key=ssh-ed25519%20AA%2BB",
            Destination("op", "fd00::2", 2222, "ssh-ed25519 AA+B"),
        ),
    ],
)
def test_a_uri_says_where_a_host_is_and_what_it_proves_itself_by(uri, destination):
    assert read_destination(uri) == destination
    assert read_destination(destination.uri) == destination


@pytest.mark.parametrize(
    "uri",
    [
        "http://x",
        "ssh://",
        "ssh://-oProxyCommand=x",
        "ssh://-x@y",
        "ssh://x:99999",
        "ssh://x/y",
        "ssh://x?host_key=a&host_key=b",
        f"ssh://{'x' * 254}",
    ],
)
def test_what_is_no_place_of_a_host_is_refused(uri):
    with pytest.raises(Invalid, match="ssh://USER@HOST"):
        read_destination(uri)
