"""Finding what one has by its name, over all projects at once."""

from cumulet.search import operations  # noqa: F401 - declares them
from cumulet.search.resources import count_resources

__all__ = ["count_resources"]
