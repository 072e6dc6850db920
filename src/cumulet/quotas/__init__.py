"""How much a project may have of each thing: counted from rows by whoever adds some, in the transaction that does."""

from cumulet.quotas import operations
from cumulet.quotas.allowance import Allowance, lock_allowance, refuse_running

__all__ = ["Allowance", "lock_allowance", "operations", "refuse_running"]
