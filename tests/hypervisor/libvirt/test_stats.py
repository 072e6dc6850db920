import pytest

from cumulet.hypervisor.libvirt.stats import is_whole, stats_of

FOUND = {
    "cpu.time": 2_500_000_000,
    "balloon.current": 1048576,
    "balloon.rss": 300_000,
    "block.count": 2,
    "block.0.rd.bytes": 100,
    "block.0.rd.reqs": 1,
    "block.0.wr.bytes": 200,
    "block.0.wr.reqs": 2,
    "block.1.rd.bytes": 1000,
    "block.1.rd.reqs": 10,
    "block.1.wr.bytes": 2000,
    "block.1.wr.reqs": 20,
    "net.count": 2,
    "net.0.rx.bytes": 5,
    "net.0.tx.bytes": 6,
    "net.1.rx.bytes": 50,
    "net.1.tx.bytes": 60,
}


def test_all_devices_are_added_up():
    stats = stats_of(FOUND)
    assert stats.cpu_seconds == 2.5
    assert (stats.read_bytes, stats.read_requests) == (1100, 11)
    assert (stats.written_bytes, stats.write_requests) == (2200, 22)
    assert (stats.received_bytes, stats.sent_bytes) == (55, 66)


@pytest.mark.parametrize(
    ("told", "kibibytes"),
    [
        ({}, 300_000),
        ({"balloon.available": 1_000_000}, 300_000),
        ({"balloon.available": 1_000_000, "balloon.usable": 900_000}, 100_000),
        ({"balloon.available": 1, "balloon.usable": 2}, 0),
    ],
)
def test_memory_is_what_the_guest_uses_if_it_tells_and_otherwise_what_its_qemu_has(told, kibibytes):
    assert stats_of(FOUND | told).memory_bytes == kibibytes * 1024


def test_a_machine_whose_numbers_are_missing_is_passed_over():
    assert is_whole(FOUND)
    assert is_whole({"cpu.time": 1})
    for missing in ("cpu.time", "block.1.rd.bytes"):
        assert not is_whole({name: value for name, value in FOUND.items() if name != missing})
