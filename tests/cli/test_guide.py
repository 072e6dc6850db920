"""What the guides tell people to type is there to be typed."""

import re
from pathlib import Path

import pytest

from cumulet.__main__ import app

GUIDES = sorted((Path(__file__).parents[2] / "docs/guide").glob("*.md"))


def commands(guide):
    """What stands after a prompt in its console blocks, and between backticks, of our own commands."""
    text = guide.read_text()
    blocks = re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    typed = [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]
    return [line for line in typed if line.startswith("cumulet ")]


def mentioned(guide):
    """Commands of ours that are only named between backticks."""
    return re.findall(r"`(cumulet [a-z -]+)`", guide.read_text())


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.name)
def test_each_command_is_there_and_takes_these_words(guide):
    assert commands(guide)
    for line in commands(guide):
        app.parse_args(line.split()[1:], exit_on_error=False, print_error=False)


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.name)
def test_each_command_that_is_named_is_there(guide):
    for line in mentioned(guide):
        chain, _, unused = app.parse_commands(line.split()[1:])
        assert (chain, unused) == (tuple(line.split()[1:]), []), line


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.name)
def test_it_leads_only_to_what_is_there(guide):
    links = re.findall(r"\]\(([^)#:]+)\)", guide.read_text())
    assert [link for link in links if not (guide.parent / link).exists()] == []
