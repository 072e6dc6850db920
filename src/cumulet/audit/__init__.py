"""The audit: who did what, from where, with which key, to what, and what came of it; refusals too.

The journal tells what happened to resources; this tells what was asked of the cloud, whether or not anything happened.
"""

from cumulet.audit import operations  # noqa: F401 - declares them
from cumulet.audit.model import AuditRecord, Outcome, forget
from cumulet.audit.record import Act, outcome_of, record, target_of
from cumulet.audit.refusals import Refusals

__all__ = ["Act", "AuditRecord", "Outcome", "Refusals", "forget", "outcome_of", "record", "target_of"]
