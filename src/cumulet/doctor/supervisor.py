"""Keeps the host's daemons running where no systemd does, for as long as the host is up.

It is a process of its own, so that VMs and their traffic go on when `cumulet serve` stops:

    tini -s                 subreaper: takes over and reaps the guests' QEMU processes, whatever dies
    └ sh (until …)          starts the supervisor again should it die
      └ supervisor          one `keep` per daemon; holds the run directory's lock
        ├ virtlogd  libvirtd                      in the foreground; when the supervisor is killed they are killed
        ├ ovsdb-server  ovs-vswitchd              with it (setpriv --pdeathsig), and all start anew: nothing is ever
        └ ovnnb  ovnsb  ovn-northd  ovn-controller  left running unwatched

What it keeps stands in `daemons.json`; SIGHUP makes it read that again, SIGTERM ends it and them. `status.json` says
what runs. It knows nothing of libvirt or OVN: that is daemons.py's. It is written with asyncio because each keeper
waits for several things in turn (a death, a socket, another daemon) and must be stopped in any of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import resource
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from cumulet.hypervisor.mortal import dies_with_us

STEADY_SECONDS: Final = 10.0
"""A daemon that lived this long starts again at once; one that did not waits longer each time."""
LONGEST_WAIT: Final = 15.0
READY_SECONDS: Final = 20.0
STOP_SECONDS: Final = 5.0
OPEN_FILES: Final = 65535


@dataclass(frozen=True, slots=True)
class Daemon:
    """A program to keep running in the foreground."""

    name: str
    argv: tuple[str, ...]
    ready: str = ""
    """A socket that exists once it serves; removed before each start."""
    then: tuple[tuple[str, ...], ...] = ()
    """Commands to run after each start, once it is ready."""
    after: str = ""
    """The daemon that must be ready before this one starts, if it is ours at all."""
    dies_with_it: bool = False
    """Start anew whenever `after` does, instead of waiting out its own reconnection back-off."""


@dataclass(frozen=True, slots=True)
class Paths:
    """Where a supervisor keeps what it knows."""

    run_dir: Path
    log_dir: Path

    @property
    def lock(self) -> Path:
        """Locked for as long as the supervisor lives."""
        return self.run_dir / "supervisor.lock"

    @property
    def daemons(self) -> Path:
        """What to keep running."""
        return self.run_dir / "daemons.json"

    @property
    def status(self) -> Path:
        """What runs: the supervisor's pid, and each daemon's pid and number of starts."""
        return self.run_dir / "status.json"


@dataclass(slots=True)
class Running:
    """One kept daemon's state, as status.json shows it."""

    pid: int | None = None
    starts: int = 0


@dataclass(slots=True)
class Status:
    """The supervisor's own account, for the doctor and for people."""

    pid: int
    daemons: dict[str, Running] = field(default_factory=dict)


def read_daemons(paths: Paths) -> list[Daemon]:
    """What the supervisor is told to keep; nothing when nobody told it anything."""
    with contextlib.suppress(FileNotFoundError):
        return msgspec.json.decode(paths.daemons.read_bytes(), type=list[Daemon])
    return []


def read_status(paths: Paths) -> Status | None:
    """What the supervisor last said about itself; None when it never ran here."""
    with contextlib.suppress(FileNotFoundError):
        return msgspec.json.decode(paths.status.read_bytes(), type=Status)
    return None


def write_json(path: Path, content: object) -> None:
    """Replace a file in one step, so that nobody reads half of it."""
    draft = path.with_suffix(".new")
    draft.write_bytes(msgspec.json.encode(content))
    draft.replace(path)


@contextlib.contextmanager
def locked(path: Path, *, wait: bool) -> Iterator[bool]:
    """Hold the lock of `path`; yields False, without it, when somebody else does and `wait` is not set."""
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True


class Supervisor:
    """Keeps every daemon of `daemons.json` running until told to stop."""

    def __init__(self, paths: Paths) -> None:
        self.paths = paths
        self.status = Status(os.getpid())
        self.keepers: dict[Daemon, asyncio.Task[None]] = {}
        self.ready: dict[str, asyncio.Event] = {}
        self.processes: dict[str, asyncio.subprocess.Process] = {}

    async def run(self) -> None:
        """Keep the daemons until SIGTERM; SIGHUP takes in what `daemons.json` says now."""
        stop = asyncio.Event()
        reread = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        loop.add_signal_handler(signal.SIGHUP, reread.set)
        stopping = asyncio.create_task(stop.wait())
        write_json(self.paths.status, self.status)
        while not stop.is_set():
            reread.clear()
            await self.keep_only(read_daemons(self.paths))
            rereading = asyncio.create_task(reread.wait())
            waits = {stopping, rereading, *self.keepers.values()}
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            rereading.cancel()
            for keeper in done.intersection(self.keepers.values()):
                keeper.result()  # keepers end by failing alone: so do we, to be started again
        await self.keep_only([])

    async def keep_only(self, daemons: list[Daemon]) -> None:
        """Stop what is no longer wanted or wanted otherwise, then keep the rest."""
        gone = [daemon for daemon in self.keepers if daemon not in daemons]
        for daemon in gone:
            self.keepers[daemon].cancel()
            del self.ready[daemon.name]
        await asyncio.gather(*(self.keepers.pop(daemon) for daemon in gone), return_exceptions=True)
        self.forget(daemon.name for daemon in gone)
        for daemon in daemons:
            self.ready.setdefault(daemon.name, asyncio.Event())
        for daemon in daemons:
            if daemon not in self.keepers:
                self.keepers[daemon] = asyncio.create_task(self.keep(daemon))

    async def keep(self, daemon: Daemon) -> None:
        """Start a daemon again and again; ends only by being cancelled."""
        early_deaths = 0
        while True:
            if daemon.after in self.ready:
                await self.ready[daemon.after].wait()
            begun = time.monotonic()
            await self.live(daemon)
            early_deaths = 0 if time.monotonic() - begun > STEADY_SECONDS else early_deaths + 1
            await asyncio.sleep(wait_before_start(early_deaths))

    async def live(self, daemon: Daemon) -> None:
        """One life of a daemon, from its start to its death."""
        with (self.paths.log_dir / f"{daemon.name}.log").open("ab", buffering=0) as log:
            process = await start(daemon, log)
            self.note(daemon, process.pid)
            self.processes[daemon.name] = process
            ready = self.ready[daemon.name]
            announcing = asyncio.create_task(self.announce(daemon, log))
            try:
                code = await process.wait()
                with contextlib.suppress(OSError):  # a full disk is no reason to stop keeping
                    log.write(f"{daemon.name}: exit code {code}\n".encode())
            finally:
                announcing.cancel()
                ready.clear()
                self.kill_bound_to(daemon)
                await end(process)
                self.note(daemon, None)

    async def announce(self, daemon: Daemon, log: BinaryIO) -> None:
        """Let the others know that a daemon serves, after what must follow its start has been done."""
        if daemon.ready:
            await appearance(Path(daemon.ready))
        for argv in daemon.then:
            follow_up = await spawn(argv, log)
            await follow_up.wait()
        self.ready[daemon.name].set()

    def kill_bound_to(self, leader: Daemon) -> None:
        """End those that would be lost without their leader; their own keepers start them again."""
        for daemon in self.keepers:
            if daemon.after == leader.name and daemon.dies_with_it and daemon.name in self.processes:
                kill(self.processes[daemon.name])

    def note(self, daemon: Daemon, pid: int | None) -> None:
        """Write down which process a daemon is now."""
        running = self.status.daemons.setdefault(daemon.name, Running())
        running.pid = pid
        running.starts += pid is not None
        write_json(self.paths.status, self.status)

    def forget(self, names: Iterable[str]) -> None:
        """Tell nothing more of daemons that have been stopped; one that starts anew begins its account anew."""
        for name in names:
            self.status.daemons.pop(name, None)
        write_json(self.paths.status, self.status)


def wait_before_start(early_deaths: int) -> float:
    """Seconds: none after a long life, then longer with every early death in a row."""
    return 0.0 if early_deaths == 0 else min(LONGEST_WAIT, 0.1 * 2**early_deaths)


async def start(daemon: Daemon, log: BinaryIO) -> asyncio.subprocess.Process:
    """Start a daemon that will be killed with us, however we end."""
    if daemon.ready:
        Path(daemon.ready).unlink(missing_ok=True)  # noqa: ASYNC240 - on a tmpfs, which does not block
    return await spawn(dies_with_us(*daemon.argv), log)


async def spawn(argv: tuple[str, ...], log: BinaryIO) -> asyncio.subprocess.Process:
    """Start a program whose words go into a log."""
    return await asyncio.create_subprocess_exec(
        *argv, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log
    )


async def appearance(path: Path) -> None:
    """Wait until a socket is there, or until it is clear that it will not come soon."""
    deadline = time.monotonic() + READY_SECONDS
    while not path.exists() and time.monotonic() < deadline:  # noqa: ASYNC110, ASYNC240 - nobody announces it
        await asyncio.sleep(0.01)


async def end(process: asyncio.subprocess.Process) -> None:
    """Ask a process to end, and make it when it does not."""
    if process.returncode is None:
        process.terminate()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
            return
        kill(process)
        await process.wait()


def kill(process: asyncio.subprocess.Process) -> None:
    """Kill a process unless it is gone already."""
    with contextlib.suppress(ProcessLookupError):
        process.kill()


def allow_open_files() -> None:
    """Let daemons open as many files as OVS's own start script allows: it takes some for each port."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(OPEN_FILES, most), most))


def main() -> None:
    """Supervise until told to stop; at once done when another supervisor has the run directory."""
    paths = Paths(Path(sys.argv[1]), Path(sys.argv[2]))
    with locked(paths.lock, wait=False) as ours:
        if ours:
            allow_open_files()
            asyncio.run(Supervisor(paths).run())


if __name__ == "__main__":
    main()
