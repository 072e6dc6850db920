"""The key to a Ceph pool, told to libvirt, which hands it to each QEMU under that QEMU's own key.

libvirt keeps it in its memory alone and gives it back to nobody; so it is told before each use.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterable
from typing import Final

import libvirt

from cumulet.hypervisor import HypervisorError
from cumulet.hypervisor.libvirt.ceph.pool import RbdPool
from cumulet.hypervisor.libvirt.elements import element, render

KEY: Final = re.compile(r"^\s*key\s*=\s*(\S+)", re.MULTILINE)


def tell_keys(link: libvirt.virConnect, pools: Iterable[RbdPool]) -> None:
    """Have libvirt know the keys of pools whose files are there."""
    for pool in pools:
        if not pool.client.missing():
            link.secretDefineXML(secret_xml(pool)).setValue(read_key(pool))


def secret_xml(pool: RbdPool) -> str:
    """Describe the secret, without what it is."""
    return render(
        element(
            "secret",
            element("uuid", str(pool.secret_id)),
            element("usage", element("name", f"{pool.prefix} client.{pool.client.pool.user}"), type="ceph"),
            ephemeral="yes",
            private="yes",
        )
    )


def read_key(pool: RbdPool) -> bytes:
    """Read the user's key; HypervisorError when the file has none."""
    found = KEY.search(pool.client.keyring.read_text())
    if found is None:
        raise HypervisorError(f"{pool.client.keyring} has no key")
    return b64decode(found[1])
