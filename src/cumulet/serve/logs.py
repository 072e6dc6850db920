"""The server's log: one line an event, in which nothing that others wrote steers a terminal."""

from __future__ import annotations

import re
import sys
from typing import Final

import structlog
from structlog.typing import EventDict

CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def show_controls(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Escape what steers a terminal (C0 but for line ends and tabs, DEL, C1): paths and errors hold others' texts."""
    return {
        key: CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", value) if isinstance(value, str) else value
        for key, value in event.items()
    }


def configure_logging() -> None:
    """Write one line an event; tracebacks without local variables, because those hold secrets."""
    for_people = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            show_controls,
            structlog.dev.ConsoleRenderer() if for_people else structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
