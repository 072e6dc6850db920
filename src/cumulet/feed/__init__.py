"""What happens in a project, told as it happens: its events in a list, and in a stream that begins where the last ended."""

from cumulet.feed import operations
from cumulet.feed.choice import Choice, read_choice
from cumulet.feed.feed import Feed
from cumulet.feed.wire import event_view

__all__ = ["Choice", "Feed", "event_view", "operations", "read_choice"]
