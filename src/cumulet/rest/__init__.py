"""The REST edge: OPERATIONS made into routes. Assembly only; nothing here knows a resource.

socket ─▶ Edge ─────────▶ Litestar ─────▶ Endpoint, in a thread ─────────▶ operation
          names and logs  finds, limits   authenticates, binds, encodes    in one transaction
"""

from cumulet.rest.app import create_app

__all__ = ["create_app"]
