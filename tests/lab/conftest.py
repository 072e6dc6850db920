"""The fabric of the private host, as the tests of the fabric have it."""

from tests.fabric.conftest import fabric

__all__ = ["fabric"]
