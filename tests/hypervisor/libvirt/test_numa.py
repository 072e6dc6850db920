import dataclasses

import pytest
from tests.hypervisor.libvirt.test_domain_xml import PLAIN

from cumulet.hypervisor import GpuSpec, Topology
from cumulet.hypervisor.libvirt.numa import GuestNode, NumaNode, guest_nodes, read_nodes

NODES = (NumaNode(0, "0-3"), NumaNode(1, "4-7"), NumaNode(2, "8-11"))


def machine(*nodes, vcpus=4, memory_gib=5, topology=None):
    """A machine with a GPU on each of these nodes."""
    gpus = tuple(GpuSpec((f"0000:{bus:02x}:00.0",), node) for bus, node in enumerate(nodes, 1))
    return dataclasses.replace(PLAIN, vcpus=vcpus, memory_mib=memory_gib * 1024, topology=topology, gpus=gpus)


@pytest.fixture
def write_nodes(tmp_path):
    def write(**cpus):
        for name, text in cpus.items():
            (tmp_path / name).mkdir()
            (tmp_path / name / "cpulist").write_text(f"{text}\n")
        (tmp_path / "possible").write_text("0-1\n")
        return tmp_path

    return write


def test_a_host_s_nodes_are_read_in_the_order_of_their_numbers(write_nodes):
    found = read_nodes(write_nodes(node10="16-23", node2="0-7,32-39"))
    assert found == (NumaNode(2, "0-7,32-39"), NumaNode(10, "16-23"))


def test_a_node_without_processors_is_none_to_be_near_to(write_nodes):
    assert read_nodes(write_nodes(node0="0-7", node1="")) == ()


def test_a_host_with_one_node_has_none_to_choose_from(write_nodes):
    assert read_nodes(write_nodes(node0="0-7")) == ()


def test_a_guest_is_on_the_node_of_its_gpus():
    assert guest_nodes(machine(1, 1), NODES) == (GuestNode(NODES[1], range(4), 5 * 1024),)


def test_a_guest_is_shared_out_among_the_nodes_of_its_gpus_memory_in_whole_gib():
    assert guest_nodes(machine(2, 0, 2), NODES) == (
        GuestNode(NODES[0], range(2), 3 * 1024),
        GuestNode(NODES[2], range(2, 4), 2 * 1024),
    )


@pytest.mark.parametrize(
    "spec",
    [
        machine(),
        machine(None, None),
        machine(7),
        machine(0, 1, vcpus=3),
        machine(0, 1, memory_gib=1),
        machine(0, 1, topology=Topology(sockets=1, cores=4, threads=1)),
    ],
    ids=["no GPU", "unknown nodes", "no such node", "odd vCPUs", "too little memory", "one socket asked for"],
)
def test_a_guest_that_cannot_be_shared_out_is_left_to_the_host(spec):
    assert guest_nodes(spec, NODES) == ()
