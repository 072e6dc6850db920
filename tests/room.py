"""What hosts have left: as the database keeps it, and as it comes to when everything is added up."""

from fractions import Fraction

from sqlalchemy import select

from cumulet.hosts import Host, Reservation
from cumulet.hosts.inventory import HOST_MEMORY_MIB
from cumulet.hosts.model import CORE, HostRoom, PoolRoom


def kept(db):
    """Give cores, memory and its share by host, and what is taken by host and disk pool."""
    rooms = {
        room.host_id: (
            room.data_center_id,
            room.name,
            Fraction(room.free_core_parts, CORE),
            room.free_memory_mib,
            room.free_memory_share,
        )
        for room in db.scalars(select(HostRoom))
    }
    pools = {(one.host_id, one.pool): one.taken_gib for one in db.scalars(select(PoolRoom)) if one.taken_gib}
    return rooms, pools


def counted(db):
    """Add up the same from hosts and reservations."""
    hosts, taken = db.scalars(select(Host)).all(), db.scalars(select(Reservation)).all()
    rooms = {}
    for host in hosts:
        there = [one for one in taken if one.host_id == host.id]
        cores = host.cpus - sum((Fraction(one.vcpus, one.vcpus_per_core) for one in there), Fraction())
        memory = host.memory_mib - HOST_MEMORY_MIB - sum(one.memory_mib for one in there)
        share = memory / host.memory_mib if host.memory_mib else 0
        rooms[host.id] = (host.data_center_id, host.name, cores, memory, share)
    pools: dict = {}
    for one in taken:
        if one.disk_gib:
            pools[one.host_id, one.pool] = pools.get((one.host_id, one.pool), 0) + one.disk_gib
    return rooms, pools
