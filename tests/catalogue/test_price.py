from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from cumulet.catalogue import CommitmentTerm, PricedDisk, price_vm, rates_of, read_catalogue, vm_price_view

CATALOGUE = read_catalogue(None)
LOCAL = CATALOGUE.find_data_center("local")
STANDARD = CATALOGUE.find_machine_type("local", "standard")
UNCOMMITTED = rates_of(STANDARD, LOCAL, CommitmentTerm.NONE)
BOOT_DISK = PricedDisk(10, Decimal("0.000116"))
AMOUNTS = st.decimals(0, 1_000_000, places=9)
QUANTITIES = st.integers(0, 1_000_000)


@given(
    prices=st.tuples(AMOUNTS, AMOUNTS, AMOUNTS, AMOUNTS),
    quantities=st.tuples(QUANTITIES, QUANTITIES, QUANTITIES),
    disks=st.lists(st.builds(PricedDisk, QUANTITIES, AMOUNTS), min_size=1, max_size=9),
    percent=st.integers(0, 100),
    ipv4_addresses=st.integers(0, 8),
)
def test_the_items_add_up_to_the_last_digit(
    prices: tuple[Decimal, ...],
    quantities: tuple[int, ...],
    disks: list[PricedDisk],
    percent: int,
    ipv4_addresses: int,
) -> None:
    vcpu, memory, gpu, ipv4 = prices
    vcpus, memory_gib, gpus = quantities
    rates = rates_of(
        replace(
            STANDARD,
            vcpu_price_hr=vcpu,
            memory_gib_price_hr=memory,
            gpu_price_hr=gpu,
            commitment_discount_percent={12: percent},
        ),
        replace(LOCAL, ipv4_price_hr=ipv4),
        CommitmentTerm.MONTHS_12,
    )
    price = price_vm(
        rates,
        vcpus=vcpus,
        memory_gib=memory_gib,
        gpus=gpus,
        disks=disks,
        ipv4_addresses=ipv4_addresses,
    )
    computing = Fraction(vcpu) * vcpus + Fraction(memory) * memory_gib + Fraction(gpu) * gpus
    storing = sum(Fraction(disk.gib_price) * disk.gib for disk in disks) + Fraction(ipv4) * ipv4_addresses
    assert Fraction(price.total) == computing * (100 - percent) / 100 + storing

    shown = vm_price_view(price)
    items = (shown.total_vcpu_price_hr, shown.total_memory_price_hr, shown.total_gpu_price_hr)
    further = (shown.total_storage_price_hr, shown.ipv4_address_price_hr)
    assert sum(Fraction(item.value) for item in (*items, *further)) == Fraction(shown.total_price_hr.value)


def test_an_example_by_hand() -> None:
    price = price_vm(UNCOMMITTED, vcpus=2, memory_gib=4, gpus=0, disks=[BOOT_DISK], ipv4_addresses=1)
    shown = vm_price_view(price)
    assert shown.vcpu_price_hr.value == "0.0021"
    assert shown.total_vcpu_price_hr.value == "0.0042"
    assert shown.memory_gib_price_hr.value == "0.0035"
    assert shown.total_memory_price_hr.value == "0.014"
    assert (shown.gpu_price_hr.value, shown.total_gpu_price_hr.value) == ("0", "0")
    assert shown.storage_gib_price_hr.value == "0.000116"
    assert shown.total_storage_price_hr.value == "0.00116"
    assert shown.ipv4_address_price_hr.value == "0.0038"
    assert shown.total_price_hr.value == "0.02316"


def test_a_commitment_is_taken_off_gpus_as_off_all_that_computes() -> None:
    with_gpus = replace(
        STANDARD, gpu_price_hr=Decimal("1.99"), commitment_discount_percent={1: 5, 6: 15, 36: 33}
    )
    hourly = {
        CommitmentTerm.NONE: ("1.99", "15.92", "16.0096", "0.0021"),
        CommitmentTerm.MONTHS_1: ("1.8905", "15.124", "15.20912", "0.001995"),
        CommitmentTerm.MONTHS_3: ("1.99", "15.92", "16.0096", "0.0021"),  # no discount, no other price
        CommitmentTerm.MONTHS_6: ("1.6915", "13.532", "13.60816", "0.001785"),
        CommitmentTerm.MONTHS_36: ("1.3333", "10.6664", "10.726432", "0.001407"),
    }
    free_disk = [PricedDisk(10, Decimal(0))]
    for term, (gpu, all_gpus, total, vcpu) in hourly.items():
        rates = rates_of(with_gpus, LOCAL, term)
        price = price_vm(rates, vcpus=16, memory_gib=16, gpus=8, disks=free_disk, ipv4_addresses=0)
        shown = vm_price_view(price)
        assert (shown.gpu_price_hr.value, shown.total_gpu_price_hr.value) == (gpu, all_gpus)
        assert (shown.vcpu_price_hr.value, rates.ipv4) == (vcpu, LOCAL.ipv4_price_hr)
        assert shown.total_price_hr.value == total


def test_each_disk_has_its_own_price_and_the_boot_disk_s_is_shown() -> None:
    disks = [BOOT_DISK, PricedDisk(3, Decimal("0.01"))]
    price = price_vm(UNCOMMITTED, vcpus=0, memory_gib=0, gpus=0, disks=disks, ipv4_addresses=0)
    shown = vm_price_view(price)
    assert (shown.storage_gib_price_hr.value, shown.total_storage_price_hr.value) == ("0.000116", "0.03116")


def test_a_commitment_without_a_discount_costs_the_same() -> None:
    undiscounted = replace(STANDARD, commitment_discount_percent={})
    assert rates_of(undiscounted, LOCAL, CommitmentTerm.MONTHS_60) == UNCOMMITTED


def test_a_vm_without_an_external_address_pays_for_none() -> None:
    price = price_vm(
        UNCOMMITTED, vcpus=0, memory_gib=0, gpus=0, disks=[PricedDisk(0, Decimal(1))], ipv4_addresses=0
    )
    assert vm_price_view(price).ipv4_address_price_hr.value == "0"
    assert price.total == 0
