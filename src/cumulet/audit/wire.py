"""The audit as the API shows it."""

from __future__ import annotations

from datetime import datetime

from cumulet.audit.model import Outcome
from cumulet.wire import Wire


class AuditEntry(Wire):
    """A change that was made, or one refusal together with those like it in the same hour."""

    id: str
    create_time: datetime
    last_time: datetime
    """When the last of them was counted."""
    count: int
    """How many there were at least."""
    user: str
    """The e-mail address of whoever's key it was; empty for nobody's."""
    user_id: str
    api_key_id: str
    address: str
    """The IP address that they came from; `*` for several."""
    operation: str
    """Empty for several."""
    project_id: str
    target: str
    """What else the request named: `id=web vmId=db`."""
    outcome: Outcome
    reason: str
    """Which field or precondition it was refused for."""


class ListAuditResponse(Wire):
    """A page of the audit."""

    entries: list[AuditEntry]
    page_size: int
    page_token: str
