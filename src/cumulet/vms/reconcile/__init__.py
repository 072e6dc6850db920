"""Keeping VMs as their owners want them."""
