"""The GPUs of a host, and whether they can be given to VMs."""

from __future__ import annotations

from cumulet.doctor.findings import Finding, degraded, ok
from cumulet.doctor.gpus import files
from cumulet.doctor.gpus.files import kept_by
from cumulet.doctor.gpus.steps import (
    Step,
    StepState,
    hugepages_step,
    id_steps,
    kept_step,
    memlock_step,
    moved_steps,
    pages_written,
    vfio_step,
)
from cumulet.doctor.gpus.survey import Survey
from cumulet.hypervisor import HostGpus, Iommu, PciGpu, unfit_causes
from cumulet.hypervisor.gpu_fitness import IOMMU_CAUSES
from cumulet.hypervisor.gpus import KINDS, VENDORS


def judge_gpus(host: HostGpus) -> list[Finding]:
    """The IOMMU, and each GPU."""
    if not host.gpus:
        iommu = "on" if host.iommu is Iommu.ON else f"{host.iommu.value}, and no GPU that needs it"
        return [ok("IOMMU", iommu), ok("GPU", "none")]
    return [judge_iommu(host.iommu), *(judge_gpu(gpu, host.iommu) for gpu in host.gpus)]


def judge_preparation(survey: Survey) -> list[Finding]:
    """What GPUs need of the host besides: nothing on one without any, and of what is kept for VMs only what went wrong."""
    kept = kept_by(survey.ours.get(files.BINDER, ""))
    if not survey.host.gpus and not kept:
        return []
    cards = (kept_step(gpu, survey, written=True) for gpu in survey.host.gpus if gpu.address in kept)
    wrong = (step for step in cards if step.state is not StepState.DONE)
    host = (vfio_step(survey), hugepages_step(survey, pages_written(survey)), memlock_step(survey))
    return [judge_step(step) for step in (*host, *wrong, *id_steps(survey), *moved_steps(survey))]


def judge_step(step: Step) -> Finding:
    """Tell a step of preparing GPUs as a finding."""
    if step.state is StepState.DONE:
        return ok(step.name, step.text)
    cure = "cumulet gpu prepare" if step.state is StepState.TO_DO else step.next
    return degraded(step.name, step.text, cost=step.cost, cure=cure)


def judge_iommu(iommu: Iommu) -> Finding:
    """Whether it keeps devices inside of their VMs."""
    if iommu is Iommu.ON:
        return ok("IOMMU", "on")
    return degraded("IOMMU", iommu.value, cost="GPUs cannot be given to VMs", cure=IOMMU_CAUSES[iommu].cure)


def judge_gpu(gpu: PciGpu, iommu: Iommu) -> Finding:
    """Whether the card itself, and where it is, are fit for VMs."""
    causes = [cause for cause in unfit_causes(gpu, iommu) if cause is not IOMMU_CAUSES.get(iommu)]
    if not causes:
        return ok("GPU", describe_gpu(gpu))
    problems = "; ".join(cause.problem for cause in causes)
    return degraded(
        "GPU",
        f"{describe_gpu(gpu)}: {problems}",
        cost="it cannot be given to VMs",
        cure="; ".join(cause.cure for cause in causes),
    )


def describe_gpu(gpu: PciGpu) -> str:
    """A GPU in a line."""
    first, *_ = gpu.functions
    group = f", IOMMU group {gpu.iommu_group}" if gpu.iommu_group else ""
    vendor = VENDORS[gpu.pci_id[:4]]
    return (
        f"{vendor} {KINDS[first.kind]} {gpu.pci_id} at {gpu.address}{group}, driver {first.driver or 'none'}"
    )
