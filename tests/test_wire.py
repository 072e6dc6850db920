"""Exact amounts, enums and the lenient reading of JSON, each with its limits."""

from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cumulet.errors import Invalid
from cumulet.wire import Amount, Empty, ProtoEnum, Wire, decode


class Color(ProtoEnum):
    NONE = "NONE", 0
    RED = "RED", 7


class Thing(Wire):
    data_center_id: str = ""
    size: Annotated[int, msgspec.Meta(ge=1, le=100)] = 1
    color: Color | None = None
    made_at: datetime | None = None


AMOUNTS = st.decimals(min_value=0, max_value=10**9, places=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["size", "color", "madeAt"]), inner)
    ),
)


@given(AMOUNTS)
def test_an_amount_is_exact_and_readable_as_a_float(amount):
    text = Amount.of(amount).value
    assert Decimal(text) == amount
    assert float(text) == float(amount)


@pytest.mark.parametrize(
    ("amount", "text"),
    [("0.00210", "0.0021"), ("0.000", "0"), ("100", "100"), ("1E+2", "100"), ("1E-9", "0.000000001")],
)
def test_an_amount_has_neither_exponent_nor_trailing_zeros(amount, text):
    assert Amount.of(Decimal(amount)).value == text


def test_nothing_to_tell_is_an_empty_object():
    assert msgspec.json.encode(Empty()) == b"{}"


def test_names_are_camel_case_and_enums_are_names():
    assert (
        msgspec.json.encode(Thing(color=Color.RED))
        == b'{"dataCenterId":"","size":1,"color":"RED","madeAt":null}'
    )


@pytest.mark.parametrize("none", [0, "0", "NONE"])
def test_the_zero_of_an_enum_is_a_value_and_not_unset(none):
    assert decode(Thing, {"color": none}).color is Color.NONE


@pytest.mark.parametrize("wrong", [True, False, 1, "red", [], {}, 7.5])
def test_what_is_no_value_of_an_enum_is_refused_with_those_that_are(wrong):
    with pytest.raises(Invalid, match=r"color: .* expected one of NONE, RED"):
        decode(Thing, {"color": wrong})


@pytest.mark.parametrize("text", ["٢٢", "2_2", " 22", "+22", "0x16", "1e1"])
def test_an_integer_as_text_has_the_digits_0_to_9_alone(text):
    with pytest.raises(Invalid, match="expected an integer from"):
        decode(Thing, {"size": text})


def test_bounds_are_told():
    with pytest.raises(Invalid, match="size: 101 is not accepted; expected int <= 100"):
        decode(Thing, {"size": 101})


@pytest.mark.parametrize("text", ["2026-01-02T03:04:05", "2026-01-02T05:04:05.000+02:00"])
def test_instants_are_read_as_utc(text):
    assert decode(Thing, {"madeAt": text}).made_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "soon", "2026-13-01T00:00:00Z", "0001-01-01T00:00:00+14:00"])
def test_what_is_no_instant_is_refused_with_an_example(text):
    with pytest.raises(Invalid, match="an instant such as"):
        decode(Thing, {"madeAt": text})


def test_a_refusal_names_the_field_for_programs_too():
    with pytest.raises(Invalid) as refusal:
        decode(Thing, {"size": "big"})
    assert refusal.value.details[0]["fieldViolations"][0]["field"] == "size"


@given(JSON)
def test_any_json_is_understood_or_refused(raw):
    with suppress(Invalid):
        assert isinstance(decode(Thing, raw), Thing)


@pytest.mark.parametrize("value", [5, 1e30, True, ["x"], {}, "tomorrow", "2026-13-01T00:00:00Z"])
def test_what_is_no_instant_is_refused_with_one(value):
    with pytest.raises(Invalid, match=r"when: .* expected an instant such as 2026-01-02T03:04:05Z"):
        decode(WithTime, {"when": value})


class WithTime(Wire):
    when: datetime | None = None


@pytest.mark.parametrize("key", ["k" * 100_000, "a\x1b[31m\nb"])
def test_a_name_that_callers_make_up_is_told_shortened_and_without_what_terminals_obey(key):
    with pytest.raises(Invalid) as refusal:
        decode(WithLabels, {"labels": {key: 7}})
    assert refusal.value.message.isprintable()
    assert len(refusal.value.message) < 500


class WithLabels(Wire):
    labels: dict[str, str]
