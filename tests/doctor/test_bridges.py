from ipaddress import IPv4Interface

import pytest

from cumulet.doctor.bridges import (
    ensure_external_bridge,
    integration_command,
    plain,
    with_mapping,
    without_mapping,
)
from cumulet.errors import Invalid


def test_a_mapping_is_added_once_and_others_stay():
    assert with_mapping("", "br-ex") == "br-ex:br-ex"
    assert with_mapping("public:br-public", "br-ex") == "public:br-public,br-ex:br-ex"
    assert with_mapping("br-ex:br-ex,public:br-public", "br-ex") == "br-ex:br-ex,public:br-public"


def test_only_our_own_mapping_is_removed():
    assert without_mapping("public:br-ex,br-ex:br-ex", "br-ex") == "public:br-ex"
    assert without_mapping("", "br-ex") == ""


def test_the_operator_s_settings_for_ovn_are_not_replaced():
    command = " ".join(integration_command("netdev", "chassis-1"))
    assert "add Open_vSwitch . external_ids system-id=chassis-1" in command
    assert "set Open_vSwitch" not in command


@pytest.mark.parametrize("name", ["", "a-name-of-sixteen", "br ex", "br/ex", "-br", "Br"])
def test_a_name_that_the_kernel_or_nft_would_not_take_is_refused(name):
    with pytest.raises(Invalid, match="bridge"):
        ensure_external_bridge(name, IPv4Interface("203.0.113.1/24"), datapath="netdev")


def test_maps_of_ovsdb_become_dicts():
    assert plain(["map", [["a", "1"]]]) == {"a": "1"}
    assert plain("br-ex") == "br-ex"
    assert plain(["set", []]) == ["set", []]
