"""The machines that VMs run on: how full each is, how it stands and why, and taking it out of use; for operators and auditors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from cumulet.errors import CumuletError, Invalid, NotFound
from cumulet.fleet.adding import ASKING, CONNECTING, EXAMINING, FAILED, PREPARING, READING
from cumulet.fleet.operations import cordon_host, drain_host, get_host, list_hosts, uncordon_host
from cumulet.fleet.wire import AskOfHost, DrainHost, HostAnswer
from cumulet.gpus.operations import clean_gpu, list_gpus, offer_gpu, withdraw_gpu
from cumulet.gpus.wire import GpuAnswer, GpuState
from cumulet.hosts import HostState, HostWanted
from cumulet.vms.move_operations import abort_vm_move, list_moves
from cumulet.vms.operations import get_vm
from cumulet.vms.wire import Move
from cumulet.web.listings import MOST
from cumulet.web.site import form, page
from cumulet.web.visit import Gone, Shown, Visit
from cumulet.web.vm_states import OTHER, WORDS, State

HOSTS: Final = "/hosts"
HOST: Final = f"{HOSTS}/{{id:str}}"
STATES: Final = {
    HostState.UP: ("good", "Up"),
    HostState.ADDING: ("wait", "Being added"),
    HostState.CORDONED: ("off", "Cordoned"),
    HostState.DRAINING: ("wait", "Draining"),
    HostState.MAINTENANCE: ("off", "Drained"),
    HostState.SILENT: ("bad", "Silent"),
    HostState.LOST: ("bad", "Lost"),
}
GPU_STATES: Final = {
    GpuState.FREE: ("good", "Free"),
    GpuState.HELD: ("good", "In use"),
    GpuState.CLEANING: ("wait", "Being cleaned"),
    GpuState.UNFIT: ("bad", "Unfit"),
    GpuState.ABSENT: ("bad", "Gone from the bus"),
    GpuState.QUARANTINED: ("bad", "Quarantined"),
}
STEPS: Final = (
    (ASKING, "Its SSH key is asked for, and pinned"),
    (CONNECTING, "What runs there for the server is brought"),
    (PREPARING, "What is missing is installed, and it joins the network"),
    (EXAMINING, "It is examined"),
    (READING, "What it has is written down"),
)
"""What is done with a machine that is added, as its `why` begins and as people call it."""
CENTRAL: Final = {
    (True, True): "here",
    (False, False): "elsewhere",
    (False, True): "being brought here",
    (True, False): "here, going elsewhere",
}
"""Where OVN's databases are, by whether a host has them and whether it is to have them."""
UNKNOWN: Final = ("off", "Unknown")
OF_GPUS: Final = {"withdraw": withdraw_gpu, "offer": offer_gpu, "clean": clean_gpu}
"""What is asked of a card, as the address has it."""
WAYS: Final = (
    ("cordon", "Cordon it", "Nothing new is placed there; what is there stays and runs on."),
    ("drain", "Drain it", "VMs that can go without being stopped move to other hosts; the others stay, with the reason."),
    ("restart", "Drain it, with restarts", "VMs that run are shut down, moved, and started again elsewhere."),
)  # fmt: skip
"""How a host is taken out of use: as the form has it, as people do, and what it means."""


@dataclass(frozen=True, slots=True)
class Moving:
    """A VM on its way to another host."""

    move: Move
    state: State


@page(HOSTS, live=True)
def hosts_page(visit: Visit) -> Shown:
    """List them."""
    hosts = visit.ask(list_hosts, page_size=MOST).hosts
    rows = [(one, state_of(one)) for one in hosts]
    return visit.show("hosts/list.html", rows=rows, moving=moves(visit))


@page(HOST, live=True)
def host_page(visit: Visit) -> Shown:
    """Show one: what is on it, and what can be asked of it."""
    found = visit.ask(get_host, id=visit.names["id"])
    host = found.host
    gpus = visit.ask(list_gpus, host_id=host.id, page_size=MOST).gpus if host.gpus else []
    return visit.show(
        "hosts/host.html",
        host=host,
        state=state_of(host),
        found=found,
        steps=steps_of(host),
        central=CENTRAL[host.central, host.to_be_central],
        stays=sorted(found.stays.items()),
        vms=[(one, State(*WORDS.get(one.state, OTHER))) for one in found.vms],
        gpus=[(one, gpu_state_of(one)) for one in gpus],
        moving=[one for one in moves(visit) if host.id in {one.move.from_host_id, one.move.to_host_id}],
        ways=WAYS,
        is_open=host.wanted is HostWanted.UP,
    )


@form(f"{HOST}/ask", on=host_page)
def ask(visit: Visit) -> Gone:
    """Take it out of use, in one of the ways that there are."""
    way, reason = visit.given("way"), visit.given("reason")
    if way == "cordon":
        visit.ask(cordon_host, id=visit.names["id"], data=AskOfHost(reason=reason))
    elif way in {"drain", "restart"}:
        data = DrainHost(reason=reason, restart=way == "restart")
        visit.ask(drain_host, id=visit.names["id"], data=data)
    else:
        raise Invalid.field("way", way, " or ".join(name for name, _, _ in WAYS))
    return back(visit)


@form(f"{HOST}/uncordon", on=host_page)
def uncordon(visit: Visit) -> Gone:
    """Have it take VMs again."""
    visit.ask(uncordon_host, id=visit.names["id"])
    return back(visit)


@form(f"{HOST}/moves/{{move:str}}/abort", on=host_page)
def abort(visit: Visit) -> Gone:
    """Have a VM stay where it is that is being moved."""
    visit.ask(abort_vm_move, id=visit.names["move"])
    return back(visit)


@form(f"{HOST}/gpus/{{gpu:str}}/{{verb:str}}", on=host_page)
def ask_of_gpu(visit: Visit) -> Gone:
    """Keep a card from further VMs, let them have it again, or have it cleaned."""
    verb = OF_GPUS.get(visit.names["verb"])
    if verb is None:
        raise NotFound.named("verb of a GPU", visit.names["verb"], list(OF_GPUS))
    visit.ask(verb, id=visit.names["gpu"])
    return back(visit)


def back(visit: Visit) -> Gone:
    """Go to the host's page."""
    return Gone(page_of(visit.names["id"]))


def page_of(id: str) -> str:
    """Say where a host's page is."""
    return f"{HOSTS}/{quote(id, safe='')}"


def steps_of(host: HostAnswer) -> Sequence[State]:
    """Show how far a machine is on its way to be a host; nothing of one that is there."""
    if host.state is not HostState.ADDING:
        return ()
    words = host.why.removeprefix(FAILED)
    known = [at for at, (step, _) in enumerate(STEPS) if words.startswith(step)]
    at = (
        known[0] if known else [step for step, _ in STEPS].index(PREPARING)
    )  # which is told in words of its own
    now = "bad" if host.why.startswith(FAILED) else "wait"
    tones = ["good"] * at + [now] + ["off"] * (len(STEPS) - at - 1)
    return [State(tone, means) for tone, (_, means) in zip(tones, STEPS, strict=True)]


def state_of(host: HostAnswer) -> State:
    """Say how a host stands; of one that does not answer also what is asked of it."""
    tone, word = STATES.get(host.state, UNKNOWN)
    hidden = host.state in {HostState.ADDING, HostState.SILENT, HostState.LOST}
    if hidden and host.wanted is not HostWanted.UP:
        word = f"{word}, to be {'cordoned' if host.wanted is HostWanted.CORDONED else 'drained'}"
    return State(tone, word, host.why)


def gpu_state_of(gpu: GpuAnswer) -> State:
    """Say how a GPU is, and what keeps it from VMs."""
    tone, word = GPU_STATES.get(gpu.state, UNKNOWN)
    if gpu.withdrawn:
        tone, word = "off", f"{word}, withdrawn"
    problems = "; ".join(f"{one.problem} ({one.cure})" if one.cure else one.problem for one in gpu.problems)
    return State(tone, word, gpu.waiting_for or problems)


def moves(visit: Visit) -> Sequence[Moving]:
    """Give the moves that are under way, each with how far it is."""
    return [Moving(one, State("wait", "Moving", progress(visit, one))) for one in visit.ask(list_moves).moves]


def progress(visit: Visit, move: Move) -> str:
    """Say how far a move is; empty once it is over."""
    try:
        return visit.ask(get_vm, project_id=move.project_id, id=move.vm_id).vm.waiting_for
    except CumuletError:
        return ""
