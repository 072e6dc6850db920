"""Numbers of things, as sentences have them."""

from cumulet.plurals import plural


def test_one_thing_is_one_and_all_others_are_several():
    assert [plural(number, "vCPU") for number in (0, 1, 2, 1000)] == [
        "0 vCPUs",
        "1 vCPU",
        "2 vCPUs",
        "1,000 vCPUs",
    ]
    assert plural(3, "VM is", "VMs are") == "3 VMs are"
