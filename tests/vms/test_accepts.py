import pytest

from cumulet.errors import Refused
from cumulet.vm_record.accepts import SHORT_STATES, Verb, accept, accepts
from cumulet.vm_record.wire import VmState
from cumulet.vms.reconcile.observe import STATES

KNOWN_TO_CLIENTS = {"pend", "prol", "boot", "runn", "stop", "poff", "done", "fail"}
ACCEPTED = {
    (Verb.START, VmState.STOPPED): "VM_NOT_STOPPED",
    (Verb.STOP, VmState.ACTIVE): "VM_NOT_ACTIVE",
    (Verb.STOP, VmState.FAILED): "VM_NOT_ACTIVE",
    (Verb.REBOOT, VmState.ACTIVE): "VM_NOT_ACTIVE",
    (Verb.RESIZE, VmState.STOPPED): "VM_NOT_STOPPED",
    (Verb.SET_PASSWORD, VmState.ACTIVE): "VM_NOT_ACTIVE",
    (Verb.AUTHORIZE, VmState.ACTIVE): "VM_NOT_ACTIVE",
    (Verb.CONNECT, VmState.ACTIVE): "VM_NOT_ACTIVE",
    (Verb.SCREENSHOT, VmState.ACTIVE): "VM_NOT_ACTIVE",
}


@pytest.mark.parametrize("state", VmState, ids=lambda state: state.value)
@pytest.mark.parametrize("verb", Verb, ids=lambda verb: verb.value)
def test_each_verb_is_accepted_in_its_state_and_refused_with_its_reason_in_all_others(verb, state):
    if verb is Verb.TERMINATE or (verb, state) in ACCEPTED:
        assert accepts(verb, state)
        accept(verb, state, "hello")
        return
    assert not accepts(verb, state)
    with pytest.raises(Refused, match=f"cannot {verb.value} VM 'hello': it is {state.value}") as refusal:
        accept(verb, state, "hello")
    assert refusal.value.reason == next(why for (other, _), why in ACCEPTED.items() if other is verb)


@pytest.mark.parametrize(
    "state",
    dict.fromkeys([*STATES.values(), VmState.PENDING, VmState.DELETING, VmState.FAILED, VmState.UNKNOWN]),
    ids=lambda state: state.value,
)
def test_every_state_that_is_ever_shown_has_four_letters_that_clients_know(state):
    assert SHORT_STATES[state] in KNOWN_TO_CLIENTS
