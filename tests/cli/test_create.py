import base64
import gzip
from datetime import UTC, datetime, timedelta

import pytest

from cumulet.cli import create
from cumulet.cli.create import CreateOptions, create_body

CATALOGUE = {
    "/v1/vms/data-centers": {"dataCenters": [{"id": "here"}]},
    "/v1/vms/machine-types-2": {
        "machineTypes": [
            {"dataCenterId": "elsewhere", "machineType": "large", "gpuModelId": "", "gpuModel": ""},
            {"dataCenterId": "here", "machineType": "fast", "gpuModelId": "nvidia-l4", "gpuModel": "L4"},
            {"dataCenterId": "here", "machineType": "standard", "gpuModelId": "", "gpuModel": ""},
            {
                "dataCenterId": "here",
                "machineType": "faster",
                "gpuModelId": "nvidia-h100",
                "gpuModel": "H100",
            },
        ]
    },
}


class Catalogue:
    """As much of a client as choosing needs."""

    def __init__(self, **answers):
        self.answers = CATALOGUE | answers

    def get(self, path):
        return self.answers[path]


def body(catalogue: Catalogue | None = None, **wishes):
    return create_body(catalogue or Catalogue(), "web", CreateOptions(**wishes))


def test_what_is_left_out_comes_from_the_catalogue():
    asked = body()
    assert (asked["vmId"], asked["dataCenterId"], asked["machineType"]) == ("web", "here", "standard")
    assert (asked["bootDiskImageId"], asked["bootDiskSizeGib"], asked["gpus"]) == ("debian-12", 10, 0)


def test_gpus_choose_the_machine_type_and_their_model_does(tmp_path):
    asked = body(gpus=2)
    assert (asked["machineType"], asked["gpus"]) == ("fast", 2)
    for model in ("H100", "nvidia-h100"):
        assert body(gpus=1, gpu_model=model)["machineType"] == "faster"
    assert body(gpus=1, machine_type="faster")["machineType"] == "faster"
    with pytest.raises(
        create.NotFound, match="no machine type with GPU model 'B200'; there are 'nvidia-h100', 'nvidia-l4'"
    ):
        body(gpus=1, gpu_model="B200")
    with pytest.raises(create.NotFound, match="no machine type with GPU model 'H100'"):
        body(gpus=1, gpu_model="H100", machine_type="fast")
    with pytest.raises(create.NotFound, match="no data center with such machine types 'elsewhere'"):
        body(gpus=1, data_center="elsewhere")


def test_the_boot_disk_has_the_storage_class_that_was_named_or_none():
    assert body(storage_class="network")["bootDisk"] == {"storageClass": "STORAGE_CLASS_NETWORK"}
    assert body()["bootDisk"] == {"storageClass": "STORAGE_CLASS_UNKNOWN"}


def test_where_there_is_a_choice_it_is_the_callers():
    two = {"dataCenters": [{"id": "here"}, {"id": "elsewhere"}]}
    with pytest.raises(create.Invalid, match="--data-center is required; there are here, elsewhere"):
        body(Catalogue(**{"/v1/vms/data-centers": two}))
    assert body(data_center="elsewhere")["machineType"] == "large"


def test_the_keys_of_ones_home_may_enter(public_key, home):
    (home / ".ssh/id_ed25519-cert.pub").write_text("ssh-ed25519-cert-v01@openssh.com AAAA\n")
    assert body()["customSshKeys"] == [public_key.read_text().strip()]
    assert body()["sshKeySource"] == "SSH_KEY_SOURCE_USER"


def test_no_key_of_ones_own_is_sent_when_none_is_wanted(public_key):
    asked = body(ssh_key_source="none")
    assert (asked["customSshKeys"], asked["sshKeySource"]) == ([], "SSH_KEY_SOURCE_NONE")


def test_named_keys_take_the_place_of_those_at_home(public_key, tmp_path):
    team = tmp_path / "team.pub"
    team.write_text("# the team\nssh-ed25519 AAAA ann\n\nssh-ed25519 BBBB bob\n")
    assert body(ssh_key=(team,))["customSshKeys"] == ["ssh-ed25519 AAAA ann", "ssh-ed25519 BBBB bob"]


def test_a_private_key_stays_where_it_is(public_key):
    with pytest.raises(create.Invalid, match="is a private key, and was not sent") as refused:
        body(ssh_key=(public_key.with_suffix(""),))
    assert public_key.with_suffix("").read_text().splitlines()[1] not in refused.value.message


def test_a_start_script_comes_from_a_file_or_from_a_word(tmp_path):
    script = tmp_path / "setup"
    script.write_text("apt-get update\n")
    assert body(start_script_file=script)["startScript"] == "apt-get update\n"
    assert body(start_script="true")["startScript"] == "true"
    with pytest.raises(create.Invalid, match="give only one"):
        body(start_script="true", start_script_file=script)


def test_user_data_that_is_no_text_is_told_in_base64(tmp_path):
    packed = tmp_path / "user-data.gz"
    packed.write_bytes(gzip.compress(b"#cloud-config\n"))
    asked = body(start_script_file=packed)["startScript"]
    assert gzip.decompress(base64.b64decode(asked)) == b"#cloud-config\n"
    with pytest.raises(create.Invalid, match="--user-data: cannot read 'nowhere'"):
        body(start_script_file=create.Path("nowhere"))


def test_a_password_comes_from_a_file_or_stdin_but_never_from_a_word(cumulet, tmp_path):
    secret = tmp_path / "password"
    secret.write_text("Pa55word!\n")
    assert body(password_file=secret)["password"] == "Pa55word!"
    assert cumulet("vm", "create", "x", "--password", "Pa55word!").code == 2
    words = ("vm", "create", "secret", "--validate-only", "--password-stdin")
    assert cumulet(*words, stdin="Pa55word!\n").code == 0
    refused = cumulet(*words, stdin="tooweak\n")
    assert refused.code == 2
    assert "tooweak" not in refused.err


def test_a_file_that_cannot_be_read_is_named():
    with pytest.raises(create.Invalid, match="--password-file: cannot read 'nowhere': No such file"):
        body(password_file=create.Path("nowhere"))


def test_labels_topology_and_time_to_live_are_read_from_words():
    asked = body(metadata=("team=blue", "note=a=b"), topology="1x2x1", ttl="1h30m")
    assert asked["metadata"] == {"team": "blue", "note": "a=b"}
    assert asked["topology"] == {"sockets": 1, "cores": 2, "threads": 1}
    assert asked["ttl"] == "5400s"


def test_room_is_waited_for_until_a_deadline_or_not():
    assert (body()["queue"], body()["queueDeadline"]) == (False, None)
    asked = body(queue=True, deadline="2h")
    left = datetime.fromisoformat(asked["queueDeadline"]) - datetime.now(UTC)
    assert timedelta(minutes=119) < left <= timedelta(hours=2)
    assert body(queue=True)["queueDeadline"] is None
    with pytest.raises(create.Invalid, match="--deadline: only with --queue"):
        body(deadline="2h")
