"""The world outside, with a server and the resolver that the host uses, behind the router of the network that the host is in."""

import socket
import threading

from tests.fabric.guests import Namespace, dns_query, run

ADDRESS = "203.0.113.2"
HOST, ROUTER = "192.168.77.1", "192.168.77.2"
"""In the host's own network; as HOST it goes out."""
METADATA = "169.254.169.254"
"""Where a cloud would tell the host its secrets: the same server."""
NAME = "world.example"
KNOWN = 0x8180
UNKNOWN = 0x8183


def make_world() -> Namespace:
    """Make it, until the end of the process; its packets to elsewhere go by the host."""
    world = Namespace()
    run("ip", "address", "replace", f"{HOST}/24", "dev", world.outer)
    world.give(f"{ROUTER}/24")
    for address in (ADDRESS, METADATA):
        world.ip("address", "add", f"{address}/32", "dev", "lo")
        run("ip", "route", "replace", address, "via", ROUTER)
    world.ip("route", "replace", "default", "via", HOST, "src", ADDRESS)
    world.serve(b"world")
    threading.Thread(target=answer_names, args=(resolver(world),), daemon=True).start()
    return world


def resolver(world: Namespace) -> socket.socket:
    """Where it is asked, so that its answers come from there."""
    with world.entered():
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((ADDRESS, 53))
    return made


def answer_names(resolver: socket.socket) -> None:
    """Know one name, and of all others that they do not exist."""
    while True:
        query, sender = resolver.recvfrom(512)
        resolver.sendto(answer_to(query), sender)


def answer_to(query: bytes) -> bytes:
    question = dns_query(NAME)[12:]
    if query[12:].lower() != question:
        return query[:2] + UNKNOWN.to_bytes(2, "big") + query[4:]
    counts = bytes.fromhex("0001 0001 0000 0000")
    record = bytes.fromhex("c00c 0001 0001 0000003c 0004") + socket.inet_aton(ADDRESS)
    return query[:2] + KNOWN.to_bytes(2, "big") + counts + question + record
