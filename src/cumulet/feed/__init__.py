"""What happens in a project, told as it happens: its events in a list, and in a stream that begins where the last ended."""

from cumulet.feed import operations
from cumulet.feed.feed import Feed

__all__ = ["Feed", "operations"]
