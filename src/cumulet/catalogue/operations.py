"""What the catalogue can answer alone; what needs the free capacity is answered where that is known."""

from __future__ import annotations

from cumulet.catalogue.model import Catalogue
from cumulet.catalogue.views import gpu_model_answer, regions_view
from cumulet.catalogue.wire import ListRegionsResponse, ListVmGpuModelsResponse
from cumulet.operation import Access, operation


@operation("GET /v1/vms/gpu-models", access=Access.OPEN)
def list_vm_gpu_models(catalogue: Catalogue) -> ListVmGpuModelsResponse:
    """List the GPU models that machine types refer to."""
    return ListVmGpuModelsResponse(gpu_models=[gpu_model_answer(one) for one in catalogue.gpu_models])


@operation("GET /v1/regions", access=Access.OPEN)
def list_regions(catalogue: Catalogue) -> ListRegionsResponse:
    """List the regions that data centers are in."""
    return ListRegionsResponse(regions=regions_view(catalogue))
