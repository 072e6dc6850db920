import email
import io
import json
import re
import subprocess
from dataclasses import replace
from uuid import UUID

import pytest
from pycdlib import PyCdlib

from cumulet.hypervisor import Seed
from cumulet.hypervisor.libvirt.seed import first_boot_script, seed_image

KEYS = ("ssh-ed25519 AAAAC3Nza first", "ssh-rsa AAAAB3Nza second")
SEED = Seed(
    vm_id=UUID(int=1),
    instance_id="i-1",
    hostname="hello",
    ssh_keys=KEYS,
    password_hash="",
    start_script="",
)


def read_iso(image):
    disk = PyCdlib()
    disk.open_fp(io.BytesIO(image))
    label = disk.pvd.volume_identifier.decode().strip()
    files = {}
    for name in ("meta-data", "user-data"):
        content = io.BytesIO()
        disk.get_file_from_iso_fp(content, rr_path=f"/{name}")
        files[name] = content.getvalue().decode()
    disk.close()
    return label, files


def cloud_config_of(seed):
    message = email.message_from_string(read_iso(seed_image(seed))[1]["user-data"])
    (part,) = (part for part in message.walk() if part.get_content_subtype() == "cloud-config")
    first, _, rest = part.get_payload().partition("\n")
    assert first == "#cloud-config"
    return json.loads(rest)


def test_a_seed_says_who_the_guest_is():
    label, files = read_iso(seed_image(SEED))
    assert label == "cidata"
    assert json.loads(files["meta-data"]) == {"instance-id": "i-1", "local-hostname": "hello"}


def test_keys_let_root_in():
    config = cloud_config_of(SEED)
    (root,) = config["users"]
    assert root["name"] == "root"
    assert root["ssh_authorized_keys"] == list(KEYS)
    assert config["disable_root"] is False


def test_without_a_password_none_is_accepted():
    config = cloud_config_of(SEED)
    assert config["ssh_pwauth"] is False
    assert config["users"][0]["lock_passwd"] is True
    assert "write_files" not in config


def test_a_password_opens_console_and_ssh():
    config = cloud_config_of(replace(SEED, password_hash="$6$salt$hash"))
    assert config["ssh_pwauth"] is True
    assert config["users"][0]["hashed_passwd"] == "$6$salt$hash"
    assert config["users"][0]["lock_passwd"] is False
    assert "PermitRootLogin yes" in config["write_files"][0]["content"]


def test_every_field_of_a_seed_is_told():
    full = replace(SEED, password_hash="$6$salt$hash", start_script="echo hi")
    for change in (
        {"instance_id": "i-2"},
        {"hostname": "other"},
        {"ssh_keys": ()},
        {"password_hash": ""},
        {"start_script": ""},
    ):
        assert read_iso(seed_image(replace(full, **change))) != read_iso(seed_image(full))


@pytest.fixture
def first_boot(tmp_path):
    """Runs a first boot whose paths are in a scratch folder."""

    def run(start_script):
        script = re.sub(
            r"/var/lib|/var/log|/dev/console|/root", str(tmp_path) + r"\g<0>", first_boot_script(start_script)
        )
        for folder in ("var/lib", "var/log", "dev", "root"):
            (tmp_path / folder).mkdir(parents=True)
        subprocess.run(("sh",), input=script, text=True, check=True, env={"PATH": "/usr/bin:/bin"})
        return tmp_path

    return run


def test_the_start_script_runs_in_bash_with_its_output_and_status_kept(first_boot):
    root = first_boot('echo "in ${BASH_VERSION:+bash} as $HOME"\n[[ yes ]] && exit 3')
    assert (root / "var/lib/cumulet/start-script.status").read_text() == "3\n"
    assert (root / "var/log/cumulet-start-script.log").read_text() == f"in bash as {root}/root\n"
    assert (root / "dev/console").read_text().endswith(f"in bash as {root}/root\n")
    assert (root / "var/lib/cumulet/first-boot.done").exists()


def test_a_start_script_with_a_shebang_chooses_its_own_interpreter(first_boot):
    root = first_boot("#!/usr/bin/env python3\nprint('naïve')")
    assert (root / "var/log/cumulet-start-script.log").read_text() == "naïve\n"


def test_a_start_script_that_leaves_a_process_behind_does_not_hold_up_the_boot(first_boot):
    root = first_boot("sleep 5 &\nexit 0")
    assert (root / "var/lib/cumulet/start-script.status").read_text() == "0\n"


def test_without_a_start_script_the_first_boot_just_ends(first_boot):
    root = first_boot("")
    assert (root / "var/lib/cumulet/first-boot.done").exists()
    assert not (root / "var/lib/cumulet/start-script.status").exists()
