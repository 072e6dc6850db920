"""The moments at which OVN's northbound database has a rule, as it tells them itself: no polling that would cost time."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from ovsdbapp.backend.ovs_idl.connection import Connection, OvsdbIdl
from ovsdbapp.backend.ovs_idl.idlutils import get_schema_helper

NORTHBOUND: Final = "unix:/run/ovn/ovnnb_db.sock"
WITHIN: Final = 60
"""Seconds that a rule may take."""


class ToldRules(OvsdbIdl):  # type: ignore[misc]  # ovsdbapp has no types
    """A replica of the rules alone."""

    def __init__(self, helper: Any) -> None:  # noqa: ANN401 - ovs has no types
        self._told: queue.SimpleQueue[tuple[float, str]] = queue.SimpleQueue()
        super().__init__(NORTHBOUND, helper)

    def notify(self, event: str, row: Any, updates: Any = None) -> None:  # noqa: ANN401, ARG002 - ovs has no types
        """Called for every row that came, changed or went."""
        if event != "delete":
            self._told.put((time.perf_counter(), str(row.match)))

    def until(self, words: str) -> float:
        """Give the moment when there was a rule with these words in it; queue.Empty when none comes."""
        while True:
            moment, match = self._told.get(timeout=WITHIN)
            if words in match:
                return moment


@contextmanager
def told_rules() -> Iterator[ToldRules]:
    """Listen for as long as the block lasts."""
    helper = get_schema_helper(NORTHBOUND, "OVN_Northbound")
    helper.register_columns("ACL", ["match"])
    told = ToldRules(helper)
    connection = Connection(told, WITHIN)
    connection.start()
    yield told
    connection.stop(WITHIN)
