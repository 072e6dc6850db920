"""Billing accounts as JSON of the contract."""

from __future__ import annotations

from datetime import datetime

from cumulet.wire import Amount, ProtoEnum, Wire


class BillingAccountState(ProtoEnum):
    """Whether an account is in use."""

    UNSPECIFIED = "STATE_UNSPECIFIED", 0
    ACTIVE = "STATE_ACTIVE", 1
    SUSPENDED_ABUSE = "STATE_SUSPENDED_ABUSE", 2
    SUSPENDED_PAYMENT = "STATE_SUSPENDED_PAYMENT", 3


class PaymentTerms(ProtoEnum):
    """When an account pays."""

    UNSPECIFIED = "PAYMENT_TERMS_UNSPECIFIED", 0
    PREPAID = "PAYMENT_TERMS_PREPAID", 1
    INVOICE = "PAYMENT_TERMS_INVOICE", 2


class BillingAccount(Wire):
    """An account: the projects that name it. It takes no payments, so it has no credit, and nothing ends for want of it."""

    id: str
    display_name: str
    state: BillingAccountState
    credit_balance: Amount
    hourly_spend_rate: Amount
    """Of those of its projects that the caller sees."""
    monthly_spend: str
    """Likewise, in this month so far."""
    payment_terms: PaymentTerms
    create_time: datetime | None = None
    """When the first of its projects was created."""


class ListBillingAccountsResponse(Wire):
    """All billing accounts; `pageToken` is empty."""

    billing_accounts: list[BillingAccount]
    page_token: str
    page_size: int


class BillingAccountProject(Wire):
    """A project of a billing account, and how many things it owns."""

    id: str
    resource_count: int


class ListBillingAccountProjectsResponse(Wire):
    """The projects of a billing account."""

    projects: list[BillingAccountProject]
