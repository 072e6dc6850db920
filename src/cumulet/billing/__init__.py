"""Billing accounts, as clients look for them before they make a project: nobody is billed by this cloud itself."""

from cumulet.billing import operations

__all__ = ["operations"]
