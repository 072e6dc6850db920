import os
import shutil
from ipaddress import IPv4Network
from types import SimpleNamespace

from cumulet.hypervisor.libvirt.facts import read_cpu_group, read_disk_gib, read_routes

GIB = 1 << 30


def test_what_others_take_of_the_disk_is_not_the_hosts_to_give(tmp_path, monkeypatch):
    usage = SimpleNamespace(total=99 * GIB, free=3 * GIB)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert read_disk_gib(tmp_path) == 3
    with (tmp_path / "a.qcow2").open("wb") as disk:
        os.posix_fallocate(disk.fileno(), 0, 2 * GIB)
    usage.free -= 2 * GIB
    assert read_disk_gib(tmp_path) == 3


ROUTES = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
tun0\t000011AC\t00000000\t0001\t0\t0\t50\t0000FFFF\t0\t0\t0
"""


def test_routes_are_read_each_once_without_the_default_one():
    assert read_routes(ROUTES) == (IPv4Network("172.17.0.0/16"), IPv4Network("192.0.2.0/24"))
    assert read_routes(ROUTES.splitlines()[0]) == ()


def capabilities(*features, model="EPYC-Milan", microcode="1"):
    told = "".join(f"<feature name='{name}'/>" for name in features)
    cpu = f"<arch>x86_64</arch><model>{model}</model><vendor>AMD</vendor><microcode version='{microcode}'/>{told}"
    return f"<capabilities><host><cpu>{cpu}</cpu></host></capabilities>"


def test_hosts_are_equals_whose_guests_find_the_same_processor():
    one = read_cpu_group(capabilities("avx2", "pku"))
    assert one == read_cpu_group(capabilities("pku", "avx2", microcode="2"))
    assert one.startswith("EPYC-Milan ")
    unlike = (capabilities("avx2"), capabilities("avx2", "pku", model="EPYC-Genoa"))
    assert len({one, *map(read_cpu_group, unlike)}) == 3
    assert read_cpu_group("<capabilities/>") == "unknown"
