"""What the tests of many hosts stand on."""

import subprocess

import pytest
from tests.waiting import eventually

pytestmark = pytest.mark.lab


def test_each_machine_is_one_of_its_own_and_answers_ssh(ground):
    for machine in ground.machines:
        told = subprocess.run(
            ground.ssh(machine, "hostname; cat /proc/sys/kernel/random/boot_id; ls /root/.ssh"),
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert told.stdout.split()[0] == machine.name
        assert told.stdout.split()[2:] == ["authorized_keys"]
    boots = {machine.run("cat", "/proc/sys/kernel/random/boot_id") for machine in ground.machines}
    assert len(boots) == len(ground.machines)


def test_a_machine_is_cut_off_by_its_line_and_back_when_it_is_mended(ground):
    one, two, _ = ground.machines

    def is_reached():
        ping = one.inside("ping", "-c1", "-W1", two.address)
        return subprocess.run(ping, capture_output=True, check=False).returncode == 0

    eventually(is_reached)
    two.cut()
    assert not is_reached()
    two.mend()
    eventually(is_reached)  # the kernel sees to a cable a moment after it is plugged in


def test_a_machine_that_was_switched_off_is_another_when_it_is_on_again(ground):
    machine = ground.machines[2]
    machine.run("touch", "/var/lib/cumulet/kept")
    boot_id = machine.run("cat", "/proc/sys/kernel/random/boot_id")
    machine.switch_off()
    assert not machine.processes("sshd")
    machine.switch_on()
    assert machine.run("cat", "/proc/sys/kernel/random/boot_id") != boot_id
    machine.run("ls", "/var/lib/cumulet/kept")
