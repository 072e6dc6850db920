"""Where a process can die or a call can fail: every call of the host, every call of the fabric, every commit."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from sqlalchemy import exc
from sqlalchemy.orm import Session
from tests.made_up import Cloud
from tests.toy_reconcilers import Crash

from cumulet.db import UNREACHABLE, Database
from cumulet.errors import CumuletError, Unavailable
from cumulet.fabric import FabricError
from cumulet.hypervisor import HypervisorError


class Where(enum.Enum):
    """What meets its end."""

    HOST = "host"
    FABRIC = "fabric"
    COMMIT = "commit"


FAILURES: dict[Where, Callable[[], Exception]] = {
    Where.HOST: lambda: HypervisorError("the host stumbled"),
    Where.FABRIC: lambda: FabricError("the fabric stumbled"),
    Where.COMMIT: lambda: exc.OperationalError("COMMIT", None, OSError("the database stumbled")),
}


@dataclass(frozen=True, slots=True)
class Point:
    """The n-th call of a kind, before or after its effect; the process dies there, or the call fails."""

    where: Where
    call: int
    after: bool
    dies: bool

    def __str__(self) -> str:
        how = "dies" if self.dies else "fails"
        return f"{how} {'after' if self.after else 'before'} {self.where.value} {self.call}"

    @property
    def error(self) -> BaseException:
        return Crash(str(self)) if self.dies else FAILURES[self.where]()


class FaultyDatabase(Database):
    """Counts commits, and lets one fail or die before or after it took effect."""

    commit_count = 0
    fault: tuple[int, Point] | None = None

    @contextmanager
    def writing(self) -> Iterator[Session]:
        with super().writing() as db:
            yield db
            self.commit_count += 1
            met = self.fault[1] if self.fault and self.fault[0] == self.commit_count else None
            if met and not met.after:
                raise met.error
        if met:
            raise met.error


def counts(cloud: Cloud) -> dict[Where, int]:
    """How many calls of each kind there were so far."""
    assert isinstance(cloud.database, FaultyDatabase)
    return {
        Where.HOST: cloud.host.call_count,
        Where.FABRIC: cloud.fabric.call_count,
        Where.COMMIT: cloud.database.commit_count,
    }


def arm(cloud: Cloud, point: Point) -> None:
    """Let that call from now meet its fault."""
    assert isinstance(cloud.database, FaultyDatabase)
    if point.where is Where.COMMIT:
        cloud.database.fault = (cloud.database.commit_count + point.call, point)
    else:
        there = cloud.host if point.where is Where.HOST else cloud.fabric
        there.crash_on_call(point.call, point.error, after=point.after)


def insist(act: Callable[[], object]) -> None:
    """Ask as a client does who got no answer: again; the first time may have counted."""
    try:
        act()
    except (Crash, Unavailable, *UNREACHABLE):
        with suppress(CumuletError):
            act()


def survive(cloud: Cloud, seconds: float) -> None:
    """Let time pass; where the process dies, another one goes on."""
    end = cloud.clock.now.timestamp() + seconds
    while (left := end - cloud.clock.now.timestamp()) > 0:
        try:
            cloud.pass_time(left)
        except (Crash, *UNREACHABLE):
            cloud.reconciler = cloud.new_reconciler()
