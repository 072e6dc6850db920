import json
import os
from dataclasses import replace

import pytest
from tests.images.makers import a_file, an_image

from cumulet.errors import AlreadyExists, Invalid, NotFound
from cumulet.images import ImageStore


@pytest.fixture
def store(tmp_path):
    return ImageStore(tmp_path / "images")


def add(store, image, content=b"a disk"):
    return store.add(image, a_file(store.root.parent / "new", content))


def test_a_store_that_is_not_there_yet_holds_nothing(store):
    assert store.list() == ()


def test_an_image_is_found_by_id_with_its_disk(store):
    added = add(store, an_image(), b"its disk")
    assert store.find("tiny") == added
    assert added.path.read_bytes() == b"its disk"
    assert store.list() == (added,)


def test_another_process_sees_what_was_added(store):
    add(store, an_image())
    assert ImageStore(store.root).find("tiny").sha256 == "aa"


def test_an_image_is_found_by_any_of_its_aliases(store):
    add(store, an_image(aliases=("ubuntu-2204-nvidia-535-docker-v20240214",)))
    assert store.find("ubuntu-2204-nvidia-535-docker-v20240214").id == "tiny"


@pytest.mark.parametrize("id", ["huge", "", "../tiny", ".lock", "tiny/"])
def test_what_is_not_there_is_not_found(store, id):
    add(store, an_image())
    with pytest.raises(NotFound):
        store.find(id)


def test_a_new_version_takes_the_place_of_the_old_one_and_keeps_its_aliases(store):
    old = add(store, an_image(aliases=("small",)))
    new = add(store, an_image(sha256="bb"), b"better")
    assert store.find("small").sha256 == "bb"
    assert new.path.read_bytes() == b"better"
    assert not old.path.exists(), "a reader of the old version never gets the new one's bytes"


def test_a_change_is_seen_by_a_store_that_has_read_before(store):
    add(store, an_image())
    other = ImageStore(store.root)
    assert other.find("tiny").aliases == ()
    store.set_aliases("tiny", ("small",))
    assert other.find("tiny").aliases == ("small",)


def test_unchanged_images_are_not_read_again(store):
    add(store, an_image())
    assert store.find("tiny").aliases is store.find("tiny").aliases
    facts = store.find("tiny").path.parent / "image.json"
    mtime = facts.stat().st_mtime_ns
    facts.write_text("not even JSON")
    os.utime(facts, ns=(mtime, mtime))
    assert store.find("tiny").id == "tiny"


def test_removing_leaves_nothing_behind(store):
    add(store, an_image())
    store.remove("tiny")
    assert [path.name for path in store.root.iterdir()] == [".lock"]
    with pytest.raises(NotFound):
        store.remove("tiny")


def test_an_alias_does_not_remove_the_image_behind_it(store):
    add(store, an_image(aliases=("small",)))
    with pytest.raises(NotFound):
        store.remove("small")


def test_aliases_are_replaced_as_a_whole(store):
    add(store, an_image(aliases=("one", "two")))
    assert store.set_aliases("tiny", ("two", "three")).aliases == ("two", "three")


@pytest.mark.parametrize("taken", ["other", "others-alias"])
def test_no_name_stands_for_two_images(store, taken):
    add(store, an_image())
    add(store, an_image("other", aliases=("others-alias",)))
    with pytest.raises(AlreadyExists, match=f"'{taken}' is already an alias of the image 'other'"):
        store.set_aliases("tiny", (taken,))
    with pytest.raises(AlreadyExists):
        add(store, an_image("third", aliases=(taken,)))


@pytest.mark.parametrize("id", ["", "Tiny", "1st", "a/b", "..", "-x", "x-", "x" * 64])
def test_an_id_that_the_api_could_not_carry_is_refused(store, id):
    with pytest.raises(Invalid, match="is not accepted"):
        add(store, an_image(id))


def test_what_a_crash_left_is_swept_and_never_shown(store):
    add(store, an_image())
    (store.root / ".tiny.half").mkdir()
    (store.root / ".tiny.half" / "image.qcow2").write_bytes(b"half")
    (store.root / ".tiny.half.link").symlink_to(".tiny.half")
    (store.root / ".parts").mkdir()
    assert [image.id for image in store.list()] == ["tiny"]
    add(store, an_image("other"))
    names = {path.name.partition(".")[0] or path.name.split(".")[1] for path in store.root.iterdir()}
    assert names == {"lock", "parts", "tiny", "other"}
    assert not (store.root / ".tiny.half").exists()
    assert not (store.root / ".tiny.half.link").is_symlink()


def test_a_crash_before_the_exchange_leaves_the_old_image(store, monkeypatch):
    add(store, an_image())

    def die(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("pathlib.Path.symlink_to", die)
    with pytest.raises(KeyboardInterrupt):
        add(store, an_image(sha256="bb"))
    assert ImageStore(store.root).find("tiny").sha256 == "aa"


def test_stray_files_in_the_folder_are_left_alone(store):
    add(store, an_image())
    (store.root / "README").write_text("hands off")
    assert [image.id for image in store.list()] == ["tiny"]
    add(store, an_image("other"))
    assert (store.root / "README").exists()


def test_what_an_image_is_can_be_read_by_a_person(store):
    image = add(store, replace(an_image(), description="for tests"))
    facts = json.loads((image.path.parent / "image.json").read_text())
    assert facts["description"] == "for tests"
    assert "path" not in facts
