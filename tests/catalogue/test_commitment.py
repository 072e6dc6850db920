from dataclasses import replace
from datetime import UTC, datetime

import pytest

from cumulet.catalogue import CommitmentTerm, check_term, end_of, read_catalogue
from cumulet.errors import Invalid

NO_TERMS = replace(read_catalogue(None).machine_types[0], commitment_discount_percent={})


@pytest.mark.parametrize(
    ("begin", "term", "end"),
    [
        ((2026, 3, 1), CommitmentTerm.MONTHS_1, (2026, 4, 1)),
        ((2026, 1, 31), CommitmentTerm.MONTHS_1, (2026, 2, 28)),
        ((2026, 10, 31), CommitmentTerm.MONTHS_3, (2027, 1, 31)),
        ((2026, 12, 15), CommitmentTerm.MONTHS_12, (2027, 12, 15)),
        ((2028, 2, 29), CommitmentTerm.MONTHS_36, (2031, 2, 28)),
        ((2028, 2, 29), CommitmentTerm.MONTHS_60, (2033, 2, 28)),
    ],
)
def test_a_term_ends_on_the_same_day_of_a_later_month_or_on_its_last(begin, term, end):
    at = (12, 30, 1)
    assert end_of(term, datetime(*begin, *at, tzinfo=UTC)) == datetime(*end, *at, tzinfo=UTC)


def test_only_terms_that_have_a_discount_are_sold():
    some = replace(NO_TERMS, commitment_discount_percent={3: 10, 12: 20})
    check_term(some, CommitmentTerm.MONTHS_3)
    names = "COMMITMENT_TERM_3_MONTHS, COMMITMENT_TERM_12_MONTHS, as machine type 'standard'"
    with pytest.raises(Invalid, match=f"'COMMITMENT_TERM_1_MONTH' is not accepted; expected one of {names}"):
        check_term(some, CommitmentTerm.MONTHS_1)
    with pytest.raises(Invalid, match="expected COMMITMENT_TERM_NONE, as"):
        check_term(NO_TERMS, CommitmentTerm.MONTHS_1)
