"""The web edge: pages for people, and the websockets behind them. Assembly only; what they show is decided below."""

from cumulet.web.console import console_pages

__all__ = ["console_pages"]
