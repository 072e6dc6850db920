from dataclasses import replace

import msgspec
from tests.images.makers import a_file, an_image

from cumulet.images import ImageStore
from cumulet.images.operations import list_public_vm_images
from cumulet.images.recipes import Package
from cumulet.operation import OPERATIONS, Access


def test_public_images_have_the_members_that_clients_need(tmp_path):
    store = ImageStore(tmp_path / "images")
    image = replace(
        an_image(),
        origin="recipe:ab",
        description="Small",
        installed_packages=(Package("busybox", "1.35", "tools"),),
    )
    store.add(image, a_file(tmp_path / "disk"))
    assert msgspec.to_builtins(list_public_vm_images(store)) == {
        "images": [
            {
                "id": "tiny",
                "name": "tiny",
                "description": "Small",
                "displayName": "Tiny",
                "platform": "linux",
                "sizeGib": 1,
                "installedPackages": [{"name": "busybox", "description": "tools", "version": "1.35"}],
            }
        ]
    }


def test_where_an_image_comes_from_is_not_told_without_a_key(tmp_path):
    store = ImageStore(tmp_path / "images")
    source = "/srv/secret/cloud.img"
    store.add(
        replace(an_image(), origin=source, description=f"Imported from {source}"), a_file(tmp_path / "disk")
    )
    assert source not in msgspec.json.encode(list_public_vm_images(store)).decode()


def test_an_empty_store_is_an_empty_list(tmp_path):
    assert msgspec.to_builtins(list_public_vm_images(ImageStore(tmp_path))) == {"images": []}


def test_public_images_are_listed_without_a_key():
    assert OPERATIONS["list_public_vm_images"].access is Access.OPEN
