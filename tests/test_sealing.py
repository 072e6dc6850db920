"""Secrets that are sealed: by whichever server, with whichever key of the file, and by none else."""

import pytest
from cryptography.fernet import Fernet

from cumulet.errors import Invalid
from cumulet.sealing import KEY_FILE, Seal, Unopenable


def test_the_key_is_made_once_for_nobody_else_s_eyes_and_is_the_same_for_all_servers(tmp_path):
    one, two = Seal(tmp_path), Seal(tmp_path)
    assert (tmp_path / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE]
    assert two.opened(one.closed(b"hidden")) == b"hidden"
    assert one.closed(b"hidden") != one.closed(b"hidden")


def test_a_new_key_above_the_others_seals_and_all_of_them_open_also_where_it_was_not_known_yet(tmp_path):
    before = Seal(tmp_path)
    old = before.closed(b"old")
    file = tmp_path / KEY_FILE
    file.write_bytes(Fernet.generate_key() + b"\n" + file.read_bytes())
    after = Seal(tmp_path)
    new = after.closed(b"new")
    assert (after.opened(old), before.opened(new)) == (b"old", b"new")
    file.write_bytes(file.read_bytes().splitlines()[0])
    assert Seal(tmp_path).opened(new) == b"new"
    with pytest.raises(Unopenable):
        Seal(tmp_path).opened(old)


@pytest.mark.parametrize("content", [b"", b"no key\n", b"a" * 44])
def test_a_file_without_keys_is_refused_by_its_name(tmp_path, content):
    (tmp_path / KEY_FILE).write_bytes(content)
    with pytest.raises(Invalid, match=KEY_FILE):
        Seal(tmp_path)
