"""Monitoring: what machines use, kept for a month, and the numbers of the whole cloud for Prometheus."""

from cumulet.monitoring import operations, unsettled
from cumulet.monitoring.metrics import read_metrics
from cumulet.monitoring.sample import Sampler

__all__ = ["Sampler", "operations", "read_metrics", "unsettled"]
