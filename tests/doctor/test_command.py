import pytest

from cumulet.doctor.command import CommandFailed, output_of, require_root, succeeds


def test_what_a_program_prints_is_returned():
    assert output_of("cat", stdin="words") == "words"


def test_a_failure_carries_the_command_and_its_last_words():
    with pytest.raises(CommandFailed, match=r"^sh -c 'echo why >&2; exit 3': why$"):
        output_of("sh", "-c", "echo why >&2; exit 3")


def test_a_silent_failure_has_at_least_its_code():
    with pytest.raises(CommandFailed, match="false: exit code 1"):
        output_of("false")


def test_a_missing_program_is_named():
    with pytest.raises(CommandFailed, match="no-such-program is not installed"):
        output_of("no-such-program", "--version")


def test_a_program_that_does_not_end_is_given_up():
    with pytest.raises(CommandFailed, match=r"not finished after 0\.1 s: sleep 60"):
        output_of("sleep", "60", seconds=0.1)


def test_who_is_not_root_is_told_so(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(CommandFailed, match="preparing a host needs root"):
        require_root("preparing a host")


def test_success_is_a_question():
    assert succeeds("true")
    assert not succeeds("false")
