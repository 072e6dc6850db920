"""Cumulet: a self-hosted cloud of real virtual machines."""
