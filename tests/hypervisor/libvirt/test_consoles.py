"""Consoles of real machines: what else can break, and who waits for whom."""

import socket
from contextlib import suppress
from dataclasses import replace

import libvirt
import pytest
from tests.hypervisor.contract import a_spec, heard, prepare
from tests.waiting import eventually

from cumulet.hypervisor import BaseImage, DomainSpec, HostUnreachable, Hypervisor, NicSpec
from cumulet.hypervisor.libvirt import serial_lines

lab = pytest.mark.lab
MANY = 96
"""KiB that a guest prints: more than there is room for on the way, and at a serial port's 11 KiB a second."""
PRINTS = f"dd if=/dev/zero bs=16k count={MANY // 16} | tr '\\0' x >/dev/ttyS0; exit 3"


@pytest.fixture
def start(host: Hypervisor, nics: tuple[NicSpec, ...]):
    """Start a machine of that image, with a network that its boot would wait for."""
    specs: list[DomainSpec] = []

    def start_one(image: BaseImage, script: str = "") -> DomainSpec:
        specs.append(replace(a_spec(image), nics=nics))
        prepare(host, image, specs[-1], start_script=script)
        host.machines.start(specs[-1].id)
        return specs[-1]

    yield start_one
    for spec in specs:
        host.machines.undefine(spec.id)
        host.disks.remove(spec.boot_disk)
        host.seeds.remove(spec.id)
        host.consoles.remove_log(spec.id)


@lab
def test_a_killed_libvirtd_ends_serial_lines_and_leaves_screens(host, image, start, kill_libvirtd):
    spec = start(image)
    with host.consoles.open_serial(spec.id) as serial, host.consoles.open_screen(spec.id) as screen:
        assert heard(screen, 12) == b"RFB 003.008\n"
        kill_libvirtd()
        serial.settimeout(30)
        while serial.recv(4096):
            pass
        screen.sendall(b"RFB 003.008\n")
        assert heard(screen, 1)
    eventually(lambda: opens(host, spec))


def opens(host: Hypervisor, spec: DomainSpec) -> bool:
    """Whether the host is back, and the serial console opens and stays open for a moment."""
    with suppress(HostUnreachable), host.consoles.open_serial(spec.id) as line:
        line.settimeout(0.5)
        try:
            while line.recv(4096):
                pass
        except TimeoutError:
            return True
    return False


@pytest.fixture
def little_room(monkeypatch):
    """Let the pump's sockets hold little."""
    make = socket.socketpair

    def small_pair() -> tuple[socket.socket, socket.socket]:
        ends = make()
        for end in ends:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        return ends

    monkeypatch.setattr(socket, "socketpair", small_pair)


@lab
@pytest.mark.guest
def test_a_guest_does_not_wait_for_a_viewer_who_reads_nothing_and_who_reads_loses_nothing(
    host, micro, start, little_room
):
    spec = start(micro, PRINTS)
    with host.consoles.open_serial(spec.id) as line:
        eventually(lambda: host.consoles.log(spec.id, max_bytes=1 << 20).count(b"x") >= MANY * 1024)
        line.settimeout(30)
        printed = 0
        while printed < MANY * 1024:
            printed += line.recv(65536).count(b"x")


class EndlessStream:
    """A stream of a guest that never stops to print."""

    aborted = False

    def recv(self, count):
        return b"x" * count

    def abort(self):
        self.aborted = True

    def eventAddCallback(self, *_): ...  # noqa: N802 - libvirt's names
    def eventUpdateCallback(self, *_): ...  # noqa: N802
    def eventRemoveCallback(self): ...  # noqa: N802


def test_what_waits_for_a_viewer_is_little_and_who_never_reads_is_let_go(monkeypatch):
    for name in ("virEventAddHandle", "virEventUpdateHandle", "virEventRemoveHandle"):
        monkeypatch.setattr(libvirt, name, lambda *_: 1)
    stream, ended = EndlessStream(), []
    near, far = socket.socketpair()
    pump = serial_lines.Pump(stream, far, ended=ended.append)
    pump.start()
    most = 0
    for _ in range(100):
        pump._on_stream(stream, libvirt.VIR_STREAM_EVENT_READABLE, None)
        most = max(most, len(pump._to_viewer))
    assert most <= serial_lines.MOST_HELD + serial_lines.CHUNK
    assert (ended, stream.aborted, far.fileno()) == ([pump], True, -1)
    near.close()
