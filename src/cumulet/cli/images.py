"""`cumulet image`, as the images have it."""

from cumulet.images.cli import image_app

app = image_app()
