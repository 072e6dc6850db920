"""Every option of every command that calls the API, with odd words: refused by option and value, or the API's to judge."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import pytest
from tests.cli.test_words import commands

from cumulet.cli.client import Client
from cumulet.errors import Refused

HERE = {"completion", "context", "doctor", "down", "helper", "image", "login", "serve", "tls", "up", "web"}
"""What works on this machine."""
STREAMS = {"watch"}
"""What asks again for as long as it is not answered."""
ODD = ("no-such", "", f"{'9' * 9}d", f"{'9' * 5000}d", "0001-01-01", "9999-12")
READ_HERE = (bool, int, float, datetime)
ASKED = "the API was asked"


def options() -> Iterator[tuple[list[str], str, object]]:
    """Each option once, behind the words that its command needs besides; what many commands share is one."""
    seen = set()
    for command, arguments in commands():
        if command.split()[0] in HERE | STREAMS:
            continue
        needed = [word for one in arguments if one.required for word in needed_by(one)]
        for one in arguments:
            named = (one.name, str(one.hint), one.parameter.help)
            if one.name.startswith("--") and not one.required and named not in seen:
                seen.add(named)
                yield [*command.split(), *needed], one.name, one.hint


def needed_by(one) -> list[str]:
    word = "1" if one.hint is int else "x"
    return [word] if one.field_info.is_positional else [one.name, word]


def is_read_here(hint: object) -> bool:
    return hint in READ_HERE or any(hint == kind | None for kind in READ_HERE)


@pytest.mark.slow
def test_an_odd_word_is_refused_by_its_option_or_sent_to_the_api(command, monkeypatch):
    def ask(*_, **__):
        raise Refused(ASKED, reason="ASKED")

    monkeypatch.setattr(Client, "_request", ask)
    monkeypatch.setenv("CUMULET_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("CUMULET_API_KEY", "cumulet_ours")
    amiss = []
    tried = [*options()]
    for words, option, hint in tried:
        for odd in ODD:
            done = command(*words, f"{option}={odd}")
            asked = ASKED in done.err and not (is_read_here(hint) and odd in {"no-such", ""})
            told = done.code == 2 and (
                "is required" in done.err or (option in done.err and odd[:100] in done.err)
            )
            if not (asked or told):
                amiss.append(f"{' '.join(words)} {option}={odd:.40}: {done.code} {done.err:.300}")
    assert amiss == [], "\n".join(amiss)
    assert len(tried) > 50
