"""The API's document: true to the declarations, and the committed one up to date."""

from pathlib import Path

import pytest
from tests.rest.toys import TOYS

import cumulet.serve.build  # noqa: F401 - declares all operations
from cumulet.operation import OPERATIONS
from cumulet.rest.openapi import openapi_document, operations_text, write_documents

COMMITTED = Path(__file__).parents[2] / "docs" / "api"


@pytest.fixture(scope="module")
def document():
    return openapi_document(TOYS)


@pytest.mark.parametrize("name", ["openapi.json", "operations.txt"])
def test_what_is_committed_is_what_the_operations_say(tmp_path, name):
    write_documents(OPERATIONS.values(), tmp_path)
    assert (COMMITTED / name).read_text() == (tmp_path / name).read_text(), "make api writes it anew"


def test_operations_are_listed_one_a_line():
    assert ["make_toy", "POST", "/v1/toys", "key"] in [
        line.split() for line in operations_text(TOYS).splitlines()
    ]


def test_an_operation_is_called_like_its_function_and_described_by_its_docstring(document):
    told = document["paths"]["/v1/toys"]["get"]
    assert (told["operationId"], told["summary"], told["description"]) == (
        "list_toys",
        "List toys.",
        "All of them.",
    )


def test_only_operations_with_a_key_ask_for_one(document):
    assert document["paths"]["/v1/toys"]["get"]["security"] == []
    assert document["paths"]["/v1/toys"]["post"]["security"] == [{"key": []}]


def test_path_and_query_parameters_are_told_with_their_types(document):
    *told, _ = document["paths"]["/v1/toys/{id}"]["patch"]["parameters"]
    assert [(one["name"], one["in"], one["required"]) for one in told] == [
        ("id", "path", True),
        ("count", "query", True),
        ("label", "query", False),
    ]
    assert told[1]["schema"]["format"] == "int32"


def test_what_changes_something_tells_of_the_header_that_names_a_request(document):
    named = {"$ref": "#/components/parameters/IdempotencyKey"}
    verbs = document["paths"]["/v1/toys/{id}"]
    assert named in verbs["patch"]["parameters"]
    assert named not in verbs["get"]["parameters"]
    assert document["components"]["parameters"]["IdempotencyKey"]["name"] == "Idempotency-Key"


def test_an_answer_that_is_a_file_is_told_by_its_media_type(document):
    told = document["paths"]["/v1/toys/{id}/drawing"]["get"]["responses"]
    assert told["200"] == {"description": "Done.", "content": {"image/png": {}}}


def test_an_enum_is_told_by_its_names(document):
    assert document["components"]["schemas"]["Color"]["enum"] == ["BLUE", "RED"]


def test_body_and_answer_are_references_to_the_structs(document):
    told = document["paths"]["/v1/toys"]["post"]
    assert told["requestBody"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/MakeToy"
    }
    assert told["responses"]["200"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/Toy"
    }


def test_every_operation_tells_how_it_refuses(document):
    verbs = [verb for path in document["paths"].values() for verb in path.values()]
    assert all(verb["responses"]["default"] == {"$ref": "#/components/responses/Error"} for verb in verbs)


def test_every_reference_leads_somewhere():
    document = openapi_document(OPERATIONS.values())
    for reference in references(document):
        kind, name = reference.removeprefix("#/components/").split("/")
        assert name in document["components"][kind]


def references(told: object):
    """Find all references in a document."""
    if isinstance(told, dict):
        if "$ref" in told:
            yield told["$ref"]
        for inner in told.values():
            yield from references(inner)
    elif isinstance(told, list):
        for inner in told:
            yield from references(inner)


def test_the_document_is_served(stranger):
    assert stranger.get("/openapi.json").json()["openapi"] == "3.1.0"
