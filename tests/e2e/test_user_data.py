"""Start scripts as people paste them, in a micro guest; with a Debian: test_debian.py."""

import pytest
from tests.waiting import eventually

pytestmark = pytest.mark.lab

WINDOWS_SCRIPT = "\ufeffecho one 🙂 >>/root/ran\r\nexit 4\r\n"


def test_a_script_of_windows_runs_in_a_micro_whose_owner_has_a_smile_in_their_key(cloud):
    vm = cloud.create("smiling", customSshKeys=[f"{cloud.key.public} 🙂"], startScript=WINDOWS_SCRIPT)
    eventually(lambda: vm.shown()["guest"]["firstBootDone"])
    assert vm.shown()["guest"]["startScriptStatus"] == 4
    vm.wait_for_ssh()
    assert vm.output_of("cat /root/ran") == "one 🙂\n"
    assert vm.output_of("cat /root/.ssh/authorized_keys") == f"{cloud.key.public} 🙂\n"
    vm.verb("terminate")
    eventually(vm.gone)
