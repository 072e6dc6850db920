import json
import subprocess
import sys
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import JSON, Boolean, DateTime, Integer, inspect, select, text
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeEngine
from tests.made_up import NOON
from tests.room import counted, kept

from cumulet import migrations, serve
from cumulet.catalogue import StorageClass
from cumulet.db import Database, Row
from cumulet.disks import Disk, DiskState, DiskType
from cumulet.hosts import Host, HostState, HostWanted, Reservation
from cumulet.migrations import migrate
from cumulet.networks import ExternalAddress, Nic
from cumulet.permission import CloudRole
from cumulet.projects.model import ApiKey, User, UserState
from cumulet.reconcile import Due
from cumulet.resource import Wanted
from cumulet.security_groups import SecurityGroup
from cumulet.security_groups.reconcile import group_spec
from cumulet.vms.create.plan import hostname_of

AFTERNOON = NOON + timedelta(hours=1)
ID = "1" * 32
"""Of whatever is beside the point."""

assert serve, "brings in every table"


@pytest.fixture
def empty(database_kind, request, tmp_path):
    """A database without a single table."""
    if database_kind == "sqlite":
        yield Database(f"sqlite:///{tmp_path}/empty.db")
        return
    with request.getfixturevalue("postgres").database() as url:
        database = Database(url)
        yield database
        database.close()


def test_the_steps_lead_to_the_schema_that_the_models_describe(empty):
    migrate(empty)
    with empty.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Row.metadata) == []


def test_migrating_again_changes_nothing(empty):
    for _ in range(2):
        migrate(empty)
    assert set(inspect(empty.engine).get_table_names()) == {*Row.metadata.tables, "alembic_version"}


def test_a_step_that_fails_leaves_the_database_as_it_was(empty):
    with empty.writing() as db:
        db.execute(text("CREATE TABLE vm (id INTEGER)"))
    with pytest.raises(Exception, match="already exists"):
        migrate(empty)
    assert inspect(empty.engine).get_table_names() == ["vm"]


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_of_servers_that_start_together_one_migrates_and_the_others_wait(empty):
    start = "import sys; from cumulet.db import Database; from cumulet.migrations import migrate; "
    command = [sys.executable, "-c", start + "migrate(Database(sys.argv[1]))", empty.url]
    starting = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(3)]
    assert [process.communicate()[1] for process in starting] == [b""] * 3
    assert "vm" in inspect(empty.engine).get_table_names()


def migrate_to(database: Database, revision: str) -> None:
    """Bring a database to an older schema."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.set_main_option("path_separator", "os")
    with database.writing() as db:
        config.attributes["connection"] = db.connection()
        command.upgrade(config, revision)


def fill_every_column(db: Session, table: str, **known: object) -> None:
    """Insert a row that has something of its type in each column."""
    made = {
        column["name"]: made_up(column["type"])
        for column in inspect(db.connection()).get_columns(table)
        if not column["nullable"]
    }
    values = made | known
    names = ", ".join(f'"{name}"' for name in values)
    db.execute(text(f'INSERT INTO "{table}" ({names}) VALUES ({", ".join(f":{n}" for n in values)})'), values)


def made_up(type: TypeEngine[Any]) -> object:
    if isinstance(type, Integer | Boolean):
        return 0 if isinstance(type, Integer) else False
    return NOON.isoformat() if isinstance(type, DateTime) else "{}" if isinstance(type, JSON) else ID


def test_boot_disks_get_rows_with_the_room_that_their_vms_held(empty):
    vm_id, disk_id = uuid4().hex, uuid4().hex
    migrate_to(empty, "0001")
    with empty.writing() as db:
        fill_every_column(db, "user")
        fill_every_column(db, "project", created_by=ID)
        fill_every_column(db, "host")
        shape = {"id": vm_id, "project_id": ID, "host_id": ID, "boot_disk_id": disk_id}
        disk = {"boot_disk_name": "hello-boot", "boot_disk_gib": 7, "storage_class": "NETWORK"}
        fill_every_column(db, "vm", **shape, **disk, started_at=NOON.isoformat())
        fill_every_column(db, "reservation", vm_id=vm_id, host_id=ID, vcpus=2, memory_mib=1024, disk_gib=7)
    migrate(empty)
    with empty.reading() as db:
        assert db.execute(text("SELECT name, image_id FROM vm")).all() == [(ID, ID)]
        (row,) = db.scalars(select(Disk)).all()
        assert (row.id, row.vm_id, row.name) == (UUID(disk_id), UUID(vm_id), "hello-boot")
        assert (row.type, row.state, row.wanted) == (DiskType.BOOT, DiskState.USED, Wanted.KEPT)
        assert (row.size_gib, row.storage_class) == (7, StorageClass.NETWORK)
        held = {
            one.holder_id: (one.vcpus, one.memory_mib, one.disk_gib)
            for one in db.scalars(select(Reservation))
        }
    assert held == {UUID(vm_id): (2, 1024, 0), UUID(disk_id): (0, 0, 7)}


def test_vms_of_an_earlier_version_have_the_logins_that_they_were_created_with(empty):
    migrate_to(empty, "0003")
    with empty.writing() as db:
        fill_every_column(db, "user")
        fill_every_column(db, "project", created_by=ID)
        fill_every_column(db, "host")
        fill_every_column(db, "vm", project_id=ID, host_id=ID, ssh_keys="a key", password_hash="a hash")
    migrate(empty)
    with empty.reading() as db:
        seen = db.execute(text("SELECT keys_in_guest, password_in_guest, boot_log, panic_at FROM vm")).all()
    assert seen == [("a key", "a hash", "", None)]


def test_disks_of_an_earlier_version_lie_in_the_one_pool_there_was_at_the_price_they_had(empty):
    old_vm, new_vm, boot, free, elsewhere = (uuid4().hex for _ in range(5))
    migrate_to(empty, "0008")
    with empty.writing() as db:
        fill_every_column(db, "user")
        fill_every_column(db, "project", created_by=ID)
        fill_every_column(db, "host", disk_gib=321)
        for id, name, price, at in ((old_vm, "old", "0.25", NOON), (new_vm, "new", "0.5", AFTERNOON)):
            shape = {"id": id, "name": name, "project_id": ID, "host_id": ID, "data_center_id": "here"}
            fill_every_column(db, "vm", **shape, storage_price=price, create_time=at.isoformat())
            fill_every_column(db, "reservation", holder_id=id, host_id=ID, vcpus=2, disk_gib=0)
        for id, vm_id, where in ((boot, old_vm, "here"), (free, None, "here"), (elsewhere, None, "there")):
            shape = {"id": id, "name": id, "project_id": ID, "host_id": ID, "data_center_id": where}
            kind = {"type": "BOOT", "storage_class": "LOCAL", "wanted": "KEPT", "state": "READY"}
            fill_every_column(db, "disk", **shape, **kind, vm_id=vm_id)
            fill_every_column(db, "reservation", holder_id=id, host_id=ID, disk_gib=7)
    migrate(empty)
    with empty.reading() as db:
        disks = {disk.id.hex: (disk.pool, disk.gib_price) for disk in db.scalars(select(Disk))}
        held = {one.holder_id.hex: (one.disk_gib, one.pool) for one in db.scalars(select(Reservation))}
        assert db.scalars(select(Host.disk_gib)).all() == [{"local": 321}]
    prices = {boot: "0.25", free: "0.5", elsewhere: "0"}
    assert disks == {id: ("local", Decimal(price)) for id, price in prices.items()}
    assert held == dict.fromkeys((old_vm, new_vm), (0, "")) | dict.fromkeys(prices, (7, "local"))


def test_what_refers_to_vms_and_hosts_outlives_that_step(empty):
    migrate_to(empty, "0008")
    with empty.writing() as db:
        fill_every_column(db, "user")
        fill_every_column(db, "project", created_by=ID)
        fill_every_column(db, "host")
        fill_every_column(db, "vm", id=ID, project_id=ID, host_id=ID)
        fill_every_column(db, "samples", vm_id=ID, packed=b"packed")
    migrate(empty)
    with empty.reading() as db:
        assert db.execute(text("SELECT packed FROM samples")).scalars().all() == [b"packed"]


def test_rules_of_an_earlier_version_are_spelled_in_the_one_way_that_is_accepted_now(empty):
    migrate_to(empty, "0009")
    written = {"id": "x", "protocol": "PROTOCOL_TCP", "ruleType": "RULE_TYPE_INBOUND", "icmpType": ""}
    ranges = {"10.1.2.3/8": "10.0.0.0/8", "fe80::1%x": "fe80::1", "fe80::1%x/64": "fe80::/64", "": ""}
    rules = [written | {"ports": "٢٢:80", "ipRangeCidr": range_} for range_ in ranges]
    with empty.writing() as db:
        fill_every_column(db, "user")
        fill_every_column(db, "project", created_by=ID)
        fill_every_column(db, "security_group", project_id=ID, rules=json.dumps(rules))
    migrate(empty)
    with empty.reading() as db:
        (group,) = db.scalars(select(SecurityGroup)).all()
        assert [rule["ipRangeCidr"] for rule in group.rules] == list(ranges.values())
        assert {rule["ports"] for rule in group.rules} == {"22:80"}
        assert group_spec(group).rules[0].ports == ((22, 80),)


def test_vms_of_an_earlier_version_whose_names_begin_alike_get_hostnames_of_their_own(empty):
    migrate_to(empty, "0009")
    names = {uuid4().hex: name for name in ("a" * 70, "a" * 69, "short")}
    with empty.writing() as db:
        fill_every_column(db, "user")
        fill_every_column(db, "project", created_by=ID)
        fill_every_column(db, "host")
        fill_every_column(db, "router", id=ID, project_id=ID)
        fill_every_column(db, "network", id=ID, project_id=ID, router_id=ID)
        for number, (id, name) in enumerate(names.items()):
            fill_every_column(db, "vm", id=id, project_id=ID, host_id=ID, name=name)
            place = {"mac": str(number), "address": f"10.0.0.{number}"}
            fill_every_column(db, "nic", id=id, vm_id=id, network_id=ID, hostname=name[:63], **place)
    migrate(empty)
    with empty.reading() as db:
        assert {nic.id.hex: nic.hostname for nic in db.scalars(select(Nic))} == {
            id: hostname_of(name) for id, name in names.items()
        }


def test_addresses_of_an_earlier_version_are_known_by_their_numbers(empty):
    migrate_to(empty, "0016")
    with empty.writing() as db:
        for number in (9, 10):
            fill_every_column(db, "external_address", address=f"10.0.0.{number}", holder_id=uuid4().hex)
    migrate(empty)
    with empty.reading() as db:
        found = select(ExternalAddress.address).order_by(ExternalAddress.number.desc())
        assert db.scalars(found).all() == ["10.0.0.10", "10.0.0.9"]


def test_reservations_of_an_earlier_version_say_whose_they_are(empty):
    migrate_to(empty, "0017")
    holders = dict(zip(("vm", "disk", "private_image"), (uuid4().hex for _ in range(3)), strict=True))
    with empty.writing() as db:
        fill_every_column(db, "user")
        fill_every_column(db, "host")
        for table, id in holders.items():
            fill_every_column(db, "project", id=table, created_by=ID)
            fill_every_column(db, table, id=id, project_id=table, host_id=ID)
            fill_every_column(db, "reservation", holder_id=id, host_id=ID, vcpus_per_core=1)
    migrate(empty)
    with empty.reading() as db:
        assert {one.holder_id.hex: one.project_id for one in db.scalars(select(Reservation))} == {
            id: table for table, id in holders.items()
        }


def test_vms_of_an_earlier_version_whose_first_boot_is_done_take_the_secrets_off_their_hosts(empty):
    migrate_to(empty, "0009")
    read, unread = uuid4().hex, uuid4().hex
    with empty.writing() as db:
        fill_every_column(db, "user")
        fill_every_column(db, "project", created_by=ID)
        fill_every_column(db, "host")
        for id, first_boot_at in ((read, NOON.isoformat()), (unread, None)):
            fill_every_column(
                db, "vm", id=id, name=id, project_id=ID, host_id=ID, first_boot_at=first_boot_at
            )
    migrate(empty)
    with empty.reading() as db:
        assert [(due.kind, due.id, due.wakes) for due in db.scalars(select(Due))] == [("vm", UUID(read), 1)]


def test_gpus_of_an_earlier_version_are_cleaned_before_a_vm_gets_them(empty):
    migrate_to(empty, "0020")
    with empty.writing() as db:
        fill_every_column(db, "host")
        for state in ("FREE", "UNFIT"):
            fill_every_column(db, "gpu", id=uuid4().hex, host_id=ID, address=state, state=state)
    migrate(empty)
    with empty.reading() as db:
        found = db.execute(text("SELECT address, state FROM gpu ORDER BY address"))
        assert [tuple(row) for row in found] == [("FREE", "CLEANING"), ("UNFIT", "UNFIT")]


def test_who_owned_the_first_project_goes_on_to_run_the_cloud(empty):
    migrate_to(empty, "0025")
    people = {"owner": ("default", "OWNER"), "editor": ("default", "EDITOR"), "other": ("lab", "OWNER")}
    with empty.writing() as db:
        fill_every_column(db, "user")
        for project in ("default", "lab"):
            fill_every_column(db, "project", id=project, created_by=ID)
        for name, (project, role) in people.items():
            id = uuid4().hex
            fill_every_column(db, "user", id=id, email=name)
            fill_every_column(db, "membership", user_id=id, project_id=project, role=role)
            fill_every_column(db, "api_key", user_id=id, digest=name.encode())
    migrate(empty)
    with empty.reading() as db:
        roles = {user.email: (user.cloud_role, user.state) for user in db.scalars(select(User))}
        keys = db.execute(select(ApiKey.expires_at, ApiKey.project_id, ApiKey.reads_only)).all()
    runs = {name for name, (role, _) in roles.items() if role is CloudRole.OPERATOR}
    assert (runs, {state for _, state in roles.values()}) == ({"owner"}, {UserState.ACTIVE})
    assert keys == [(None, None, False)] * 3


def test_external_addresses_of_an_earlier_version_say_whose_quota_has_them(empty):
    migrate_to(empty, "0042")
    with empty.writing() as db:
        for table in ("user", "host", "project", "vm", "router", "network", "nic"):
            fill_every_column(db, table)
        for address, holder_id in (("192.0.2.1", ID), ("192.0.2.2", uuid4().hex)):
            fill_every_column(db, "external_address", address=address, holder_id=holder_id)
    migrate(empty)
    with empty.reading() as db:
        assert dict(db.execute(select(ExternalAddress.address, ExternalAddress.project_id)).all()) == {
            "192.0.2.1": ID,
            "192.0.2.2": None,
        }


def test_what_hosts_have_left_is_counted_once_and_kept_by_the_database_from_then_on(empty):
    taken = {
        "host_id": ID,
        "vcpus": 3,
        "vcpus_per_core": 8,
        "memory_mib": 1024,
        "disk_gib": 5,
        "pool": "local",
    }
    migrate_to(empty, "0050")
    with empty.writing() as db:
        up = {"state": "UP", "wanted": "UP"}
        fill_every_column(db, "host", **up, id=ID, cpus=4, memory_mib=8192)
        fill_every_column(db, "host", **up, id=uuid4().hex, name="empty", cpus=0, memory_mib=0)
        for _ in range(2):
            fill_every_column(db, "reservation", **taken, holder_id=uuid4().hex)
    migrate(empty)
    for holder_id in (uuid4().hex, uuid4().hex):
        with empty.reading() as db:
            assert kept(db) == counted(db)
        with empty.writing() as db:
            fill_every_column(db, "reservation", **taken, holder_id=holder_id)


def test_hosts_that_were_down_are_silent_since_they_were_last_seen(empty):
    migrate_to(empty, "0035")
    with empty.writing() as db:
        for name in ("UP", "DOWN"):
            fill_every_column(db, "host", id=uuid4().hex, name=name, state=name, problem="no route")
    migrate(empty)
    with empty.reading() as db:
        up, down = db.scalars(select(Host).order_by(Host.name.desc())).all()
    assert (up.state, up.wanted, up.since, up.labels) == (HostState.UP, HostWanted.UP, NOON, {})
    assert (down.state, down.since, down.unheard_since, down.why) == (
        HostState.SILENT,
        NOON,
        NOON,
        "no route",
    )


SERVERS_STOPPED: dict[str, str] = {}
"""Steps that code of the version before does not stand, each with why."""


def test_code_of_the_version_before_stands_each_new_step(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/steps.db")
    script = ScriptDirectory(str(Path(migrations.__file__).parent))
    steps = [step.revision for step in reversed([*script.walk_revisions()])]
    first = steps.index("0043")
    migrate_to(database, "0043")
    for step in steps[first + 1 :]:
        before = columns_of(database)
        migrate_to(database, step)
        after = columns_of(database)
        if step not in SERVERS_STOPPED:
            assert lost_or_asked_for(before, after) == [], f"step {step}"
    database.close()


def columns_of(database: Database) -> dict[tuple[str, str], Any]:
    with database.engine.connect() as connection:
        tables = inspect(connection)
        return {
            (table, column["name"]): column
            for table in tables.get_table_names()
            for column in tables.get_columns(table)
        }


def lost_or_asked_for(before: dict[tuple[str, str], Any], after: dict[tuple[str, str], Any]) -> list[str]:
    """Say what older code would miss, and what it would have to write and does not know."""
    tables = {table for table, _ in before}
    lost = [f"{'.'.join(name)} is gone" for name in before.keys() - after.keys()]
    asked = [
        f"{'.'.join(name)} is asked for"
        for name, column in after.items()
        if name[0] in tables
        and not column["nullable"]
        and column["default"] is None
        and (name not in before or before[name]["nullable"] or before[name]["default"] is not None)
    ]
    return lost + asked
