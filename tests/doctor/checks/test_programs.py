from cumulet.doctor.checks.programs import ask_version, judge_packages, judge_program, read_version
from cumulet.doctor.findings import Level


def test_versions_are_read_as_the_programs_print_them():
    assert (
        read_version("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)\nCopyright (c) 2003-2022")
        == "7.2.22"
    )
    assert read_version("/usr/sbin/libvirtd (libvirt) 9.0.0\n") == "9.0.0"
    assert read_version("ovs-vswitchd (Open vSwitch) 3.1.0\n") == "3.1.0"
    assert read_version("ovn-controller 23.03.1\nOpen vSwitch Library 3.1.1\n") == "23.03.1"
    assert read_version("custom build") == "of unknown version"


def test_a_program_that_is_not_there_has_no_version():
    assert ask_version("no-such-program") is None
    assert judge_program("QEMU", None, []).text == "not installed"


def test_a_program_is_broken_while_one_of_its_daemons_is_silent():
    finding = judge_program("OVN", "23.03.1", ["ovn-northd", "libvirtd"])
    assert (finding.level, finding.text) == (Level.BROKEN, "23.03.1, but ovn-northd not running")
    assert finding.cure
    assert judge_program("OVN", "23.03.1", ["libvirtd"]).level is Level.OK


def test_missing_packages_are_named():
    assert judge_packages([]).level is Level.OK
    assert judge_packages(["tini", "ethtool"]).text == "missing: tini ethtool"
