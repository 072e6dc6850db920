"""The page that tells which operations of the contract are there."""

import ast
from pathlib import Path

import pytest
from tests.conformance import (
    NAMED,
    calls_by_name,
    conformance_text,
    names_used,
    python_name,
    reached,
    reference,
    shown_by,
)

import cumulet.serve.build  # noqa: F401 - declares all operations
from cumulet.operation import OPERATIONS
from cumulet.rest.contract import promised, shape

COMMITTED = Path(__file__).parents[2] / "docs" / "api" / "conformance.md"


def test_what_is_committed_is_what_is_declared_and_tested():
    assert COMMITTED.read_text() == conformance_text(OPERATIONS.values()), "make api writes it anew"


def test_the_reference_has_its_25_operations_and_no_route_is_told_twice():
    table = list(promised())
    assert len(reference()) == 25
    assert len({(one.method, one.path) for one in table}) == len(table)


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_every_operation_has_a_test_that_calls_it(name):
    assert shown_by(OPERATIONS[name], all_tests()), f"no test calls {name}"


@pytest.mark.parametrize("promise", reference(), ids=lambda promise: promise.name)
def test_each_of_the_reference_has_a_real_guest_in_a_test_named_after_it(promise):
    declared = {shape(one.method, one.path): one for one in OPERATIONS.values()}
    operation = declared[promise.shape]
    assert shown_by(operation, all_tests())[0] == f"{NAMED}::test_{python_name(promise)}"


def all_tests(found={}):  # noqa: B006 - read once for all
    if not found:
        found.update(calls_by_name())
    return found


def test_a_test_counts_when_it_calls_itself_or_through_its_own_file():
    module = ast.parse(
        "def test_a(): helper()\ndef helper(): verbs.stop_vm\ndef test_b(): client.start_vm(1)\ndef idle(): reboot_vm"
    )
    names = names_used(module)
    assert "stop_vm" in reached("test_a", names)
    assert "start_vm" in reached("test_b", names)
    assert "reboot_vm" not in reached("test_a", names) | reached("test_b", names)


def test_an_operation_that_is_gone_is_not_done_any_more():
    left = [one for name, one in OPERATIONS.items() if name != "stop_vm"]
    (line,) = [line for line in conformance_text(left).splitlines() if line.startswith("| StopVM ")]
    assert "not yet" in line
    assert "test_" not in line
