"""What the proof guest is told to do, and what is read of its report."""

import pytest

from cumulet.hypervisor import HypervisorError, Proof, SeenDma, SeenFunction
from cumulet.hypervisor.proof_guest import EDU, proof_script, read_proof

FIRST = "".join(f"config 0 {register} 0\r\n\n" for register in (24, 28, 32, 36))
REPORT = (
    f"config 0 0 50461002\r\n\nconfig 0 4 100006\r\n\nconfig 0 16 fd000008\r\n\nconfig 0 20 c001\r\n\n{FIRST}"
)


def test_each_function_is_looked_at_once_it_may_reach_memory():
    script = proof_script({0: "1002:5046"})
    assert script.index("outl 0xcf8 0x80010004\noutl 0xcfc 0x6") < script.index("echo config 0 4")
    assert "outl 0xcf8 0x80010110" in proof_script({0: "1002:5046", 1: "8086:2668"})
    assert script.endswith("echo end\nhalt\n")


def test_only_what_copies_at_our_word_is_told_to():
    assert "write_dword" not in proof_script({0: "10de:2330"})
    assert "write_dword" in proof_script({0: "1002:5046", 1: EDU})


def test_what_the_guest_found_is_read():
    whole = f"\x1b[H\x1b[J\x1b[1;1Hbegin\r\n{REPORT}dma inside 5a5a0001\r\n\ndma outside 0\r\n\nend\r\n"
    bars = (0xFD000008, 0xC001, 0, 0, 0, 0)
    assert read_proof(whole) == Proof(
        (SeenFunction("1002:5046", bars, masters_bus=True),), SeenDma(inside=True, outside=0)
    )
    assert read_proof(f"{REPORT}end\r\n").dma is None


def test_a_function_that_the_guest_does_not_find_is_told_as_such():
    registers = "".join(f"config 0 {register} ffffffff\n" for register in (0, 4, 16, 20, 24, 28, 32, 36))
    (function,) = read_proof(f"{registers}end\n").functions
    assert (function.pci_id, function.masters_bus) == ("ffff:ffff", False)


@pytest.mark.parametrize("report", ["", REPORT])
def test_a_guest_that_did_not_come_to_its_end_proves_nothing(report):
    with pytest.raises(HypervisorError, match=r"did not come to its end; it said: (nothing|config 0 0)"):
        read_proof(report)
