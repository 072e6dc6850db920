"""Making XML for libvirt."""

from __future__ import annotations

from xml.etree import ElementTree as ET


def element(tag: str, /, *content: ET.Element | str, **attributes: str) -> ET.Element:
    """Make an element with its children or text."""
    made = ET.Element(tag, attributes)
    for part in content:
        if isinstance(part, str):
            made.text = part
        else:
            made.append(part)
    return made


def render(root: ET.Element) -> str:
    """Write an element for libvirt and for people."""
    ET.indent(root)
    return ET.tostring(root, encoding="unicode")
