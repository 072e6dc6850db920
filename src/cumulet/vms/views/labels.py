"""Which VMs a filter by labels means: each has `KEY=VALUE`, or `KEY` whatever its value.

A key may be any text, so none is written into a path of JSON: both databases can take a row's labels apart instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import SQLColumnExpression, String, and_, func, literal, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction

from cumulet.errors import Invalid
from cumulet.vm_record.model import MOST_LABELS, Vm


class json_each_text(GenericFunction[Any]):  # noqa: N801 - a function's name in SQL
    """Rows of a key and a value for each member of a JSON object, as PostgreSQL calls it."""

    inherit_cache = True


@compiles(json_each_text, "sqlite")
def _json_each(element: json_each_text, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401
    return f"json_each{compiler.function_argspec(element, **options)}"


def all_labelled(texts: Sequence[str]) -> Iterator[SQLColumnExpression[bool]]:
    """Read the conditions that VMs are to meet; Invalid when these are more than labels that a VM can have."""
    if len(texts) > MOST_LABELS:
        raise Invalid.field("metadata", f"{len(texts)} of them", f"at most {MOST_LABELS}")
    return map(labelled, texts)


def labelled(text: str) -> SQLColumnExpression[bool]:
    """Read `KEY=VALUE` or `KEY` as a condition for VMs; Invalid without a key."""
    key, equals, value = text.partition("=")
    if not key:
        raise Invalid.field("metadata", text, "KEY=VALUE, or KEY for any value")
    pairs = func.json_each_text(Vm.labels).table_valued("key", "value").alias()
    wanted = [pairs.c.key == literal(key, String)]
    if equals:
        wanted.append(pairs.c.value == literal(value, String))
    return select(literal(1)).select_from(pairs).where(and_(*wanted)).correlate(Vm).exists()
