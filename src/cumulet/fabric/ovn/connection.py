"""One process's connection to OVN's northbound database, which it keeps a replica of.

ovsdbapp's thread owns that replica; whatever looks at it or changes it takes a turn in that thread. Each turn begins
with a question to the database, so that it sees what was there when the verb was called, and a database that is gone
is noticed instead of answered for. Opened at the first use, and anew after the database went away.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, Generic, TypeVar

import ovs.json
from ovs import jsonrpc
from ovs.db.idl import ROW_DELETE
from ovs.poller import Poller
from ovs.stream import Stream
from ovsdbapp.backend.ovs_idl.connection import Connection, OvsdbIdl
from ovsdbapp.backend.ovs_idl.idlutils import create_schema_helper
from ovsdbapp.backend.ovs_idl.transaction import Transaction
from ovsdbapp.exceptions import TimeoutException

from cumulet.fabric import FabricError, FabricUnreachable
from cumulet.fabric.ovn.messages import MessageParser
from cumulet.fabric.ovn.replica import Contents, table_of
from cumulet.fabric.ovn.rows import OWNED_TABLES, Txn
from cumulet.fabric.ovn.southbound import Way

SCHEMA: Final = "OVN_Northbound"
ANSWER_SECONDS: Final = 5.0
SETTLE_SECONDS: Final = 2.0

ovs.json.Parser = MessageParser  # for the whole process: python-ovs has no other place where to say it

R = TypeVar("R")


class _Replica(OvsdbIdl):  # type: ignore[misc]  # ovsdbapp has no types
    """The replica; it also tells when the hosts have caught up."""

    def __init__(self, remote: str, helper: Any, **options: Any) -> None:  # noqa: ANN401 - ovs has no types
        self.in_force = 0
        """The last change that every host has put in force (NB_Global's hv_cfg)."""
        self.translated = 0
        """The last change that northd has written down for the hosts (sb_cfg)."""
        self.progress = threading.Condition()
        super().__init__(remote, helper, **options)
        self.contents = Contents(self.tables)

    @property
    def connected(self) -> bool:
        """Whether the database is there and the replica complete."""
        return self.state == self.IDL_S_MONITORING and bool(self._session.is_connected())

    def notify(self, event: str, row: Any, updates: Any = None) -> None:  # noqa: ANN401, ARG002 - ovs has no types
        """Called by the connection's thread for every change of a row."""
        if table_of(row) != "NB_Global":
            (self.contents.forget if event == ROW_DELETE else self.contents.note)(row)
        else:
            with self.progress:
                self.in_force, self.translated = row.hv_cfg, row.sb_cfg
                self.progress.notify_all()

    def cooperative_yield(self) -> None:
        """Called for every row that came or changed, to let others run: threads need no such help."""


class _Turn(Generic[R]):
    """A command of ovsdbapp that runs a function of ours."""

    result: R

    def __init__(self, work: Callable[[Txn], R], after: Callable[[Txn], R] | None = None) -> None:
        self.work = work
        self.after = after

    def run_idl(self, txn: Txn) -> None:
        """Run while the transaction is put together; again when somebody else was quicker."""
        self.result = self.work(txn)

    def post_commit(self, txn: Txn) -> None:
        """Run once the database has answered."""
        if self.after:
            self.result = self.after(txn)


class Northbound:
    """The northbound database where `find_way` says that it is, asked at each new connection; of several the one that leads."""

    def __init__(self, find_way: Callable[[], Way]) -> None:
        self.find_way = find_way
        self._remote = ""
        self._lock = threading.Lock()
        self._connection: Connection | None = None

    def read(self, look: Callable[[Contents], R]) -> R:
        """Look at the rows as they are now."""
        connection = self._open()
        turn: _Turn[R] = _Turn(_ask, lambda _: look(connection.idl.contents))
        return self._take_turn(connection, turn)

    def write(self, work: Callable[[Contents, Txn], None]) -> None:
        """Change rows in one transaction; `work` is called again when somebody else changed them meanwhile."""
        connection = self._open()
        self._take_turn(connection, _Turn(_ask))
        self._take_turn(connection, _Turn(lambda txn: work(connection.idl.contents, txn)))

    def wait_until_in_force(self) -> bool:
        """Whether all hosts have caught up with what was written until now, waiting up to two seconds."""
        return self._wait(lambda replica, change: replica.in_force >= change)

    def wait_until_translated(self) -> None:
        """Return when what was written until now is in the southbound database; FabricUnreachable if it does not come."""
        if not self._wait(lambda replica, change: replica.translated >= change):
            raise FabricUnreachable(f"OVN's northd does not follow what is written in {self._remote}")

    def _wait(self, done: Callable[[_Replica, int], bool]) -> bool:
        """Number what was written until now, and wait for that number to come back."""
        connection = self._open()
        replica: _Replica = connection.idl
        change = self._take_turn(connection, _Turn(_count_up, lambda txn: int(txn.get_increment_new_value())))
        with replica.progress:
            return replica.progress.wait_for(lambda: done(replica, change), SETTLE_SECONDS)

    def close(self) -> None:
        """End the connection's thread."""
        with self._lock:
            if self._connection is not None:
                self._connection.stop(ANSWER_SECONDS)
                self._connection = None

    def _open(self) -> Connection:
        """The connection that stands, or a new one."""
        with self._lock:
            if self._connection is None or not self._connection.idl.connected:
                if self._connection is not None:
                    self._connection.stop(ANSWER_SECONDS)
                self._remote, self._connection = connect(self.find_way())
            return self._connection

    def _take_turn(self, connection: Connection, turn: _Turn[R]) -> R:
        """Run a turn in the connection's thread."""
        transaction = Transaction(connection, connection, check_error=True, log_errors=False)
        transaction.add(turn)
        try:
            transaction.commit()
        except TimeoutException as silence:
            raise FabricUnreachable(
                f"OVN's database {self._remote} gave no answer in {ANSWER_SECONDS:g} s"
            ) from silence
        except RuntimeError as refusal:
            raise FabricError(f"OVN's database {self._remote} refused: {refusal}") from refusal
        return turn.result


def _ask(txn: Txn) -> Any:  # noqa: ANN401 - no result yet
    """Make the database answer, even if nothing is to be changed."""
    txn.add_op({"op": "comment", "comment": "cumulet"})


def _count_up(txn: Txn) -> int:
    """Number the state that was reached, for the hosts to repeat."""
    rows = list(txn.idl.tables["NB_Global"].rows.values())
    if not rows:
        raise FabricError("OVN's database is not initialised: run ovn-nbctl init")
    rows[0].increment("nb_cfg")
    _ask(txn)
    return 0


def connect(way: Way) -> tuple[str, Connection]:
    """Open a connection to the database, of several to the one that leads, and load the replica; FabricUnreachable when none answers."""
    if way.tls:
        key, certificate, believed = way.tls
        Stream.ssl_set_private_key_file(key)
        Stream.ssl_set_certificate_file(certificate)
        Stream.ssl_set_ca_cert_file(believed)
    remote = find_leader(way.northbound.split(","))
    helper = create_schema_helper(ask_database(remote, "get_schema", SCHEMA))
    for table in ("NB_Global", *OWNED_TABLES):
        helper.register_table(table)
    connection = Connection(_Replica(remote, helper), ANSWER_SECONDS)
    try:
        connection.start()
    except TimeoutException as silence:
        raise FabricUnreachable(f"OVN's database {remote} does not tell its contents") from silence
    return remote, connection


def find_leader(remotes: Sequence[str]) -> str:
    """Find the database that may be written to; FabricUnreachable tells why the last one is not it."""
    *others, last = remotes
    for remote in others:
        with suppress(FabricUnreachable):
            return follow_leader(remote)
    return follow_leader(last)


def follow_leader(remote: str) -> str:
    """Give the remote back when its database leads."""
    asked = {"op": "select", "table": "Database", "where": [["name", "==", SCHEMA]], "columns": ["leader"]}
    (found,) = ask_database(remote, "transact", "_Server", asked)
    if not any(row["leader"] for row in found["rows"]):
        raise FabricUnreachable(
            f"OVN's database {remote} follows another one, and none leads that is known here"
        )
    return remote


def ask_database(remote: str, method: str, *arguments: Any) -> Any:  # noqa: ANN401 - JSON
    """Ask one server something, with an end to the waiting."""
    deadline = time.monotonic() + ANSWER_SECONDS
    error, stream = Stream.open_block(Stream.open(remote), int(ANSWER_SECONDS * 1000))
    if error:
        raise FabricUnreachable(f"OVN's database {remote} does not answer: {os.strerror(error)}")
    session = jsonrpc.Connection(stream)
    error = session.send(jsonrpc.Message.create_request(method, list(arguments)))
    reply = None
    while not error and reply is None and time.monotonic() < deadline:
        poller = Poller()
        session.run()
        session.wait(poller)
        session.recv_wait(poller)
        poller.timer_wait(int((deadline - time.monotonic()) * 1000) + 1)
        poller.block()
        error, reply = session.recv()
        error = 0 if error == errno.EAGAIN else error
    session.close()
    if reply is None:
        raise FabricUnreachable(
            f"OVN's database {remote} does not answer: {os.strerror(error) if error else 'silence'}"
        )
    if reply.error:
        raise FabricError(f"{remote} is not OVN's northbound database: {reply.error}")
    return reply.result
