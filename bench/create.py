"""What the hypervisor layer adds to QEMU's own start: our verbs beside `qemu-img create` and `virsh create`.

Run it on a private host, after the image was built: tests/lab/enter .venv/bin/python bench/create.py [RUNS]
Both ways start the same machine from the same image, in turns; the figures are medians of milliseconds.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from uuid import uuid4

from cumulet.doctor.prepare import PreparedHost, prepare_host
from cumulet.hypervisor import BaseImage, DiskSpec, DomainSpec, NicSpec, Seed
from cumulet.hypervisor.libvirt.domain_xml import domain_xml
from cumulet.hypervisor.libvirt.host import LibvirtHypervisor
from cumulet.hypervisor.libvirt.layout import HostLayout
from cumulet.images import ImageStore

PROMISED_RATIO = 1.5

took: dict[str, list[float]] = defaultdict(list)


@contextmanager
def clock(name: str) -> Iterator[None]:
    """Note how long the block took."""
    began = time.perf_counter()
    yield
    took[name].append(time.perf_counter() - began)


def a_machine() -> DomainSpec:
    """A new machine with one NIC."""
    mac = "02:" + ":".join(f"{byte:02x}" for byte in os.urandom(5))
    return DomainSpec(
        id=uuid4(),
        name="bench",
        project="bench",
        vcpus=1,
        memory_mib=512,
        topology=None,
        boot_disk=uuid4(),
        nics=(NicSpec(uuid4(), mac, mtu=1442),),
    )


def a_seed(spec: DomainSpec) -> Seed:
    """A seed as small as they come."""
    return Seed(spec.id, str(spec.id), "bench", ssh_keys=(), password_hash="", start_script="true")


def start_ours(host: LibvirtHypervisor, image: BaseImage) -> None:
    """Start a machine by our verbs, and remove it."""
    spec = a_machine()
    with clock("ours"):
        with clock("  create_disk"):
            host.create_disk(DiskSpec(spec.boot_disk, image.size_gib + 1, image))
        with clock("  write_seed"):
            host.write_seed(a_seed(spec))
        with clock("  define"):
            host.define(spec)
        with clock("  start"):
            host.start(spec.id)
    host.undefine(spec.id)
    host.remove_disk(spec.boot_disk)
    host.remove_seed(spec.id)
    host.remove_console_log(spec.id)


def start_by_hand(host: LibvirtHypervisor, layout: HostLayout, image: BaseImage) -> None:
    """Start a machine of the same kind with the commands one would type, and remove it."""
    spec = a_machine()
    host.write_seed(a_seed(spec))
    xml = layout.root / "by-hand.xml"
    xml.write_text(domain_xml(spec, layout))
    disk = layout.disk(spec.boot_disk)
    base = ("-b", str(layout.image(image)), "-F", image.format)
    with clock("by hand"):
        run("qemu-img", "create", "-q", "-f", "qcow2", *base, str(disk), f"{image.size_gib + 1}G")
        run("virsh", "--quiet", "create", str(xml))
    run("virsh", "--quiet", "destroy", str(spec.id))
    disk.unlink()
    host.remove_seed(spec.id)
    host.remove_console_log(spec.id)


def run(*argv: str) -> None:
    """Run a command that must succeed."""
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)


def layout_of(prepared: PreparedHost) -> HostLayout:
    """A place for this run, in the private host's own directory."""
    root = Path(os.environ["LAB_DIR"]) / "bench"
    userspace = prepared.datapath == "netdev"
    layout = HostLayout("bench", root, kvm=prepared.kvm.works, userspace_datapath=userspace)
    layout.make_directories()
    return layout


def main() -> None:
    """Print the figures."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    layout = layout_of(prepare_host())
    host = LibvirtHypervisor("qemu:///system", layout)
    store = ImageStore(Path(os.environ.get("CUMULET_TEST_IMAGES", "/var/cache/cumulet-test/images")))
    found = store.find("micro")
    image = BaseImage(found.sha256, found.format, found.path, found.size_gib)
    while not host.ensure_image_copy(image).ready:
        time.sleep(0.1)
    for _ in range(runs + 1):
        start_ours(host, image)
        start_by_hand(host, layout, image)
    host.close()
    medians = {name: median(times[1:]) * 1000 for name, times in took.items()}  # the first run warms up
    for name in ("ours", "  create_disk", "  write_seed", "  define", "  start", "by hand"):
        print(f"{name:<14} {medians[name]:7.1f} ms")
    print(
        f"{'ratio':<14} {medians['ours'] / medians['by hand']:7.2f}     (promised: at most {PROMISED_RATIO})"
    )


if __name__ == "__main__":
    main()
