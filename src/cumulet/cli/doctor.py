"""`cumulet doctor`, for a host that also builds guest images."""

from cumulet.doctor.cli import doctor_app
from cumulet.images.recipes import HOST_PACKAGES

app = doctor_app(HOST_PACKAGES)
