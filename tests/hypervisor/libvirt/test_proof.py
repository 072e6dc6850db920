"""The disk that the proof guest starts from."""

import pytest

from cumulet.hypervisor import HypervisorError
from cumulet.hypervisor.libvirt.proof import write_disk


def test_a_host_without_grub_is_told_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HypervisorError, match="install grub-common and grub-pc-bin"):
        write_disk(tmp_path / "disk", "halt\n")
