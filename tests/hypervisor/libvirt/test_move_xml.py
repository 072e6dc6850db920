"""What the XML of a machine that has moved tells of its files."""

import os

import pytest

from cumulet.hypervisor.libvirt.move_xml import own_files

XML = """
<domain>
  <devices>
    <disk device='disk'><source file='/nas/boot.qcow2'/><backingStore><source file='/images/base'/></backingStore></disk>
    <disk device='cdrom'><source file='/host/seed.iso'/><readonly/></disk>
    <disk device='disk'><source protocol='rbd' name='vms/data'/></disk>
  </devices>
  <seclabel type='dynamic' model='apparmor' relabel='yes'><label>libvirt-1</label></seclabel>
  <seclabel type='dynamic' model='dac' relabel='{relabel}'><label>+64055:+106</label></seclabel>
</domain>
"""


@pytest.mark.parametrize(("relabel", "owned"), [("yes", [("/nas/boot.qcow2", 64055, 106)]), ("no", [])])
def test_a_machine_gets_the_files_that_it_writes_where_libvirt_sees_to_their_owners(
    monkeypatch, relabel, owned
):
    seen = []
    monkeypatch.setattr(os, "chown", lambda *words: seen.append(words))
    own_files(XML.format(relabel=relabel))
    assert seen == owned
