"""libvirt on a nested machine."""

import subprocess


def start_libvirt() -> None:
    """Start its daemons; returns when they answer."""
    for daemon in ("virtlogd", "libvirtd"):
        subprocess.run((daemon, "--daemon"), check=True)
