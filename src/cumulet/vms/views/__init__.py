"""Showing VMs: rows in, JSON out."""
