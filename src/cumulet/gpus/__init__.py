"""GPUs: which cards the hosts have, which model each is, and whether it is fit for VMs."""

from cumulet.gpus import operations  # noqa: F401 - declares them
from cumulet.gpus.hold import give_back, gpu_specs, gpus_of_vm, hold, hold_just
from cumulet.gpus.inventory import forget_gpus, note_gpus
from cumulet.gpus.model import Gpu
from cumulet.gpus.offered import check_gpu_models_still_offered
from cumulet.gpus.partitions import note_partitions
from cumulet.gpus.reconcile import reconcile_gpu
from cumulet.gpus.room import Asker, gpu_rooms
from cumulet.gpus.views import model_name
from cumulet.gpus.wire import GpuState

__all__ = [
    "Asker",
    "Gpu",
    "GpuState",
    "check_gpu_models_still_offered",
    "forget_gpus",
    "give_back",
    "gpu_rooms",
    "gpu_specs",
    "gpus_of_vm",
    "hold",
    "hold_just",
    "model_name",
    "note_gpus",
    "note_partitions",
    "reconcile_gpu",
]
