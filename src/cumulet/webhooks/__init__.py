"""Webhooks: addresses outside that are told of a project's events, signed, in order and at least once."""

from cumulet.webhooks import operations
from cumulet.webhooks.addresses import Bounds
from cumulet.webhooks.herald import Herald
from cumulet.webhooks.reconcile import Teller, seal_secrets

__all__ = ["Bounds", "Herald", "Teller", "operations", "seal_secrets"]
