"""What is no id, no whole number and no size is refused by one rule each, whichever command is given it."""

import itertools

import pytest
from cyclopts import Token

from cumulet.cli import app
from cumulet.cli.words import check_id, instant, refuse_empty, whole_gib, whole_number

NO_IDS = {
    "api": {"method", "path", "body"},
    "helper": {"user"},
    "host add": {"destination"},
    "image build": {"ids"},
    "image import": {"id", "source"},
    "image remove": {"id"},
    "image alias": {"id", "aliases"},
    "network create": {"range"},
    "private-image update": {"description"},
    "project limit": {"amount"},
    "quota set": {"limit"},
    "search": {"text"},
    "security-group revoke": {"rule-ids"},
    "user accept": {"code"},
    "vm metadata": {"labels"},
    "vm ssh": {"words"},
    "webhook create": {"url"},
}
"""Words of other kinds, and those of the operator's own files, which the images look at themselves."""


def commands(parent=app, path=()):
    """Every command with its parameters."""
    for name in parent:
        if name.startswith("-"):
            continue
        child = parent[name]
        if child.default_command:
            yield " ".join((*path, name)), child.assemble_argument_collection()
        yield from commands(child, (*path, name))


def plain_name(argument):
    return argument.field_info.name.strip("_").replace("_", "-")


def test_all_ids_are_looked_at_before_anything_is_called():
    unchecked = {
        (command, plain_name(argument))
        for command, arguments in commands()
        for argument in arguments
        if argument.hint is str and (argument.field_info.is_positional or plain_name(argument) == "project")
        if check_id not in (argument.parameter.validator or ())
    }
    expected = {(command, name) for command, names in NO_IDS.items() for name in names}
    assert unchecked - expected == set()


def test_all_numbers_are_read_by_our_own_rules():
    read = {
        (command, plain_name(argument)): argument.parameter.converter
        for command, arguments in commands()
        for argument in arguments
        if argument.hint is int
    }
    assert len(read) >= 8
    assert {found for found, converter in read.items() if converter not in {whole_number, whole_gib}} == set()


@pytest.mark.parametrize("id", ["", ".", ".."])
@pytest.mark.parametrize(
    "words",
    [
        ("vm", "get", "{}"),
        ("vm", "create", "{}"),
        ("vm", "delete", "web", "{}"),
        ("vm", "ssh", "{}"),
        ("vm", "list", "--project", "{}"),
        ("vm", "attach-security-group", "web", "{}"),
        ("disk", "attach", "data", "{}"),
        ("disk", "snapshot", "delete", "data", "{}"),
        ("network", "delete", "{}"),
        ("security-group", "rules", "{}"),
        ("private-image", "create", "{}", "golden"),
        ("ssh-key", "delete", "{}"),
    ],
)
def test_what_is_no_id_is_not_asked_for(command, words, id):
    done = command(*(word.format(id) for word in words))
    assert done.code == 2  # a call would have ended with 1: nobody answers
    assert any(words in done.err for words in ("NAME is required", "Not an id.", "--project: ''"))


@pytest.mark.parametrize(
    "words",
    [
        ("security-group", "allow", "guard", "--allow", "tcp:22", "--from", ""),
        ("security-group", "allow", "guard", "--allow", "tcp:22", "--from="),
        ("vm", "create", "x", "--nic", ""),
        ("vm", "create", "x", "--ttl", "", "--wait"),
        ("vm", "move", "x", "--to", ""),
        ("vm", "list", "-l", ""),
        ("key", "create", "--expires", ""),
        ("network", "create", "x", "10.1.0.0/24", "--data-center", ""),
    ],
)
def test_an_option_that_is_given_an_empty_word_is_not_taken_for_left_out(command, words):
    done = command(*words)
    assert done.code == 2
    option = next(
        word.partition("=")[0] for word in reversed(words) if word.startswith("-") and word != "--wait"
    )
    assert f"{option}: '" in done.err
    assert "is not accepted" in done.err


@pytest.mark.parametrize(
    "words",
    [
        ("private-image", "create", "web", "golden", "--description", ""),
        ("vm", "create", "x", "--metadata", "a=", "--start-script", "a= ls"),
        ("vm", "ssh", "-o", "", "web"),
        ("api", "POST", "/v1/projects", ""),
    ],
)
def test_words_that_may_be_empty_are_passed_on(words):
    refuse_empty(words)


@pytest.mark.parametrize("id", ["a/b", "?x=1", "#", "%2e%2e", "a b", "..."])
def test_an_id_stays_one_part_of_its_path(cumulet, id):
    done = cumulet("vm", "get", id)
    assert (done.code, f"there is no VM '{id}'" in done.err) == (3, True)


@pytest.mark.parametrize(
    ("given", "gib"), [("3", 3), ("3G", 3), ("3GiB", 3), ("3gib", 3), ("2T", 2048), ("2TiB", 2048), ("03", 3)]
)
def test_a_size_is_told_with_its_unit_or_without(cumulet, given, gib):
    answer = cumulet(
        *("vm", "create", "sized", "--image", "micro", "--validate-only", "-o", "json", "--disk", given)
    )
    assert answer.json["bootDiskSizeGib"] == gib


@pytest.mark.parametrize(
    ("words", "given"),
    [
        *itertools.product(
            [
                ("vm", "create", "x", "--disk"),
                ("vm", "create", "x", "--memory"),
                ("vm", "resize", "x", "--disk"),
            ],
            ["2.5", "0x10", "10_0", "2GB", "2M", "-1", "1e3", "٢", "2 G", "9" * 10],
        ),
        (("disk", "create", "x"), "2.5"),
        (("disk", "resize", "x"), "2MB"),
    ],
)
def test_what_is_no_size_is_refused_with_what_is_accepted(command, words, given):
    done = command(*words, given)
    assert done.code == 2
    option = words[-1] if words[-1].startswith("--") else "SIZE"
    assert f"{option}: '{given}' is not accepted; expected whole GiB or TiB, such as 20" in done.err


@pytest.mark.parametrize("given", ["2.5", "0x10", "1_0", "2G", "-1"])
@pytest.mark.parametrize(
    "words", [("vm", "create", "x", "--vcpus"), ("vm", "reach", "x", "--from", "10.0.0.1", "--port")]
)
def test_what_is_no_whole_number_is_refused(command, words, given):
    done = command(*words, given)
    assert done.code == 2
    assert f"{words[-1]}: '{given}' is not accepted; expected a whole number" in done.err


@pytest.mark.parametrize(
    "given", ["2030-01-02", "2030-01-02T03:04", "2030-01-02 03:04:05", "2030-01-02T03:04:05Z"]
)
def test_an_instant_carries_its_zone(given):
    assert instant(None, [Token(value=given)]).tzinfo
