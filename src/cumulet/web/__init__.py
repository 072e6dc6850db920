"""The web edge: pages for people, and the websockets behind them. Assembly only; what they show is decided below."""

from cumulet.web import pages  # noqa: F401 - declares them
from cumulet.web.asking import Asking
from cumulet.web.assets import ASSETS
from cumulet.web.console import console_pages
from cumulet.web.site import site

__all__ = ["ASSETS", "Asking", "console_pages", "site"]
