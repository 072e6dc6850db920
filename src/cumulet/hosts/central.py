"""The look at the network between hosts: it brings OVN's databases to the hosts that are to have them, one step at a time.

    alone on h1 ─ found ▶ h1 ─ join ▶ h1 h2 ─ join ▶ h1 h2 h3        h4 in the place of h2: join h4, part with h2

Nothing is remembered: each look sees on the hosts themselves who has what, takes the first step that is missing, and is
followed by another one. More than half of the databases are there at every moment, so that what is written stays.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import structlog

from cumulet.doctor.calls import Overlay, Place
from cumulet.errors import CumuletError
from cumulet.hosts.overlay import Doctor, Vouching, southbound_at

log = structlog.get_logger()

MOST_AT_ONCE: Final = 16
"""Hosts that are asked at the same time."""
H = TypeVar("H", bound=Hashable)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Seen(Generic[H]):
    """How the network between hosts stands after a look."""

    places: Mapping[H, Place]
    """Of the hosts that answered."""
    members: tuple[str, ...]
    """The addresses of the hosts that have OVN's databases, as far as they answer; () where there is no network."""
    has_more: bool
    """A step was taken, and others may follow."""
    problem: str = ""
    """What keeps the databases from where they are to be."""

    @property
    def central(self) -> frozenset[H]:
        """The hosts that have the databases."""
        return frozenset(id for id, place in self.places.items() if address_of(place) in self.members)


def address_of(place: Place) -> str:
    """Say by which address others reach a host; `""` for one that is alone."""
    return place.overlay.address if place.overlay else ""


class Look(Generic[H]):
    """One look, at the hosts that answer, each by its doctor."""

    def __init__(
        self, doctors: Mapping[H, Doctor], wanted: Collection[H], vouching: Vouching, hold: Callable[[], None]
    ) -> None:
        """`wanted` are to have the databases; `hold` raises when this look is somebody else's by now."""
        self._doctors = doctors
        self._wanted = wanted
        self._vouching = vouching
        self._hold = hold
        read = self._on_each(doctors, lambda one: doctors[one].read_place())
        self.places = {id: place for id, place in read.items() if place.overlay}

    def take(self) -> Seen[H]:
        """Take the first step that is missing."""
        clusters = [place.cluster for place in self.places.values() if place.cluster]
        together = {address for one in clusters if one.takes_part for address in one.members}
        alone = [id for id, place in self.places.items() if place.overlay and not place.overlay.southbound]
        if not together and ({*self._wanted} <= {*alone} or not alone):
            self._on_each(alone, self._ensure_open)
            self._on_each(
                self.places.keys() - {*alone}, lambda one: self._ensure_certified(one, central=False)
            )
            problem = "more than half of the hosts with OVN's databases are away" if clusters else ""
            return self._seen({address_of(self.places[id]) for id in alone}, problem=problem)
        if not together:
            return self._found(alone)
        steps = (self._part_with_lost, self._keep, self._join, self._part_with_unwanted)
        if any(step(together) for step in steps):
            return self._seen(together, has_more=True)
        others = [id for id in self.places if address_of(self.places[id]) not in together]
        self._on_each(others, lambda one: self._ensure(one, self._place(one, together)))
        return self._seen(together)

    def _found(self, alone: list[H]) -> Seen[H]:
        """Make what one host has alone the first part of what several have together."""
        (first,) = alone[:1]
        if len(alone) > 1:
            return self._seen(set(), problem="several hosts have databases of OVN of their own")
        self._hold()
        self._ensure_certified(first, central=True)
        self._doctors[first].found_cluster(address_of(self.places[first]))
        return self._seen({address_of(self.places[first])}, has_more=True)

    def _part_with_lost(self, together: set[str]) -> bool:
        """Part with what a member had that has no databases any more: it joins as a new one."""
        lost = [one for one, place in self.places.items() if not place.cluster]
        return self._part_with({address_of(self.places[id]) for id in lost} & together, together)

    def _part_with_unwanted(self, together: set[str]) -> bool:
        """Part with members that are not to be any, once all that are to be are."""
        wanted = {address_of(self.places[id]) for id in self._wanted if id in self.places}
        if not self._wanted or len(wanted) < len({*self._wanted}):
            return False  # one that does not answer may be any of them
        return self._part_with(together - wanted, together)

    def _part_with(self, parting: set[str], together: set[str]) -> bool:
        for address in sorted(parting):
            for id, place in self.places.items():
                if place.cluster and place.cluster.takes_part and address_of(place) in together - {address}:
                    self._hold()
                    self._doctors[id].part_with(address)
                    return True
        return False

    def _keep(self, together: set[str]) -> bool:
        """Have the members know of all that are to be some: their ports open to those alone."""
        members = [id for id, place in self.places.items() if address_of(place) in together]
        for id in members:
            self._ensure(id, self._place(id, together))
        return False

    def _join(self, together: set[str]) -> bool:
        """Let one more host have the databases too."""
        for id in self._wanted:
            place = self.places.get(id)
            if place and address_of(place) not in together:
                self._hold()
                if place.cluster:  # of a time when it was a member: nobody knows it by that any more
                    self._doctors[id].prepare_host(overlay=self._place(id, together, member=False))
                self._ensure_certified(id, central=True)
                self._doctors[id].prepare_host(overlay=self._place(id, together))
                return True
        return False

    def _place(self, id: H, together: set[str], *, member: bool | None = None) -> Overlay:
        """Say what a host's place is to be."""
        joining = {address_of(self.places[one]) for one in self._wanted if one in self.places}
        members = tuple(sorted(together | joining))
        own = address_of(self.places[id])
        is_member = own in members if member is None else member
        return Overlay(own, southbound_at(members), members if is_member else ())

    def _ensure(self, id: H, wanted: Overlay) -> None:
        """Have a host in its place, with what it serves of the schema that its packages have."""
        self._ensure_certified(id, central=bool(wanted.members))
        place = self.places[id]
        if place.overlay != wanted or (place.cluster and place.cluster.is_outdated):
            self._doctors[id].prepare_host(overlay=wanted)

    def _ensure_open(self, id: H) -> None:
        """Have the host that has the databases alone listen to the others by what it is certified for."""
        if self._ensure_certified(id, central=True):
            self._doctors[id].open_overlay(address_of(self.places[id]))

    def _ensure_certified(self, id: H, *, central: bool) -> bool:
        """Give a host the certificates that it lacks, or is soon without, and say whether there were any."""
        due = list(self._vouching.due(self.places[id], central=central))
        for proof in due:
            self._vouching.certify(self._doctors[id], self.places[id].chassis, proof)
        return bool(due)

    def _on_each(self, ids: Collection[H], ask: Callable[[H], T]) -> dict[H, T]:
        """Ask several hosts at once; those that do not answer are left out, and told of in the log."""
        if not ids:
            return {}
        with ThreadPoolExecutor(min(len(ids), MOST_AT_ONCE), thread_name_prefix="between") as pool:
            asked = {id: pool.submit(ask, id) for id in ids}
        answers = {}
        for id, future in asked.items():
            try:
                answers[id] = future.result()
            except CumuletError as problem:
                log.warning("a host was not looked at", host=str(id), problem=problem.for_operator)
        return answers

    def _seen(self, members: set[str], *, has_more: bool = False, problem: str = "") -> Seen[H]:
        return Seen(self.places, tuple(sorted(members)), has_more, problem)
