"""The world outside: a network beside the host, with a server and the resolver that the host uses."""

import socket
import threading

from tests.fabric.guests import Namespace, dns_query, run

ADDRESS = "203.0.113.2"
HOST = "203.0.113.1"
"""As whom the host goes out."""
NAME = "world.example"
KNOWN = 0x8180
UNKNOWN = 0x8183


def make_world() -> Namespace:
    """Make it, until the end of the process; its packets to elsewhere go by the host."""
    world = Namespace()
    run("ip", "address", "replace", f"{HOST}/24", "dev", world.outer)
    world.give(f"{ADDRESS}/24", HOST)
    world.serve(b"world")
    threading.Thread(target=answer_names, args=(world.udp(53),), daemon=True).start()
    return world


def answer_names(resolver: socket.socket) -> None:
    """Know one name, and of all others that they do not exist."""
    resolver.settimeout(None)
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
