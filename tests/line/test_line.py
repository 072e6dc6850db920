"""What the line adds to a host: what travels, what breaks, and what nothing waits for."""

import signal
import socket
import threading
from contextlib import suppress
from functools import partial
from uuid import uuid4

import msgspec
import pytest
from tests.line.conftest import WISH, helping
from tests.test_seam import ASKED
from tests.waiting import PATIENCE_S, eventually

import cumulet.hypervisor.errors as refusals
from cumulet.doctor import calls
from cumulet.doctor.command import CommandFailed
from cumulet.errors import Invalid, Unavailable, error_info
from cumulet.hypervisor import HostLost, HostUnreachable, HypervisorError, ImageName
from cumulet.hypervisor import machines as machine_types
from cumulet.hypervisor.streams import join
from cumulet.line import connections, helper, run
from cumulet.line.connections import dial_unix
from cumulet.line.failures import subclasses, tell, told
from cumulet.line.far_host import FarHost
from cumulet.line.verbs import SPOOL, verbs


@pytest.fixture
def gate(real_host, monkeypatch):
    """A call of `facts` that lasts until it is let go on."""
    gate = threading.Event()
    facts = real_host.facts
    monkeypatch.setattr(real_host, "facts", lambda: gate.wait() and facts())
    yield gate
    gate.set()


@pytest.fixture
def impatient(monkeypatch):
    """Both ends notice silence soon."""
    monkeypatch.setattr(connections, "SILENCE_SECONDS", 0.4)
    monkeypatch.setattr(helper, "PULSE_SECONDS", 0.1)


def asked_meanwhile(ask):
    """Ask in a thread of its own; what came of it is in the list that is answered."""
    came = []

    def note():
        try:
            came.append(ask())
        except HypervisorError as failure:
            came.append(failure)

    thread = threading.Thread(target=note)
    thread.start()
    return thread, came


def test_all_that_is_asked_of_a_host_can_be_asked_over_the_line():
    sides = {"close"}
    asked = [name for part, name in verbs() if part != SPOOL]
    assert {*asked} == {name.rpartition(".")[2] for name in ASKED} - sides
    assert len(asked) == len(ASKED) - len(sides)


def test_a_machine_s_spec_arrives_as_it_was_sent():
    spec = machine_types.DomainSpec(
        id=uuid4(), name="a", project="p", vcpus=2, memory_mib=512, topology=machine_types.Topology(1, 2, 1),
        boot_disk=uuid4(), boot_image=ImageName("ab", "raw"), disks=(uuid4(), uuid4()),
        nics=(machine_types.NicSpec(uuid4(), "02:00:00:00:00:01", 1442),), firmware=machine_types.Firmware.UEFI,
        gpus=(machine_types.GpuSpec(("0000:65:00.0",), None),),
    )  # fmt: skip
    verb = verbs()["machines", "define"]
    there = verb.reads_arguments.decode(verb.write_arguments({"spec": spec})).spec
    assert there == spec
    assert machine_types.spec_digest(there) == machine_types.spec_digest(spec)


@pytest.mark.parametrize("verb", verbs().values(), ids=lambda verb: f"{verb.part}.{verb.name}")
def test_what_a_verb_is_given_without_a_word_arrives_too(verb):
    unsaid = {
        name: one.default for name, one in verb.signature.parameters.items() if one.default is not one.empty
    }
    needed = dict.fromkeys(set(verb.signature.parameters) - unsaid.keys())
    sent = msgspec.msgpack.decode(verb.write_arguments({**needed, **unsaid}))
    assert sent.keys() == {*needed, *unsaid} - {verb.hears}


@pytest.mark.parametrize("kind", subclasses(refusals.HypervisorError))
def test_a_refusal_keeps_its_class_and_its_words_for_owners_and_operators(kind):
    here = told(tell(kind("disk /var/x is full", for_owner="it is full")))
    assert type(here) is kind
    assert (here.message, here.for_operator) == ("it is full", "disk /var/x is full")


def test_a_refusal_of_the_doctor_s_keeps_its_facts():
    there = Invalid("uri: no", error_info("WRONG"), for_operator="uri: no, see /etc/x")
    here = told(tell(there))
    assert (type(here), here.details, here.for_operator) == (Invalid, there.details, there.for_operator)
    assert isinstance(told(tell(CommandFailed("ip: no"))), Unavailable)


def test_what_no_host_should_do_is_told_to_its_operator_and_not_to_owners(host, real_host, monkeypatch):
    monkeypatch.setattr(real_host, "facts", lambda: 1 // 0)
    with pytest.raises(HypervisorError) as failure:
        host.facts()
    assert "ZeroDivisionError" in failure.value.for_operator
    assert failure.value.message == HypervisorError.for_owner


def test_what_cannot_be_asked_is_refused_in_words(host):
    with pytest.raises(TypeError):
        host.machines.get()


def test_a_call_whose_line_is_cut_is_lost_and_the_next_one_has_a_new_line(far, wire, gate):
    thread, came = asked_meanwhile(far.facts)
    eventually(lambda: wire._pairs)
    far.ping()
    wire.cut()
    thread.join()
    assert type(came[0]) is HostLost
    assert "facts" in str(came[0])
    gate.set()
    assert far.facts().name == "memory-1"


def test_a_call_whose_line_falls_silent_is_lost(far, wire, gate, impatient):
    far.ping()
    thread, came = asked_meanwhile(far.facts)
    wire.silent = True
    thread.join()
    assert type(came[0]) is HostLost
    assert "silent" in str(came[0])


def test_a_call_that_takes_longer_than_a_line_may_be_silent_ends_well(far, gate, impatient):
    thread, came = asked_meanwhile(far.facts)
    threading.Event().wait(1)
    gate.set()
    thread.join()
    assert came[0].name == "memory-1"


def test_a_call_waits_for_no_other(host, gate):
    slow = [asked_meanwhile(host.facts) for _ in range(20)]
    host.ping()
    assert not any(came for _, came in slow)
    gate.set()
    for thread, came in slow:
        thread.join()
        assert came[0].name == "memory-1"


def test_a_host_whose_helper_is_gone_is_unreachable_until_there_is_one_again(real_host, place):
    far = FarHost(partial(dial_unix, str(place)), WISH)
    with pytest.raises(HostUnreachable, match="nobody answers"):
        far.ping()
    for _ in range(2):  # connections that were kept are of no use after the first
        with helping(lambda _: real_host, place):
            far.ping()
    with pytest.raises(HostUnreachable):
        far.ping()
    far.close()
    with pytest.raises(HostUnreachable, match="closed"):
        far.ping()


def test_who_answers_a_connection_with_nothing_is_unreachable(impatient):
    near, silent = socket.socketpair()
    far = FarHost(lambda: near, WISH)
    with pytest.raises(HostUnreachable, match="silent"):
        far.ping()
    silent.close()
    far.close()


def test_a_host_that_cannot_be_opened_says_why_and_is_opened_by_a_later_call(real_host, place):
    answers = iter([HostUnreachable("libvirtd does not start"), real_host])

    def open_host(_):
        if isinstance(answer := next(answers), Exception):
            raise answer
        return answer

    with helping(open_host, place):
        far = FarHost(partial(dial_unix, str(place)), WISH)
        with pytest.raises(HostUnreachable, match="libvirtd does not start"):
            far.ping()
        far.ping()
        far.close()


def test_a_machine_that_cannot_be_made_ready_does_not_answer_and_says_why(monkeypatch):
    def fail(*_, **__):
        raise CommandFailed("ovs-vsctl: no such file")

    monkeypatch.setattr(run, "prepare_host", fail)
    with pytest.raises(HostUnreachable, match=r"cannot be made ready: ovs-vsctl: no such file"):
        run.open_here(WISH)


def test_after_an_outage_every_machine_may_have_changed(far, wire, real_host, monkeypatch):
    monkeypatch.setattr("cumulet.line.far_host.REST_SECONDS", 0.05)
    seen = []
    far.on_change(seen.append)
    far.changes.followed.wait(PATIENCE_S)
    vm_id = uuid4()
    real_host.changed.append(vm_id)
    far.ping()
    eventually(lambda: seen == [vm_id])
    monkeypatch.setattr(far.machines, "list", lambda: {vm_id: None})
    wire.cut()
    eventually(lambda: seen == [vm_id, vm_id])


def test_a_host_that_does_not_answer_holds_up_nobody_who_listens_to_it():
    def dial():
        raise HostUnreachable("nobody answers")

    far = FarHost(dial, WISH)
    far.on_change(lambda _: None)
    far.close()


def test_what_a_call_of_the_doctor_s_tells_meanwhile_is_told_here(host, monkeypatch):
    def prepare_host(report, *, packages, overlay, paths):
        for word in ("installing", *packages):
            report(word)
        return calls.PreparedHost(calls.KvmVerdict(works=True), "netdev", "host", "unix:", (), ())

    monkeypatch.setattr(calls, "prepare_host", prepare_host)
    steps = []
    assert host.doctor.prepare_host(steps.append, packages=("python3-libvirt",)).datapath == "netdev"
    assert steps == ["installing", "python3-libvirt"]


def test_the_doctor_answers_where_the_host_cannot_be_opened(place, monkeypatch):
    monkeypatch.setattr(calls, "find_resolvers", lambda: ())

    def open_host(_):
        raise HostUnreachable("no libvirtd")

    with helping(open_host, place):
        far = FarHost(partial(dial_unix, str(place)), WISH)
        assert not far.doctor.find_resolvers()
        far.close()


def test_a_stream_of_bytes_goes_both_ways_and_each_end_is_passed_on():
    near, one = socket.socketpair()
    other, far = socket.socketpair()
    joined = threading.Thread(target=join, args=(one, other))
    joined.start()
    sent = bytes(range(256)) * 40_000
    sending = threading.Thread(target=lambda: (near.sendall(sent), near.shutdown(socket.SHUT_WR)))
    sending.start()
    came = b"".join(iter(lambda: far.recv(65536), b""))
    far.sendall(b"all of it")
    far.close()
    assert (near.recv(100), near.recv(1), came == sent) == (b"all of it", b"", True)
    joined.join()
    sending.join()
    near.close()


def test_a_stream_that_nobody_takes_holds_back_who_sends():
    near, one = socket.socketpair()
    other, far = socket.socketpair()
    joined = threading.Thread(target=join, args=(one, other))
    joined.start()
    near.settimeout(0.5)
    with pytest.raises(TimeoutError):
        near.sendall(bytes(64 * 1024 * 1024))
    near.close()
    far.close()
    joined.join()


def test_a_connection_that_brings_no_calls_is_ended_and_the_others_go_on(host, place):
    host.ping()
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\x01\x00\x00\x00\x02{}", b""):
        with dial_unix(str(place)) as stranger, suppress(OSError):
            stranger.sendall(garbage)
            stranger.shutdown(socket.SHUT_WR)
            while stranger.recv(100):
                pass
    host.ping()


def test_a_helper_that_nobody_needs_leaves(real_host, place):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place))
        listener.listen()
        alone = helper.Helper(listener, lambda _: real_host)
        serving = threading.Thread(target=alone.serve, kwargs={"idle_seconds": 0.4})
        dialled = dial_unix(str(place))  # before it counts how long nobody comes
        serving.start()
        far = FarHost(lambda: dialled, WISH)
        far.ping()
        serving.join(1)
        assert serving.is_alive()
        far.close()
        serving.join()


def test_a_helper_hears_a_signal_that_did_not_end_its_wait_for_connections(real_host, place):
    """As one that comes in the moment before that wait: here it comes to another thread."""
    before = signal.signal(signal.SIGUSR1, signal.default_int_handler)
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(place))
            listener.listen()
            alone = helper.Helper(listener, lambda _: real_host)
            come = threading.Timer(0.5, lambda: signal.pthread_kill(threading.get_ident(), signal.SIGUSR1))
            come.start()
            deaf = threading.Timer(PATIENCE_S, alone.close)
            deaf.start()
            with pytest.raises(KeyboardInterrupt):
                alone.serve()
            assert deaf.is_alive()
            deaf.cancel()
    finally:
        signal.signal(signal.SIGUSR1, before)
