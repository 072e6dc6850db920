"""The picture of the layers in docs/layers.svg, drawn from the import contract in pyproject.toml."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
PICTURE: Final = ROOT / "docs/layers.svg"
WIDTH, FLOOR, GAP, MARGIN = 640, 30, 6, 16
STYLE: Final = (
    "rect{fill:#eef3f8;stroke:#5b7a99}"
    "text{font:13px ui-monospace,monospace;fill:#1b2a38;text-anchor:middle;dominant-baseline:central}"
    ".word{font:12px system-ui,sans-serif;fill:#5b7a99}"
)


def floors() -> list[list[str]]:
    """Read the floors, the highest first; those who share one may not import each other."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    house = next(one for one in contracts if one["type"] == "layers" and one["containers"] == ["cumulet"])
    return [[name.strip() for name in floor.split("|")] for floor in house["layers"]]


def draw(house: list[list[str]]) -> str:
    """Draw each floor as a row of boxes."""
    height = 2 * MARGIN + 20 + len(house) * (FLOOR + GAP)
    rows = [
        box for number, floor in enumerate(house) for box in row(floor, top=MARGIN + number * (FLOOR + GAP))
    ]
    word = "each floor imports only from below; boxes side by side know nothing of each other"
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" role="img">',
            "<title>The layers of Cumulet</title>",
            f"<style>{STYLE}</style>",
            '<rect width="100%" height="100%" style="fill:#fff;stroke:none"/>',
            *rows,
            f'<text class="word" x="{WIDTH / 2:g}" y="{height - MARGIN:g}">{word}</text>',
            "</svg>\n",
        )
    )


def row(names: list[str], *, top: int) -> list[str]:
    """Draw one floor's boxes, all equally wide."""
    wide = (WIDTH - 2 * MARGIN - GAP * (len(names) - 1)) / len(names)
    boxes = []
    for place, name in enumerate(names):
        left = MARGIN + place * (wide + GAP)
        boxes.append(f'<rect x="{left:g}" y="{top}" width="{wide:g}" height="{FLOOR}" rx="4"/>')
        boxes.append(f'<text x="{left + wide / 2:g}" y="{top + FLOOR / 2:g}">{name}</text>')
    return boxes
