"""The database keeps what each host has left, as hosts and reservations change, whoever changes them."""

import sqlalchemy as sa
from alembic import op

revision = "0051"
down_revision = "0050"
branch_labels = None
depends_on = None

CORE = 288807105787200
OWN_MEMORY_MIB = 1024
HOST_ADDED = f"""
    INSERT INTO host_room
        (host_id, data_center_id, name, memory_mib, free_core_parts, free_memory_mib, free_memory_share)
    SELECT id, data_center_id, name, memory_mib, cpus * {CORE}, memory_mib - {OWN_MEMORY_MIB},
        CASE memory_mib WHEN 0 THEN 0 ELSE CAST(memory_mib - {OWN_MEMORY_MIB} AS FLOAT) / memory_mib END
    FROM host"""  # noqa: S608 - words of ours
HOST_CHANGED = f"""
    UPDATE host_room SET
        data_center_id = NEW.data_center_id,
        name = NEW.name,
        memory_mib = NEW.memory_mib,
        free_core_parts = free_core_parts + (NEW.cpus - OLD.cpus) * {CORE},
        free_memory_mib = free_memory_mib + NEW.memory_mib - OLD.memory_mib,
        free_memory_share = CASE NEW.memory_mib WHEN 0 THEN 0 ELSE
            CAST(free_memory_mib + NEW.memory_mib - OLD.memory_mib AS FLOAT) / NEW.memory_mib END
    WHERE host_id = NEW.id;"""  # noqa: S608 - words of ours
WATCHED = ("data_center_id", "name", "memory_mib", "cpus")
SIZES = ("host_id", "vcpus", "vcpus_per_core", "memory_mib", "disk_gib", "pool")


def taken(sign: str, row: str) -> str:
    """Write how a reservation that comes (`-`) or goes (`+`) changes what its host has left."""
    more = "+" if sign == "-" else "-"
    return f"""
    UPDATE host_room SET
        free_core_parts = free_core_parts {sign} {row}.vcpus * {CORE} / {row}.vcpus_per_core,
        free_memory_mib = free_memory_mib {sign} {row}.memory_mib,
        free_memory_share = CASE memory_mib WHEN 0 THEN 0 ELSE
            CAST(free_memory_mib {sign} {row}.memory_mib AS FLOAT) / memory_mib END
    WHERE host_id = {row}.host_id AND ({row}.vcpus <> 0 OR {row}.memory_mib <> 0);
    INSERT INTO pool_room (host_id, pool, taken_gib)
    SELECT {row}.host_id, {row}.pool, 0 {more} {row}.disk_gib WHERE {row}.disk_gib <> 0
    ON CONFLICT (host_id, pool) DO UPDATE SET taken_gib = pool_room.taken_gib + excluded.taken_gib;"""  # noqa: S608 - words of ours


def differs(columns: tuple[str, ...], apart: str) -> str:
    """Write that one of these columns is another now."""
    return " OR ".join(f"NEW.{column} {apart} OLD.{column}" for column in columns)


def upgrade() -> None:
    """Count what is there once; from then on each change is added."""
    op.create_table(
        "host_room",
        sa.Column("host_id", sa.Uuid(), nullable=False),
        sa.Column("data_center_id", sa.String(), nullable=False),
        sa.Column("name", sa.String().with_variant(sa.String(collation="C"), "postgresql"), nullable=False),
        sa.Column("memory_mib", sa.Integer(), nullable=False),
        sa.Column("free_core_parts", sa.BigInteger(), nullable=False),
        sa.Column("free_memory_mib", sa.Integer(), nullable=False),
        sa.Column("free_memory_share", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["host_id"], ["host.id"], name=op.f("fk_host_room_host_id_host"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("host_id", name=op.f("pk_host_room")),
    )
    op.create_index(
        "ix_host_room_best", "host_room", ["data_center_id", "free_memory_share", "free_core_parts", "name"]
    )
    op.create_table(
        "pool_room",
        sa.Column("host_id", sa.Uuid(), nullable=False),
        sa.Column("pool", sa.String(), nullable=False),
        sa.Column("taken_gib", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["host_id"], ["host.id"], name=op.f("fk_pool_room_host_id_host"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("host_id", "pool", name=op.f("pk_pool_room")),
    )
    op.execute(HOST_ADDED)
    op.execute(f"""
        UPDATE host_room SET
            free_core_parts = free_core_parts - (SELECT COALESCE(SUM(vcpus * {CORE} / vcpus_per_core), 0)
                FROM reservation WHERE reservation.host_id = host_room.host_id),
            free_memory_mib = free_memory_mib - (SELECT COALESCE(SUM(memory_mib), 0)
                FROM reservation WHERE reservation.host_id = host_room.host_id)""")  # noqa: S608 - words of ours
    op.execute(
        "UPDATE host_room SET free_memory_share = CAST(free_memory_mib AS FLOAT) / memory_mib"
        " WHERE memory_mib <> 0"
    )
    op.execute(
        "INSERT INTO pool_room (host_id, pool, taken_gib)"
        " SELECT host_id, pool, SUM(disk_gib) FROM reservation WHERE disk_gib <> 0 GROUP BY host_id, pool"
    )
    keep = keep_on_sqlite if op.get_bind().dialect.name == "sqlite" else keep_on_postgresql
    for statement in keep():
        op.execute(statement)
    op.drop_index("ix_vm_waits_until", "vm")
    waiting = sa.text("waits_until IS NOT NULL")
    op.create_index("ix_vm_waiting", "vm", ["create_time"], sqlite_where=waiting, postgresql_where=waiting)


def keep_on_sqlite() -> list[str]:
    """Write what has the database keep it from now on."""
    watched, sizes = ", ".join(WATCHED), ", ".join(SIZES)
    host_differs, size_differs = differs(WATCHED, "IS NOT"), differs(SIZES, "IS NOT")
    moved = taken("+", "OLD") + taken("-", "NEW")
    return [
        f"CREATE TRIGGER host_added AFTER INSERT ON host BEGIN {HOST_ADDED} WHERE id = NEW.id; END",
        f"CREATE TRIGGER host_changed AFTER UPDATE OF {watched} ON host WHEN {host_differs} BEGIN {HOST_CHANGED} END",
        f"CREATE TRIGGER room_taken AFTER INSERT ON reservation BEGIN {taken('-', 'NEW')} END",
        f"CREATE TRIGGER room_given AFTER DELETE ON reservation BEGIN {taken('+', 'OLD')} END",
        f"CREATE TRIGGER room_changed AFTER UPDATE OF {sizes} ON reservation WHEN {size_differs} BEGIN {moved} END",
    ]


def keep_on_postgresql() -> list[str]:
    """Write the same where a trigger calls a function."""
    bodies = {
        "host_added": f"{HOST_ADDED} WHERE id = NEW.id;",
        "host_changed": HOST_CHANGED,
        "room_taken": taken("-", "NEW"),
        "room_given": taken("+", "OLD"),
        "room_changed": taken("+", "OLD") + taken("-", "NEW"),
    }
    functions = [
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} RETURN NULL; END $$"
        for name, body in bodies.items()
    ]
    call = "FOR EACH ROW {when} EXECUTE FUNCTION {name}()"
    when = {
        "host_changed": f"WHEN ({differs(WATCHED, 'IS DISTINCT FROM')})",
        "room_changed": f"WHEN ({differs(SIZES, 'IS DISTINCT FROM')})",
    }
    events = {
        "host_added": "INSERT ON host",
        "host_changed": "UPDATE ON host",
        "room_taken": "INSERT ON reservation",
        "room_given": "DELETE ON reservation",
        "room_changed": "UPDATE ON reservation",
    }
    triggers = [
        f"CREATE TRIGGER {name} AFTER {event} {call.format(when=when.get(name, ''), name=name)}"
        for name, event in events.items()
    ]
    return functions + triggers
