"""Usage: what each project's resources were and cost, by the second; computed of the journal alone."""

from cumulet.usage import operations  # noqa: F401 - declares them
from cumulet.usage.model import UsageRecord
from cumulet.usage.reconcile import settle_usage

__all__ = ["UsageRecord", "settle_usage"]
