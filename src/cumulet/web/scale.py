"""Where the scales of charts end. Pure."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Final

FACTORS: Final = (1, 2, 4, 5, 8, 10)
"""What may stand before the noughts, so that half of it is round too."""


def round_up(most: Decimal) -> Decimal:
    """Give the next number that a scale can end with: 1, 2, 4, 5 or 8 with noughts; 1 for nothing."""
    if most <= 0:
        return Decimal(1)
    power = Decimal(1).scaleb(math.floor(most.log10()))
    return next(top for factor in FACTORS if (top := factor * power) >= most)
