"""Pages are made of Jinja templates, which escape whatever they are given."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Final
from uuid import uuid4

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from cumulet.plurals import plural
from cumulet.web.assets import ASSETS
from cumulet.wire import Amount

HOURS_A_MONTH: Final = 730
TROUBLE: Final = re.compile(
    "fail|lost|crash|panic|fault|refused|silent|overdue|quarantined|paused_on|warned|reached"
)
"""In the names of events that tell of some."""
PERCENT: Final = re.compile(r"(\d{1,3})(?:\.\d+)? ?%")

environment: Final = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=StrictUndefined,
    auto_reload=False,
    cache_size=-1,
)


def render(template: str, **shown: object) -> str:
    """Make a page, or a part of one."""
    return environment.get_template(template).render(**shown)


def money(amount: Amount | Decimal, places: int = 2) -> str:
    """Write an amount for people: 1,284.11; what is small shows its first digits."""
    exact = Decimal(amount.value) if isinstance(amount, Amount) else amount
    if exact and abs(exact) < Decimal(1).scaleb(-places):
        places = 1 - exact.adjusted()
    return f"{exact.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP):,f}"


def monthly(amount: Amount) -> str:
    """Write what an hourly price comes to in a month."""
    return money(Decimal(amount.value) * HOURS_A_MONTH)


def rate(amount: Amount) -> str:
    """Write an hourly price, and what it comes to in a month."""
    return f"{money(amount, 4)} an hour, {monthly(amount)} a month" if Decimal(amount.value) else "free"


def when(at: datetime | None) -> Markup:
    """Write an instant; the browser shows it in its viewer's zone."""
    if at is None:
        return Markup("never")
    exact = f'datetime="{at:%Y-%m-%dT%H:%M:%SZ}" title="{at:%Y-%m-%d %H:%M:%S} UTC"'
    return Markup(f"<time {exact}>{at:%d %b %Y %H:%M} UTC</time>")  # noqa: S704 - nobody's words


def when_second(second: int) -> Markup:
    """Write an instant that is counted in seconds."""
    return when(datetime.fromtimestamp(second, UTC))


def percent_of(words: str) -> int | None:
    """Read how far work is out of the words about it; None where they do not tell."""
    found = PERCENT.search(words)
    return min(int(found[1]), 100) if found else None


def tone_of(event: str) -> str:
    """Say how an event of that name is to be seen: as trouble, as asked for, or as done."""
    return "bad" if TROUBLE.search(event) else "off" if event.endswith("_requested") else "good"


def new_request() -> str:
    """Name what a form will ask for, so that sending it twice does it once."""
    return uuid4().hex


environment.globals.update(
    asset=ASSETS.url,
    icon=ASSETS.icon,
    new_request=new_request,
    percent_of=percent_of,
    plural=plural,
    tone_of=tone_of,
    when=when,
    when_second=when_second,
)
environment.filters.update(money=money, monthly=monthly, rate=rate)
