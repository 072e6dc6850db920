"""`cumulet gpu`, against a server whose hosts have made-up GPUs."""

import re

import pytest
from tests.cli.conftest import own_settings, serving
from tests.waiting import eventually

from cumulet.cli import client, gpus


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    settings = own_settings(tmp_path_factory.mktemp("gpus"))
    settings["CUMULET_HYPERVISOR"] = "memory:?hosts=2&gpus=4&gpu_model=H100 SXM"
    with serving(settings):
        yield settings


@pytest.fixture
def names(cumulet):
    """Those of all GPUs, once the hosts have been looked at and all are clean."""

    def look():
        found = cumulet("gpu", "list", "-o", "json").json
        free = [one["id"] for one in found if one["state"] == "FREE"]
        return free if len(free) == 8 else None

    return eventually(look)


def test_gpus_are_listed_by_host_with_model_state_and_node(cumulet, names):
    heading, *lines = cumulet("gpu", "list").out.splitlines()
    assert re.split("  +", heading) == ["NAME", "MODEL", "STATE", "VM", "NUMA", "WHY"]
    assert re.split("  +", lines[0]) == [names[0], "H100 SXM", "FREE", "0"]
    assert re.split("  +", lines[3])[3] == "1"
    assert names[0].startswith("memory-1:")


def test_wide_and_data_tell_more(cumulet, names):
    wide = cumulet("gpu", "list", "-o", "wide").out
    assert "vfio-pci" in wide
    assert "flr bus bridge" in wide
    assert cumulet("gpu", "list", "-o", "json").json[0]["modelName"] == "H100 SXM"
    assert f"id: {names[0]}" in cumulet("gpu", "list", "-o", "yaml").out.replace("'", "")


def test_those_of_one_host_are_listed_alone(cumulet, names):
    assert cumulet("gpu", "list", "--host", "memory-2", "-o", "name").out.split() == names[4:]
    assert cumulet("gpu", "list", "--host", "nowhere").code == 3
    assert cumulet("gpu", "list", "--host", "").code == 2


def test_all_pages_are_shown(cumulet, names, monkeypatch):
    monkeypatch.setattr(client, "LARGEST_PAGE", 3)
    assert cumulet("gpu", "list", "-o", "name").out.split() == names


def test_one_is_shown_with_all_that_is_known_of_it(cumulet, names):
    shown = cumulet("gpu", "get", names[0]).out
    for line in (
        r"model +made up H100 SXM",
        r"memory +80 GiB",
        r"state +FREE since ",
        r"BARs +16 MiB, 128 GiB, 32 MiB",
        r"switch +0000:01:00.0",
        r"resets by +flr bus bridge",
    ):
        assert re.search(f"^{line}", shown, re.MULTILINE), line
    assert cumulet("gpu", "get", names[0], "-o", "json").json["id"] == names[0]
    assert cumulet("gpu", "get", "nothing").code == 3


def test_partitions_are_written_by_number_with_how_many_they_join():
    found = [{"number": 0, "gpus": 8}, {"number": 3, "gpus": 2}]
    assert gpus.partitions({"partitions": found}) == "0(8) 3(2)"
    assert gpus.partitions({"partitions": []}) == ""


def test_a_gpu_is_cleaned_when_its_operator_wants_it(cumulet, names):
    assert cumulet("gpu", "clean", names[0]).out == ""
    done = cumulet("gpu", "clean", *names[:2], "--wait")
    assert (done.code, done.err.count("was cleaned after")) == (0, 2)
    assert re.search("^cleaned +20", cumulet("gpu", "get", names[0]).out, re.MULTILINE)
    assert cumulet("gpu", "clean", "nothing").code == 3


def test_what_a_guest_finds_of_one_is_shown(cumulet, names):
    done = cumulet("gpu", "prove", names[1])
    assert done.code == 0
    for line in (
        r"problem +none",
        rf"functions +{names[1].partition(':')[2]} found as c0de:",
        r"memory at +0xfe00",
    ):
        assert re.search(f"^{line}", done.out, re.MULTILINE), done.out
    assert cumulet("gpu", "prove", names[1], "-o", "json").json["problem"] == ""
    assert cumulet("gpu", "prove", "nothing").code == 3


def test_withdrawn_ones_are_marked_until_they_are_offered_again(cumulet, names):
    assert cumulet("gpu", "withdraw", *names[2:4]).code == 0
    lines = cumulet("gpu", "list").out.splitlines()[1:]
    assert [line.endswith("withdrawn") for line in lines] == [False, False, True, True, *[False] * 4]
    assert re.search("^why +withdrawn", cumulet("gpu", "get", names[2]).out, re.MULTILINE)
    assert cumulet("gpu", "offer", *names[2:4]).code == 0
    assert "withdrawn" not in cumulet("gpu", "list").out


def test_a_vm_is_created_with_gpus_shown_with_them_and_resized(cumulet, names):
    words = ("--image", "micro", "--gpus", "3", "--gpu-model", "H100 SXM", "--vcpus", "4", "--wait")
    assert "GPUs: 3 H100 SXM" in cumulet("vm", "create", "fast", *words).out
    (line,) = cumulet("vm", "list", "--columns", "name,gpus", "--no-header").out.splitlines()
    assert line.split(maxsplit=1) == ["fast", "3 H100 SXM"]
    types = cumulet("machine-type", "list", "--columns", "name,free-gpus,most-gpus").out.splitlines()
    assert [re.split("  +", line)[1:] for line in types] == [
        ["FREE GPUS", "MOST GPUS"],
        [],
        ["5 H100 SXM", "4"],
    ]
    done = cumulet("vm", "resize", "fast", "--gpus", "5", "--vcpus", "5", "--restart")
    assert (done.code, "gpus: 5 is not accepted; expected 1 to 4" in done.err) == (2, True)
    assert "GPUs: 4 H100 SXM" in cumulet("vm", "resize", "fast", "--gpus", "4", "--restart", "--wait").out
    assert cumulet("vm", "create", "more", *words, "--validate-only").code == 0
    assert cumulet("vm", "delete", "fast", "--wait").code == 0
