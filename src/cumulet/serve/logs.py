"""The server's log: one line an event, in which nothing that others wrote steers a terminal, and no key stands."""

from __future__ import annotations

import json
import re
import sys
from typing import Final

import structlog
from structlog.typing import EventDict

from cumulet.errors import redacted

ENCODER: Final = json.JSONEncoder(default=repr)
CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def show_controls(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Escape what steers a terminal (C0 but for line ends and tabs, DEL, C1): paths and errors hold others' texts."""
    return {key: shown(value) if isinstance(value, str) else value for key, value in event.items()}


def shown(text: str) -> str:
    """Give a text with what steers a terminal escaped."""
    return text if text.isprintable() else CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def hide_keys(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Leave out keys that somebody put where they do not belong, such as in a path."""
    return {key: redacted(value) if isinstance(value, str) else value for key, value in event.items()}


PROCESSORS: Final = (
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
    show_controls,
    hide_keys,
)
"""What an event goes through before it is written; tracebacks come without local variables, because those hold secrets."""


def to_json(_logger: object, _method: str, event: EventDict) -> str:
    """Write an event in ASCII alone; structlog's own makes an encoder for each."""
    return ENCODER.encode(event)


def configure_logging() -> None:
    """Write one line an event."""
    for_people = sys.stderr.isatty()
    renderer = structlog.dev.ConsoleRenderer() if for_people else to_json
    structlog.configure(
        processors=[*PROCESSORS, renderer], logger_factory=structlog.PrintLoggerFactory(sys.stderr)
    )
