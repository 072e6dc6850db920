"""How a machine goes on that a move has left held still."""

from uuid import uuid4

import libvirt
import pytest

from cumulet.hypervisor.libvirt.live_moves import go_on

VM = uuid4()
ARRIVED = "<vm digest='d' host='h' started='0'/>"
RAN = "<vm digest='d' host='h' started='7'/>"


class Machine:
    """A machine of libvirt's, and the connection that knows it."""

    def __init__(self, state, config):
        self._state, self._config = state, config
        self.done = []

    def lookupByUUID(self, _id):  # noqa: N802 - libvirt's name
        return self

    def UUID(self):  # noqa: N802 - libvirt's name
        return VM.bytes

    def state(self):
        return self._state

    def metadata(self, _kind, _space, which):
        return self._config if which == libvirt.VIR_DOMAIN_AFFECT_CONFIG else RAN

    def setMetadata(self, _kind, text, *_rest):  # noqa: N802 - libvirt's name
        self.done.append("noted" if 'started="7"' in text else text)

    def XMLDesc(self):  # noqa: N802 - libvirt's name
        self.done.append("files")
        return "<domain/>"

    def resume(self):
        self.done.append("resumed")


@pytest.mark.parametrize(
    ("state", "config", "done"),
    [
        (libvirt.VIR_DOMAIN_PAUSED, ARRIVED, ["noted", "files", "resumed"]),
        (libvirt.VIR_DOMAIN_PAUSED, RAN, ["files", "resumed"]),
        (libvirt.VIR_DOMAIN_RUNNING, RAN, []),
    ],
)
def test_one_that_has_arrived_is_noted_as_running_and_all_that_stand_still_go_on(paths, state, config, done):
    machine = Machine((state, libvirt.VIR_DOMAIN_PAUSED_USER), config)
    go_on(machine, VM, paths)
    assert machine.done == done
