"""Regular expressions mean the same by every Python that may run them."""

import ast
import re
from pathlib import Path

import cumulet

SOURCE = Path(cumulet.__file__).parent
UNSURE = re.compile(r"[*+?}]\+|\(\?>")
"""What never goes back: Debian 12's Python (3.11.2) matches too little by it where there are alternatives within."""


def patterns(tree):
    """What a module gives to `re` as it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("re."):
            words = [each.value for each in node.args if isinstance(each, ast.Constant)]
            yield from (each.decode() if isinstance(each, bytes) else str(each) for each in words)


def test_no_pattern_rests_on_what_an_older_python_gets_wrong():
    found = [each for path in SOURCE.rglob("*.py") for each in patterns(ast.parse(path.read_text()))]
    assert len(found) > 50
    assert [each for each in found if UNSURE.search(each)] == []
