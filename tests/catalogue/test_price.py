from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from cumulet.catalogue import CommitmentTerm, price_vm, rates_of, read_catalogue, vm_price_answer

CATALOGUE = read_catalogue(None)
LOCAL = CATALOGUE.find_data_center("local")
STANDARD = CATALOGUE.find_machine_type("local", "standard")
UNCOMMITTED = rates_of(STANDARD, LOCAL, CommitmentTerm.NONE)
AMOUNTS = st.decimals(0, 1_000_000, places=9)
QUANTITIES = st.integers(0, 1_000_000)


@given(
    prices=st.tuples(AMOUNTS, AMOUNTS, AMOUNTS, AMOUNTS, AMOUNTS),
    quantities=st.tuples(QUANTITIES, QUANTITIES, QUANTITIES, QUANTITIES),
    percent=st.integers(0, 100),
    ipv4_addresses=st.integers(0, 8),
)
def test_the_items_add_up_to_the_last_digit(
    prices: tuple[Decimal, ...], quantities: tuple[int, ...], percent: int, ipv4_addresses: int
) -> None:
    vcpu, memory, gpu, disk, ipv4 = prices
    vcpus, memory_gib, gpus, storage_gib = quantities
    rates = rates_of(
        replace(
            STANDARD,
            vcpu_price_hr=vcpu,
            memory_gib_price_hr=memory,
            gpu_price_hr=gpu,
            commitment_discount_percent={12: percent},
        ),
        replace(LOCAL, disk_gib_price_hr=disk, ipv4_price_hr=ipv4),
        CommitmentTerm.MONTHS_12,
    )
    price = price_vm(
        rates,
        vcpus=vcpus,
        memory_gib=memory_gib,
        gpus=gpus,
        storage_gib=storage_gib,
        ipv4_addresses=ipv4_addresses,
    )
    computing = Fraction(vcpu) * vcpus + Fraction(memory) * memory_gib + Fraction(gpu) * gpus
    storing = Fraction(disk) * storage_gib + Fraction(ipv4) * ipv4_addresses
    assert Fraction(price.total) == computing * (100 - percent) / 100 + storing

    shown = vm_price_answer(price)
    items = (shown.total_vcpu_price_hr, shown.total_memory_price_hr, shown.total_gpu_price_hr)
    further = (shown.total_storage_price_hr, shown.ipv4_address_price_hr)
    assert sum(Fraction(item.value) for item in (*items, *further)) == Fraction(shown.total_price_hr.value)


def test_an_example_by_hand() -> None:
    price = price_vm(UNCOMMITTED, vcpus=2, memory_gib=4, gpus=0, storage_gib=10, ipv4_addresses=1)
    shown = vm_price_answer(price)
    assert shown.vcpu_price_hr.value == "0.0021"
    assert shown.total_vcpu_price_hr.value == "0.0042"
    assert shown.memory_gib_price_hr.value == "0.0035"
    assert shown.total_memory_price_hr.value == "0.014"
    assert (shown.gpu_price_hr.value, shown.total_gpu_price_hr.value) == ("0", "0")
    assert shown.storage_gib_price_hr.value == "0.000116"
    assert shown.total_storage_price_hr.value == "0.00116"
    assert shown.ipv4_address_price_hr.value == "0.0038"
    assert shown.total_price_hr.value == "0.02316"


def test_a_commitment_without_a_discount_costs_the_same() -> None:
    undiscounted = replace(STANDARD, commitment_discount_percent={})
    assert rates_of(undiscounted, LOCAL, CommitmentTerm.MONTHS_60) == UNCOMMITTED


def test_a_vm_without_an_external_address_pays_for_none() -> None:
    price = price_vm(UNCOMMITTED, vcpus=0, memory_gib=0, gpus=0, storage_gib=0, ipv4_addresses=0)
    assert vm_price_answer(price).ipv4_address_price_hr.value == "0"
    assert price.total == 0
