import pytest
from tests.images.makers import a_qcow2, a_raw_disk

from cumulet.cli.images import app, list_
from cumulet.cli.output import Listing
from cumulet.errors import NotFound
from cumulet.images import ImageStore, cli
from cumulet.images.recipes import RECIPES, Recipe


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.delenv(
        "CUMULET_TEST_IMAGES", raising=False
    )  # no setting of the server: unknown ones are refused
    monkeypatch.setenv("CUMULET_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    return ImageStore(tmp_path / "images")


@pytest.fixture
def only_a_toy_recipe(tmp_path, monkeypatch):
    (tmp_path / "recipe").mkdir()
    builds = []

    def write_disk(into, progress):
        builds.append(into)
        for step in range(101):
            progress(f"step {step}", step / 100)
        into.write_bytes(b"built")
        return ()

    toy = Recipe("toy", "Toy", "A toy", "For tests", 1, tmp_path / "recipe", write_disk)
    monkeypatch.setattr(cli, "RECIPES", {"toy": toy})
    monkeypatch.setitem(RECIPES, "toy", toy)
    return builds


def test_build_makes_all_that_is_missing_and_force_makes_it_again(store, only_a_toy_recipe):
    cli.build()
    cli.build()
    assert len(only_a_toy_recipe) == 1
    cli.build("toy", force=True)
    assert len(only_a_toy_recipe) == 2
    assert store.find("toy").path.read_bytes() == b"built"


def test_an_unknown_recipe_stops_the_build_before_it_begins(store, only_a_toy_recipe):
    with pytest.raises(NotFound, match="no recipe 'nope'"):
        cli.build("toy", "nope")
    assert only_a_toy_recipe == []


def test_progress_that_nobody_watches_is_a_line_for_each_tenth(store, only_a_toy_recipe, capsys):
    cli.build()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 11
    assert lines[0] == "toy:   0% step 0"
    assert lines[-1] == "toy: 100% step 100"


def test_the_list_shows_where_images_come_from(store, tmp_path, capsys):
    source = a_raw_disk(tmp_path / "cloud.raw")
    cli.import_("mine", str(source), name="My own")
    cli.alias("mine", "ubuntu-2204", "yours")
    list_(listing=Listing(output="wide"))
    *_, line = capsys.readouterr().out.splitlines()
    assert line.split() == ["mine", "1", "GiB", "My", "own", "ubuntu-2204", "yours", str(source)]


def test_an_imported_image_can_be_removed(store, tmp_path):
    cli.import_("mine", str(a_qcow2(tmp_path / "cloud.img")))
    cli.remove("mine")
    assert store.list() == ()


def test_the_commands_are_those_of_the_tour():
    assert {"build", "import", "list", "remove", "alias"} <= set(app)
