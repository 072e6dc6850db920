"""The images that guests boot from, built once and kept between runs."""

import os
from pathlib import Path

import pytest

from cumulet.images import Image, ImageStore, ensure_image


def silence(step: str, fraction: float) -> None:
    """Show no progress."""


@pytest.fixture(scope="session")
def built_images() -> ImageStore:
    return ImageStore(Path(os.environ.get("CUMULET_TEST_IMAGES", "/var/cache/cumulet-test/images")))


@pytest.fixture(scope="session")
def micro(built_images) -> Image:
    return ensure_image(built_images, "micro", silence)
