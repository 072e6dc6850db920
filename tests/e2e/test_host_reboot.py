"""The power fails: nothing runs any more, nothing of /run is left, and one server is started again."""

import shutil
import subprocess
from pathlib import Path

import pytest
from tests.e2e.processes import found_below, kill_all, pids_of
from tests.e2e.real_cloud import RealCloud
from tests.waiting import eventually

pytestmark = pytest.mark.lab

VOLATILE = ("cumulet", "libvirt", "openvswitch", "ovn")
SUPERVISORS_REAPER = ("tini", "supervisor")


def lose_power(cloud: RealCloud) -> None:
    """End the server, every daemon and every guest at once, and forget what a reboot forgets."""
    cloud.kill()
    (reaper,) = pids_of(*SUPERVISORS_REAPER)
    dying = [reaper, *found_below(reaper)]
    kill_all(dying)
    eventually(lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in dying))
    for name in VOLATILE:
        shutil.rmtree(f"/run/{name}")
    subprocess.run(("nft", "flush", "ruleset"), check=True)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("0")


def test_after_a_power_failure_what_ran_runs_and_what_was_off_stays_off(cloud):
    lasting, resting = cloud.create("lasting-on"), cloud.create("resting")
    resting.wait_for_ssh().verb("stop")
    lasting.wait_for_ssh().output_of("echo kept >/root/kept && sync")
    resting.wait_for("STOPPED")
    lose_power(cloud)
    cloud.start()
    eventually(lambda: lasting.told("vm.crashed"))
    lasting.wait_for_ssh()
    assert lasting.output_of("cat /root/kept") == "kept\n"
    assert resting.shown()["state"] == "STOPPED"
    for vm in (lasting, resting):
        vm.verb("terminate")
        eventually(vm.gone)
