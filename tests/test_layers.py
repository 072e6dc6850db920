from tests.layers import PICTURE, draw, floors


def test_the_picture_of_the_layers_is_that_of_the_import_contract():
    assert PICTURE.read_text() == draw(floors()), "run `make api`"


def test_every_floor_and_every_module_on_it_is_in_the_picture():
    house = floors()
    drawn = draw(house)
    assert all(f">{name}<" in drawn for floor in house for name in floor)
    assert "errors" in house[-1]
