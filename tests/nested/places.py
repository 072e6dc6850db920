"""Where things are on the machine that has everything, as the stories there and the tests outside both know it."""

from __future__ import annotations

from typing import Final

CARD: Final = "0000:01:00.0"
NIC: Final = "0000:02:00.0"
FIXED: Final = "0000:00:0b.0"
SHARED: Final = "0000:03:01.0"
STRANGER: Final = "0000:03:02.0"
BEHIND_A_SWITCH: Final = ("0000:83:00.0", "0000:84:00.0")
SECRET_AT: Final = 0x0F000000
"""Memory that the kernel is told to leave alone, where the proof guest has none."""
