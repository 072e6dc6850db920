"""`cumulet image`: the operator's commands for guest images. They work on the store itself, server running or not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from cyclopts import App
from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from cumulet.images.build import build_image, ensure_image, find_recipe
from cumulet.images.fetch import import_image
from cumulet.images.recipes import RECIPES, Progress
from cumulet.images.store import ImageStore
from cumulet.settings import read_settings


def image_app() -> App:
    """The `image` commands."""
    app = App(name="image", help="Build, import and list the images that VMs boot from.")
    app.command(build)
    app.command(import_, name="import")
    app.command(remove)
    app.command(alias)
    return app


def build(*ids: str, force: bool = False) -> None:
    """Build images on this machine, as root; those that are there and up to date are left alone.

    :param ids: Which; all that we have a recipe for by default.
    :param force: Build them anew, with today's packages.
    """
    recipes = [find_recipe(id) for id in ids or RECIPES]
    for recipe in recipes:
        with progress_bar(recipe.id) as progress:
            if force:
                build_image(our_store(), recipe, progress)
            else:
                ensure_image(our_store(), recipe.id, progress)


def import_(id: str, source: str, *, sha256: str = "", name: str = "") -> None:
    """Take in a cloud image (qcow2 or raw) that was made elsewhere; run again, it goes on where it broke off.

    :param id: What VMs shall call it.
    :param source: A file, or an http or https URL.
    :param sha256: The checksum that the file must have.
    :param name: What people shall read; the id by default.
    """
    with progress_bar(id) as progress:
        import_image(our_store(), id, source, sha256=sha256, name=name, progress=progress)


def remove(id: str) -> None:
    """Remove an image; VMs that were made of it keep running."""
    our_store().remove(id)


def alias(id: str, *aliases: str) -> None:
    """Let an image answer to further ids, exactly these; none takes all away."""
    our_store().set_aliases(id, aliases)


def our_store() -> ImageStore:
    """Return the images of this installation."""
    return ImageStore(read_settings(os.environ).images_dir)


@contextmanager
def progress_bar(what: str) -> Iterator[Progress]:
    """Show progress on stderr: a bar on a terminal, else a line for each new step."""
    console = Console(stderr=True, markup=False, highlight=False)
    if not console.is_terminal:
        yield step_lines(what, console)
        return
    columns = (TextColumn("{task.fields[what]}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Bars(*columns, TextColumn("{task.description}", markup=False), console=console) as bars:
        bar = bars.add_task("", total=1.0, what=what)
        yield lambda step, fraction: bars.update(bar, description=step, completed=fraction)
        bars.update(bar, description="ready", completed=1.0)


def step_lines(what: str, console: Console) -> Progress:
    """Print a line when another tenth is done: a log has no use for a bar."""
    printed = -1

    def print_step(step: str, fraction: float) -> None:
        nonlocal printed
        if int(fraction * 10) > printed:
            printed = int(fraction * 10)
            console.print(f"{what}: {fraction:4.0%} {step}")

    return print_step
