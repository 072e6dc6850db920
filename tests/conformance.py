"""Which operations of the contract are there, told by what is declared and by the tests that call it.

`make api` writes docs/api/conformance.md with it and a test compares them, so the page says neither more nor less than
the code: an operation is done when it is declared at its path, and a test counts when it is named after it, or calls
it by name, itself or through a function of its own file.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from cumulet.operation import Operation
from cumulet.rest.contract import Promised, promised, shape

TESTS = Path(__file__).parent
REFERENCE = "The reference's 25"
REAL = "e2e/"
"""Where tests are that go through REST to a real server, most of them to real guests."""
NAMED = f"{REAL}test_operations.py"
"""Where each of the reference's operations has a real guest in a test named after it."""


def reference() -> list[Promised]:
    """The operations of the reference alone."""
    return [one for one in promised() if one.rank == REFERENCE]


def python_name(promise: Promised) -> str:
    """One of the reference as Python writes it: ListVMDisks is list_vm_disks."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", promise.name.replace("VM", "Vm")).lower()


def calls_by_name() -> dict[str, list[str]]:
    """For each name that tests use or are named after, the tests that do or are."""
    found: dict[str, list[str]] = {}
    for file in sorted(TESTS.rglob("test_*.py")):
        names = names_used(ast.parse(file.read_text()))
        for test in (one for one in names if one.startswith("test_")):
            for name in reached(test, names) | {test.removeprefix("test_")}:
                found.setdefault(name, []).append(f"{file.relative_to(TESTS)}::{test}")
    return found


def names_used(module: ast.Module) -> dict[str, set[str]]:
    """For each function of a file, methods of its classes included, the names in it; what is asked of a literal is no operation."""
    return {
        node.name: {
            inner.attr if isinstance(inner, ast.Attribute) else inner.id
            for inner in ast.walk(node)
            if isinstance(inner, ast.Attribute | ast.Name)
            and not isinstance(getattr(inner, "value", None), ast.Constant)
        }
        for node in ast.walk(module)
        if isinstance(node, ast.FunctionDef)
    }


def reached(function: str, names: Mapping[str, set[str]]) -> set[str]:
    """All names that a function uses, itself or through others of its file."""
    seen: set[str] = set()
    waiting = {function}
    while waiting:
        one = waiting.pop()
        new = names.get(one, set()) - seen
        seen |= new
        waiting |= new & names.keys()
    return seen


def shown_by(operation: Operation, tests: Mapping[str, list[str]]) -> list[str]:
    """The first test of an operation on a real server, best the one named after it, and the first of its own slice."""
    name = operation.function.__name__
    found = tests.get(name, [])
    slice_ = operation.function.__module__.split(".")[1]
    real = [test for test in found if test.startswith(REAL)]
    real.sort(key=lambda test: test != f"{NAMED}::test_{name}")
    quick = [test for test in found if not test.startswith(REAL)]
    quick.sort(key=lambda test: not test.startswith(f"{slice_}/"))
    return [*real[:1], *quick[:1]]


def conformance_text(operations: Iterable[Operation]) -> str:
    """Write the page."""
    declared = {shape(one.method, one.path): one for one in operations}
    tests, table = calls_by_name(), list(promised())
    lines = ["# The contract's operations", "", "Written by `make api` from what is declared and tested.", ""]
    for rank in dict.fromkeys(one.rank for one in table):
        rows = [one for one in table if one.rank == rank]
        done = [one for one in rows if one.shape in declared]
        lines += [f"## {rank}: {len(done)} of {len(rows)}", ""]
        lines += ["| Operation | | Done | Shown by |", "|---|---|---|---|"]
        lines += [row(one, declared.get(one.shape), tests) for one in rows]
        lines.append("")
    known = {one.shape for one in table}
    ours = sorted(
        (one for at, one in declared.items() if at not in known), key=lambda one: (one.path, one.method)
    )
    lines += ["## Ours, beyond the contract", "", "| Operation | | Shown by |", "|---|---|---|"]
    for one in ours:
        shown = "<br>".join(f"`{test}`" for test in shown_by(one, tests))
        lines.append(f"| {one.name} | `{one.method} {one.path}` | {shown} |")
    return "\n".join(lines) + "\n"


def row(promise: Promised, operation: Operation | None, tests: Mapping[str, list[str]]) -> str:
    """One line of a table."""
    shown = shown_by(operation, tests) if operation else []
    told = "<br>".join(f"`{test}`" for test in shown)
    done = f"`{operation.name}`" if operation else "not yet"
    return f"| {promise.name} | `{promise.method} {promise.path}` | {done} | {told} |"
