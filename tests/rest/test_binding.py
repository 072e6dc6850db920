"""Requests as real clients send them (contract a.2), and what is refused."""

import pytest

CANONICAL = {
    "toyId": "bear",
    "count": 2,
    "parts": [{"sizeGib": 3, "isSpare": True}],
    "madeAt": "2026-01-02T03:04:05Z",
}
PYTHONIC = {
    "toy_id": "bear",
    "count": 2,
    "parts": [{"size_gib": 3, "is_spare": True}],
    "made_at": "2026-01-02T03:04:05Z",
}


@pytest.fixture
def make(ann):
    """Make a toy; gives what the server understood."""

    def make(body):
        answer = ann.post("/v1/toys", json=body)
        assert answer.status_code == 200, answer.text
        ann.delete(f"/v1/toys/{body.get('toyId') or body['toy_id']}")
        return answer.json()

    return make


def test_members_are_understood_in_camel_case_and_in_snake_case(make):
    assert make(CANONICAL) == make(PYTHONIC)


def test_null_is_unset(make):
    assert make({"toyId": "bear", "count": None, "parts": None, "password": None})["count"] == 1


def test_a_null_in_one_spelling_does_not_hide_the_other(make):
    assert (
        make({"toyId": "bear", "count": 5, "parts": [{"sizeGib": None, "size_gib": 3}]})["parts"][0][
            "sizeGib"
        ]
        == 3
    )


def test_unknown_members_are_ignored(make):
    assert make({"toyId": "bear", "weight": 4, "parts": [{"shape": "round"}]})["parts"] == [
        {"sizeGib": 0, "isSpare": False}
    ]


@pytest.mark.parametrize("blue", ["BLUE", 2, "2"])
def test_an_enum_value_is_understood_by_name_and_by_number(make, blue):
    assert make({"toyId": "bear", "color": blue})["color"] == "BLUE"


@pytest.mark.parametrize("four", [4, 4.0, "4", "4.0"])
def test_an_integer_may_come_as_text_or_with_a_zero_fraction(make, four):
    assert make({"toyId": "bear", "count": four})["count"] == 4


@pytest.mark.parametrize("yes", [True, "true", "True", 1])
def test_a_boolean_may_come_as_text_or_as_one(make, yes):
    assert make({"toyId": "bear", "parts": [{"isSpare": yes}]})["parts"][0]["isSpare"] is True


@pytest.mark.parametrize(
    "instant", ["2026-01-02T03:04:05", "2026-01-02T03:04:05Z", "2026-01-02T05:04:05+02:00"]
)
def test_every_instant_becomes_utc_and_one_without_a_zone_is_utc(make, instant):
    assert make({"toyId": "bear", "madeAt": instant})["madeAt"] == "2026-01-02T03:04:05Z"


def test_the_content_type_does_not_matter(ann):
    answer = ann.post("/v1/toys", content=b'{"toyId": "plane"}', headers={"content-type": "text/plain"})
    assert answer.json()["toyId"] == "plane"


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b" \n"])
def test_a_body_may_be_empty_where_none_is_needed(ann, body):
    assert ann.request("DELETE", "/v1/toys/none", content=body).json() == {}


def test_query_parameters_are_understood_in_both_spellings(stranger):
    for name in ("isBig", "is_big"):
        assert stranger.get("/v1/toys", params={name: "True"}).json()["isBig"] is True


def test_a_repeated_query_parameter_is_a_list(stranger):
    assert stranger.get("/v1/toys?tags=a&tags=b").json()["tags"] == ["a", "b"]


def test_one_value_of_a_repeated_query_parameter_is_a_list_too(stranger):
    assert stranger.get("/v1/toys?tags=a").json()["tags"] == ["a"]


def test_the_text_none_in_a_query_is_unset(stranger):
    heard = stranger.get("/v1/toys?count=None&tags=None&isBig=None&since=None").json()
    assert (heard["count"], heard["tags"], heard["isBig"], heard["since"]) == (None, [], False, None)


def test_query_parameters_may_come_in_the_body(ann):
    heard = ann.patch("/v1/toys/bear", json={"count": 3, "label": "old"}).json()
    assert (heard["count"], heard["label"]) == (3, "old")


def test_the_query_wins_over_the_body(ann):
    assert ann.patch("/v1/toys/bear?count=7", json={"count": 3}).json()["count"] == 7


def test_an_id_in_the_path_may_hold_an_encoded_slash(stranger):
    heard = stranger.get("/v1/toys/a%2Fb%20%C3%A4/places/c%2Fd").json()
    assert (heard["id"], heard["place"]) == ("a/b ä", "c/d")


def test_a_word_of_the_path_wins_over_an_id(stranger):
    assert stranger.get("/v1/toys/special").json()["label"] == "special"


def test_verbs_of_one_path_may_name_its_parameter_differently(ann):
    assert ann.get("/v1/toys/bear").json()["id"] == "bear"
    assert ann.delete("/v1/toys/bear").json() == {}


def test_broken_json_is_refused_with_the_place(refused):
    assert "byte 10" in refused("POST", "/v1/toys", content=b'{"toyId": x}')


@pytest.mark.parametrize(
    "body",
    [
        b'{"toyId": "a',
        b'{"toyId": "\xff"}',
        b"[" * 100_000,
        b'{"toyId": "\\ud800"}',
        b'{"a": 1e999}',
        b"[1" + b"0" * 5000 + b"]",
        b"{} {}",
    ],
)
def test_what_is_no_json_is_refused(refused, body):
    assert "not JSON" in refused("POST", "/v1/toys", content=body)


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"3", b"true"])
def test_a_body_that_is_no_object_is_refused(refused, body):
    assert "must be a JSON object" in refused("POST", "/v1/toys", content=body)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"count": 1}, "toyId is required"),
        ({"toyId": 7}, "toyId: 7 is not accepted; expected a text"),
        ({"toyId": "a\0b"}, "without NUL"),
        (
            {"toyId": "a", "count": "many"},
            "count: 'many' is not accepted; expected an integer from -2147483648",
        ),
        ({"toyId": "a", "count": True}, "count: True"),
        ({"toyId": "a", "count": 2**31}, "count: 2147483648"),
        ({"toyId": "a", "count": 1.5}, "count: 1.5"),
        ({"toyId": "a", "color": "GREEN"}, "color: 'GREEN' is not accepted; expected one of RED, BLUE"),
        (
            {"toyId": "a", "parts": [{}, {"isSpare": "maybe"}]},
            "parts[1].isSpare: 'maybe' is not accepted; expected bool",
        ),
        ({"toyId": "a", "parts": {}}, "parts: {} is not accepted; expected array"),
        ({"toyId": "a", "parts": [3]}, "parts[0]: 3 is not accepted; expected object"),
        ({"toyId": "a", "labels": {"x": 3}}, "labels.x: 3 is not accepted; expected a text"),
        (
            {"toyId": "a", "madeAt": "yesterday"},
            "madeAt: 'yesterday' is not accepted; expected an instant such as",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_field_value_and_what_would_be_accepted(refused, body, told):
    assert told in refused("POST", "/v1/toys", json=body)


def test_a_secret_of_the_wrong_type_is_not_shown(refused):
    message = refused("POST", "/v1/toys", json={"toyId": "a", "password": ["hunter2"]})
    assert "password: '(not shown)'" in message
    assert "hunter2" not in message


def test_a_huge_value_is_not_sent_back(refused):
    assert len(refused("POST", "/v1/toys", json={"toyId": "a", "color": "x" * 500_000})) < 500


def test_a_missing_query_parameter_is_refused_by_name(refused):
    assert refused("PATCH", "/v1/toys/bear") == "count is required"


def test_two_values_where_one_is_expected_are_refused(refused):
    assert refused("PATCH", "/v1/toys/bear?count=1&count=2").startswith("count: ['1', '2'] is not accepted")


def test_a_nul_in_the_path_is_refused(refused):
    assert refused("GET", "/v1/toys/a%00b").startswith("id: 'a\\x00b' is not accepted")
