"""What the fabric manager offers, and that it is told at the right moments, by a stand-in for its command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.hypervisor.pci_trees import hgx_board

from cumulet.hypervisor import GpuPartition, GpusNotJoined, HostGpus, unfit_causes
from cumulet.hypervisor.fabric_manager import join, part, read_modules, with_partitions
from cumulet.hypervisor.pci import read_gpus

MODULES = {1: 4, 2: 6, 3: 5, 4: 7, 5: 0, 6: 2, 7: 1, 8: 3}
"""Which GPU, in the order of addresses, is at each place of an HGX H100 board: nothing that one would guess."""
TABLE = (
    (1, 2, 3, 4, 5, 6, 7, 8),
    (1, 2, 3, 4),
    (5, 6, 7, 8),
    (1, 3),
    (2, 4),
    (5, 7),
    (6, 8),
    *((module,) for module in range(1, 9)),
)
"""The partitions of such a board, by number."""
FMPM = """#!/bin/sh
cd "$(dirname "$0")"
echo "$@" >> asked
case "$1" in
-l) [ -e broken ] && cat broken && exit 1
    sed $(sed 's/.*/-e s,@&@,1,/' active) -e 's,@[0-9]*@,0,' listing ;;
-a) [ -e refusing ] && echo "Failed to activate partition. fmReturn: -4" && exit 252; echo "$2" >> active ;;
-d) grep -vx "$2" active > others; mv others active ;;
esac
"""


class Board:
    """A host with an HGX board and a stand-in for `fmpm`."""

    def __init__(self, folder: Path) -> None:
        self.host: HostGpus = read_gpus(hgx_board(folder / "sys", gpus=8, others=4).root)
        self.addresses = {module: self.host.gpus[place].address for module, place in MODULES.items()}
        self.folder, self.modules = folder, folder / "etc/cumulet/nvidia-smi.txt"
        self.modules.parent.mkdir(parents=True)
        said = [
            f"GPU {long(one)}\n    Platform Info\n        Module Id      : {id}"
            for id, one in self.addresses.items()
        ]
        self.modules.write_text("Attached GPUs : 8\n\n" + "\n\n".join(said))
        self.offer(bus_ids=False)
        (folder / "active").touch()
        (folder / "fmpm").write_text(FMPM)
        (folder / "fmpm").chmod(0o755)

    def offer(self, *, bus_ids: bool) -> None:
        """Let the fabric manager offer its partitions, and know the addresses of GPUs itself or not."""
        gpus = {
            id: {"physicalId": id, "uuid": "", "pciBusId": long(one) if bus_ids else ""}
            for id, one in self.addresses.items()
        }
        partitions = [
            {
                "partitionId": number,
                "isActive": f"@{number}@",
                "numGpus": len(ids),
                "gpuInfo": [gpus[id] for id in ids],
            }
            for number, ids in enumerate(TABLE)
        ]
        (self.folder / "listing").write_text(
            json.dumps({"version": 16909068, "partitionInfo": partitions}, indent=3)
            .replace('"@', "@")
            .replace('@"', "@")
        )

    def read(self) -> HostGpus:
        """Look at it."""
        return with_partitions(self.host, self.folder)

    def at(self, *modules: int) -> list[str]:
        """Say where these modules are."""
        return [self.addresses[one] for one in modules]

    @property
    def active(self) -> list[int]:
        """The partitions that are."""
        return [int(one) for one in (self.folder / "active").read_text().split()]

    @property
    def asked(self) -> list[str]:
        """What the command was told, besides being asked for its list."""
        return [line for line in (self.folder / "asked").read_text().splitlines() if line != "-l"]


def long(address: str) -> str:
    """Write an address as NVIDIA's programs do."""
    return f"0000{address}".upper()


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return Board(tmp_path)


def test_partitions_are_told_by_the_addresses_of_their_gpus(board):
    expected = [GpuPartition(number, tuple(board.at(*ids))) for number, ids in enumerate(TABLE)]
    assert list(board.read().partitions) == expected
    assert board.read().gpus == board.host.gpus


def test_addresses_that_the_fabric_manager_tells_itself_need_no_file(board):
    board.offer(bus_ids=True)
    board.modules.unlink()
    assert board.read().partitions[1].addresses == tuple(board.at(1, 2, 3, 4))


def test_a_host_without_a_fabric_manager_has_none(board, monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert board.read() == board.host
    join(board.at(1), board.folder)
    part(board.at(1)[0], board.folder)


@pytest.mark.parametrize(
    ("breaking", "why"),
    [
        pytest.param(
            lambda board: board.modules.unlink(),
            "which GPU is module 1 of the fabric manager is not known",
            id="nobody wrote down which module is where",
        ),
        pytest.param(
            lambda board: (board.folder / "broken").write_text(
                "Failed to connect to Fabric Manager instance.\n"
            ),
            "fmpm -l: Failed to connect to Fabric Manager instance.",
            id="it does not answer",
        ),
        pytest.param(
            lambda board: (board.folder / "listing").write_text(
                '{"partitionInfo": [{"partitionId": 0, "isActive": 0}]}'
            ),
            "fmpm -l: Object missing required field",
            id="it says what is not known",
        ),
        pytest.param(
            lambda board: setattr(board, "host", replace(board.host, gpus=board.host.gpus[1:])),
            "the fabric manager has a GPU at 0000:",
            id="cards are elsewhere than they were",
        ),
    ],
)
def test_gpus_whose_partitions_are_not_known_are_unfit_and_say_why(board, breaking, why):
    breaking(board)
    found = board.read()
    assert found.partitions == ()
    for gpu in found.gpus:
        (cause,) = [one for one in unfit_causes(gpu, found.iommu) if "NVSwitches" in one.problem]
        assert why in cause.problem


def test_a_machine_gets_the_partition_of_exactly_its_gpus_active_once(board):
    for _ in range(2):
        join(board.at(4, 2), board.folder)
    assert board.asked == ["-a 4"]
    join(board.at(1), board.folder)
    assert board.active == [4, 7]


def test_what_is_joined_is_parted_when_one_of_it_is_given_back(board):
    join(board.at(1, 2, 3, 4), board.folder)
    join(board.at(5, 7), board.folder)
    part(board.at(3)[0], board.folder)
    part(board.at(4)[0], board.folder)
    assert board.asked == ["-a 1", "-a 5", "-d 1"]
    assert board.active == [5]


def test_a_vm_that_has_more_than_before_loses_its_earlier_partition(board):
    join(board.at(1, 3), board.folder)
    join(board.at(1, 2, 3, 4), board.folder)
    assert board.asked == ["-a 3", "-d 3", "-a 1"]


def test_a_partition_that_has_gpus_of_others_is_left_alone(board):
    join(board.at(1, 2, 3, 4), board.folder)
    with pytest.raises(
        GpusNotJoined, match="partition 1, which has some GPUs of partition 3, is still active"
    ):
        join(board.at(1, 3), board.folder)
    assert board.active == [1]


@pytest.mark.parametrize("modules", [(1, 2), (1, 2, 3)])
def test_gpus_that_are_no_partition_are_refused(board, modules):
    with pytest.raises(GpusNotJoined, match="no partition has exactly the GPUs 0000:"):
        join(board.at(*modules), board.folder)
    assert board.active == []


def test_what_the_fabric_manager_refuses_is_told_in_its_words(board):
    (board.folder / "refusing").touch()
    with pytest.raises(
        GpusNotJoined, match=r"fmpm -a 3: Failed to activate partition\. fmReturn: -4"
    ) as refusal:
        join(board.at(1, 3), board.folder)
    assert "fmpm" not in refusal.value.for_owner


def test_other_functions_and_other_cards_of_a_machine_do_not_matter(board):
    join([*board.at(1, 3), board.at(1)[0].replace(".0", ".1"), "0000:ff:00.0"], board.folder)
    assert board.active == [3]


def test_gpus_that_no_partition_has_are_nobody_s_business(board):
    join(["0000:ff:00.0"], board.folder)
    assert board.asked == []


@pytest.mark.parametrize("word", ["Module ID", "Module Id", "GPU Module Id"])
def test_modules_are_read_as_different_versions_write_them(tmp_path, word):
    path = tmp_path / "nvidia-smi.txt"
    path.write_text(
        f"GPU 00000000:3B:00.0\n    Product Name : H100\n    {word}    : 7\nGPU 00010000:41:00.0\n   {word} : 2\n"
    )
    assert read_modules(path) == {7: "0000:3b:00.0", 2: "10000:41:00.0"}
