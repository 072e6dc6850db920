"""`cumulet web`: from the command line, whose key is known, into the pages, signed in."""

from __future__ import annotations

import os
import sys
import webbrowser

from cumulet.cli.client import connect
from cumulet.cli.output import printable


def web(*, no_open: bool = False) -> None:
    """Open the web console in a browser, signed in as you. The link is printed too; it works once, for five minutes.

    :param no_open: Only print the link.
    """
    link = connect().post("/v1/sessions/tickets")["url"]
    print(printable(link))  # noqa: T201 - what this is for
    if has_screen() and not no_open:
        webbrowser.open(link)


def has_screen() -> bool:
    """Whether a browser could show something here: without a screen, text browsers would take over the terminal."""
    return sys.platform == "darwin" or any(os.environ.get(one) for one in ("DISPLAY", "WAYLAND_DISPLAY"))
