import pytest

from cumulet.console import CloseReason


@pytest.mark.parametrize("end", CloseReason, ids=lambda end: end.name)
def test_every_reason_fits_into_a_websocket_s_close(end):
    assert len(end.words.encode()) <= 123
    assert 4000 <= end.code <= 4999
    assert [one.code for one in CloseReason].count(end.code) == 1
