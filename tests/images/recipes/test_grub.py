import struct

from cumulet.images.recipes.grub import patched_for_bios


def test_the_first_sector_finds_the_core_and_the_core_its_rest():
    boot, core = bytes(range(256)) * 2, bytes(1300)
    boot_code, core_code = patched_for_bios(boot, core, core_start=1 << 20)
    assert len(boot_code) == 440, "what follows on the disk is its partition table"
    assert struct.unpack_from("<Q", boot_code, 0x5C) == (2048,)
    assert boot_code[0x66:0x68] == b"\x90\x90"
    assert struct.unpack_from("<QHH", core_code, 500) == (2049, 2, 0x820)
    assert len(core_code) == len(core)
