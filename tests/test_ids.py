"""The ids that people choose."""

from __future__ import annotations

import pytest

from cumulet.errors import Invalid
from cumulet.ids import check_id, is_id


@pytest.mark.parametrize("text", ["a", "web", "web-1", "a" * 63])
def test_an_id_within_the_rule_is_one(text):
    assert is_id(text)
    check_id("id", text)


@pytest.mark.parametrize(
    "text", ["", "1st", "-web", "web-", "Web", "we b", "wéb", "web\n", "../web", "a" * 64]
)
def test_any_other_text_is_refused_by_name_and_rule(text):
    assert not is_id(text)
    with pytest.raises(Invalid, match=r"networkId.* 1 to 63 of a-z, 0-9 and '-'"):
        check_id("networkId", text)


def test_a_client_may_need_longer_ones():
    check_id("vmId", "a" * 70, most=70)
    with pytest.raises(Invalid, match="1 to 70"):
        check_id("vmId", "a" * 71, most=70)
