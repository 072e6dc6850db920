import email
import json
import re
import subprocess
from dataclasses import replace
from uuid import UUID

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.seeds import parts_read, read_seed

from cumulet.hypervisor import Seed
from cumulet.hypervisor.libvirt.nocloud import (
    LAST_SCRIPT,
    first_boot_script,
    meta_data,
    seed_image,
    user_data,
)
from cumulet.images.recipes import RECIPES

KEYS = ("ssh-ed25519 AAAAC3Nza first", "ssh-rsa AAAAB3Nza second")
SEED = Seed(
    vm_id=UUID(int=1),
    instance_id="i-1",
    hostname="hello",
    ssh_keys=KEYS,
    password_hash="",
    start_script="",
)


def cloud_config_of(seed):
    parts = parts_read(read_seed(seed_image(seed))[1]["user-data"])
    (text,) = (text for part, text in parts if part.get_content_type() == "text/cloud-config")
    assert text.startswith("#cloud-config\n")
    return yaml.safe_load(text)


def test_a_seed_says_who_the_guest_is():
    label, files = read_seed(seed_image(SEED))
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
        assert read_seed(seed_image(replace(full, **change))) != read_seed(seed_image(full))


@pytest.fixture
def first_boot(tmp_path):
    """Runs a first boot whose paths are in a scratch folder."""

    def run(start_script):
        script = re.sub(
            r"/var/lib|/var/log|/dev/console|/root",
            str(tmp_path) + r"\g<0>",
            first_boot_script(start_script.encode()),
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


TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@settings(deadline=None)
@given(TEXT, TEXT)
def test_what_a_guest_reads_is_what_was_given_whatever_characters_are_in_it(name, comment):
    seed = replace(SEED, hostname=name, ssh_keys=(f"ssh-ed25519 AAAA {comment}",))
    (config, _) = (text for _, text in parts_read(user_data(seed)))
    assert (
        yaml.safe_load(meta_data(seed))["local-hostname"]
        == json.loads(meta_data(seed))["local-hostname"]
        == name
    )
    assert yaml.safe_load(config)["users"][0]["ssh_authorized_keys"] == list(seed.ssh_keys)


@pytest.mark.parametrize(
    "character", [chr(code) for code in (*range(0x100), 0x2028, 0x2029, 0xFEFF, 0xFFFE, 0xFFFF, 0x1F642)]
)
def test_no_character_is_read_as_another_or_as_the_end_of_a_line(character):
    seed = replace(SEED, hostname=f"a{character}b")
    assert yaml.safe_load(meta_data(seed))["local-hostname"] == seed.hostname


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["C", "Z"])))
def test_a_micro_finds_the_keys_that_cloud_init_finds(comment):
    keys = (
        f"ssh-ed25519 AAAA {comment}".strip(),
        'sk-ssh-ed25519@openssh.com AAAA a \'b\' "c" \\ \\\\ \\" /🙂',
    )
    (config, _) = (text for _, text in parts_read(user_data(replace(SEED, ssh_keys=keys))))
    assert keys_found(config) == list(keys)


@pytest.mark.parametrize("form", ["- {}", "      -   {}", "  - '{}'", '  - "{}"', '["ssh-rsa BBBB x", "{}"]'])
def test_a_micro_finds_keys_in_any_form_of_yaml(form):
    assert keys_found(f"#cloud-config\nkeys:\n{form.format(KEYS[0])}\n")[-1] == KEYS[0]


def keys_found(cloud_config):
    program = RECIPES["micro"].folder / "rootfs/usr/lib/cumulet/find-keys.awk"
    found = subprocess.run(
        ("awk", "-f", program), input=cloud_config.encode(), capture_output=True, check=True
    )
    return found.stdout.decode().removesuffix("\n").split("\n")


def test_a_start_script_of_windows_runs_without_its_line_ends_and_byte_order_mark(first_boot):
    seed = replace(SEED, start_script="\ufeff#!/bin/sh\r\necho one\r\nexit 4\r\n")
    (_, (_, script)) = parts_read(user_data(seed))
    assert script == first_boot_script(b"#!/bin/sh\necho one\nexit 4\n")


CONFIG = "#cloud-config\nusers: [{name: ann}]\nbootcmd: [[echo, hi]]\ndisable_root: true\n"


def test_an_owners_cloud_config_stands_before_ours_which_joins_its_lists_and_leaves_its_word():
    owners, ours, last = parts_read(user_data(replace(SEED, start_script=CONFIG)))
    assert (owners[0].get_content_type(), owners[1]) == ("text/cloud-config", CONFIG)
    assert ours[0]["Merge-Type"] == "dict(no_replace,recurse_list)+list(append)+str()"
    assert yaml.safe_load(ours[1])["ssh_authorized_keys"] == list(KEYS)
    assert last[0].get_content_type() == "text/x-shellscript"
    assert last[0].get_filename() == LAST_SCRIPT
    assert "/run/cloud-init/result.json" in last[1]


def test_an_owners_message_comes_to_the_guest_part_by_part_in_its_own_bytes():
    message = email.message_from_string(
        'Content-Type: multipart/mixed; boundary="b"\nMIME-Version: 1.0\n\n'
        "--b\nContent-Type: text/cloud-config\nX-Merge-Type: list(append)\n\n#cloud-config\na: grüß\n"
        '--b\nContent-Type: text/x-shellscript\nContent-Disposition: attachment; filename="go"\n\n#!/bin/sh\necho\n--b--\n'
    ).as_string()
    config, script, *_ = parts_read(user_data(replace(SEED, start_script=message)))
    assert (config[0]["X-Merge-Type"], config[1]) == ("list(append)", "#cloud-config\na: grüß")
    assert (script[0].get_filename(), script[1]) == ("go", "#!/bin/sh\necho")


@pytest.mark.parametrize(
    ("result", "log", "status"),
    [
        ('{"v1": {"errors": []}}', "fine", "0\n"),
        ('{"v1": {"errors": [\n"x"]}}', "fine", "1\n"),
        ('{"v1": {"errors": []}}', "Failed at merging in cloud config part", "1\n"),
    ],
)
def test_the_end_of_a_first_boot_that_cloud_init_does_is_told_with_how_it_went(tmp_path, result, log, status):
    for file, content in (
        ("run/cloud-init/result.json", result),
        ("var/log/cloud-init.log", log),
        ("root/x", ""),
    ):
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).write_text(content)
    *_, (_, script) = parts_read(user_data(replace(SEED, start_script=CONFIG)))
    moved = re.sub(r"/var/lib|/var/log|/run|/root", str(tmp_path) + r"\g<0>", script)
    subprocess.run(("sh",), input=moved + "wait\n", text=True, check=True)
    assert (tmp_path / "var/lib/cumulet/start-script.status").read_text() == status
    assert (tmp_path / "var/lib/cumulet/first-boot.done").exists()
