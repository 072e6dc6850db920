"""The schema's history, forward only: every start of the server brings its database up to the newest step."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from sqlalchemy import text

from cumulet.db import Database

ADVISORY_LOCK: Final = 0x63756D75
"""PostgreSQL's lock that lets one of several starting servers migrate while the others wait."""


def migrate(database: Database) -> None:
    """Bring the database to the newest schema; returns at once when it is there."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("path_separator", "os")
    with database.writing() as db:
        if not database.is_sqlite:
            db.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": ADVISORY_LOCK})
        config.attributes["connection"] = db.connection()
        command.upgrade(config, "head")
