"""Does what was planned for a host's GPUs, and undoes it: files of our own alone, and programs that make the host heed them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from cumulet.doctor.command import CommandFailed, output_of, require_root
from cumulet.doctor.gpus import files
from cumulet.doctor.gpus.plan import GpuPlan, GpuWish, decide
from cumulet.doctor.gpus.survey import HUGEPAGES, Survey, read_boot, survey_gpus

ROOT: Final = Path("/")
SECONDS: Final = 600.0
"""How long it may take to make an initial RAM disk for each kernel."""
Run = Callable[[tuple[str, ...]], object]


def run_program(argv: tuple[str, ...]) -> None:
    """Run a program of the host."""
    output_of(*argv, seconds=SECONDS)


def look(root: Path) -> Survey:
    """Look at the host as it is now."""
    return survey_gpus(root, release=os.uname().release)


def plan_gpus(wish: GpuWish) -> GpuPlan:
    """Say what it takes to give the host's GPUs to VMs; changes nothing. Invalid for a wish that it cannot fulfil."""
    require_root("looking at how GPUs are kept for VMs")
    return decide(look(ROOT), wish)


def prepare_gpus(wish: GpuWish, report: Callable[[str], None] = lambda _: None) -> GpuPlan:
    """Do what can be done now; gives what is left, such as a reboot. CommandFailed leaves our files as they were."""
    require_root("preparing GPUs")
    return carry_out(wish, ROOT, run_program, report)


def undo_gpus(report: Callable[[str], None] = lambda _: None) -> list[str]:
    """Remove all that preparing GPUs wrote, so that from its next boot on the host has them; gives what was removed."""
    require_root("giving GPUs back to the host")
    return give_back(ROOT, run_program, report)


def carry_out(wish: GpuWish, root: Path, run: Run, report: Callable[[str], None]) -> GpuPlan:
    """Do what is planned for the host below a root."""
    plan = decide(look(root), wish)
    write_files(root, {one.path: one.text for one in plan.files}, run, report)
    if plan.hugepages is not None:
        report(f"asking the kernel for {plan.hugepages} GiB in pages of 1 GiB")
        (root / HUGEPAGES).write_text(f"{plan.hugepages}\n")
    if any(one.path == files.BINDER for one in plan.files):
        run(("sh", str(root / files.BINDER), str(root / "sys")))
    return decide(look(root), wish)


def give_back(root: Path, run: Run, report: Callable[[str], None]) -> list[str]:
    """Undo what was done to the host below a root; a driver is not taken from under a VM that runs."""
    survey = look(root)
    write_files(root, dict.fromkeys(survey.ours), run, report)
    for address in files.kept_by(survey.ours.get(files.BINDER, "")):
        if address in survey.overridden:
            (root / "sys/bus/pci/devices" / address / "driver_override").write_text("\n")
    return [f"/{path}" for path in survey.ours]


def write_files(
    root: Path, wanted: Mapping[str, str | None], run: Run, report: Callable[[str], None]
) -> None:
    """Write files, or remove those of None, and make the host heed that; all are as before when that fails."""
    before = {path: (root / path).read_text() if (root / path).exists() else None for path in wanted}
    mark = root / files.WRITTEN_IN
    try:
        for path, text in wanted.items():
            report(f"{'removing' if text is None else 'writing'} /{path}")
            write_file(root, path, text)
        for argv in follow_ups(root, wanted):
            report(f"running {' '.join(argv)}")
            run(argv)
    except (CommandFailed, OSError):
        for path, text in before.items():
            write_file(root, path, text)
        raise
    if wanted:
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.write_text(read_boot(root))


def follow_ups(root: Path, changed: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """Give what makes the host heed changed files, each once; without initramfs-tools there is no RAM disk to renew."""
    renewed = (root / files.INITRAMFS_TOOLS).is_dir()
    for argv in dict.fromkeys(argv for path in changed for argv in files.FOLLOW_UPS.get(path, ())):
        if renewed or argv != files.RENEW:
            yield argv


def write_file(root: Path, path: str, text: str | None) -> None:
    """Write a file of ours whole, or remove it."""
    place = root / path
    if text is None:
        place.unlink(missing_ok=True)
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    new = place.with_name(f".{place.name}.new")
    new.write_text(text)
    new.chmod(0o755 if path in files.PROGRAMS else 0o644)
    new.replace(place)


def keep_gpus(root: Path = ROOT) -> None:
    """Keep the GPUs for VMs that were prepared: for hosts where no unit of systemd has done it."""
    if (root / files.BINDER).exists():
        run_program(("sh", str(root / files.BINDER), str(root / "sys")))
