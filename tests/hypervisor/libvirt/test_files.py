from uuid import uuid4

from cumulet.hypervisor.libvirt.files import ids_in, read_log, remove, remove_log, write_whole


def test_a_file_is_replaced_whole_and_is_roots_alone(tmp_path):
    path = tmp_path / f"{uuid4()}.iso"
    write_whole(path, b"a longer first content")
    write_whole(path, b"second")
    assert path.read_bytes() == b"second"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_what_an_interrupted_writing_left_is_no_file_and_goes_with_it(tmp_path):
    whole, half = uuid4(), uuid4()
    for name in (f"{whole}.iso", f"{whole}.iso.part", f"{half}.iso.part"):
        (tmp_path / name).touch()
    assert ids_in(tmp_path, ".iso") == {whole}
    remove(tmp_path / f"{whole}.iso")
    remove(tmp_path / f"{half}.iso")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_not_ours_is_no_seed(tmp_path):
    (tmp_path / "debian.iso").touch()
    assert ids_in(tmp_path, ".iso") == frozenset()


def test_the_end_of_a_log_goes_back_to_before_it_was_turned_over(tmp_path):
    log = tmp_path / "x.log"
    assert read_log(log, 10) == b""
    (tmp_path / "x.log.0").write_bytes(b"0123456789")
    log.write_bytes(b"abc")
    assert read_log(log, 2) == b"bc"
    assert read_log(log, 5) == b"89abc"
    assert read_log(log, 100) == b"0123456789abc"


def test_a_log_is_removed_with_all_its_past(tmp_path):
    log = tmp_path / "x.log"
    for name in ("x.log", "x.log.0", "x.log.1", "y.log"):
        (tmp_path / name).touch()
    remove_log(log)
    remove_log(log)
    assert [path.name for path in tmp_path.iterdir()] == ["y.log"]
