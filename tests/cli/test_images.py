import pytest
from tests.waiting import eventually

NOT_FOUND = 3


@pytest.fixture
def elsewhere(cumulet, settings, tmp_path, monkeypatch):
    """Run a command of somebody who has neither the server's data directory nor a key."""
    monkeypatch.delenv("CUMULET_LISTEN")
    monkeypatch.setenv("CUMULET_DATA_DIR", str(tmp_path / "nothing"))
    monkeypatch.setenv("CUMULET_URL", f"http://{settings['CUMULET_LISTEN']}")
    return cumulet


def test_images_are_listed_from_the_data_directory_though_no_server_runs(cumulet, monkeypatch):
    monkeypatch.setenv("CUMULET_LISTEN", "127.0.0.1:1")
    assert "micro" in cumulet("image", "list").out


def test_elsewhere_the_same_images_are_listed(cumulet, elsewhere, settings, monkeypatch):
    listed = elsewhere("image", "list")
    assert (listed.code, elsewhere("image", "ls", "-o", "name").out) == (0, "debian-12\nmicro\n")
    told = elsewhere("image", "list", "-o", "json").json
    monkeypatch.delenv("CUMULET_URL")
    monkeypatch.setenv("CUMULET_DATA_DIR", settings["CUMULET_DATA_DIR"])
    assert cumulet("image", "list").out == listed.out
    stored = cumulet("image", "list", "-o", "json").json
    assert [{key: image[key] for key in told[0]} for image in stored] == told


def test_where_no_server_is_that_is_said(command, tmp_path, monkeypatch):
    monkeypatch.setenv("CUMULET_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("CUMULET_LISTEN", "127.0.0.1:1")
    done = command("image", "list")
    assert (done.code, "is it running?" in done.err) == (1, True)


def test_one_is_shown_with_the_hosts_that_have_a_copy(cumulet):
    assert cumulet("vm", "create", "based", "--image", "micro", "--wait").code == 0
    (host,) = cumulet("host", "list", "-o", "json").json
    shown = eventually(lambda: (done := cumulet("image", "get", "micro")).out.count("last used") and done.out)
    assert f"copies       {host['id']} (1 GiB, last used " in shown
    assert cumulet("image", "get", "mikro").code == NOT_FOUND
