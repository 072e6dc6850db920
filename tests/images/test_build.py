import os
from dataclasses import replace

import pytest

from cumulet.errors import NotFound
from cumulet.images import ImageStore, build_image, ensure_image, find_recipe
from cumulet.images.build import sha256_of
from cumulet.images.recipes import RECIPES, BuildFailed, Package, Recipe


@pytest.fixture
def store(tmp_path):
    return ImageStore(tmp_path / "images")


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    folder = tmp_path / "recipe"
    folder.mkdir()
    (folder / "rootfs").write_text("one")
    builds = []

    def write_disk(into, progress):
        builds.append(into)
        progress("halfway", 0.5)
        into.write_bytes(b"built")
        return (Package("busybox", "1", "tools"),)

    made = Recipe("toy", "Toy", "A toy", "For tests", 1, folder, write_disk)
    monkeypatch.setitem(RECIPES, "toy", made)
    return made, builds


def ensure(store):
    return ensure_image(store, "toy", lambda *_: None)


def test_an_image_is_built_once_and_then_found(store, recipe):
    _, builds = recipe
    built = ensure(store)
    assert built.path.read_bytes() == b"built"
    assert built.installed_packages == (Package("busybox", "1", "tools"),)
    assert ensure(store) == built
    assert len(builds) == 1


def test_a_changed_recipe_is_built_again(store, recipe):
    made, builds = recipe
    first = ensure(store)
    (made.folder / "rootfs").write_text("two")
    assert ensure(store).origin != first.origin
    assert len(builds) == 2


def test_what_the_interpreter_leaves_in_a_recipe_does_not_change_it(recipe):
    made, _ = recipe
    before = made.digest()
    (made.folder / "__pycache__").mkdir()
    (made.folder / "__pycache__/recipe.pyc").write_bytes(b"compiled")
    assert made.digest() == before


def test_a_renamed_file_changes_a_recipe(recipe):
    made, _ = recipe
    before = made.digest()
    (made.folder / "rootfs").rename(made.folder / "initrd")
    assert made.digest() != before


def test_what_an_operator_imported_under_that_id_stays(store, recipe):
    built = ensure(store)
    (store.root.parent / "other").write_bytes(b"imported")
    store.add(replace(built, origin="http://example.org/image"), store.root.parent / "other")
    assert ensure(store).path.read_bytes() == b"imported"


def test_an_unknown_recipe_is_refused_with_those_there_are():
    with pytest.raises(NotFound, match="'nope'; there are debian-12, micro"):
        find_recipe("nope")


def test_the_checksum_is_of_the_file(store, recipe):
    image = ensure(store)
    assert image.sha256 == sha256_of(image.path)


def test_the_operators_umask_does_not_reach_the_guest(store, recipe):
    made, _ = recipe
    seen = []

    def write_disk(into, progress):
        into.write_bytes(b"built")
        seen.append(into.stat().st_mode & 0o777)
        return ()

    habit = os.umask(0o077)
    try:
        build_image(store, replace(made, write_disk=write_disk), lambda *_: None)
        assert seen == [0o644]
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(habit)


def test_only_root_builds(store, recipe, monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(BuildFailed, match="needs root"):
        ensure(store)
