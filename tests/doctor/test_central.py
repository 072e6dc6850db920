"""OVN's databases that several hosts have together, as real servers of one machine that hear each other by sockets."""

import json
import subprocess
from dataclasses import replace

import pytest
from tests.fabric.northbound import serve_database
from tests.waiting import eventually

from cumulet.doctor.central import bring_to_schema, is_outdated
from cumulet.doctor.command import output_of
from cumulet.doctor.daemon_specs import NORTHBOUND

PATIENT = "--election-timer=30000"
"""Milliseconds: no other leader is chosen because this machine is busy."""
CONTENT = json.dumps(
    ["OVN_Northbound", {"op": "insert", "table": "Logical_Switch", "row": {"name": "of-before"}}]
)
SWITCHES = json.dumps(
    ["OVN_Northbound", {"op": "select", "table": "Logical_Switch", "where": [], "columns": ["name"]}]
)


def schema_without(table, column, *, version, at):
    """Write the northbound schema as it was before it had a column."""
    schema = json.loads(NORTHBOUND.schema.read_text())
    del schema["tables"][table]["columns"][column]
    at.write_text(json.dumps(schema | {"version": version}))
    return at


@pytest.fixture
def older(tmp_path):
    return schema_without("NB_Global", "ipsec", version="5.9.0", at=tmp_path / "older.ovsschema")


@pytest.fixture
def members(tmp_path, older):
    """Three that have a database of the older schema together; the first one leads."""
    members = [replace(NORTHBOUND, socket=str(tmp_path / f"{name}.sock")) for name in "abc"]
    addresses = [f"unix:{tmp_path}/{name}.raft" for name in "abc"]
    files = [tmp_path / f"{name}.db" for name in "abc"]
    servers = []
    try:
        output_of("ovsdb-tool", PATIENT, "create-cluster", str(files[0]), str(older), addresses[0])
        servers.append(serve_database(tmp_path, "a"))
        ask(members[0], "transact", CONTENT)
        for name, file, address in zip("bc", files[1:], addresses[1:], strict=True):
            output_of("ovsdb-tool", "join-cluster", str(file), NORTHBOUND.name, address, addresses[0])
            servers.append(serve_database(tmp_path, name))
        for member in members:
            client("wait", f"unix:{member.socket}", NORTHBOUND.name, "connected")
        yield members
    finally:
        for server in servers:
            server.kill()
            server.wait()


def client(*words):
    argv = ["ovsdb-client", "--timeout=60", "--no-leader-only", *words]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def ask(member, verb, *words):
    return client(verb, f"unix:{member.socket}", *words)


def version_at(member):
    return ask(member, "get-schema-version", NORTHBOUND.name).strip()


def test_a_database_that_is_served_by_three_is_brought_to_a_newer_schema_by_any_and_keeps_its_content(
    members,
):
    newer = output_of("ovsdb-tool", "schema-version", str(NORTHBOUND.schema)).strip()
    assert {version_at(member) for member in members} == {"5.9.0"}
    assert is_outdated(members[2])
    bring_to_schema(members[1])
    assert not is_outdated(members[1])
    eventually(lambda: {version_at(member) for member in members} == {newer})
    for member in members:
        assert "ipsec" in ask(member, "list-columns", NORTHBOUND.name, "NB_Global")
        assert "of-before" in ask(member, "transact", SWITCHES)


def test_a_member_with_earlier_packages_does_not_take_a_newer_schema_back(members, older):
    bring_to_schema(members[0])
    newer = version_at(members[0])
    eventually(lambda: version_at(members[2]) == newer)
    bring_to_schema(replace(members[2], schema=older))
    assert version_at(members[0]) == newer
