"""Reading what OVSDB's server says, in the place of python-ovs's parser.

That one goes through JSON letter by letter in Python, unless it was built against Open vSwitch's library, as no wheel
is: the news of one changed rule among a thousand, whose group carries its spec, took it a tenth of a second. This one
only finds the end of each message, which comes in pieces, and has msgspec read it.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

UP_TO_BRACE: Final = re.compile(r'[^{}"]*(?:"[^"\\]*(?:\\.[^"\\]*)*"[^{}"]*)*', re.DOTALL)
"""What counts no braces; before a string whose end is not there yet it stops."""
UP_TO_QUOTE: Final = re.compile(r'[^"\\]*(?:\\.[^"\\]*)*', re.DOTALL)
"""The rest of a string; before an escape whose second half is not there yet it stops."""


class MessageParser:
    """Reads one message, an object in JSON; the public face of `ovs.json.Parser`."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._depth = 0
        self._in_string = False
        self._in_escape = False
        self._done = False

    def feed(self, text: str) -> int:
        """Take in the next piece; returns how many characters of it belong to the message."""
        at = 0
        while at < len(text) and not self._done:
            at = (self._pass_string if self._in_string else self._pass_structure)(text, at)
        self._pieces.append(text[:at])
        return at

    def is_done(self) -> bool:
        """Whether the message is complete."""
        return self._done

    def finish(self) -> Any:  # noqa: ANN401 - JSON
        """The message; in the place of one that is no JSON a string that says so, as python-ovs expects it."""
        try:
            return msgspec.json.decode("".join(self._pieces))
        except msgspec.DecodeError as mistake:
            return str(mistake)

    def _pass_structure(self, text: str, at: int) -> int:
        """Go on behind the next brace, or the quote where a string begins whose end is not there yet."""
        at = _end(UP_TO_BRACE, text, at)
        match text[at : at + 1]:
            case '"':
                self._in_string = True
            case "{":
                self._depth += 1
            case "}":
                self._depth -= 1
                self._done = self._depth <= 0
        return min(at + 1, len(text))

    def _pass_string(self, text: str, at: int) -> int:
        """Go on behind the end of the string, or of the text."""
        at = _end(UP_TO_QUOTE, text, at + self._in_escape)
        last = text[at : at + 1]
        self._in_escape = last == "\\"
        self._in_string = last != '"'
        return min(at + 1, len(text))


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    """Where what a pattern matches from there on ends; these match the empty string, too."""
    found = pattern.match(text, at)
    return found.end() if found else at
