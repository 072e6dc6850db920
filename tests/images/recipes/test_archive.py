import pytest

from cumulet.images.recipes import archive
from cumulet.images.recipes.recipe import BuildFailed, Package, run

TARGETS = b"""\
http://mirror.example/debian/ bookworm main
http://mirror.example/debian/ bookworm contrib
http://mirror.example/debian/ bookworm-updates main
http://mirror.example/debian/ bookworm-backports main
http://mirror.example/debian-security/ bookworm-security main
"""


@pytest.fixture
def on_a_host_with(monkeypatch, tmp_path):
    keyring = tmp_path / "keyring.gpg"
    keyring.touch()
    monkeypatch.setattr(archive, "KEYRING", keyring)
    described = tmp_path / "Debian.info"
    described.write_text("Suite: {series}\nRepositoryType: deb\nBaseURI: http://public.example/debian/\n")
    monkeypatch.setattr(archive, "ARCHIVE_INFO", described)

    def of(targets):
        monkeypatch.setattr(archive, "run", lambda *_: targets)
        return archive.sources_list().replace(f"[arch=amd64 signed-by={keyring}] ", "")

    return of


def test_a_host_of_the_same_release_lends_its_own_mirror(on_a_host_with):
    assert on_a_host_with(TARGETS) == (
        "deb http://mirror.example/debian/ bookworm main\n"
        "deb http://mirror.example/debian/ bookworm-updates main\n"
        "deb http://mirror.example/debian-security/ bookworm-security main\n"
    )


@pytest.mark.parametrize("targets", [b"", b"http://mirror.example/ubuntu/ noble main\n"])
def test_any_other_host_takes_the_public_mirror(on_a_host_with, targets):
    assert on_a_host_with(targets) == (
        "deb http://public.example/debian bookworm main\n"
        "deb http://public.example/debian bookworm-updates main\n"
        "deb http://public.example/debian-security bookworm-security main\n"
    )


def test_a_missing_keyring_is_said_with_its_cure(monkeypatch, tmp_path):
    monkeypatch.setattr(archive, "KEYRING", tmp_path / "none")
    with pytest.raises(BuildFailed, match="install the package debian-archive-keyring"):
        archive.sources_list()


def test_packages_are_read_as_dpkg_lists_them():
    listing = "dropbear-bin\t2022.83-1\tlightweight SSH2 server\n"
    assert archive.read_packages(listing) == (
        Package("dropbear-bin", "2022.83-1", "lightweight SSH2 server"),
    )


def test_a_program_that_fails_is_quoted():
    with pytest.raises(BuildFailed, match="sh ended with status 3: too bad"):
        run("sh", "-c", "echo too bad >&2; exit 3")


def test_a_program_that_is_missing_is_named():
    with pytest.raises(BuildFailed, match="no-such-program is not installed"):
        run("no-such-program")
