"""What made-up hosts offer to boot from."""

import pytest
from tests.images.makers import an_image

from cumulet.images import ImageStore, offer_made_up_images
from cumulet.images.made_up import HARD_CODED
from cumulet.images.recipes import RECIPES


@pytest.fixture
def store(tmp_path) -> ImageStore:
    return ImageStore(tmp_path / "cloud/images")


def ids(store: ImageStore) -> list[str]:
    return [image.id for image in store.list()]


def test_an_empty_store_gets_an_image_for_each_recipe_and_all_that_is_wanted(store):
    offer_made_up_images(store, ["rocky-linux-9", "micro", "no image's id"])
    assert ids(store) == ["debian-12", "micro", "rocky-linux-9"]
    assert {store.find(id).id for id in HARD_CODED} == {"debian-12"}
    for id, recipe in RECIPES.items():
        image = store.find(id)
        assert (image.size_gib, image.cloud_init) == (recipe.size_gib, recipe.cloud_init)
    assert not list(store.root.parent.glob("*.made-up"))


def test_what_is_there_stays_and_what_is_wanted_since_is_added(store):
    offer_made_up_images(store, [])
    before = store.list()
    offer_made_up_images(store, ["rocky-linux-9", "ubuntu-2204"])
    assert ids(store) == ["debian-12", "micro", "rocky-linux-9"]
    assert [image for image in store.list() if image.id != "rocky-linux-9"] == list(before)


def test_an_id_that_clients_insist_on_can_be_an_image_of_its_own(store):
    offer_made_up_images(store, ["ubuntu-2204"])
    assert store.find("ubuntu-2204").id == "ubuntu-2204"


def test_real_images_get_no_company(store, tmp_path):
    disk = tmp_path / "disk"
    disk.write_bytes(b"real")
    store.add(an_image(), disk)
    offer_made_up_images(store, ["rocky-linux-9"])
    assert len(store.list()) == 1
