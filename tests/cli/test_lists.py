"""Lists are read to their end, however many pages the API gives them in."""

import subprocess
import sys

import pytest

from cumulet.cli import client

PROJECT = "of-many"
MADE = (
    ("vm", "create", "first", "--image", "micro", "--wait"),
    ("vm", "create", "second", "--image", "micro", "--wait"),
    ("network", "create", "back", "10.1.0.0/24"),
    ("security-group", "create", "door"),
    ("security-group", "create", "gate"),
    ("vm", "stop", "first", "--wait"),
    ("disk", "snapshot", "create", "first-boot", "one", "--wait"),
    ("disk", "snapshot", "create", "first-boot", "two", "--wait"),
    ("private-image", "create", "first", "golden", "--wait"),
    ("private-image", "create", "first", "silver", "--wait"),
)
LISTS = {
    ("vm", "list"): {"first", "second"},
    ("disk", "list"): {"first-boot", "second-boot"},
    ("disk", "snapshot", "list", "first-boot"): {"one", "two"},
    ("network", "list"): {"back", "default-local"},
    ("security-group", "list"): {"door", "gate"},
    ("private-image", "list"): {"golden", "silver"},
    ("project", "list"): {"default", PROJECT},
}


@pytest.fixture(scope="module")
def made(settings, tmp_path_factory):
    """Two of everything, in a project of their own."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        api = client.connect()
        api.post("/v1/projects", body={"id": PROJECT})
        patch.setenv("CUMULET_PROJECT", PROJECT)
        for words in MADE:
            subprocess.run((sys.executable, "-m", "cumulet", *words), check=True)


@pytest.mark.parametrize("words", LISTS, ids=" ".join)
def test_a_list_of_many_pages_is_shown_whole(words, made, cumulet, monkeypatch):
    monkeypatch.setattr(client, "LARGEST_PAGE", 1)
    monkeypatch.setenv("CUMULET_PROJECT", PROJECT)
    told = cumulet(*words, "-o", "name").out.split()
    assert sorted(told) == sorted(LISTS[words])


def test_keys_of_many_pages_are_shown_whole(cumulet, public_key, monkeypatch):
    monkeypatch.setattr(client, "LARGEST_PAGE", 1)
    other = public_key.with_name("other.pub")
    subprocess.run(("ssh-keygen", "-q", "-N", "", "-f", other.with_suffix("")), check=True)
    added = {cumulet("ssh-key", "add", str(key), "-o", "name").out for key in (public_key, other)}
    assert added <= set(cumulet("ssh-key", "list", "-o", "name").out.splitlines(keepends=True))
    for id in added:
        cumulet("ssh-key", "delete", id.strip())


def test_what_one_has_is_found_by_a_part_of_its_name(cumulet):
    cumulet("vm", "create", "sought-after", "--image", "micro")
    kinds = [line.split()[0] for line in cumulet("search", "ought-aft", "--no-header").out.splitlines()]
    assert sorted(kinds) == ["disk", "virtualMachine"]
    assert "projects/default/vms/sought-after" in cumulet("search", "ought-aft", "-o", "name").out
