import libvirt
import pytest

from cumulet.hypervisor import OffReason
from cumulet.hypervisor.libvirt.domain_xml import Mark
from cumulet.hypervisor.libvirt.domains import off_reason

OFF = libvirt.VIR_DOMAIN_SHUTOFF
NEVER_RAN = Mark("digest", "tcg kernel", started=0)
RAN = Mark("digest", "tcg kernel", started=77)


@pytest.mark.parametrize(
    ("state", "reason", "mark", "expected"),
    [
        (OFF, libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN, RAN, OffReason.GUEST_SHUTDOWN),
        (OFF, libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED, RAN, OffReason.DESTROYED),
        (OFF, libvirt.VIR_DOMAIN_SHUTOFF_CRASHED, RAN, OffReason.CRASHED),
        (OFF, libvirt.VIR_DOMAIN_SHUTOFF_FAILED, RAN, OffReason.NONE),
        (OFF, libvirt.VIR_DOMAIN_SHUTOFF_DAEMON, RAN, OffReason.CRASHED),
        (libvirt.VIR_DOMAIN_CRASHED, libvirt.VIR_DOMAIN_CRASHED_PANICKED, RAN, OffReason.CRASHED),
        (OFF, libvirt.VIR_DOMAIN_SHUTOFF_UNKNOWN, RAN, OffReason.UNKNOWN),
        (OFF, libvirt.VIR_DOMAIN_SHUTOFF_UNKNOWN, NEVER_RAN, OffReason.NONE),
    ],
)
def test_why_a_machine_is_off(state, reason, mark, expected):
    assert off_reason(state, reason, mark) is expected
