"""The REST edge: OPERATIONS made into routes. Assembly only; nothing here knows a resource.

socket ─▶ Edge ─────────▶ Litestar ─────▶ Endpoint ─────▶ Call, in a thread ──────▶ operation
          names and logs  finds, limits   binds, encodes authenticates, transaction
"""

from cumulet.rest.app import create_app

__all__ = ["create_app"]
