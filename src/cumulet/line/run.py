"""The helper's process: `python -m cumulet.line.run SOCKET`, started on a host by `arrive`.

There is one for each bundle. It leaves when nobody has been connected for ten minutes, and takes its bundle along.
"""

from __future__ import annotations

import fcntl
import socket
import sys
from pathlib import Path
from typing import Final

import structlog

import cumulet
from cumulet.doctor.calls import prepare_host
from cumulet.errors import Unavailable
from cumulet.hypervisor import CEPH_PACKAGES, HostUnreachable, Hypervisor
from cumulet.line.arrive import one_at_a_time, remove
from cumulet.line.helper import Helper
from cumulet.line.wire import PACKAGES, HostWish

IDLE_SECONDS: Final = 600.0

log = structlog.get_logger()


def main() -> None:
    """Serve this machine until nobody needs it."""
    place = Path(sys.argv[1])
    structlog.configure(
        processors=[structlog.processors.TimeStamper("iso"), structlog.processors.LogfmtRenderer()]
    )
    with place.with_suffix(".lock").open("w") as lock, socket.socket(socket.AF_UNIX) as listener:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # another one serves already
        place.unlink(missing_ok=True)
        listener.bind(str(place))
        listener.listen(128)
        helper = Helper(listener, open_here)
        helper.serve(idle_seconds=IDLE_SECONDS)
        place.unlink()
        helper.close()
    leave(place, Path(cumulet.__file__).parent.parent)


def leave(place: Path, bundle: Path) -> None:
    """Take along what was brought, unless another helper has begun to serve from it."""
    with one_at_a_time(place.parent), place.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        for path in (place.with_suffix(".lock"), place.with_suffix(".log")):
            path.unlink(missing_ok=True)
        remove(bundle)


def open_here(wish: HostWish, *, packages: tuple[str, ...] = PACKAGES) -> Hypervisor:
    """Prepare this machine, and open it for an installation; HostUnreachable says what keeps it from being a host.

    `packages` are Debian packages needed besides the host's own, and besides those for Ceph.
    """
    needed = (*packages, *CEPH_PACKAGES) if wish.ceph else packages
    try:
        prepared = prepare_host(lambda words: log.info("preparing", step=words), packages=needed)
    except Unavailable as failure:
        raise HostUnreachable(f"the host cannot be made ready: {failure.message}") from failure
    from cumulet.hypervisor.libvirt import open_host  # noqa: PLC0415 - libvirt may have been installed just now

    return open_host(
        "qemu:///system",
        installation=wish.installation,
        state_dir=wish.state_dir,
        pools=wish.pools,
        shared=wish.shared,
        ceph=wish.ceph,
        kvm_works=prepared.kvm.works,
        userspace_datapath=prepared.datapath == "netdev",
    )


if __name__ == "__main__":
    main()
