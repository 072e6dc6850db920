"""What Prometheus reads, over HTTP from a real server, and read back by Prometheus's own parser."""

from dataclasses import replace
from functools import partial
from uuid import uuid4

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.made_up import NOON, PROJECT, make_cloud, two_pools
from tests.projects.people import add_user
from tests.rest.conftest import serving

from cumulet.catalogue import StorageClass, read_catalogue
from cumulet.gpus.operations import withdraw_gpu
from cumulet.monitoring import read_metrics
from cumulet.permission import CloudRole, Role
from cumulet.projects import admit
from cumulet.reconcile import Due
from cumulet.rest import create_app
from cumulet.vms import operations as verbs

SECRET = "aB1!-hunter2"


def samples(cloud):
    with cloud.database.writing() as db:
        key = str(uuid4())
        add_user(db, key, CloudRole.AUDITOR)
        told = read_metrics(db, key, cloud.clock(), catalogue=cloud.catalogue)
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(told.decode())
        for sample in family.samples
    }


def test_vms_are_counted_by_project_and_state(cloud):
    cloud.running()
    cloud.create(vm_id="other")
    told = samples(cloud)
    assert told["cumulet_vms", "ACTIVE", PROJECT] == 1
    assert told["cumulet_vms", "PENDING", PROJECT] == 1


def test_what_hosts_have_and_what_is_reserved_of_it(cloud):
    cloud.create(vcpus=3, memory_gib=5, boot_disk_size_gib=7)
    told = samples(cloud)
    assert told["cumulet_host_up", "memory-1"] == 1
    assert (told["cumulet_host_vcpus", "memory-1"], told["cumulet_host_reserved_vcpus", "memory-1"]) == (
        64,
        3,
    )
    assert told["cumulet_host_memory_bytes", "memory-1"] == 256 * 2**30
    assert told["cumulet_host_reserved_memory_bytes", "memory-1"] == 5 * 2**30
    assert told["cumulet_host_reserved_disk_bytes", "local", "memory-1"] == 7 * 2**30
    before = told["cumulet_external_addresses_free", "local"]
    cloud.create(vm_id="other")
    assert samples(cloud)["cumulet_external_addresses_free", "local"] == before - 1


def test_disks_are_told_by_pool(database, tmp_path):
    catalogue = two_pools(read_catalogue(None))
    cloud = make_cloud(database, tmp_path, hypervisor="memory:?disk_gib=100", catalogue=catalogue)
    cloud.create_disk("data", 5, storage_class=StorageClass.LOCAL)
    told = samples(cloud)
    for pool, reserved in (("fast", 5), ("local", 0)):
        assert told["cumulet_host_disk_bytes", pool, "memory-1"] == 100 * 2**30
        assert told["cumulet_host_reserved_disk_bytes", pool, "memory-1"] == reserved * 2**30


def test_a_host_that_is_down_is_told(cloud):
    cloud.host.unreachable = True
    cloud.sweep()
    assert samples(cloud)["cumulet_host_up", "memory-1"] == 0


def test_what_is_due_late_overdue_and_failing_is_counted(cloud):
    cloud.create()
    with cloud.database.writing() as db:
        due = db.get_one(Due, ("vm", cloud.row().id))
        due.overdue, due.error = True, "it fails"
    cloud.clock.advance(5)
    told = samples(cloud)
    for name in ("due", "due_late", "due_overdue", "due_failing"):
        assert told[f"cumulet_{name}", "vm"] == 1
    cloud.settle()
    assert ("cumulet_due", "vm") not in samples(cloud)


def test_machines_have_the_names_that_dashboards_of_libvirt_know(cloud):
    cloud.running(vcpus=2, memory_gib=4)
    cloud.measure()
    told = samples(cloud)
    of = ("default", "hello", "memory-1")
    assert {name.removeprefix("libvirt_domain_"): value for (name, *labels), value in told.items() if tuple(labels) == of} == {
        "info_vstate": 1,
        "info_virtual_cpus": 2,
        "info_memory_usage_bytes": 2**30,
        "info_maximum_memory_bytes": 2**32,
        "info_cpu_time_seconds_total": 1.5,
        "block_stats_read_bytes_total": 4096,
        "block_stats_read_requests_total": 1,
        "block_stats_write_bytes_total": 8192,
        "block_stats_write_requests_total": 2,
        "interface_stats_receive_bytes_total": 1500,
        "interface_stats_transmit_bytes_total": 3000,
    }  # fmt: skip
    assert told["cumulet_sample_rows",] == 1


def test_a_machine_that_is_off_is_not_among_them(cloud):
    cloud.running()
    cloud.measure()
    cloud.ask(verbs.stop_vm)
    cloud.pass_time(120)
    assert not any(name.startswith("libvirt_domain_") for name, *_ in samples(cloud))


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
def test_only_the_operator_s_key_opens_it_and_no_secret_is_in_it(cloud):
    cloud.running(password=SECRET, start_script=f"echo {SECRET}")
    with cloud.database.writing() as db:
        add_user(db, "operator", CloudRole.OPERATOR)
        add_user(db, "auditor", CloudRole.AUDITOR)
        add_user(db, "owner", default=Role.OWNER)
    metrics = partial(read_metrics, catalogue=cloud.catalogue)
    app = create_app(
        cloud.database,
        admit=admit,
        provided={},
        operations=[],
        metrics=metrics,
        clock=lambda: NOON,
    )
    with serving(app) as url:
        answers = {
            key: httpx.get(f"{url}/metrics", headers={"authorization": f"Bearer {key}"})
            for key in ("operator", "auditor", "owner", "nobody")
        }
        assert httpx.get(f"{url}/metrics").status_code == 401
    assert {key: answer.status_code for key, answer in answers.items()} == {
        "operator": 200,
        "auditor": 200,
        "owner": 403,
        "nobody": 401,
    }
    assert answers["operator"].headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "cumulet_vms" in answers["operator"].text
    assert SECRET not in answers["operator"].text
    assert cloud.row().password_hash not in answers["operator"].text


def test_gpus_are_counted_by_host_model_and_state(database, tmp_path):
    cloud = make_cloud(database, tmp_path, hypervisor="memory:?gpus=3&gpu_model=H100")
    first, second, third = cloud.host.host_gpus.gpus
    known = replace(second, functions=(replace(second.functions[0], pci_id="10de:2330"),))
    cloud.host.host_gpus = replace(cloud.host.host_gpus, gpus=(first, known, replace(third, answers=False)))
    cloud.sweep()
    told = samples(cloud)
    gpus = {tuple(labels): count for (name, *labels), count in told.items() if name == "cumulet_gpus"}
    assert gpus == {
        ("FREE", "H100 SXM", "memory-1"): 1,
        ("FREE", first.pci_id, "memory-1"): 1,
        ("UNFIT", first.pci_id, "memory-1"): 1,
    }


def test_gpus_that_are_withdrawn_or_faulty_are_counted_in_whatever_state_they_are(database, tmp_path):
    cloud = make_cloud(database, tmp_path, hypervisor="memory:?gpus=3&gpu_model=H100")
    cloud.sweep()
    first, *others = cloud.host.host_gpus.gpus
    cloud.call(withdraw_gpu, id=f"memory-1:{first.address}")
    cloud.host.host_gpus = replace(cloud.host.host_gpus, gpus=(replace(first, errors=1), *others))
    cloud.sweep()
    told = samples(cloud)
    assert told["cumulet_gpus_withdrawn", first.pci_id, "memory-1"] == 1
    assert told["cumulet_gpus_faulty", first.pci_id, "memory-1"] == 1
    assert told["cumulet_gpus", "QUARANTINED", first.pci_id, "memory-1"] == 1
