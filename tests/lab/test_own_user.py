"""A cloud whose server was root and is nobody from now on: a helper beside it does what needs root."""

import os
import pwd
import re
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e import world
from tests.e2e.looks import boot_id, look_over
from tests.e2e.real_cloud import RealCloud, Vm, built_images, lab_dir
from tests.waiting import eventually

import cumulet

pytestmark = [pytest.mark.lab, pytest.mark.guest]

IMAGES = "/v1/projects/default/images"
PYTHON = "/usr/bin/python3"
NOBODY = pwd.getpwnam("nobody")
AS_NOBODY = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--no-new-privs")


def readable(folder: Path) -> dict[str, str]:
    """The environment in which the system's own Python, as everybody may run it, finds Cumulet wherever this one is."""
    places = {"src": Path(cumulet.__file__).parents[1], "packages": Path(sysconfig.get_path("purelib"))}
    for name, place in tuple(places.items()):
        if not all(above.stat().st_mode & stat.S_IXOTH for above in place.parents):
            places[name] = folder / name
            places[name].mkdir()
            subprocess.run(("mount", "--bind", "-o", "ro", place, places[name]), check=True)
    return {"PYTHONPATH": ":".join(map(str, places.values())), "HOME": str(folder)}


class HelpedCloud(RealCloud):
    """A cloud whose server can become one that is not root."""

    helper: subprocess.Popen[bytes]

    def begin_to_help(self) -> None:
        """Start the helper, as root, and return when it listens."""
        place = self.folder / "run/helper.sock"
        place.unlink(missing_ok=True)
        self.settings["CUMULET_HYPERVISOR"] = f"unix:{place}"
        own = {"CUMULET_DATA_DIR": str(self.data_dir), **self.settings}
        with self.log.open("ab") as log:
            command = (sys.executable, "-m", "cumulet", "helper", "--user", "nobody")
            self.helper = subprocess.Popen(command, env=os.environ | own, stdout=log, stderr=log)
        eventually(place.exists)

    def become_nobody(self) -> None:
        """Have the next server be nobody."""
        self.command = (*AS_NOBODY, PYTHON, "-m", "cumulet", "serve")
        self.settings |= readable(self.folder)

    def shown_image(self, id: str) -> dict[str, str]:
        image: dict[str, str] = self.ask("GET", f"{IMAGES}/{id}")["image"]
        return image


@pytest.fixture(scope="module")
def as_root(outside) -> Iterator[HelpedCloud]:
    """Its server is root still."""
    cloud = HelpedCloud(lab_dir() / "own", built_images(), resolver=world.ADDRESS, port=8483)
    cloud.catalogue.write_text(cloud.catalogue.read_text().replace("198.19.0.0/18", "198.19.128.0/18"))
    cloud.start()
    yield cloud
    cloud.stop()
    cloud.api.close()


@pytest.fixture(scope="module")
def before(as_root) -> tuple[Vm, str]:
    """A VM from then, and which boot of its guest it was."""
    vm = as_root.create("before").wait_for_ssh()
    eventually(lambda: vm.shown()["guest"]["firstBootDone"])
    return vm, boot_id(vm)


@pytest.fixture(scope="module")
def cloud(as_root, before) -> Iterator[HelpedCloud]:
    """Its server is nobody now."""
    as_root.stop()
    as_root.begin_to_help()
    as_root.become_nobody()
    as_root.start()
    yield as_root
    as_root.helper.terminate()
    assert as_root.helper.wait(60) == 0


@pytest.fixture(scope="module")
def vm(cloud, before) -> Vm:
    return before[0]


def test_the_server_s_process_has_no_rights(cloud):
    status = Path(f"/proc/{cloud.process.pid}/status").read_text().splitlines()
    words = {name: rest.split() for name, _, rest in (line.partition(":") for line in status)}
    assert words["Uid"] == [str(NOBODY.pw_uid)] * 4
    assert [words[name] for name in ("CapPrm", "CapEff", "CapAmb")] == [["0" * 16]] * 3
    assert words["Groups"] == []
    assert words["NoNewPrivs"] == ["1"]


def test_a_guest_runs_on_and_tells_and_shows_and_answers_as_before(vm, before):
    assert boot_id(vm) == before[1]
    look_over(vm)


def test_an_image_is_taken_and_a_vm_made_of_it(cloud, vm):
    vm.output_of("echo own >/root/work; sync")
    cloud.ask("POST", IMAGES, params={"vmId": vm.name, "id": "taken"})
    eventually(lambda: cloud.shown_image("taken")["state"] == "READY")
    (file,) = (cloud.data_dir / "private-images").iterdir()
    assert file.stat().st_uid == NOBODY.pw_uid
    clone = cloud.create("clone", image="taken").wait_for_ssh()
    assert clone.output_of("cat /root/work") == "own\n"
    clone.verb("terminate")
    eventually(clone.gone)
    cloud.ask("DELETE", f"{IMAGES}/taken")
    eventually(lambda: not file.exists())


def test_a_helper_that_was_killed_is_asked_again_once_it_is_back(cloud, vm):
    cloud.helper.kill()
    cloud.helper.wait()
    vm.verb("stop")
    cloud.begin_to_help()
    vm.wait_for("STOPPED")


def test_nothing_was_denied_and_all_but_the_host_s_is_the_server_s(cloud, vm):
    vm.verb("terminate")
    eventually(vm.gone)
    assert "ermission denied" not in cloud.log.read_text()
    theirs = [path for path in cloud.data_dir.rglob("*") if path.lstat().st_uid != NOBODY.pw_uid]
    assert [path for path in theirs if path.relative_to(cloud.data_dir).parts[0] != "host"] == []
    assert {path.lstat().st_uid for path in (cloud.data_dir / "host").iterdir()} == {0}


WITH_ACCOUNTS_OF_ITS_OWN = 'cp -a /etc/. "$1" && mount --bind "$1" /etc && shift && exec sh -ec "$@"'
UP = """
"$0" -m cumulet up
"$0" -m cumulet up | grep -q "Cumulet is up"
ps -e -ww -o user:20=,args=
"$0" -m cumulet vm delete hello --wait
"$0" -m cumulet down
test ! -e /run/cumulet/host/helper.sock
"""


def test_up_makes_the_user_and_starts_the_server_as_it_with_a_helper_beside_it(outside):
    cloud = RealCloud(lab_dir() / "up", built_images(), resolver=world.ADDRESS, port=8484)
    cloud.catalogue.write_text(cloud.catalogue.read_text().replace("198.19.0.0/18", "198.19.192.0/18"))
    settings = {"CUMULET_DATA_DIR": str(cloud.data_dir), "CUMULET_CATALOGUE": str(cloud.catalogue)}
    own = settings | cloud.settings | readable(cloud.folder)
    (etc := cloud.folder / "etc").mkdir()
    words = ("unshare", "--mount", "sh", "-ec", WITH_ACCOUNTS_OF_ITS_OWN, "sh", etc, UP, PYTHON)
    done = subprocess.run(words, env=os.environ | own, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "runs as root" not in done.stdout
    runs = re.findall(rf"^(\w+) +{PYTHON} -m cumulet (serve|helper)", done.stdout, re.MULTILINE)
    assert {*runs} - {("nobody", "serve")} == {
        ("cumulet", "serve"),
        ("root", "helper"),
    }  # nobody's is the other cloud's
    assert done.stdout.endswith("the server is stopped\n")
    cloud.api.close()
