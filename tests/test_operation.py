"""A function's signature is all that declares an operation."""

from datetime import datetime

import pytest
from sqlalchemy.orm import Session

from cumulet.operation import OPERATIONS, Access, Caller, declared, operation, snake
from cumulet.wire import Empty, Wire


class Body(Wire):
    name: str


class Answer(Wire):
    name: str


def rename(
    db: Session, caller: Caller, now: datetime, *, project_id: str, id: str, force: bool = False, data: Body
) -> Answer:
    """Rename a thing.

    It keeps its id.
    """
    return Answer(data.name)


def test_the_signature_tells_where_each_parameter_comes_from():
    one = declared("PUT /v1/projects/{projectId}/things/{id}", rename, access=Access.EDITOR)
    assert one.path_names == ("project_id", "id")
    assert one.provided == {"db", "caller", "now"}
    assert one.query.__struct_fields__ == ("force",)
    assert (one.body, one.answer) == (Body, Answer)


def test_an_operation_has_its_functions_name_and_summary():
    one = declared("PUT /v1/projects/{projectId}/things/{id}", rename, access=Access.EDITOR)
    assert (one.name, one.summary) == ("rename", "Rename a thing.")


def test_a_query_parameter_without_a_default_is_required():
    def find(*, word: str) -> Empty:
        return Empty()

    with pytest.raises(TypeError, match="word"):
        declared("GET /v1/found", find, access=Access.KEY).query()


def test_only_a_get_reads_only():
    assert declared("GET /v1/projects/{projectId}/things/{id}", rename, access=Access.EDITOR).reads_only
    assert not declared("PUT /v1/projects/{projectId}/things/{id}", rename, access=Access.EDITOR).reads_only


def test_a_get_that_writes_does_not():
    assert not declared(
        "GET /v1/projects/{projectId}/things/{id}", rename, access=Access.EDITOR, writes=True
    ).reads_only


def test_a_parameter_of_the_path_that_the_function_lacks_is_found_at_the_start():
    with pytest.raises(ValueError, match="rename has no parameter host_id"):
        declared("PUT /v1/hosts/{hostId}/things/{id}", rename, access=Access.EDITOR)


def test_an_open_operation_has_no_caller():
    with pytest.raises(ValueError, match="rename is open, so it has no caller"):
        declared("PUT /v1/projects/{projectId}/things/{id}", rename, access=Access.OPEN)


@pytest.fixture
def published():
    before = dict(OPERATIONS)
    yield OPERATIONS
    OPERATIONS.clear()
    OPERATIONS.update(before)


def test_a_declared_function_is_published_and_stays_callable(published):
    function = operation("PUT /v1/projects/{projectId}/things/{id}", access=Access.EDITOR)(rename)
    assert published["rename"].function is function is rename


def test_neither_a_route_nor_a_name_is_declared_twice(published):
    operation("PUT /v1/projects/{projectId}/things/{id}", access=Access.EDITOR)(rename)
    with pytest.raises(ValueError, match="declared twice"):
        operation("PUT /v1/projects/{projectId}/things/{id}", access=Access.EDITOR)(rename)
    with pytest.raises(ValueError, match="two operations are called rename"):
        operation("POST /v1/projects/{projectId}/things/{id}", access=Access.EDITOR)(rename)


@pytest.mark.parametrize(
    ("camel", "flat"), [("projectId", "project_id"), ("id", "id"), ("machineTypeId", "machine_type_id")]
)
def test_names_of_the_wire_become_names_of_python(camel, flat):
    assert snake(camel) == flat


def look(*, id: str) -> Empty:
    return Empty()


def test_who_may_call_it_is_always_said():
    with pytest.raises(TypeError, match="access"):
        declared("GET /v1/things/{id}", look)


@pytest.mark.parametrize(
    ("path", "access"),
    [
        ("/v1/projects/{id}", Access.USER),
        ("/v1/projects/{id}", Access.OPERATOR),
        ("/v1/project/{id}/things", Access.KEY),
        ("/v1/things/{id}", Access.VIEWER),
    ],
)
def test_what_leads_into_a_project_asks_for_a_role_in_it_and_nothing_else_does(path, access):
    with pytest.raises(ValueError, match="look: a role in a project is asked for where the path names one"):
        declared(f"GET {path}", look, access=access)


@pytest.mark.parametrize(
    ("path", "name"), [("/v1/projects/{id}", "id"), ("/v1/project/{projectId}/{id}", "project_id")]
)
def test_the_path_names_the_project(path, name):
    function = rename if "projectId" in path else look
    assert declared(f"POST {path}", function, access=Access.OWNER).project_name == name
