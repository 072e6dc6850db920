import pytest
from hypothesis import given
from hypothesis import strategies as st

from cumulet.hypervisor import Stats
from cumulet.monitoring.series import (
    FORMAT,
    LONGEST_PING_MS,
    STEP,
    ZERO,
    Sample,
    item_between,
    last_of,
    sample_of,
    series,
    unpack,
)

COUNTS = {
    "cpu_us": 15_000_000,
    "memory_bytes": 1 << 30,
    "read_bytes": 30_000,
    "read_requests": 300,
    "written_bytes": 60_000,
    "write_requests": 600,
    "received_bytes": 90_000,
    "sent_bytes": 120_000,
}
BEFORE = ZERO._replace(at=1000, vcpus=2)
AFTER = BEFORE._replace(at=1030, ping_ms=4, **COUNTS)


def steps(*samples):
    return [(sample, STEP) for sample in samples]


def test_an_item_tells_what_happened_a_second():
    (item,) = series(steps(BEFORE, AFTER))
    assert item.cpu == 25.0  # 15 s of two vCPUs in 30 s
    assert (item.memory, item.timestamp, item.guest_ping) == (str(1 << 30), "1030", "4")
    assert (item.disk_rd_bytes, item.disk_rd_iops) == ("1000", "10")
    assert (item.disk_wr_bytes, item.disk_wr_iops) == ("2000", "20")
    assert (item.net_rx, item.net_tx) == ("3000", "4000")


def test_busy_vcpus_are_a_hundred_percent_however_many_they_are():
    for vcpus in (1, 2, 64):
        busy = AFTER._replace(cpu_us=vcpus * 30_000_000, vcpus=vcpus)
        assert item_between(BEFORE, busy).cpu == 100.0


def test_a_machine_that_started_anew_is_told_of_what_it_did_since():
    old = AFTER._replace(at=1000, cpu_us=10**9, received_bytes=10**12)
    assert item_between(old, AFTER) == item_between(BEFORE, AFTER)


def test_a_count_that_a_device_took_along_is_nothing_and_never_less():
    unplugged = AFTER._replace(at=1060, cpu_us=16_000_000, read_bytes=0)
    assert item_between(AFTER, unplugged).disk_rd_bytes == "0"


@pytest.mark.parametrize(("gap", "items"), [(1, 1), (60, 1), (75, 1), (76, 0), (86_400, 0), (0, 0), (-30, 0)])
def test_between_samples_too_far_apart_nothing_is_known(gap, items):
    assert len(series(steps(BEFORE, AFTER._replace(at=1000 + gap)))) == items


def test_thinned_samples_may_lie_as_far_apart_as_they_do():
    quarter = AFTER._replace(at=1900)
    assert len(series([(BEFORE, 900), (quarter, 900)])) == 1


def test_nothing_and_a_single_sample_are_no_series():
    assert series([]) == series(steps(BEFORE)) == []


@given(
    st.lists(
        st.builds(
            Sample,
            at=st.integers(0, 2**32 - 1),
            vcpus=st.integers(0, 2**16 - 1),
            ping_ms=st.integers(0, 2**16 - 1),
            **{name: st.integers(0, 2**64 - 1) for name in COUNTS},
        )
    )
)
def test_what_was_packed_is_unpacked(samples):
    packed = b"".join(FORMAT.pack(*sample) for sample in samples)
    assert list(unpack(packed)) == samples
    assert list(unpack(last_of(packed))) == samples[-1:]


@pytest.mark.parametrize(("ms", "kept"), [(None, 0), (0.2, 1), (3.6, 4), (1e9, LONGEST_PING_MS)])
def test_a_guest_that_answers_is_told_from_one_that_does_not(ms, kept):
    stats = Stats(
        cpu_seconds=1.5,
        memory_bytes=1,
        read_bytes=2,
        read_requests=3,
        written_bytes=4,
        write_requests=5,
        received_bytes=6,
        sent_bytes=7,
    )
    sample = sample_of(stats, at=9, vcpus=2, ping_ms=ms)
    assert sample == Sample(9, 1_500_000, 1, 2, 3, 4, 5, 6, 7, 2, kept)
