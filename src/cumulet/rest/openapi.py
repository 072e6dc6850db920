"""The API told to programs: OpenAPI 3.1 and a list for people, both derived from the declared operations.

msgspec gives the schemas of the very structs that are decoded and encoded, so the document cannot drift from the
code; both files are committed under docs/api and a test compares them.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import msgspec

from cumulet.call import repeats
from cumulet.operation import Access, Operation, names_in
from cumulet.rest.faults import JSON
from cumulet.wire import File, Status, Stream, Wire

Json = dict[str, Any]
REF: Final = "#/components/schemas/{name}"
IDEMPOTENCY_KEY: Final[Json] = {
    "name": repeats.HEADER,
    "in": "header",
    "required": False,
    "description": "The caller's own name for this request. The same request under the same name gets the first one's "
    "answer and is done once, for a day; another request under it is refused with 409.",
    "schema": {"type": "string", "minLength": 1, "maxLength": repeats.LONGEST_KEY, "pattern": "^[!-~]+$"},
}
WAIT_TIMEOUT: Final[Json] = {
    "name": "timeout",
    "in": "query",
    "required": False,
    "description": "After so many seconds it is shown as it is then, with the header `wait-outcome: timeout`.",
    "schema": {"type": "integer", "format": "int32", "minimum": 1, "maximum": 300, "default": 60},
}


@dataclass(frozen=True, slots=True)
class Schemas:
    """The schemas of all structs that operations take or give."""

    references: dict[type[Wire], Json]
    components: dict[str, Json]


def openapi_document(operations: Collection[Operation]) -> Json:
    """Describe the operations."""
    ordered = sorted(operations, key=lambda one: (one.path, one.method))
    schemas = _schemas(ordered)
    paths: dict[str, Json] = {}
    for one in ordered:
        paths.setdefault(one.path, {})[one.method.lower()] = _verb(one, schemas)
    queries = {one.query.__name__ for one in ordered if one.query}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Cumulet",
            "version": version("cumulet"),
            "description": "A self-hosted cloud of real virtual machines.",
        },
        "paths": paths,
        "components": {
            "schemas": {name: one for name, one in schemas.components.items() if name not in queries},
            "parameters": {"IdempotencyKey": IDEMPOTENCY_KEY, "WaitTimeout": WAIT_TIMEOUT},
            "responses": {"Error": _response("Refused, with the reason.", schemas.references[Status])},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "An API key."}},
        },
    }


def operations_text(operations: Collection[Operation]) -> str:
    """List the operations, one a line: name, method, path, who may call it."""
    rows = sorted((one.path, one.method, one.name, one.access.value) for one in operations)
    width = max((len(name) for _, _, name, _ in rows), default=0)
    reach = max((len(path) for path, *_ in rows), default=0)
    return "".join(
        f"{name:{width}}  {method:6}  {path:{reach}}  {access}\n" for path, method, name, access in rows
    )


def write_documents(operations: Collection[Operation], folder: Path) -> None:
    """Write what is committed under docs/api."""
    document = msgspec.json.format(msgspec.json.encode(openapi_document(operations)))
    (folder / "openapi.json").write_bytes(document + b"\n")
    (folder / "operations.txt").write_text(operations_text(operations), encoding="utf-8")


def _verb(one: Operation, schemas: Schemas) -> Json:
    doc = inspect.getdoc(one.function) or ""
    verb: Json = {
        "operationId": one.name,
        "summary": one.summary,
        "description": doc.partition("\n")[2].strip(),
        "tags": [one.function.__module__.split(".")[1]],
        "parameters": [*_path_parameters(one), *_query_parameters(one, schemas), *_further_parameters(one)],
        "security": [] if one.access is Access.OPEN else [{"key": []}],
        "responses": {
            "200": _answer(one, schemas),
            "default": {"$ref": "#/components/responses/Error"},
        },
    }
    if one.body is not None:
        verb["requestBody"] = {"required": True, "content": {JSON: {"schema": schemas.references[one.body]}}}
    return verb


def _answer(one: Operation, schemas: Schemas) -> Json:
    if issubclass(one.answer, File | Stream):
        return {"description": "Done.", "content": {one.answer.media_type: {}}}
    return _response("Done.", schemas.references[one.answer])


def _path_parameters(one: Operation) -> Iterable[Json]:
    for name in names_in(one.path):
        schema = {"type": "string", "minLength": 1}
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameters(one: Operation, schemas: Schemas) -> Iterable[Json]:
    if one.query is None:
        return
    struct = schemas.components[one.query.__name__]
    for name, schema in struct["properties"].items():
        yield {"name": name, "in": "query", "required": name in struct.get("required", ()), "schema": schema}


def _further_parameters(one: Operation) -> Iterable[Json]:
    """Tell what the edge takes by itself."""
    if one.states:
        yield {
            "name": "wait",
            "in": "query",
            "required": False,
            "description": "Answer when it is in this state, or refuse when it never will be.",
            "schema": {"type": "string", "enum": ["", *one.states.rests]},
        }
        yield {"$ref": "#/components/parameters/WaitTimeout"}
    if not one.reads_only and one.access is not Access.OPEN:
        yield {"$ref": "#/components/parameters/IdempotencyKey"}


def _response(description: str, schema: Json) -> Json:
    return {"description": description, "content": {JSON: {"schema": schema}}}


def _schemas(operations: Iterable[Operation]) -> Schemas:
    named = [kind for one in operations for kind in (one.query, one.body, one.answer)]
    taken = [kind for kind in named if kind and issubclass(kind, Wire)]
    kinds: list[type[Wire]] = [Status, *taken]
    references, components = msgspec.json.schema_components(kinds, ref_template=REF)
    return Schemas(
        references=dict(zip(kinds, references, strict=True)),
        components={name: _with_width(schema) for name, schema in sorted(components.items())},
    )


def _with_width(schema: Any) -> Any:  # noqa: ANN401 - JSON has no one type
    """Say of every integer that it is 32 bits wide, because wider ones are refused."""
    if isinstance(schema, list):
        return [_with_width(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    width = {"format": "int32"} if schema.get("type") == "integer" else {}
    return {name: _with_width(value) for name, value in schema.items()} | width
