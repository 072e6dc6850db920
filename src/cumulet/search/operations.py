"""Search: the API's verb."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final

from msgspec import Meta
from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from cumulet.disks import Disk, Snapshot
from cumulet.networks import Network
from cumulet.operation import Access, Caller, operation
from cumulet.private_images import PrivateImage
from cumulet.projects import Project, is_seen
from cumulet.resource import Resource, Wanted
from cumulet.search.resources import MOST, count_resources, distance, find_named, has_text, score
from cumulet.search.wire import (
    DiskResult,
    ImageResult,
    NetworkResult,
    ProjectResult,
    Result,
    SearchResourcesResponse,
    SecurityGroupResult,
    SnapshotResult,
    VirtualMachineResult,
)
from cumulet.security_groups import SecurityGroup
from cumulet.vm_record import Vm

LONGEST: Final = 100


@operation("GET /v1/resources/search", access=Access.KEY)
def search_resources(
    db: Session, caller: Caller, *, query: Annotated[str, Meta(min_length=1, max_length=LONGEST)]
) -> SearchResourcesResponse:
    """Find projects and what is in them by a text in its id, a hundred at most.

    That is virtual machines, disks and their snapshots, private images, networks and security groups.
    """
    seen = is_seen(caller)
    found = [
        *found_projects(db, query, seen),
        *found_vms(db, query, seen),
        *found_disks(db, query, seen),
        *found_snapshots(db, query, seen),
        *found_images(db, query, seen),
        *found_networks(db, query, seen),
        *found_security_groups(db, query, seen),
    ]
    found.sort(key=lambda one: -one.score)
    return SearchResourcesResponse(results=found[:MOST])


def found_projects(db: Session, text: str, seen: ColumnElement[bool]) -> Iterator[Result]:
    """Show the projects whose ids have a text in them."""
    named = select(Project).where(has_text(Project.id, text), seen)
    projects = db.scalars(named.order_by(distance(Project.id, text), Project.id).limit(MOST)).all()
    counts = count_resources(db, Project.id.in_([one.id for one in projects]))
    for one in projects:
        shown = ProjectResult(id=one.id, resource_count=counts[one.id], create_time=one.created_at)
        yield Result("project", f"projects/{one.id}", score(one.id, text), project=shown)


def found_vms(db: Session, text: str, seen: ColumnElement[bool]) -> Iterator[Result]:
    """Show the VMs whose ids have a text in them."""
    for one in find_named(db, Vm, text, seen):
        shown = VirtualMachineResult(
            project_id=one.project_id,
            id=one.name,
            data_center_id=one.data_center_id,
            gpu_model_id=one.gpu_model_id,
            gpus=one.gpus,
            vcpus=one.vcpus,
            memory_gib=one.memory_gib,
            state=one.state,
            create_time=one.create_time,
        )
        yield Result("virtualMachine", path_of(one, "vms"), score(one.name, text), virtual_machine=shown)


def found_disks(db: Session, text: str, seen: ColumnElement[bool]) -> Iterator[Result]:
    """Show the disks whose ids have a text in them."""
    for one in find_named(db, Disk, text, seen):
        shown = DiskResult(
            project_id=one.project_id,
            id=one.name,
            data_center_id=one.data_center_id,
            size_gib=one.size_gib,
            type=one.type,
            state=one.state,
            create_time=one.create_time,
        )
        yield Result("disk", path_of(one, "disks"), score(one.name, text), disk=shown)


def found_snapshots(db: Session, text: str, seen: ColumnElement[bool]) -> Iterator[Result]:
    """Show the snapshots of disks whose ids have a text in them."""
    there = (
        select(Snapshot, Disk)
        .join(Disk, Disk.id == Snapshot.disk_id)
        .join(Project, Project.id == Disk.project_id)
    )
    named = there.where(
        has_text(Snapshot.name, text), ~Snapshot.deleting, Disk.wanted != Wanted.DELETED, seen
    )
    nearest = named.order_by(distance(Snapshot.name, text), Snapshot.name, Snapshot.id).limit(MOST)
    for one, disk in db.execute(nearest):
        shown = SnapshotResult(
            project_id=disk.project_id,
            disk_id=disk.name,
            id=one.name,
            data_center_id=disk.data_center_id,
            size_gib=one.size_gib,
            create_time=one.create_time,
        )
        path = f"{path_of(disk, 'disks')}/snapshots/{one.name}"
        yield Result("snapshot", path, score(one.name, text), snapshot=shown)


def found_images(db: Session, text: str, seen: ColumnElement[bool]) -> Iterator[Result]:
    """Show the private images whose ids have a text in them."""
    for one in find_named(db, PrivateImage, text, seen):
        shown = ImageResult(
            project_id=one.project_id,
            id=one.name,
            data_center_id=one.data_center_id,
            size_gib=one.size_gib,
            create_time=one.create_time,
        )
        yield Result("image", path_of(one, "images"), score(one.name, text), image=shown)


def found_networks(db: Session, text: str, seen: ColumnElement[bool]) -> Iterator[Result]:
    """Show the networks whose ids have a text in them."""
    for one in find_named(db, Network, text, seen):
        shown = NetworkResult(
            project_id=one.project_id,
            id=one.name,
            data_center_id=one.data_center_id,
            ip_range=one.range,
            gateway=str(one.gateway),
            create_time=one.create_time,
        )
        yield Result("network", path_of(one, "networks"), score(one.name, text), network=shown)


def found_security_groups(db: Session, text: str, seen: ColumnElement[bool]) -> Iterator[Result]:
    """Show the security groups whose ids have a text in them."""
    for one in find_named(db, SecurityGroup, text, seen):
        shown = SecurityGroupResult(
            project_id=one.project_id,
            id=one.name,
            data_center_id=one.data_center_id,
            description=one.description,
        )
        path = path_of(one, "networks/security-groups")
        yield Result("securityGroup", path, score(one.name, text), security_group=shown)


def path_of(one: Resource, collection: str) -> str:
    """Say where the API has a resource."""
    return f"projects/{one.project_id}/{collection}/{one.name}"
