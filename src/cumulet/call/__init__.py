"""Calling operations, whatever carries the call: REST, pages and gRPC bring a `Request` and take the answer.

rates, turns ─▶ making ─▶ settled ─▶ kept ─▶ call ─────────▶ repeats ─▶ operation
bounded, in line  waits     waits      recalls  authenticates   once        in one transaction
"""

from cumulet.call.call import Admit, Call, Calls, Request
from cumulet.call.kept import Answer, KeptAnswers, question
from cumulet.call.key_uses import WriteUses
from cumulet.call.logins import Logins
from cumulet.call.making import Making
from cumulet.call.rates import Rates
from cumulet.call.refused import RefusedCalls, is_kept
from cumulet.call.settled import once_settled
from cumulet.call.turns import Turn, Turns
from cumulet.call.users import Users

__all__ = [
    "Admit",
    "Answer",
    "Call",
    "Calls",
    "KeptAnswers",
    "Logins",
    "Making",
    "Rates",
    "RefusedCalls",
    "Request",
    "Turn",
    "Turns",
    "Users",
    "WriteUses",
    "is_kept",
    "once_settled",
    "question",
]
