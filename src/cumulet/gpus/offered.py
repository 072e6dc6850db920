"""Whether the catalogue still has the GPU models in use: VMs would have GPUs that nobody can name any more."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cumulet.catalogue import Catalogue
from cumulet.errors import Invalid
from cumulet.vm_record import Vm


def check_gpu_models_still_offered(db: Session, catalogue: Catalogue) -> None:
    """Refuse a catalogue that lacks a GPU model of some VM; Invalid says what to put back."""
    offered = [one.id for one in catalogue.gpu_models]
    in_use = select(Vm.gpu_model_id, func.count()).where(Vm.gpus > 0).group_by(Vm.gpu_model_id)
    for model_id, count in db.execute(in_use.order_by(Vm.gpu_model_id)):
        if model_id not in offered:
            accepted = (
                f"{model_id!r} among them, because {count} VM{'s have' if count > 1 else ' has'} GPUs of it"
            )
            raise Invalid.field("catalogue: gpu_models", offered, accepted)
