"""Starts the daemons that do not answer, and stops those that we started.

libvirt, Open vSwitch and OVN of the host's own making are used as they are and never touched. What does not answer
is started: by systemd where it runs, otherwise under our supervisor.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from cumulet.doctor.command import CommandFailed, output_of, succeeds
from cumulet.doctor.daemon_specs import (
    ANSWERS,
    CENTRAL,
    CENTRAL_UNITS,
    UNIT_OPTIONS,
    UNITS,
    all_daemons,
    central_options,
    prepare_directories,
    roster,
)
from cumulet.doctor.overlay import read_overlay
from cumulet.doctor.supervisor import Paths, locked, read_daemons, read_status, write_json

PATHS: Final = Paths(Path("/run/cumulet"), Path("/var/log/cumulet"))
START_SECONDS: Final = 30.0


def find_silent() -> list[str]:
    """The daemons that do not answer now."""
    return [name for name in roster() if not ANSWERS[name]()]


def runs_systemd() -> bool:
    """Whether systemd is this host's init, and not merely installed."""
    return Path("/run/systemd/system").is_dir() and Path("/proc/1/comm").read_text().strip() == "systemd"


def start_daemons(
    *,
    hide_kvm: bool,
    integration: tuple[str, ...],
    datapath: str,
    paths: Paths = PATHS,
    report: Callable[[str], None] = lambda _: None,
) -> list[str]:
    """Start what does not answer and wait until everything does; returns the names that were started.

    `hide_kvm` keeps /dev/kvm from libvirtd; `integration` is the ovs-vsctl command that prepares OVS for OVN, run
    before traffic flows, on a `system` or `netdev` datapath. CommandFailed tells which daemon stayed silent and the end of its log.
    """
    if runs_systemd():
        return start_units(report)
    paths.run_dir.mkdir(parents=True, exist_ok=True)
    paths.log_dir.mkdir(parents=True, exist_ok=True)
    with locked(paths.run_dir / "start.lock", wait=True):
        silent = find_silent()
        kept = read_daemons(paths) if is_supervised(paths) else []
        names = ({daemon.name for daemon in kept} | set(silent)) & set(roster())
        wanted = [
            daemon
            for daemon in all_daemons(hide_kvm=hide_kvm, integration=integration, datapath=datapath)
            if daemon.name in names
        ]
        if wanted != kept:
            report(f"starting {', '.join(silent)} under Cumulet's supervisor")
            prepare_directories()
            replaced = pids_of([daemon.name for daemon in kept if daemon not in wanted], paths)
            write_json(paths.daemons, wanted)
            instruct_supervisor(paths)
            wait_until_ended(replaced)
        if silent or wanted != kept:
            wait_until_all_answer(paths)
    return silent


def start_units(report: Callable[[str], None]) -> list[str]:
    """Start the system's own units of what does not answer."""
    tell_units(central_options(read_overlay()))
    silent = find_silent()
    if silent:
        report(f"starting {', '.join(silent)}")
    for unit in dict.fromkeys(UNITS[name] for name in silent):
        output_of("systemctl", "start", unit, seconds=90)
    return silent


def tell_units(options: str, root: Path = Path("/")) -> None:
    """Have OVN's own units of databases run with options of its start script, from now on; with none as their package has them."""
    files = {root / UNIT_OPTIONS.relative_to("/"): f"OVN_CTL_OPTS={options}\n"}
    for unit in CENTRAL_UNITS:
        drop_in = root / f"etc/systemd/system/{unit}.d/cumulet.conf"
        files[drop_in] = f"[Service]\nEnvironmentFile={UNIT_OPTIONS}\n"
    if not options and not any(file.exists() for file in files):
        return
    if options and all(file.exists() and file.read_text() == text for file, text in files.items()):
        return
    for file, text in files.items():
        file.unlink(missing_ok=True)
        if options:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
    output_of("systemctl", "daemon-reload")
    if options:
        output_of("systemctl", "restart", *CENTRAL_UNITS, seconds=90)


def stop_central(paths: Paths = PATHS) -> None:
    """Stop OVN's databases here, and return when they do not answer; CommandFailed when somebody else runs them.

    Packets go on by what hosts know.
    """
    if runs_systemd():
        output_of("systemctl", "stop", *CENTRAL_UNITS, seconds=90)
    elif is_supervised(paths):
        with locked(paths.run_dir / "start.lock", wait=True):
            kept = read_daemons(paths)
            write_json(paths.daemons, [daemon for daemon in kept if daemon.name not in CENTRAL])
            instruct_supervisor(paths)
    deadline = time.monotonic() + START_SECONDS
    while answering := [name for name in ANSWERS if name in CENTRAL and ANSWERS[name]()]:
        if time.monotonic() > deadline:
            raise CommandFailed(f"{', '.join(answering)} on this host do not end: who else started them?")
        time.sleep(0.02)


def stop_daemons(paths: Paths = PATHS) -> bool:
    """Stop the supervisor and all it keeps; False when none runs. Running VMs lose their network."""
    status = read_status(paths)
    if status is None or not is_supervised(paths):
        return False
    os.kill(status.pid, signal.SIGTERM)
    with locked(paths.lock, wait=True):
        paths.daemons.unlink(missing_ok=True)
    return True


def is_supervised(paths: Paths = PATHS) -> bool:
    """Whether a supervisor of ours runs here."""
    if not paths.lock.exists():
        return False
    with locked(paths.lock, wait=False) as free:
        return not free


def instruct_supervisor(paths: Paths) -> None:
    """Make the supervisor read its list of daemons, starting one if none runs."""
    status = read_status(paths)
    if status is not None and is_supervised(paths):
        os.kill(status.pid, signal.SIGHUP)
        return
    again = 'until "$@"; do sleep 0.3; done'
    supervisor = (sys.executable, "-m", "cumulet.doctor.supervisor", str(paths.run_dir), str(paths.log_dir))
    # setsid --fork: nobody's child, so that it neither ends with us nor waits for us to collect it
    with (paths.log_dir / "supervisor.log").open("ab") as log:
        subprocess.run(
            ("setsid", "--fork", "tini", "-s", "--", "sh", "-c", again, "supervisor", *supervisor),
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", check=True,
        )  # fmt: skip


def pids_of(names: Sequence[str], paths: Paths) -> list[int]:
    """The processes as which the supervisor runs some daemons now."""
    status = read_status(paths)
    running = status.daemons if status else {}
    return [pid for name in names if name in running and (pid := running[name].pid)]


def wait_until_ended(pids: Sequence[int]) -> None:
    """Poll until processes are gone: one that is to end still answers, and what comes in its place would not be waited for."""
    deadline = time.monotonic() + START_SECONDS
    while alive := [pid for pid in pids if Path(f"/proc/{pid}").exists()]:
        if time.monotonic() > deadline:
            raise CommandFailed(f"processes {alive} do not end, though the supervisor was told to end them")
        time.sleep(0.02)


def wait_until_all_answer(paths: Paths) -> None:
    """Poll every daemon; CommandFailed names the silent ones with the ends of their logs."""
    deadline = time.monotonic() + START_SECONDS
    while silent := find_silent() or find_mute():
        if time.monotonic() > deadline:
            raise CommandFailed(
                "\n".join(f"{name} does not answer; {last_words(name, paths)}" for name in silent)
            )
        time.sleep(0.02)


def find_mute() -> list[str]:
    """libvirtd, if it takes a connection and then no call: it may fall in its first moments, and is started again."""
    return [] if succeeds("virsh", "--connect", "qemu:///system", "version") else ["libvirtd"]


def last_words(name: str, paths: Paths) -> str:
    """The end of a daemon's log, for a message."""
    log = paths.log_dir / f"{name}.log"
    if not log.exists():
        return f"{log} does not exist"
    return f"{log} ends:\n{log.read_text(errors='replace')[-2000:]}"
