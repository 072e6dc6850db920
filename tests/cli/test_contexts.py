import os
from pathlib import Path

import pytest
from tests.cli.test_completion import complete  # noqa: F401 - a fixture

from cumulet.cli.config import Config, Context, chosen, config_file, find_context, read_config, write_config
from cumulet.errors import Invalid, NotFound

KEY = "cumulet_" + "s3cret" * 6
PROD = Context(url="https://prod.example", key="prods", project="shop")
MINE = Context(url="http://127.0.0.1:9000", key="mine", project="blue")


@pytest.fixture
def two(home):
    """Two contexts; gives what commands read."""
    write_config(Config(current="mine", contexts={"mine": MINE, "prod": PROD}))


def test_the_current_context_is_meant_unless_something_else_is_named(two, monkeypatch):
    assert find_context() == MINE
    monkeypatch.setenv("CUMULET_CONTEXT", "prod")
    assert find_context() == PROD
    with chosen("mine"):
        assert find_context() == MINE


def test_the_flag_outranks_a_url_of_the_environment(two, monkeypatch):
    monkeypatch.setenv("CUMULET_URL", "https://elsewhere.example")
    with chosen("prod"):
        assert find_context() == PROD


@pytest.mark.parametrize(
    ("named", "meant"),
    [
        ({"CUMULET_URL": "https://elsewhere.example"}, ("https://elsewhere.example", "")),
        ({"CUMULET_API_KEY": "other"}, ("http://127.0.0.1:8480", "other")),
    ],
)
def test_a_key_of_a_context_goes_nowhere_that_the_environment_names_nor_the_other_way_round(
    two, monkeypatch, named, meant
):
    for name, value in named.items():
        monkeypatch.setenv(name, value)
    found = find_context()
    assert (found.url, found.key) == meant


@pytest.mark.parametrize("name", ["CUMULET_URL", "CUMULET_API_KEY"])
def test_an_environment_that_names_two_clouds_is_refused(two, monkeypatch, name):
    monkeypatch.setenv("CUMULET_CONTEXT", "prod")
    monkeypatch.setenv(name, "http://127.0.0.1:1")
    with pytest.raises(Invalid, match=f"CUMULET_CONTEXT and {name}"):
        find_context()


def test_a_context_that_is_not_there_is_refused_with_those_that_are(two):
    with chosen("prdo"), pytest.raises(NotFound, match="'prod'"):
        find_context()


def test_contexts_are_kept_for_their_owner_alone(command):
    made = command("context", "create", "prod", "--url", PROD.url, "--project", "shop", stdin=f"{KEY}\n")
    assert made.code == 0, made.err
    assert config_file().stat().st_mode & 0o777 == 0o600
    assert config_file().parent.stat().st_mode & 0o777 == 0o700
    assert read_config().contexts["prod"] == Context(url=PROD.url, key=KEY, project="shop")
    listed = [command("context", "list", "-o", form).out for form in ("table", "json", "yaml", "name")]
    assert "prod" in listed[0]
    assert KEY not in "".join(listed)


def test_a_file_that_others_can_open_is_not_used(two):
    config_file().chmod(0o640)
    with pytest.raises(Invalid, match="chmod 600"):
        find_context()


@pytest.mark.parametrize("text", ["current = 1", "[contexts.x]\nurl = 'a'\nkei = 'b'", "this is no toml"])
def test_a_file_that_is_not_as_it_should_be_is_named(two, text):
    config_file().write_text(text)
    with pytest.raises(Invalid, match=r"config\.toml"):
        find_context()


def test_contexts_are_used_and_removed(two, command):
    assert command("context", "use", "prod").code == 0
    assert read_config().current == "prod"
    assert command("context", "remove", "prod").code == 0
    assert read_config() == Config(current="", contexts={"mine": MINE})
    assert command("context", "use", "prod").code == 3
    assert command("context", "remove", "prod").code == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("mine", "--url", "http://x"), "there is a context 'mine' already"),
        (("a/b", "--url", "http://x"), "NAME: 'a/b'"),
        (("new", "--url", "localhost:80"), "--url: 'localhost:80'"),
        (("new", "--url", "https://x", "--ca", "/nowhere"), "--ca: cannot read"),
    ],
)
def test_a_context_that_cannot_be_is_refused_and_nothing_kept(two, command, words, said):
    refused = command("context", "create", *words, stdin=f"{KEY}\n")
    assert refused.code != 0
    assert said in refused.err
    assert KEY not in refused.err
    assert read_config().contexts == {"mine": MINE, "prod": PROD}


@pytest.mark.parametrize("given", ["", "\n", "top secret\n"])
def test_a_key_that_is_none_is_refused_without_being_shown(command, given):
    refused = command("context", "create", "new", "--url", "http://x", stdin=given)
    assert refused.code != 0
    assert "API key" in refused.err
    assert "top" not in refused.err
    assert not config_file().exists()


@pytest.fixture
def server(settings, home, command, monkeypatch):
    """A context of the shared server, `here`, for somebody who names no server otherwise; gives its URL and its key."""
    url = f"http://{settings['CUMULET_LISTEN']}"
    key = Path(settings["CUMULET_DATA_DIR"], "admin.key").read_text().strip()
    monkeypatch.setenv("CUMULET_DATA_DIR", str(home / "nothing"))
    write_config(Config(contexts={"here": Context(url=url, key=key)}))
    return url, key


def test_commands_go_where_the_flag_the_environment_and_the_current_context_lead(
    server, command, monkeypatch
):
    assert command("vm", "list").code == 1, "nothing is named, and this machine has no server"
    assert command("vm", "list", "--context", "here").code == 0
    assert command("--context", "here", "vm", "list").code == 0
    assert command("vm", "list").code == 1, "the flag counts for one command"
    command("context", "use", "here")
    assert command("vm", "list").code == 0
    assert command("vm", "list", "--context", "nowhere").code == 3


def test_a_project_is_named_by_flag_environment_context_and_else_default(server, command, monkeypatch):
    url, key = server
    write_config(Config(current="here", contexts={"here": Context(url=url, key=key, project="of-context")}))
    assert "'of-context'" in command("vm", "list").err
    assert "'of-context'" in command("vm", "list", "--context", "here").err
    assert command("vm", "list", "--project", "default", "--context", "here").code == 0
    monkeypatch.setenv("CUMULET_PROJECT", "of-environment")
    assert "'of-environment'" in command("vm", "list").err
    assert "'of-context'" in command("vm", "list", "--context", "here").err, (
        "the flag means all of the context"
    )


def test_words_for_ssh_are_no_flags_of_ours(server, command):
    assert "here" not in command("vm", "ssh", "web", "cat", "--context", "here").err


@pytest.mark.slow
def test_the_names_of_contexts_are_completed_and_those_in_them(server, complete):  # noqa: F811 - the fixture
    home = {
        "HOME": os.environ["HOME"],
        "CUMULET_DATA_DIR": os.environ["CUMULET_DATA_DIR"],
        "CUMULET_LISTEN": "",
    }
    assert complete("context", "use", "he", **home) == ["here"]
    assert complete("vm", "list", "--context", "he", **home) == ["here"]
    assert complete("vm", "list", "--context", "here", "--project", "def", **home) == ["default"]


CUDO = """
configVersion: v0
current-context: second
contexts:
  - {name: first, key: a}
  - {name: second, key: b, project: shop}
keys:
  - {name: a, key: one}
  - {name: b, key: two}
"""


def test_contexts_of_a_cudo_file_are_taken_over_and_it_stays_as_it_is(command, home):
    file = home / ".config/cudo/cudo.yml"
    file.parent.mkdir(parents=True)
    file.write_text(CUDO)
    assert command("context", "import", "--url", "http://x").out == "first\nsecond\n"
    first, second = Context(url="http://x", key="one"), Context(url="http://x", key="two", project="shop")
    assert read_config() == Config(current="second", contexts={"first": first, "second": second})
    assert file.read_text() == CUDO


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("configVersion: v1\ncontexts: []\nkeys: []", "expected v0"),
        (
            "configVersion: v0\ncontexts: [{name: a, key: b}]\nkeys: []",
            "the context 'a' has a key that is not there",
        ),
        ("[]", "no cudo.yml"),
    ],
)
def test_a_cudo_file_that_is_none_is_refused(command, home, text, said):
    (home / "cudo.yml").write_text(text)
    refused = command("context", "import", str(home / "cudo.yml"), "--url", "http://x")
    assert refused.code != 0
    assert said in refused.err
