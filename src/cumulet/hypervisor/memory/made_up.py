"""What guests of made-up machines do: a little work, their start script's last `exit`, and now and then a panic."""

from __future__ import annotations

import re

from cumulet.hypervisor import DomainSpec, Stats


def little_work(times: int, spec: DomainSpec) -> Stats:
    """What a guest has used that did the same little so many times."""
    return Stats(
        cpu_seconds=1.5 * times,
        memory_bytes=spec.memory_mib * 2**20 // 4,
        read_bytes=4096 * times,
        read_requests=times,
        written_bytes=8192 * times,
        write_requests=2 * times,
        received_bytes=1500 * times,
        sent_bytes=3000 * times,
    )


def exit_status_of(script: str) -> int:
    """The status that a script's last line asks for with `exit N`; 0 if it asks for none."""
    status = re.search(r"\bexit (\d+)\s*\Z", script)
    return int(status[1]) if status else 0


def panic_of(why: str, at: str) -> str:
    """What a kernel writes to its console when it panics."""
    words = f"Kernel panic - not syncing: {why}"
    lines = (words, "Call Trace:", f"---[ end {words} ]---")
    return "".join(f"[    {at}] {line}\n" for line in lines)
