"""The pages in a cloud of a thousand VMs: what they weigh, what they take of the server, and how soon they show a change."""

from __future__ import annotations

import re
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from html import unescape
from statistics import median
from typing import Final
from urllib.parse import urljoin, urlsplit

import httpx
from bench.figure import CROWD, Figure, at_most, say
from bench.idle import cpu_seconds
from bench.pages_in_chromium import interactive
from bench.server import Server, wait_until
from bench.stage import SETTLES_WITHIN, Stage

COOKIE: Final = "__Host-cumulet"
LIST: Final = "/p/default/vms"
OF_AN_HOUR: Final = "vms/vm-0500/monitor?since={hour_ago}"
PAGES: Final = {
    f"list of {CROWD} VMs": (LIST, ("vms", "spend", "quotas")),
    "a VM": (f"{LIST}/vm-0500", ("vms/vm-0500", "vms/vm-0500/timeline", OF_AN_HOUR)),
    f"list of {2 * CROWD} disks": (
        "/p/default/disks",
        ("disks?pageSize=1000", "disks?pageSize=1000&pageNumber=2"),
    ),
    f"map of networks with {CROWD} VMs": ("/p/default/networks", ("networks?pageSize=1000", "vms")),
}
"""And the answers that are in each."""
OF_ALL: Final = ("/v1/auth", "/v1/projects", "/v1/projects/default")
"""What each page tells of its viewer."""
FONT: Final = re.compile(r'url\("([^"]+latin-wght[^"]+)"\)')
LOADED: Final = re.compile(r'(?:src|href)="(/assets/[^"#]+)"')
STREAM: Final = re.compile(r'hx-sse:connect="([^"]+)"')
DIFFERENT: Final = 20
WINDOWS: Final = 10
"""Of each of them."""
SECONDS: Final = 45
TIMES: Final = 50
ANEW: Final = "read anew"
CASES: Final = {"while nothing changes": "SELECT 1", ANEW: "UPDATE project SET id = id"}
"""What is done before each request: a commit, of whatever, ends all kept answers."""
TURNS: Final = 5
KB: Final = 1000


def measure(stage: Stage) -> list[Figure]:
    """Load, open, and have something happen."""
    server = stage.crowded_server
    with signed_in(server) as browser:
        wait_until(server.is_billed, "usage knows all that was done", within=SETTLES_WITHIN, pause=1)
        say("web: pages")
        figures = [*weights(browser), *costs(server, browser), shown_within(server, browser)]
        figures.append(interactive(server, LIST))
        wait_until(server.is_billed, "usage knows all that was done", within=SETTLES_WITHIN, pause=1)
        return [*figures, idle(server, browser)]


@contextmanager
def signed_in(server: Server) -> Iterator[httpx.Client]:
    """Sign in, as a browser does."""
    with httpx.Client(base_url=server.url, headers={"origin": server.url}, timeout=60) as browser:
        answer = browser.post("/login", data={"apiKey": server.key})
        session = answer.headers["set-cookie"].partition(f"{COOKIE}=")[2].partition(";")[0]
        browser.headers["cookie"] = f"{COOKIE}={session}"  # which httpx would keep for TLS
        yield browser


def weights(browser: httpx.Client) -> list[Figure]:
    """Say what comes over the wire, compressed as browsers ask for it."""
    html, weight = loaded(browser, LIST)
    files = dict.fromkeys(unescape(one) for one in LOADED.findall(html))
    styles = next(one for one in files if one.endswith("app.css"))
    files[urljoin(styles, FONT.findall(loaded(browser, styles)[0])[0])] = None
    first = weight + sum(loaded(browser, one)[1] for one in files)
    later = max(loaded(browser, f"{LIST}/vm-0500{part}")[1] for part in ("", "/graphs", "/disks", "/network"))
    return [
        at_most("pages, first load with fonts", first / KB, 200, unit="kB", detail=f"{len(files)} files"),
        at_most("pages, the heaviest of a VM later", later / KB, 30, unit="kB"),
        at_most(f"pages, list of {CROWD} VMs", weight / KB, 60, unit="kB"),
    ]


def loaded(browser: httpx.Client, path: str) -> tuple[str, int]:
    """Give what a path has, and how many bytes came."""
    with browser.stream("GET", path) as answer:
        answer.read()
        answer.raise_for_status()
        text = "" if path.endswith(".woff2") else answer.text
        return text, answer.num_bytes_downloaded


def costs(server: Server, browser: httpx.Client) -> Iterator[Figure]:
    """Set the server's time for a page beside that for the API's answers that are in it."""
    hour_ago = f"{datetime.now(UTC) - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
    with closing(sqlite3.connect(server.data_dir / "cumulet.db", isolation_level=None)) as db:
        for name, (page, paths) in PAGES.items():
            of_project = [f"/v1/projects/default/{path.format(hour_ago=hour_ago)}" for path in paths]
            for when, statement in CASES.items():
                before = partial(db.execute, statement)
                of_page = cpu_ms(server, browser, [page], before)
                of_api = cpu_ms(server, server.api, [*of_project, *OF_ALL], before)
                if (page, when) == (LIST, ANEW):
                    yield at_most(f"pages, {name}: CPU", of_page, 150, unit="ms")
                what = f"pages, {name} beside the API's answers in it, {when}"
                words = f"{of_page:.1f} ms, {of_api:.1f} ms"
                yield at_most(what, of_page / of_api, 2, unit="×", detail=words)


def cpu_ms(server: Server, client: httpx.Client, paths: Sequence[str], before: Callable[[], object]) -> float:
    """Give the milliseconds of CPU that the server takes for some paths, each after something."""
    began = cpu_seconds(server.pid)
    for _ in range(TIMES):
        for path in paths:
            before()
            client.get(path).raise_for_status()
    return (cpu_seconds(server.pid) - began) / TIMES * 1000


def shown_within(server: Server, browser: httpx.Client) -> Figure:
    """Change labels as others do, and wait until the list shows it."""
    say("web: changes")
    with closing(window(browser, LIST)) as line:
        times = [seconds_until_shown(server, line, number) for number in range(TURNS)]
    return at_most("pages, a change by somebody else shows, p50", median(times), 1.5, unit="s")


def seconds_until_shown(server: Server, line: socket.socket, number: int) -> float:
    """Change the label of a VM that is on the list's first page."""
    time.sleep(2)
    label = f"bench-{number}"
    began = time.perf_counter()
    server.ask("POST", "vm/vm-0000/metadata", json={"metadata": {label: ""}})
    heard = b""
    while label.encode() not in heard:
        heard += line.recv(65536)
    return time.perf_counter() - began


def idle(server: Server, browser: httpx.Client) -> Figure:
    """Open many pages and let them be."""
    pages = [LIST, *(f"{LIST}/vm-{number:04}" for number in range(DIFFERENT - 1))]
    say(f"web: nothing happens for twice {SECONDS} s")
    without = percent_of_core(server)
    with ExitStack() as lines:
        for page in pages * WINDOWS:
            lines.enter_context(closing(window(browser, page)))
        percent = percent_of_core(server) - without
    return at_most(
        f"pages, {DIFFERENT * WINDOWS} open while nothing happens: CPU",
        percent,
        2,
        unit="% of a core",
        detail=f"{DIFFERENT} different ones; without them {without:.2f} %",
    )


def percent_of_core(server: Server) -> float:
    """Watch the server for a while."""
    began = cpu_seconds(server.pid)
    time.sleep(SECONDS)
    return (cpu_seconds(server.pid) - began) / SECONDS * 100


def window(browser: httpx.Client, page: str) -> socket.socket:
    """Open a page and its stream, and return when that has begun."""
    path = unescape(STREAM.findall(browser.get(page).text)[0])
    where = urlsplit(str(browser.base_url))
    line = socket.create_connection((where.hostname, where.port), timeout=30)
    head = f"GET {path} HTTP/1.1\r\nhost: {where.netloc}\r\ncookie: {browser.headers['cookie']}\r\n\r\n"
    line.sendall(head.encode())
    heard = b""
    while b"id: " not in heard:
        heard += line.recv(65536)
    return line
