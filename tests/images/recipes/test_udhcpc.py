"""What a micro guest makes of DHCP: the script that udhcpc calls, for a card in a network namespace."""

import pytest
from tests.fabric.guests import Namespace, run

from cumulet.images.recipes import RECIPES

pytestmark = pytest.mark.lab

SCRIPT = RECIPES["micro"].folder / "rootfs/etc/udhcpc/default.script"
LEASED, OWN = "10.77.0.9/24", "fe80::77/64"


def test_a_card_without_a_lease_keeps_the_ipv6_addresses_that_the_guest_made_itself():
    guest = Namespace()
    guest.give(LEASED)
    guest.give(OWN)
    run("ip", "netns", "exec", guest.name, "env", "interface=eth0", "sh", SCRIPT, "deconfig")
    there = guest.ip("address", "show", "dev", "eth0")
    assert OWN in there
    assert LEASED not in there
    guest.remove()
