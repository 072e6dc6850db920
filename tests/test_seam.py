"""The seam between the cloud and its hosts: whose files, processes and sockets each module may touch."""

import ast
import enum
import pkgutil
import subprocess
import sys
import typing
from dataclasses import is_dataclass
from datetime import datetime
from importlib import import_module
from inspect import isfunction, signature
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from uuid import UUID

import pytest

import cumulet.hypervisor
from cumulet.doctor.calls import CALLS

SOURCE = Path(cumulet.__file__).parent
HOST = (
    "doctor",
    "hypervisor/ceph_client.py",
    "hypervisor/fabric_manager.py",
    "hypervisor/file_content.py",
    "hypervisor/gpu_cleaning.py",
    "hypervisor/libvirt",
    "hypervisor/mortal.py",
    "hypervisor/mounts.py",
    "hypervisor/pci.py",
    "hypervisor/vfio.py",
    "line/arrive.py",
    "line/helper.py",
    "line/relay.py",
    "line/run.py",
    "serve/helper.py",
)
"""What runs where the host is."""
SERVER = {
    "__main__.py": "its end",
    "call/awaited.py": "its event loop",
    "call/turns.py": "its event loop",
    "catalogue/file.py": "the operator's catalogue",
    "catalogue/gpu_models.py": "the table of GPU models that comes along",
    "console/": "sockets of people, and those that a host opened",
    "db.py": "its database",
    "fabric/ovn/": "OVN's databases, and what asks them",
    "feed/": "its event loop",
    "line/": "sockets that lead to helpers, its ssh, and what it brings to hosts",
    "images/": "its store of images, and where it builds them",
    "projects/bootstrap.py": "the first key",
    "projects/identity_provider.py": "the identity provider, and the file with its secret",
    "rest/": "its listener",
    "sealing.py": "the key that seals secrets",
    "secret_files.py": "files with secrets, made once",
    "self_signed.py": "its certificate, and the authority's",
    "serve/alone.py": "its lock",
    "serve/build.py": "its data directory",
    "serve/manager.py": "the socket of the service manager that started it",
    "serve/power.py": "the operator's command that cuts a host's power",
    "serve/run.py": "its end",
    "serve/ssh_key.py": "its key for SSH to hosts",
    "web/": "its pages",
    "webhooks/": "sockets of receivers",
}
"""What touches the machine that the server runs on, and what of it."""
CLIENT = {"cli/": "the machine of whoever types the command"}
MADE_UP = {
    "hypervisor/consoles.py": "names sockets",
    "hypervisor/carrier.py": "sockets that it is given",
    "hypervisor/content.py": "sockets that it is given",
    "hypervisor/disks.py": "names sockets",
    "hypervisor/images.py": "names sockets",
    "hypervisor/journey.py": "sockets that it is given",
    "hypervisor/live_moves.py": "names sockets",
    "hypervisor/memory": "what a test gave it",
    "hypervisor/streams.py": "sockets that it is given",
}
MODULES = frozenset(
    {"os", "subprocess", "socket", "shutil", "fcntl", "tempfile", "signal", "resource", "asyncio"}
)
ADDRESSES = frozenset({"AF_INET", "AF_INET6", "inet_aton", "inet_ntoa", "inet_ntop", "inet_pton"})
"""Of the socket module, what only reads and writes addresses."""
CALLED = frozenset({
    "open", "mkdir", "touch", "unlink", "rename", "rmdir", "iterdir", "glob", "rglob", "read_text", "read_bytes",
    "write_text", "write_bytes", "chmod", "samefile", "symlink_to", "hardlink_to", "readlink", "is_file", "is_dir",
    "is_mount", "lstat",
})  # fmt: skip
PLAIN = (
    str, bytes, int, float, bool, type(None), Path, UUID, datetime, IPv4Address, IPv4Network, IPv4Interface,
)  # fmt: skip
BOUNDARY = [
    f"cumulet.hypervisor.{found.name}"
    for found in pkgutil.iter_modules(cumulet.hypervisor.__path__)
    if not found.name.startswith(("memory", "libvirt"))
]
LINES = {
    "on_change",
    "open_screen",
    "open_serial",
    "receive",
    "send",
    "receive_copy",
    "send_copy",
    "open_gate",
    "enter",
    "leave",
}
"""Verbs that open a line of their own, or keep one open."""
IN_THE_BUNDLE = (
    "cumulet.errors", "cumulet.doctor", "cumulet.hypervisor", "cumulet.line", "msgspec", "pycdlib", "structlog",
)  # fmt: skip
"""What is brought to a host, beside Python and libvirt's own module."""
LOAD = """
import importlib, pkgutil, sys

class Bare:
    def find_spec(self, name, path=None, target=None):
        whole = name.split(".")
        if whole[0] not in {*sys.stdlib_module_names, "libvirt", "libvirt_qemu", "libvirtmod", "libvirtmod_qemu"} and \
                name != "cumulet" and not any(name == one or name.startswith(one + ".") for one in sys.argv[1:]):
            raise ModuleNotFoundError(f"{name} is not on a host", name=name)

sys.meta_path.insert(0, Bare())
import cumulet.doctor, cumulet.hypervisor.libvirt, cumulet.line
for package in (cumulet.doctor, cumulet.hypervisor.libvirt, cumulet.line):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
        print(module.name)
assert not any(name.startswith("cumulet.hypervisor.memory") for name in sys.modules)
"""


def touches(tree):
    """What in a module goes to files, processes or sockets."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from {alias.name.partition(".")[0] for alias in node.names} & MODULES
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES:
            if {alias.name for alias in node.names} - ADDRESSES:
                yield node.module
        elif isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            yield from {name} & CALLED


def test_whatever_touches_files_processes_or_sockets_stands_where_it_is_said_whose_those_are():
    known = (*HOST, *SERVER, *CLIENT, *MADE_UP)
    found = {
        name: sorted(set(found))
        for path in SOURCE.rglob("*.py")
        if not (name := str(path.relative_to(SOURCE))).startswith(known)
        and (found := list(touches(ast.parse(path.read_text()))))
    }
    assert found == {}


@pytest.mark.parametrize("line", ["import os", "from subprocess import run", "path.read_text()", "open('a')"])
def test_that_would_be_seen(line):
    assert list(touches(ast.parse(line)))


def test_what_runs_on_a_host_loads_without_the_cloud():
    argv = (sys.executable, "-c", LOAD, *IN_THE_BUNDLE)
    loaded = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()
    assert {"cumulet.doctor.supervisor", "cumulet.hypervisor.libvirt.host", "cumulet.line.helper"} <= set(
        loaded
    )


def verbs():
    """All that may be asked of a host for its machines."""
    for module in (cumulet.hypervisor, *map(import_module, BOUNDARY)):
        for kind in vars(module).values():
            if getattr(kind, "_is_protocol", False) and kind.__module__.startswith("cumulet.hypervisor"):
                yield from (verb for name, verb in vars(kind).items() if isfunction(verb) and name[0] != "_")


ASKED = {call.__qualname__: call for call in (*CALLS, *verbs())}


@pytest.mark.parametrize("name", sorted(name for name in ASKED if name.rpartition(".")[2] not in LINES))
def test_what_is_asked_of_a_host_and_what_it_answers_is_plain_data(name):
    call = ASKED[name]
    hints = typing.get_type_hints(call)
    for one in {*signature(call).parameters, "return"} - {"self", "report"}:  # who asks may be told meanwhile
        assert is_plain(hints[one]), one


def test_there_are_verbs():
    assert len(ASKED) > 40


def is_plain(kind):
    """Whether a type holds no function, file or connection."""
    if arguments := typing.get_args(kind):
        return all(is_plain(one) for one in arguments if one is not ...)
    if is_dataclass(kind):
        return all(is_plain(hint) for hint in typing.get_type_hints(kind).values())
    return kind in PLAIN or issubclass(kind, enum.Enum)
