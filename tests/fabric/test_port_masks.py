"""Ranges of ports as a switch knows them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cumulet.fabric.port_masks import merged, port_masks

RANGES = st.lists(st.tuples(st.integers(0, 65535), st.integers(0, 65535)).map(sorted).map(tuple), max_size=5)


@given(RANGES, st.lists(st.integers(0, 65535), max_size=50))
def test_just_the_ports_of_the_ranges_have_a_value_under_a_mask(ranges, ports):
    masks = port_masks(ranges)
    around = {end + off for pair in ranges for end in pair for off in (-1, 0, 1)}
    for port in {*ports, *around} & set(range(65536)):
        named = any(first <= port <= last for first, last in ranges)
        assert sum(port & mask == value for value, mask in masks) == named, port


@pytest.mark.parametrize(
    ("ranges", "masks"),
    [
        ([], ()),
        ([(22, 22)], ((22, 0xFFFF),)),
        ([(1000, 1599)], ((1000, 0xFFF8), (1008, 0xFFF0), (1024, 0xFE00), (1536, 0xFFC0))),
        ([(0, 65535)], ((0, 0),)),
        ([(80, 80), (81, 81)], ((80, 0xFFFE),)),
    ],
)
def test_a_range_has_as_few_as_it_needs(ranges, masks):
    assert port_masks(ranges) == masks


def test_no_range_has_more_than_thirty():
    assert len(port_masks([(1, 65534)])) == 30


@given(RANGES)
def test_merging_again_changes_nothing(ranges):
    assert merged(merged(ranges)) == merged(ranges)
