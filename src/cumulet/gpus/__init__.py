"""GPUs: which cards the hosts have, which model each is, and whether it is fit for VMs."""

from cumulet.gpus import operations  # noqa: F401 - declares them
from cumulet.gpus.inventory import note_gpus
from cumulet.gpus.model import Gpu
from cumulet.gpus.views import model_name
from cumulet.gpus.wire import GpuState

__all__ = ["Gpu", "GpuState", "model_name", "note_gpus"]
