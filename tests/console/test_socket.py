"""The websockets of consoles: who is let in, what passes, and with which words each end comes."""

import logging
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy import delete, update
from structlog.testing import capture_logs
from tests.console.conftest import GREETING, app_of, socket_to
from tests.made_up import PROJECT
from tests.projects.people import add_user
from tests.rest.conftest import serving
from tests.waiting import PATIENCE_S, eventually
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.uri import parse_uri

from cumulet.console import CloseReason, Kind, bridge, operations
from cumulet.hypervisor import HypervisorError
from cumulet.projects import Role, key_operations
from cumulet.projects.model import Membership
from cumulet.rest import connections
from cumulet.rest.connections import Phase
from cumulet.rest.tls import Certificate
from cumulet.self_signed import make_self_signed
from cumulet.vm_record import VmState
from cumulet.vms import operations as verbs
from cumulet.web import console as edge

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)


def ending(line) -> tuple[int, str]:
    """With which code and words a line ends."""
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            line.recv(timeout=PATIENCE_S)
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code, closed.value.rcvd.reason


def told(end: CloseReason) -> tuple[int, str]:
    return end.code, end.words


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch):
    monkeypatch.setattr(bridge, "LOOK_SECONDS", 0.01)


@pytest.fixture
def vm(cloud):
    cloud.running()
    return cloud.row()


@pytest.mark.parametrize("kind", Kind, ids=lambda kind: kind.value)
def test_bytes_pass_both_ways(vm, look, kind):
    line = look(kind.value)
    line.send(b"\x00keys\xff")
    assert line.recv(timeout=PATIENCE_S) == b"\x00keys\xff"
    line.send("as text")
    assert line.recv(timeout=PATIENCE_S) == b"as text"


def test_a_lot_passes_whole(vm, look):
    line = look("serial")
    sent = bytes(range(256)) * 4096 * 4
    typist = threading.Thread(
        target=lambda: [line.send(sent[at : at + 65536]) for at in range(0, len(sent), 65536)]
    )
    typist.start()
    heard = b""
    while len(heard) < len(sent):
        heard += line.recv(timeout=PATIENCE_S)
    typist.join()
    assert heard == sent


def test_a_ticket_opens_both_consoles_and_opens_again(vm, look, ticket):
    one = ticket()
    for kind in ("screen", "serial", "screen"):
        look(kind, with_ticket=one)


def test_another_server_takes_the_ticket_too(cloud, vm, ticket):
    with serving(app_of(cloud)) as other, socket_to(other, "screen") as line:
        line.send(ticket())
        assert [line.recv(timeout=PATIENCE_S), line.recv(timeout=PATIENCE_S)] == ["open", GREETING]


@pytest.fixture(params=["plain", "tls"])
def door(request, tmp_path):
    """A way in: what the server is served with, and what its callers trust."""
    if request.param == "plain":
        return None, None
    made = make_self_signed(tmp_path, ("127.0.0.1",), datetime.now(UTC))
    return Certificate(made.files), ssl.create_default_context(cafile=made.authority)


def test_a_console_stays_open_beyond_the_limits_of_requests_and_holds_its_place_at_the_door(
    cloud, vm, ticket, monkeypatch, door
):
    certificate, trust = door
    monkeypatch.setattr(connections, "SECONDS", {Phase.HEAD: 1.0, Phase.BODY: 1.0})

    def ask(url):
        return httpx.get(f"{url}/healthz", verify=trust or True).status_code

    with serving(app_of(cloud), most=1, certificate=certificate) as url:
        with socket_to(url, "serial", ssl=trust) as line:
            line.send(ticket())
            assert line.recv(timeout=PATIENCE_S) == "open"
            threading.Event().wait(1.5)
            assert ask(url) == 503
            line.send(b"still here")
            assert line.recv(timeout=PATIENCE_S) == b"still here"
        eventually(lambda: ask(url) == 200)


# Who is not let in


def refused(cloud, url, ticket: str, vm: str = "hello") -> tuple[int, str]:
    with socket_to(url, "screen", vm) as line:
        line.send(ticket)
        return ending(line)


def test_a_ticket_that_nobody_gave_is_refused(cloud, vm, url):
    for made_up in ("", "x", "\0", "ü" * 1000):
        assert refused(cloud, url, made_up) == told(CloseReason.BAD_TICKET)


def test_no_ticket_in_time_is_refused(vm, url, monkeypatch):
    monkeypatch.setattr(edge, "TICKET_SECONDS", 0.05)
    with socket_to(url, "screen") as line:
        assert ending(line) == told(CloseReason.BAD_TICKET)


def test_a_ticket_opens_for_five_minutes(cloud, vm, url, look, ticket):
    one, other = ticket(), ticket()
    cloud.clock.advance(299)
    look(with_ticket=one)  # which keeps that one good
    cloud.clock.advance(2)
    assert refused(cloud, url, other) == told(CloseReason.BAD_TICKET)


def test_a_ticket_is_for_one_vm(cloud, vm, url, ticket):
    cloud.running(vm_id="other")
    assert refused(cloud, url, ticket("other")) == told(CloseReason.OTHER_VM)


def test_a_ticket_does_not_outlive_its_vm(cloud, vm, url, ticket):
    one = ticket()
    cloud.ask(verbs.terminate_vm)
    cloud.settle()
    cloud.running()
    assert refused(cloud, url, one) == told(CloseReason.GONE)
    other = ticket()
    cloud.ask(verbs.terminate_vm)
    assert refused(cloud, url, other) == told(CloseReason.GONE)


def test_who_lost_his_role_is_refused(cloud, vm, url, ticket):
    with cloud.database.writing() as db:
        editor = add_user(db, "eddy", **{PROJECT: Role.EDITOR})
    one = ticket(caller=editor)
    mine = Membership.user_id == editor.user_id
    for change in (update(Membership).values(role=Role.VIEWER), delete(Membership)):
        with cloud.database.writing() as db:
            db.execute(change.where(mine))
        assert refused(cloud, url, one) == told(CloseReason.NOT_YOURS)


def test_a_vm_that_is_off_says_so(cloud, vm, url, ticket):
    one = ticket()
    cloud.host.guest_powers_off(vm.id)
    assert refused(cloud, url, one) == told(CloseReason.OFF)
    cloud.settle()
    assert refused(cloud, url, one) == told(CloseReason.OFF)


def test_a_vm_that_stands_still_does_not_say_that_it_is_off(cloud, vm, url, ticket):
    one = ticket()
    cloud.host.full = True
    cloud.host.stall(vm.id)
    cloud.sweep()
    assert refused(cloud, url, one) == told(CloseReason.HELD)


def test_a_vm_that_will_run_again_says_so(cloud, vm, url, ticket):
    one = ticket()
    cloud.host.kill(vm.id)
    assert refused(cloud, url, one) == told(CloseReason.STARTS)
    cloud.ask(verbs.stop_vm)
    cloud.settle()
    cloud.ask(verbs.start_vm)
    assert refused(cloud, url, one) == told(CloseReason.STARTS)


def test_a_host_that_does_not_answer_says_so(cloud, vm, url, ticket):
    one = ticket()
    cloud.host.unreachable = True
    assert refused(cloud, url, one) == told(CloseReason.HOST_AWAY)
    cloud.sweep()
    cloud.pass_time(15)
    assert cloud.vm().state is VmState.UNKNOWN
    assert refused(cloud, url, one) == told(CloseReason.HOST_AWAY)


def test_a_host_of_another_configuration_says_so(cloud, vm, url, ticket):
    one = ticket()
    cloud.hosts.clear()
    assert refused(cloud, url, one) == told(CloseReason.HOST_AWAY)


def test_a_machine_without_a_screen_says_so(cloud, vm, url, ticket):
    one = ticket()
    cloud.host.crash_on_call(2, HypervisorError("no graphics"), after=False)
    assert refused(cloud, url, one) == told(CloseReason.NO_CONSOLE)


def test_our_mistake_is_told_without_what_went_wrong(vm, url, ticket, monkeypatch, cloud):
    def fail(_consoles, _asked):
        raise RuntimeError("the secret is hunter2")

    monkeypatch.setattr(edge.Consoles, "open", fail)
    with capture_logs() as lines:
        assert refused(cloud, url, ticket()) == told(CloseReason.OUR_FAULT)
    assert [line["event"] for line in lines if line["log_level"] == "error"] == ["console failed"]


def test_a_page_of_somebody_else_is_refused(vm, url, ticket):
    for origin in ("http://evil.example", "null", url.replace("127.0.0.1", "localhost")):
        with socket_to(url, "screen", origin=origin) as line:
            assert ending(line) == told(CloseReason.FOREIGN_PAGE)
    with socket_to(url, "screen", origin=url) as line:
        line.send(ticket())
        assert line.recv(timeout=PATIENCE_S) == "open"


# How an open one ends


def test_a_stop_says_that_the_vm_is_off(cloud, vm, look):
    line = look()
    cloud.ask(verbs.stop_vm)
    cloud.settle()
    assert ending(line) == told(CloseReason.OFF)


def test_a_guest_that_powers_itself_off_says_that_the_vm_is_off(cloud, vm, look):
    line = look()
    cloud.host.guest_powers_off(vm.id)
    assert ending(line) == told(CloseReason.OFF)


def test_a_restart_says_so(cloud, vm, look):
    line = look()
    cloud.ask(verbs.reboot_vm)
    cloud.settle()
    assert ending(line) == told(CloseReason.STARTS)


def test_a_crash_says_that_the_vm_restarts(cloud, vm, look):
    line = look()
    cloud.host.kill(vm.id)
    assert ending(line) == told(CloseReason.STARTS)


def test_a_delete_says_so(cloud, vm, look):
    line = look()
    cloud.ask(verbs.terminate_vm)
    cloud.run()
    assert ending(line) == told(CloseReason.GONE)


def test_a_host_that_fell_silent_says_so(cloud, vm, look):
    line = look()
    cloud.host.unreachable = True
    cloud.host.lines.end(vm.id)
    assert ending(line) == told(CloseReason.HOST_AWAY)


def test_a_screen_that_qemu_closed_says_so(cloud, vm, look):
    line = look()
    cloud.host.lines.end(vm.id)
    assert ending(line) == told(CloseReason.NO_CONSOLE)


def test_the_second_at_a_serial_console_takes_it_over_and_the_first_is_told(vm, look):
    first = look("serial")
    second = look("serial")
    assert ending(first) == told(CloseReason.TAKEN_OVER)
    second.send(b"mine")
    assert second.recv(timeout=PATIENCE_S) == b"mine"


def test_a_server_that_stops_says_so_though_its_viewer_types_on(cloud, vm, ticket):
    def type_on(line):
        with suppress(ConnectionClosed):
            while True:
                line.send(bytes(4096))

    with ExitStack() as server:
        url = server.enter_context(serving(app_of(cloud)))
        with socket_to(url, "serial") as line:
            line.send(ticket())
            assert line.recv(timeout=PATIENCE_S) == "open"
            ways = [threading.Thread(target=type_on, args=(line,)), threading.Thread(target=server.close)]
            for way in ways:
                way.start()
            assert ending(line) == (CloseCode.SERVICE_RESTART, "")
            for way in ways:
                way.join()


def test_two_look_at_one_screen(vm, look):
    first, second = look(), look()
    for line in (first, second):
        line.send(b"here")
        assert line.recv(timeout=PATIENCE_S) == b"here"


def test_an_open_console_keeps_its_ticket_good(cloud, vm, look, ticket, monkeypatch):
    monkeypatch.setattr(bridge, "CHECK_SECONDS", 0.02)
    one = ticket()
    look(with_ticket=one)
    renewed = threading.Event()
    renew = edge.Consoles.renew

    def and_tell(consoles, asked):
        renew(consoles, asked)
        renewed.set()

    monkeypatch.setattr(edge.Consoles, "renew", and_tell)
    cloud.clock.advance(200)
    renewed.clear()
    assert renewed.wait(PATIENCE_S)
    cloud.clock.advance(200)
    look("serial", with_ticket=one)


def test_who_loses_his_role_loses_his_open_console(cloud, vm, look, ticket, monkeypatch):
    monkeypatch.setattr(bridge, "CHECK_SECONDS", 0.02)
    with cloud.database.writing() as db:
        editor = add_user(db, "eddy", **{PROJECT: Role.EDITOR})
    line = look(with_ticket=ticket(caller=editor))
    with cloud.database.writing() as db:
        db.execute(delete(Membership).where(Membership.user_id == editor.user_id))
    assert ending(line) == told(CloseReason.NOT_YOURS)


def test_a_console_where_nothing_happens_ends(vm, look, monkeypatch):
    monkeypatch.setattr(bridge, "IDLE_SECONDS", 0.1)
    assert ending(look()) == told(CloseReason.IDLE)


def test_a_viewer_who_vanished_is_let_go(cloud, vm, ticket):
    with (
        serving(app_of(cloud), ws_ping_interval=0.1, ws_ping_timeout=0.1) as url,
        silent_viewer(url, ticket()),
    ):
        eventually(lambda: not cloud.host.lines._ends)


@contextmanager
def silent_viewer(url: str, ticket: str) -> Iterator[None]:
    """One who opened a console and answers nothing any more, not even pings."""
    where = urlsplit(url)
    protocol = ClientProtocol(parse_uri(f"ws://{where.netloc}/console/{PROJECT}/hello/screen/socket"))
    with socket.create_connection((where.hostname, where.port)) as line:
        protocol.send_request(protocol.connect())
        line.sendall(b"".join(protocol.data_to_send()))
        protocol.receive_data(line.recv(4096))
        protocol.send_text(ticket.encode())
        line.sendall(b"".join(protocol.data_to_send()))
        assert b"open" in line.recv(4096)
        yield


def test_a_viewer_who_leaves_leaves_nothing_behind(cloud, vm, look):
    def sockets() -> int:
        return sum(link.is_socket() for link in Path("/proc/self/fd").iterdir())

    look().close()
    look("serial").close()
    before, ends = sockets(), len(cloud.host.lines._ends)
    for _ in range(10):
        look().close()
        look("serial").close()
    eventually(lambda: sockets() <= before and len(cloud.host.lines._ends) <= ends)


def test_no_log_tells_a_ticket(cloud, vm, look, caplog):
    caplog.set_level(logging.INFO)
    with capture_logs() as lines:
        token = cloud.ask(operations.connect_vm).token
        line = look(with_ticket=token)
        cloud.host.machines.force_off(vm.id)
        ending(line)
    assert {"console opened", "console closed"} <= {line["event"] for line in lines}
    assert token not in f"{lines}{caplog.text}"


def test_an_open_console_ends_with_the_key_behind_it(cloud, vm, look, ticket, monkeypatch):
    monkeypatch.setattr(bridge, "CHECK_SECONDS", 0.02)
    with cloud.database.writing() as db:
        editor = add_user(db, "eddy", **{PROJECT: Role.EDITOR})
    line = look(with_ticket=ticket(caller=editor))
    cloud.call(key_operations.delete_api_key, editor, name="key-of-eddy")
    assert ending(line) == told(CloseReason.KEY_REVOKED)
