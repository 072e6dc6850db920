import subprocess
import sys

import pytest
from tests.cli.conftest import plain_environment


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("ls", "vm list"),
        ("ssh web", "vm ssh"),
        ("run web", "vm create"),
        ("ps", ""),
        ("instance list", "vm list"),
        ("instances ls", "vm list"),
        ("server create web", "vm create"),
        ("servers describe web", "vm get"),
        ("vms", "vm"),
        ("instance web", "vm"),
        ("help", "--help"),
        ("vm help", "vm --help"),
        ("version", "--version"),
        ("volume list", "disk list"),
        ("firewall create", "security-group create"),
        ("securitygroup list", "security-group list"),
        ("keypair list", "ssh-key list"),
        ("region list", "data-center list"),
        ("vm lisst", "vm list"),
        ("vm show web", "vm get"),
        ("vm describe web", "vm get"),
        ("vm destroy web", "vm delete"),
        ("vm poweroff web", "vm stop"),
        ("vm restart web", "vm reboot"),
        ("disk mount data", ""),
        ("disk snapshot destroy", "disk snapshot delete"),
        ("vm ''", ""),
    ],
)
def test_a_wrong_guess_is_told_the_right_command(command, words, meant):
    done = command(*words.replace("''", "").split(" "))
    assert (done.code, done.out) == (2, "")
    assert f"there is no command `cumulet {words.split()[0]}" in done.err
    assert (f"did you mean `cumulet {meant}`?" if meant else "; there are ") in done.err


def test_a_wrong_guess_does_not_load_what_it_has_no_need_of():
    code = "import sys; from cumulet.cli import run; run(['ls']); run(['vm', 'show']); print(*sys.modules)"
    argv = (sys.executable, "-c", code)
    loaded = subprocess.run(
        argv, env=plain_environment({}), capture_output=True, text=True, check=True
    ).stdout
    assert "cumulet.cli.vms" in loaded.split()
    assert not {"cumulet.cli.disks", "cumulet.images", "cumulet.doctor", "sqlalchemy"} & set(loaded.split())
