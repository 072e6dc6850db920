"""Who was let in lately, and to what: they need not be looked at before they take the one writer's lock, only once they have it.

Nobody is let in by that. It only says who is worth the lock: whoever may not after all is refused under it, and is
looked at before it the next time.
"""

from __future__ import annotations

from typing import Final, TypeAlias

Who: TypeAlias = tuple[bytes, str, str]
"""The digest of a key, an operation, a project."""
MOST: Final = 4096


class LetIn:
    """What one process knows of that, for all operations together."""

    def __init__(self) -> None:
        self._lately: set[Who] = set()

    def __contains__(self, who: Who | None) -> bool:
        """Whether they were let in when they asked for that last."""
        return who in self._lately

    def note(self, who: Who | None) -> None:
        """Note that they were let in; where those are too many, it begins anew."""
        if len(self._lately) >= MOST:
            self._lately.clear()
        if who is not None:
            self._lately.add(who)

    def forget(self, who: Who | None) -> None:
        """Note that they were not."""
        if who is not None:
            self._lately.discard(who)
