"""One right request for each operation that changes something: what is there before, and what is sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final, NamedTuple

import pyotp
from tests.crash import network_stories as networks
from tests.crash import test_crash as stories
from tests.crash.gpu_stories import gpu_cloud
from tests.made_up import PROJECT, Cloud, vm_request
from tests.projects.people import add_user, ed25519_line

from cumulet.catalogue import CommitmentTerm
from cumulet.disks.wire import CreateDiskSnapshot, CreateStorageDisk, UpdateDiskDeletionProtection
from cumulet.fleet import member_operations as data_centers
from cumulet.fleet import operations as hosts
from cumulet.fleet.wire import AddHost, AskOfHost, ChooseCentral, DrainHost, LabelHost, LoseHost
from cumulet.gpus import operations as gpus
from cumulet.hosts import register_host
from cumulet.hypervisor.memory import MemoryHypervisor
from cumulet.networks.wire import CreateNetwork
from cumulet.permission import CloudRole, Role
from cumulet.projects import key_operations as keys
from cumulet.projects import operations as projects
from cumulet.projects import password_operations as passwords
from cumulet.projects import session_operations as sessions
from cumulet.projects import user_operations as users
from cumulet.projects.password_wire import AddSecondFactor, ChangePassword, RemoveSecondFactor
from cumulet.projects.people_wire import (
    AddPermission,
    ChangeUser,
    InviteUser,
    PermissionRole,
    RemovePermission,
    UserRole,
)
from cumulet.projects.session_wire import NewLoginCode, OpenSession
from cumulet.projects.wire import CreateProject, CreateSshKey, GenerateApiKey, UpdateProject
from cumulet.quotas import operations as quotas
from cumulet.quotas.wire import SetQuota
from cumulet.security_groups.wire import CreateSecurityGroup, UpdateSecurityGroup
from cumulet.usage.wire import SetSpendLimit
from cumulet.vms import move_operations as moves
from cumulet.vms import operations as vms
from cumulet.vms import wire as vm_wire
from cumulet.webhooks import operations as hooks
from cumulet.webhooks.wire import CreateWebhook, EnableWebhook
from cumulet.wire import Amount

__all__ = ["CHANGES", "Change", "gpu_cloud"]

Sent = Mapping[str, Any]
MOVE: Final = vm_wire.MoveVm(project_id=PROJECT, vm_id="hello")


class Change(NamedTuple):
    """What is there before an operation is asked for, and what is sent, as its function's parameters are called."""

    before: Callable[[Cloud], object]
    sent: Callable[[Cloud], Sent]


def with_bob(cloud: Cloud) -> None:
    """One more user, who is an owner of the project and an operator."""
    with cloud.database.writing() as db:
        add_user(db, "bob", CloudRole.OPERATOR, default=Role.OWNER)


def with_bob_suspended(cloud: Cloud) -> None:
    with_bob(cloud)
    cloud.call(users.suspend_user, id=BOB)


def with_bob_in_local(cloud: Cloud) -> None:
    """One more user, who looks after the data center."""
    data = AddPermission(user_email=BOB, role=PermissionRole.VIEWER)
    cloud.call(data_centers.add_data_center_user_permission, data_center_id="local", data=data)


def with_quota(cloud: Cloud) -> None:
    cloud.call(quotas.set_quota, project_id=PROJECT, name="vms", data=SetQuota(limit=10))


def nothing(_: Cloud) -> None:
    """There need be nothing."""


def always(**sent: Any) -> Callable[[Cloud], Sent]:
    return lambda _: sent


def in_project(**sent: Any) -> Callable[[Cloud], Sent]:
    return always(project_id=PROJECT, **sent)


def in_local(**sent: Any) -> Callable[[Cloud], Sent]:
    return always(data_center_id="local", **sent)


def on(id: str, **sent: Any) -> Callable[[Cloud], Sent]:
    """About a thing of the project."""
    return in_project(id=id, **sent)


def a_host(**sent: Any) -> Callable[[Cloud], Sent]:
    return always(id="memory-1", **sent)


def cordoned(cloud: Cloud) -> None:
    cloud.call(hosts.cordon_host, id="memory-1", data=AskOfHost())


def silent(cloud: Cloud) -> None:
    for host in cloud.hosts.values():
        host.unreachable = True
    cloud.sweep()
    cloud.pass_time(15)


def with_second_host(cloud: Cloud) -> None:
    """A stopped VM, and another host that it could go to."""
    stopped(cloud)
    facts = replace(cloud.host.facts(), name="memory-2")
    with cloud.database.writing() as db:
        row = register_host(db, facts, data_center_id="local", uri="memory:", now=cloud.clock())
        cloud.backends.hosts[row.id] = MemoryHypervisor(facts)


def on_its_way(cloud: Cloud) -> None:
    with_second_host(cloud)
    cloud.call(moves.move_vm, data=MOVE)


def a_gpu(cloud: Cloud) -> Sent:
    return {"id": cloud.call(gpus.list_gpus).gpus[0].id}


def withdrawn(cloud: Cloud) -> None:
    cloud.call(gpus.withdraw_gpu, **a_gpu(cloud))


def with_ssh_key(cloud: Cloud) -> None:
    cloud.call(keys.create_ssh_key, data=CreateSshKey(public_key=ed25519_line(1)))


def an_ssh_key(cloud: Cloud) -> Sent:
    return {"id": cloud.call(keys.list_ssh_keys).ssh_keys[0].id}


def with_api_key(cloud: Cloud) -> None:
    assert cloud.owner, "known while they have one key"
    cloud.call(keys.generate_api_key, data=GenerateApiKey(apikey_id="other"))


def with_session(cloud: Cloud) -> None:
    ticket = cloud.call(sessions.create_login_ticket).ticket
    cloud.call(sessions.open_session, data=OpenSession(ticket=ticket))


def a_session(cloud: Cloud) -> Sent:
    return {"id": cloud.call(sessions.list_sessions).sessions[0].id}


def with_password(cloud: Cloud) -> None:
    cloud.call(passwords.change_password, data=ChangePassword(PASSWORD))


def an_authenticator(cloud: Cloud) -> Sent:
    secret = pyotp.random_base32()
    return {"data": AddSecondFactor(PASSWORD, secret, pyotp.TOTP(secret).at(cloud.clock()))}


def with_second_factor(cloud: Cloud) -> None:
    with_password(cloud)
    cloud.call(passwords.add_second_factor, **an_authenticator(cloud))


def with_project(cloud: Cloud) -> None:
    cloud.call(projects.create_project, data=CreateProject(id="other"))


def with_webhook(cloud: Cloud) -> None:
    cloud.call(hooks.create_webhook, project_id=PROJECT, data=WEBHOOK)


def with_vm_and_disk(cloud: Cloud) -> None:
    cloud.running()
    cloud.create_disk()


def stopped(cloud: Cloud) -> None:
    cloud.running()
    cloud.ask(vms.stop_vm)
    cloud.settle()


BOB: Final = "bob@example.org"
PASSWORD: Final = "correct horse battery"
NETWORK: Final = CreateNetwork(id="backend", data_center_id="local", ip_range="10.1.0.0/24")
GROUP: Final = CreateSecurityGroup(id="web", data_center_id="local", rules=[networks.rule("22")])
WEBHOOK: Final = CreateWebhook(id="chat", url="https://receiver.invalid/hook")
CHANGES: Final[dict[str, Change]] = {
    "generate_api_key": Change(lambda cloud: cloud.owner, always(data=GenerateApiKey())),
    "delete_api_key": Change(with_api_key, always(name="other")),
    "create_login_ticket": Change(nothing, always()),
    "end_session": Change(with_session, a_session),
    "create_login_code": Change(nothing, always(data=NewLoginCode(challenge="c" * 43))),
    "change_password": Change(with_password, always(data=ChangePassword(f"{PASSWORD}!", PASSWORD))),
    "add_second_factor": Change(with_password, an_authenticator),
    "remove_second_factor": Change(with_second_factor, always(data=RemoveSecondFactor(PASSWORD))),
    "reset_user": Change(with_bob, always(id=BOB)),
    "create_ssh_key": Change(nothing, always(data=CreateSshKey(public_key=ed25519_line(1)))),
    "delete_ssh_key": Change(with_ssh_key, an_ssh_key),
    "create_project": Change(nothing, always(data=CreateProject(id="other"))),
    "update_project": Change(with_project, always(id="other", data=UpdateProject(billing_account_id="mine"))),
    "delete_project": Change(with_project, always(id="other")),
    "invite_user": Change(nothing, always(data=InviteUser(email_address=BOB))),
    "change_user": Change(with_bob, always(id=BOB, data=ChangeUser(role=UserRole.AUDITOR))),
    "suspend_user": Change(with_bob, always(id=BOB)),
    "resume_user": Change(with_bob_suspended, always(id=BOB)),
    "remove_user": Change(with_bob, always(id=BOB)),
    "add_project_user_permission": Change(
        nothing, in_project(data=AddPermission(user_email=BOB, role=PermissionRole.EDITOR))
    ),
    "remove_project_user_permission": Change(with_bob, in_project(data=RemovePermission(user_email=BOB))),
    "leave_project": Change(with_bob, in_project()),
    "add_data_center_user_permission": Change(
        nothing, in_local(data=AddPermission(user_email=BOB, role=PermissionRole.EDITOR))
    ),
    "remove_data_center_user_permission": Change(
        with_bob_in_local, in_local(data=RemovePermission(user_email=BOB))
    ),
    "update_vm_deletion_protection": Change(
        Cloud.running, on("hello", data=vm_wire.UpdateVmDeletionProtection(deletion_protection=True))
    ),
    "update_disk_deletion_protection": Change(
        Cloud.create_disk, on("data", data=UpdateDiskDeletionProtection(deletion_protection=True))
    ),
    "set_quota": Change(nothing, in_project(name="vms", data=SetQuota(limit=10))),
    "set_project_spend_limit": Change(nothing, in_project(data=SetSpendLimit(limit=Amount.of(Decimal(10))))),
    "unset_quota": Change(with_quota, in_project(name="vms")),
    "add_host": Change(nothing, always(data=AddHost(destination="root@server2"))),
    "label_host": Change(nothing, a_host(data=LabelHost(labels={"rack": "1"}))),
    "cordon_host": Change(nothing, a_host(data=AskOfHost(reason="new fans"))),
    "drain_host": Change(nothing, a_host(data=DrainHost(reason="new fans"))),
    "uncordon_host": Change(cordoned, a_host()),
    "examine_host": Change(nothing, a_host()),
    "choose_central": Change(nothing, always(data=ChooseCentral(hosts=["memory-1"]))),
    "lose_host": Change(silent, a_host(data=LoseHost(confirm="memory-1"))),
    "remove_host": Change(nothing, a_host()),
    "clean_gpu": Change(nothing, a_gpu),
    "prove_gpu": Change(nothing, a_gpu),
    "withdraw_gpu": Change(nothing, a_gpu),
    "offer_gpu": Change(withdrawn, a_gpu),
    "create_vm": Change(nothing, in_project(data=vm_request())),
    "move_vm": Change(with_second_host, always(data=MOVE)),
    "abort_vm_move": Change(on_its_way, always(id=f"{PROJECT}:hello")),
    "start_vm": Change(stopped, on("hello")),
    "stop_vm": Change(Cloud.running, on("hello")),
    "reboot_vm": Change(Cloud.running, on("hello")),
    "terminate_vm": Change(Cloud.running, on("hello")),
    "connect_vm": Change(Cloud.running, on("hello")),
    "resize_vm": Change(stopped, on("hello", vcpus=3)),
    "commit_vm": Change(
        Cloud.running, on("hello", data=vm_wire.CommitVm(commitment_term=CommitmentTerm.MONTHS_1))
    ),
    "update_vm_metadata": Change(
        Cloud.running, on("hello", data=vm_wire.UpdateVmMetadata(metadata={"a": "b"}))
    ),
    "update_vm_expire_time": Change(Cloud.running, on("hello", data=vm_wire.UpdateVmExpireTime(ttl="30s"))),
    "update_vm_password": Change(
        Cloud.running, on("hello", data=vm_wire.UpdateVmPassword(password="aB1!56"))
    ),
    "update_vm_authorized_ssh_keys": Change(
        Cloud.running,
        on("hello", data=vm_wire.UpdateVmAuthorizedSshKeys(custom_ssh_keys=[ed25519_line(1)])),
    ),
    "create_storage_disk": Change(
        nothing, in_project(data=CreateStorageDisk(data_center_id="local", id="data", size_gib=5))
    ),
    "delete_storage_disk": Change(Cloud.create_disk, on("data")),
    "attach_storage_disk": Change(with_vm_and_disk, on("data", vm_id="hello")),
    "detach_storage_disk": Change(stories.with_disk, on("data")),
    "resize_vm_disk": Change(stories.with_disk, on("hello", disk_id="data", size_gib=20)),
    "create_disk_snapshot": Change(
        stories.stopped_with_disk, on("data", data=CreateDiskSnapshot(snapshot_id="one", vm_id="hello"))
    ),
    "revert_disk": Change(stories.with_snapshot, on("data", snapshot_id="one")),
    "delete_disk_snapshot": Change(stories.with_snapshot, on("data", snapshot_id="one")),
    "create_private_vm_image": Change(Cloud.running, on("golden", vm_id="hello")),
    "update_private_vm_image": Change(stories.with_image, on("golden", description="new")),
    "delete_private_vm_image": Change(stories.with_image, on("golden")),
    "create_network": Change(nothing, in_project(data=NETWORK)),
    "start_network": Change(networks.stopped_network, on("backend")),
    "stop_network": Change(networks.with_network, on("backend")),
    "delete_network": Change(networks.with_network, on("backend")),
    "create_webhook": Change(nothing, in_project(data=WEBHOOK)),
    "enable_webhook": Change(with_webhook, on("chat", data=EnableWebhook())),
    "test_webhook": Change(with_webhook, on("chat")),
    "delete_webhook": Change(with_webhook, on("chat")),
    "create_security_group": Change(nothing, in_project(data=GROUP)),
    "update_security_group": Change(
        networks.with_group, on("web", data=UpdateSecurityGroup(rules=[networks.rule("80")]))
    ),
    "delete_security_group": Change(networks.with_group, on("web")),
    "attach_security_group": Change(networks.with_vm_and_group, on("hello", security_group_id="web")),
    "detach_security_group": Change(networks.with_group_on_vm, on("hello", security_group_id="web")),
}
"""By the name of the function that does it."""
