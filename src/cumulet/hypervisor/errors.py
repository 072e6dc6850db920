"""How a host refuses."""

from __future__ import annotations

from cumulet.errors import Failure, NotAtOnce, Unavailable


class HypervisorError(Failure):
    """The host refused or failed to do what was asked."""

    for_owner = "the host failed to do it, and the operator's log says why"


class HostUnreachable(HypervisorError, Unavailable):
    """The host does not answer now; nothing is known about what runs there."""

    for_owner = "the host does not answer"


class HostLost(HostUnreachable, NotAtOnce):
    """The host stopped to answer under this very call: whether it was done nobody knows, and it may be the reason."""


class GuestSilent(HypervisorError):
    """The guest's agent does not answer: the guest is off, boots, hangs, or has none."""

    for_owner = "the guest's agent does not answer"


class GuestRefused(HypervisorError):
    """The guest's agent answers that it will not or cannot, in words of its own; asking again is of no use."""

    for_owner = ""


class OlderTerm(HypervisorError):
    """Whoever asks knows of an earlier term of the VM than its host does: it has been moved since."""

    for_owner = "it has been moved to another host"


class MachineOff(HypervisorError):
    """What was asked for takes a machine that runs."""

    for_owner = "the machine is not running"


class GpuInUse(HypervisorError):
    """A machine, or something else on the host, has the GPU open."""

    for_owner = "the GPU is still in use"


class GpuMissing(HypervisorError):
    """A GPU that a machine is to have is not on its host, or no more the one that it was."""

    for_owner = "a GPU of it is not on its host any more"


class GpuUnclean(HypervisorError):
    """The GPU could not be bound or reset, or is not healthy after it; the message says which and how that shows."""

    for_owner = "the GPU is not as new"


class GpusNotJoined(HypervisorError):
    """What joins GPUs beside PCI does not answer, or refuses, or it is not known which GPUs it means."""

    for_owner = "the GPUs of the VM cannot be joined now, and the operator's log says why"
