import re
from decimal import Decimal
from importlib.resources import files
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from cumulet.catalogue import StorageClass, read_catalogue
from cumulet.catalogue.file import parse_catalogue
from cumulet.errors import Invalid, NotFound
from cumulet.hypervisor import CephPool
from cumulet.images.recipes import RECIPES

DATA_CENTER = {
    "id": '"lab"',
    "external_range": '"198.51.100.0/24"',
    "network_range": '"10.9.0.0/16"',
    "ipv4_price_hr": "0.005",
    "network_price_hr": "0.01",
}
POOL = {
    "id": '"own"',
    "storage_classes": '["NETWORK"]',
    "disk_gib_price_hr": "0.0001",
    "snapshot_gib_price_hr": "0",
}
MACHINE_TYPE = {
    "id": '"epyc"',
    "data_center_id": '"lab"',
    "min_vcpu": "1",
    "max_vcpu": "8",
    "min_memory_gib": "1",
    "max_memory_gib": "32",
    "min_vcpu_per_memory_gib": "0.25",
    "max_vcpu_per_memory_gib": "2",
    "vcpu_price_hr": "0.01",
    "memory_gib_price_hr": "0.02",
}


def table(name: str, fields: dict[str, str], **changes: str | None) -> str:
    chosen = {key: value for key, value in (fields | changes).items() if value is not None}
    return f"[[{name}]]\n" + "".join(f"{key} = {value}\n" for key, value in chosen.items())


def data_center(**changes: str | None) -> str:
    return table("data_centers", DATA_CENTER, **changes) + pool()


def pool(**changes: str | None) -> str:
    return table("data_centers.disk_pools", POOL, **changes)


def fast(**changes: str | None) -> str:
    """A second pool, beside the one of `data_center`."""
    fields = {"id": '"fast"', "storage_classes": '["LOCAL"]', "path": '"/mnt/fast"'}
    return pool(**(fields | changes))


def net(**changes: str | None) -> str:
    """A second pool, which lies in Ceph."""
    return fast(**({"id": '"net"', "path": None, "ceph_pool": '"vms"'} | changes))


def only(**changes: str | None) -> str:
    """A data center with just this pool."""
    return table("data_centers", DATA_CENTER) + pool(**changes)


def machine_type(**changes: str | None) -> str:
    return table("machine_types", MACHINE_TYPE, **changes)


def test_without_a_file_there_is_one_data_center_with_one_machine_type() -> None:
    catalogue = read_catalogue(None)
    assert [one.id for one in catalogue.data_centers] == ["local"]
    assert catalogue.find_machine_type("local", "standard").vcpu_price_hr == Decimal("0.0021")
    assert catalogue.data_centers[0].external_range == IPv4Network("198.19.0.0/18")


def test_the_examples_in_the_default_file_are_right() -> None:
    text = files("cumulet.catalogue").joinpath("default.toml").read_text()
    text = text.replace('["LOCAL", "NETWORK"]', "[]")  # the examples' pools serve them
    catalogue = parse_catalogue(re.sub(r"(?m)^#(?=\S)", "", text))
    assert catalogue.data_centers[0].pool_paths == {
        "local": None,
        "fast": Path("/mnt/fast"),
        "nas": Path("/mnt/nas"),
    }
    assert catalogue.data_centers[0].shared_pools == {"nas", "ceph"}
    assert catalogue.data_centers[0].ceph_pools == {"ceph": CephPool("vms", "cumulet")}
    machine_type = catalogue.find_machine_type("local", "sapphire-rapids-l40s")
    assert catalogue.find_gpu_model(machine_type.gpu_model_id).memory_gib == 48
    assert catalogue.image_id("ubuntu-2204-nvidia-535-docker-v20240214") == "debian-12"
    assert set(catalogue.image_aliases.values()) <= RECIPES.keys()


def test_every_value_arrives_exactly() -> None:
    text = data_center(
        resolvers='["192.0.2.53"]',
        latitude="-33.9",
        reachable_networks='["192.168.1.0/24"]',
        reachable_services='["8480/tcp", "123/udp"]',
    ) + machine_type(commitment_discount_percent="{ 12 = 20 }")
    catalogue = parse_catalogue(text)
    (lab,), (epyc,) = catalogue.data_centers, catalogue.machine_types
    assert (lab.resolvers, lab.latitude) == ((IPv4Address("192.0.2.53"),), -33.9)
    assert lab.reachable_networks == (IPv4Network("192.168.1.0/24"),)
    assert lab.reachable_services == ("8480/tcp", "123/udp")
    assert (lab.ipv4_price_hr, lab.network_range) == (Decimal("0.005"), IPv4Network("10.9.0.0/16"))
    assert lab.own_pool.disk_gib_price_hr == Decimal("0.0001")
    assert epyc.commitment_discount_percent == {12: 20}


def test_networks_that_webhooks_may_go_to_are_of_both_kinds() -> None:
    text = 'webhook_networks = ["10.0.0.0/8", "fd00::/8"]\n' + data_center() + machine_type()
    assert list(map(str, parse_catalogue(text).allowed_webhook_networks)) == ["10.0.0.0/8", "fd00::/8"]


def test_each_class_is_served_by_its_pool_and_the_first_of_them_is_what_who_names_none_gets() -> None:
    (lab,) = parse_catalogue(data_center() + fast() + machine_type()).data_centers
    own, fast_pool = lab.disk_pools
    assert list(lab.served_classes.items()) == [(StorageClass.NETWORK, own), (StorageClass.LOCAL, fast_pool)]
    assert (lab.own_pool, lab.pool_paths) == (own, {"own": None, "fast": Path("/mnt/fast")})


def test_a_pool_in_ceph_is_shared_and_is_mounted_nowhere() -> None:
    (lab,) = parse_catalogue(data_center() + net() + machine_type()).data_centers
    assert (lab.own_pool.id, lab.pool_paths, lab.shared_pools) == ("own", {"own": None}, {"net"})
    assert lab.ceph_pools == {"net": CephPool("vms", "cumulet")}


def test_paths_that_only_begin_alike_are_apart() -> None:
    parse_catalogue(
        data_center(id='"other"', external_range='"192.0.2.0/24"')
        + data_center()
        + fast(path='"/mnt/..fast"')
        + machine_type()
    )


def test_what_is_not_offered_is_not_found() -> None:
    catalogue = parse_catalogue(data_center() + machine_type())
    with pytest.raises(NotFound, match="there is no data center 'moon'"):
        catalogue.find_machine_type("moon", "epyc")
    with pytest.raises(
        NotFound, match="no machine type of data center 'lab' called 'cray'; there is only 'epyc'"
    ):
        catalogue.find_machine_type("lab", "cray")
    with pytest.raises(NotFound, match="there is no GPU model 'h100'"):
        catalogue.find_gpu_model("h100")


def test_an_id_that_is_no_alias_stays_as_it_is() -> None:
    catalogue = parse_catalogue(
        "machine_types = []\n" + data_center() + '[image_aliases]\n"ubuntu-2204" = "debian-12"'
    )
    assert (catalogue.image_id("ubuntu-2204"), catalogue.image_id("micro")) == ("debian-12", "micro")


GPU = '[[gpu_models]]\nid = "h100"\nvendor_name = "NVIDIA"\nmodel_name = "H100"\nmemory_gib = '


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("data_centers = 3", "data_centers: 3 is not accepted; expected array"),
        ("", "data_centers is required"),
        ("data_centers = []\nmachine_types = []", "data_centers: [] is not accepted; expected at least one"),
        (data_center(id=None), "data_centers[0].id is required"),
        *(
            (data_center(reachable_services=f'["{one}"]'), f"reachable_services[0]: '{one}' is not accepted")
            for one in ("8480", "tcp/80", "0/tcp", "65536/udp", "22/sctp")
        ),
        *(
            (f'webhook_networks = ["{one}"]\n' + data_center() + machine_type(), f"webhook_networks[0]: '{one}' is not accepted")
            for one in ("10.0.0.1/8", "localhost", "fd00::/129")
        ),
        (data_center(reachable_networks='["192.168.1.1/24"]'), "expected 192.168.1.0/24, which begins"),
        (data_center(id="7"), "data_centers[0].id: 7 is not accepted; expected str"),
        (data_center(id='"Lab"'), "data_centers[0].id: 'Lab' is not accepted"),
        (data_center(renewable_energy='"yes"'), "renewable_energy: 'yes' is not accepted; expected bool"),
        (data_center(external_range='"198.51.100.1/24"'), "external_range: '198.51.100.1/24' is not accepted; expected 198.51.100.0/24, which begins"),
        (data_center(external_range='"198.51.100.0/30"'), "external_range: '198.51.100.0/30' is not accepted; expected at least a /29"),
        (data_center(external_range="5"), "external_range: 5 is not accepted; expected an IPv4 range"),
        (data_center(network_range='"9.9.0.0/16"'), "network_range: '9.9.0.0/16' is not accepted; expected a range inside 10.0.0.0/8"),
        (data_center(external_range='"10.9.1.0/24"'), "network_range: '10.9.0.0/16' is not accepted; expected a range apart"),
        (data_center(resolvers='["dns"]'), "resolvers[0]: 'dns' is not accepted; expected an IPv4 address"),
        (data_center(latitude="91"), "latitude: 91 is not accepted; expected float <= 90"),
        (data_center(latitude="nan"), "data_centers[0].latitude: nan is not accepted; expected float >= -90"),
        (data_center(ipv4_price_hr="-1"), "data_centers[0].ipv4_price_hr: '-1' is not accepted; expected an amount from 0"),
        (data_center(ipv4_price_hr="inf"), "ipv4_price_hr: 'Infinity' is not accepted"),
        (data_center(ipv4_price_hr="nan"), "ipv4_price_hr: 'NaN' is not accepted"),
        (data_center(ipv4_price_hr="1e9"), "ipv4_price_hr: '1E+9' is not accepted"),
        (data_center(ipv4_price_hr="1e-10"), "ipv4_price_hr: '1E-10' is not accepted"),
        (data_center(ipv4_price_hr='"free"'), "ipv4_price_hr: 'free' is not accepted"),
        (data_center(ipv4_price_hr=None), "data_centers[0].ipv4_price_hr is required"),
        (data_center(ipv4price="1"), "data_centers[0].ipv4price: unknown key; known keys are id, supplier_name"),
        ("datacenters = []\n" + data_center() + machine_type(), "datacenters: unknown key; known keys are data_centers"),
        (data_center() + data_center(), "data_centers[1].id: 'lab' is not accepted; expected an id that no other"),
        (data_center() + data_center(id='"two"'), "external_range of 'two': '198.51.100.0/24' is not accepted; expected a range apart from 198.51.100.0/24 of data center 'lab'"),
        (table("data_centers", DATA_CENTER), "data_centers[0].disk_pools is required"),
        (data_center(disk_gib_price_hr="1"), "data_centers[0].disk_gib_price_hr: unknown key"),
        (table("data_centers", DATA_CENTER, disk_pools="[]"), "data_centers[0].disk_pools: [] is not accepted; expected at least one pool"),
        (table("data_centers", DATA_CENTER, disk_pools='["a"]'), "data_centers[0].disk_pools[0]: 'a' is not accepted"),
        (only(id='"a_b"'), "data_centers[0].disk_pools[0].id: 'a_b' is not accepted"),
        (only(storage_classes=None), "data_centers[0].disk_pools[0].storage_classes is required"),
        (only(storage_classes="[]"), "disk_pools.storage_classes: [] is not accepted; expected LOCAL or NETWORK in one of the pools"),
        (only(storage_classes='["local"]'), "disk_pools[0].storage_classes: 'local' is not accepted; expected one of 'LOCAL', 'NETWORK'"),
        (only(storage_classes='["UNKNOWN"]'), "disk_pools[0].storage_classes: 'UNKNOWN' is not accepted"),
        (only(storage_classes='["LOCAL", "LOCAL"]'), "disk_pools[0].storage_classes: 'LOCAL' is not accepted"),
        (only(disk_gib_price_hr=None), "disk_pools[0].disk_gib_price_hr is required"),
        (only(disk_gib_price_hr="-1"), "data_centers[0].disk_pools[0].disk_gib_price_hr: '-1' is not accepted; expected an amount from 0"),
        (only(snapshot_gib_price_hr="1e-10"), "data_centers[0].disk_pools[0].snapshot_gib_price_hr: '1E-10' is not accepted"),
        (only(mount='"/mnt"'), "data_centers[0].disk_pools[0].mount: unknown key; known keys are id, storage_classes, path"),
        (only(path='"/mnt/fast"'), "disk_pools.path: ['/mnt/fast'] is not accepted; expected '' in just one pool"),
        (data_center() + fast(path='""'), "disk_pools.path: ['', ''] is not accepted; expected '' in just one pool"),
        (data_center() + fast(id='"own"'), "data_centers[0].disk_pools[1].id: 'own' is not accepted"),
        (data_center() + fast(storage_classes='["LOCAL", "NETWORK"]'), "disk_pools[1].storage_classes: 'NETWORK' is not accepted; expected a class that no pool serves; 'own' does"),
        *[
            (data_center() + fast(path=f'"{path}"'), f"disk_pools[1].path: {path!r} is not accepted; expected an absolute path, such as /mnt/fast")
            for path in ("mnt/fast", "/", "/mnt/fast/", "//mnt/fast", "/mnt/../fast", "/mnt/.")
        ],
        *[
            (data_center() + fast() + fast(id='"slow"', storage_classes="[]", path=f'"{path}"'), f"disk_pools.path: {path!r} is not accepted; expected a path apart from /mnt/fast")
            for path in ("/mnt/fast", "/mnt/fast/slow", "/mnt")
        ],
        (data_center() + net(path='"/mnt/net"'), "disk_pools[1].path: '/mnt/net' is not accepted; expected '', for the pool lies in Ceph"),
        (data_center() + net(ceph_pool='"vms/a"'), "disk_pools[1].ceph_pool: 'vms/a' is not accepted"),
        (data_center() + net(ceph_user='""'), "disk_pools[1].ceph_user: '' is not accepted"),
        (data_center() + net() + net(id='"more"', storage_classes="[]"), "disk_pools[2].ceph_pool: 'vms' is not accepted; expected a pool that no other has"),
        (only(ceph_pool='"vms"'), "disk_pools.path: [] is not accepted; expected '' in just one pool"),
        (data_center() + machine_type(id='"a_b"'), "machine_types[0].id: 'a_b' is not accepted"),
        (data_center() + machine_type() * 2, "machine_types[1].id: 'epyc' is not accepted"),
        (data_center() + machine_type(data_center_id='"moon"'), "machine_types[0].data_center_id: 'moon' is not accepted; expected one of 'lab'"),
        (data_center() + machine_type(gpu_model_id='"h100"'), "machine_types[0].gpu_model_id: 'h100' is not accepted; expected one of ''"),
        (data_center() + machine_type(max_vcpu="0"), "machine_types[0].max_vcpu: 0 is not accepted; expected int >= 1"),
        (data_center() + machine_type(min_vcpu="9"), "machine_types[0].max_vcpu: 8 is not accepted; expected at least min_vcpu, which is 9"),
        (data_center() + machine_type(max_vcpu="1.5"), "max_vcpu: 1.5 is not accepted; expected int"),
        (data_center() + machine_type(max_vcpu_per_memory_gib="inf"), "max_vcpu_per_memory_gib: inf is not accepted"),
        (data_center() + machine_type(min_vcpu_per_memory_gib="0", max_vcpu_per_memory_gib="0"), "max_vcpu_per_memory_gib: 0 is not accepted; expected more than 0"),
        (data_center() + GPU + "80\n" + machine_type(gpu_model_id='"h100"'), "max_vcpu_per_gpu: 0 is not accepted; expected more than 0"),
        (data_center() + machine_type(vcpus_per_core="0"), "vcpus_per_core: 0 is not accepted; expected int >= 1"),
        (data_center() + machine_type(commitment_discount_percent="{ 2 = 5 }"), "commitment_discount_percent: 2 is not accepted; expected one of 1, 3, 6"),
        (data_center() + machine_type(commitment_discount_percent="{ 1 = 101 }"), "101"),
        (data_center() + GPU + "0", "gpu_models[0].memory_gib: 0 is not accepted; expected int >= 1"),
        (data_center() + (GPU + "80\n") * 2, "gpu_models[1].id: 'h100' is not accepted"),
        (data_center() + "[quotas]\nvm = 1", "quotas.vm: unknown key; known keys are vms, vcpus"),
        (data_center() + "[quotas]\nvms = -1", "quotas.vms: -1 is not accepted; expected int >= 0"),
        (
            data_center() + "[quotas]\ngpus_by_model = { h1 = 1 }",
            "quotas.gpus_by_model: 'h1' is not accepted; expected one of 'nvidia-b300'",
        ),
        (data_center() + '[image_aliases]\n"A B" = "c"', "image_aliases.A B: 'A B' is not accepted"),
        (data_center() + '[image_aliases]\na = "b"\nb = "c"', "image_aliases.a: 'b' is not accepted"),
        ("[[data_centers]\n", "at line 2, column 15"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_key_its_value_and_what_fits(text: str, complaint: str) -> None:
    if "machine_types" not in text:
        text = f"machine_types = []\n{text}"
    with pytest.raises(Invalid) as refused:
        parse_catalogue(text)
    assert complaint in refused.value.message


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(b"x = ", "Invalid value"), (b"\xff", "is not UTF-8 text"), (None, "No such file")],
)
def test_a_mistake_names_the_file(tmp_path: Path, content: bytes | None, complaint: str) -> None:
    path = tmp_path / "mine.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Invalid, match=f"the catalogue {path}.*{complaint}"):
        read_catalogue(path)
