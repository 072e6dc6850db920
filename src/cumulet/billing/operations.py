"""Billing accounts: the API's verbs. An account is what projects call theirs; there is always the installation's own."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cumulet.billing.wire import (
    BillingAccount,
    BillingAccountProject,
    BillingAccountState,
    ListBillingAccountProjectsResponse,
    ListBillingAccountsResponse,
    PaymentTerms,
)
from cumulet.errors import NotFound
from cumulet.operation import Access, Caller, operation
from cumulet.projects import DEFAULT_BILLING_ACCOUNT, Project, is_seen
from cumulet.search import count_resources
from cumulet.usage.operations import costs_of_project
from cumulet.usage.spend import month_of, spending
from cumulet.wire import Amount


@operation("GET /v1/billing-accounts", access=Access.KEY)
def list_billing_accounts(db: Session, caller: Caller, now: datetime) -> ListBillingAccountsResponse:
    """List the billing accounts of the projects that the caller sees, by id, all at once."""
    seen = sorted(accounts_seen(db, caller).items())
    accounts = [account_view(id, since, spend_of(db, caller, id, now)) for id, since in seen]
    return ListBillingAccountsResponse(billing_accounts=accounts, page_token="", page_size=len(accounts))


@operation("GET /v1/billing-accounts/{id}", access=Access.KEY)
def get_billing_account(db: Session, caller: Caller, now: datetime, *, id: str) -> BillingAccount:
    """Show one billing account."""
    accounts = accounts_seen(db, caller)
    refuse_unseen(accounts, id)
    return account_view(id, accounts[id], spend_of(db, caller, id, now))


@operation("GET /v1/billing-accounts/{id}/projects", access=Access.KEY)
def list_billing_account_projects(
    db: Session, caller: Caller, *, id: str
) -> ListBillingAccountProjectsResponse:
    """List those projects of a billing account that the caller sees, by id."""
    refuse_unseen(accounts_seen(db, caller), id)
    theirs = (Project.billing_account_id == id, is_seen(caller))
    counts = count_resources(db, *theirs)
    ids = db.scalars(select(Project.id).where(*theirs).order_by(Project.id))
    return ListBillingAccountProjectsResponse(
        projects=[BillingAccountProject(id=one, resource_count=counts[one]) for one in ids]
    )


def accounts_seen(db: Session, caller: Caller) -> dict[str, datetime | None]:
    """Give the accounts of the projects that a caller sees, and since when each has one."""
    account = Project.billing_account_id
    named = select(account, func.min(Project.created_at)).where(is_seen(caller)).group_by(account)
    return {DEFAULT_BILLING_ACCOUNT: None, **dict(db.execute(named).all())}


def refuse_unseen(accounts: dict[str, datetime | None], id: str) -> None:
    """Return if an account is there for its caller; NotFound names those that are."""
    if id not in accounts:
        raise NotFound.named("billing account", id, sorted(accounts))


class Spend(NamedTuple):
    """What was spent."""

    hourly: Decimal
    """What an hour costs as things are."""
    monthly: Decimal
    """In this month so far."""


def spend_of(db: Session, caller: Caller, id: str, now: datetime) -> Spend:
    """Add up what those projects of an account spend that a caller sees."""
    first, _ = month_of(now)
    theirs = select(Project.id).where(Project.billing_account_id == id, is_seen(caller))
    costs = [cost for one in db.scalars(theirs).all() for cost in costs_of_project(db, one, first, now)]
    spent, hourly = spending(costs, first, now)
    return Spend(hourly, spent)


def account_view(id: str, since: datetime | None, spend: Spend) -> BillingAccount:
    """Show an account as the contract does."""
    return BillingAccount(
        id=id,
        display_name=id,
        state=BillingAccountState.ACTIVE,
        credit_balance=Amount.of(Decimal(0)),
        hourly_spend_rate=Amount.of(spend.hourly),
        monthly_spend=Amount.of(spend.monthly).value,
        payment_terms=PaymentTerms.INVOICE,
        create_time=since,
    )
