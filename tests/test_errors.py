"""How refusals name what there is."""

import pytest

from cumulet.errors import Invalid, NotFound


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ([], "there are none yet"),
        (["micro"], "there is only 'micro'"),
        (["debian-12", "micro"], "there are 'micro', 'debian-12'"),
        (["debian-12", "micro", "mirco"], "there are 'mirco', 'micro', 'debian-12'"),
        (
            [f"image-{n}" for n in range(9)],
            "there are 'image-0', 'image-1', 'image-2', 'image-3', 'image-4' and 4 more",
        ),
    ],
    ids=["none", "one", "few", "the nearest first", "many"],
)
def test_what_is_not_there_is_told_with_what_there_is(known, words):
    refused = NotFound.named("image", "mircro", known)
    assert refused.message == f"there is no image 'mircro'; {words}"


def test_what_somebody_may_not_see_is_not_named():
    assert NotFound.named("user", "ada").message == "there is no user 'ada'"


def test_a_long_id_is_neither_repeated_nor_compared_in_full():
    refused = NotFound.named("image", "micro" * 1000, ["micro"] * 2)
    assert len(refused.message) < 300


def test_a_reference_to_what_is_not_there_is_a_field_out_of_its_rule():
    with (
        pytest.raises(Invalid, match=r"^image: there is no image 'x'; there are none yet$") as refused,
        Invalid.reference("image"),
    ):
        raise NotFound.named("image", "x", [])
    fields, info = refused.value.details
    assert fields["fieldViolations"] == [{"field": "image", "description": refused.value.message}]
    assert info["reason"] == "NOT_FOUND"
