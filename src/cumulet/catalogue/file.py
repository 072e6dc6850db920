"""Reading the catalogue's file: every mistake in it stops the start, with the file, the key, the value and what fits.

The operator's own prices are in there; so nothing is guessed, and a key with a typing error is not passed over.
Numbers are read as decimals, because money must not go through binary fractions.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import fields
from decimal import Decimal
from importlib.resources import files
from ipaddress import IPv4Network, ip_network
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import msgspec

from cumulet.catalogue.gpu_models import shipped_models, with_shipped_models
from cumulet.catalogue.model import Catalogue, DataCenter, DiskPool, GpuModel, MachineType
from cumulet.catalogue.wire import CommitmentTerm, StorageClass
from cumulet.errors import Invalid
from cumulet.limits import Limits, Quotas
from cumulet.wire import refusal

DEFAULT_FILE: Final = "default.toml"
"""What is offered without a file of the operator's, and the commented example for one."""
TABLES: Final = {"data_centers": DataCenter, "machine_types": MachineType, "gpu_models": GpuModel}
DEAREST: Final = Decimal(1_000_000)
FINEST: Final = Decimal("1e-9")
"""Prices within these bounds multiply and add up without ever being rounded (28 digits)."""
SMALLEST_PREFIX: Final = 29
"""Six addresses: a gateway, a router and some VMs."""
MOUNT_PATH: Final = re.compile(r"(/(?!\.\.?(/|$))[^/\0]+)+")
"""One spelling for each directory, so that two paths can be compared."""
CLASSES: Final = [one.name for one in StorageClass if one is not StorageClass.UNKNOWN]
SERVICE: Final = re.compile(r"([1-9][0-9]{0,4})/(tcp|udp)")
HIGHEST_PORT: Final = 65535
PRIVATE: Final = tuple(IPv4Network(one) for one in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))


def read_catalogue(path: Path | None) -> Catalogue:
    """Read the operator's catalogue, or the one that comes along when `path` is None; Invalid tells what is wrong."""
    source = path or files("cumulet.catalogue") / DEFAULT_FILE
    try:
        text = source.read_text(encoding="utf-8")
    except OSError as problem:
        raise Invalid(f"the catalogue {source} cannot be read: {problem.strerror}") from problem
    except UnicodeDecodeError as problem:
        raise Invalid(f"the catalogue {source} is not UTF-8 text: {problem.reason}") from problem
    try:
        return parse_catalogue(text)
    except Invalid as problem:
        raise Invalid(f"the catalogue {source}: {problem.message}") from problem


def parse_catalogue(text: str) -> Catalogue:
    """Turn TOML into a catalogue that is right in itself; Invalid names key, value and what is accepted."""
    try:
        raw = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as problem:
        raise Invalid(str(problem)) from problem
    try:
        catalogue = msgspec.convert(raw, Catalogue, dec_hook=_decode_address, str_keys=True)
    except msgspec.ValidationError as problem:
        as_written = tomllib.loads(text)
        raise refusal(str(problem), as_written) from None
    for mistake in _mistakes(catalogue, raw):
        raise mistake
    return with_shipped_models(catalogue)


def _decode_address(kind: type[Any], value: object) -> Any:  # noqa: ANN401 - msgspec's own signature
    try:
        return kind(str(value))
    except ValueError:
        accepted = _right_range(str(value)) if kind is IPv4Network else "an IPv4 address"
        raise ValueError(f"Expected {accepted}") from None


def _right_range(text: str) -> str:
    """Say which range somebody meant who wrote an address inside it; else give an example."""
    try:
        return f"{IPv4Network(text, strict=False)}, which begins at its first address"
    except ValueError:
        return "an IPv4 range, such as 10.77.0.0/16"


def _mistakes(catalogue: Catalogue, raw: Mapping[str, Any]) -> Iterator[Invalid]:
    yield from _unknown_keys(raw)
    for table in TABLES:
        rows = getattr(catalogue, table)
        yield from _duplicates(table, rows)
        for index, row in enumerate(rows):
            yield from _wrong_prices(f"{table}[{index}]", row)
    yield from _wrong_ranges(catalogue)
    for index, data_center in enumerate(catalogue.data_centers):
        yield from _wrong_pools(f"data_centers[{index}].disk_pools", data_center.disk_pools)
        yield from _wrong_services(
            f"data_centers[{index}].reachable_services", data_center.reachable_services
        )
    for index, machine_type in enumerate(catalogue.machine_types):
        yield from _wrong_references(f"machine_types[{index}]", machine_type, catalogue)
        yield from _wrong_shape(f"machine_types[{index}]", machine_type)
    yield from _wrong_pci_ids(catalogue.gpu_models)
    yield from _wrong_quotas(catalogue)
    yield from _wrong_aliases(catalogue.image_aliases)
    yield from _wrong_networks("webhook_networks", catalogue.webhook_networks)
    if not catalogue.data_centers:
        yield Invalid.field("data_centers", [], "at least one data center")


def _unknown_keys(raw: Mapping[str, Any]) -> Iterator[Invalid]:
    for path, table, kind in _tables(raw):
        known = [field.name for field in fields(kind)]
        for key in table:
            if key not in known:
                yield Invalid(f"{path}{key}: unknown key; known keys are {', '.join(known)}")


def _tables(raw: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any], type[Any]]]:
    """Go through all tables, with where each stands and what it describes."""
    yield "", raw, Catalogue
    yield "limits.", raw.get("limits", {}), Limits
    yield "quotas.", raw.get("quotas", {}), Quotas
    for table, kind in TABLES.items():
        for index, row in enumerate(raw.get(table, ())):
            yield f"{table}[{index}].", row, kind
    for index, data_center in enumerate(raw["data_centers"]):
        for number, pool in enumerate(data_center["disk_pools"]):
            yield f"data_centers[{index}].disk_pools[{number}].", pool, DiskPool


def _duplicates(table: str, rows: tuple[Any, ...]) -> Iterator[Invalid]:
    seen = set()
    for index, row in enumerate(rows):
        identity = (getattr(row, "data_center_id", ""), row.id)
        if identity in seen:
            yield Invalid.field(f"{table}[{index}].id", row.id, "an id that no other entry has")
        seen.add(identity)


def _wrong_prices(path: str, row: Any) -> Iterator[Invalid]:  # noqa: ANN401 - a row of any table
    for field in fields(row):
        value = getattr(row, field.name)
        if isinstance(value, Decimal) and not _is_price(value):
            accepted = f"an amount from 0 to {DEAREST} with at most 9 decimals"
            yield Invalid.field(f"{path}.{field.name}", str(value), accepted)


def _is_price(value: Decimal) -> bool:
    return value.is_finite() and 0 <= value <= DEAREST and value == value.quantize(FINEST)


def _wrong_ranges(catalogue: Catalogue) -> Iterator[Invalid]:
    for index, data_center in enumerate(catalogue.data_centers):
        path = f"data_centers[{index}]"
        for key in ("external_range", "network_range"):
            if getattr(data_center, key).prefixlen > SMALLEST_PREFIX:
                yield Invalid.field(
                    f"{path}.{key}", str(getattr(data_center, key)), f"at least a /{SMALLEST_PREFIX}"
                )
        network_range = data_center.network_range
        if not any(network_range.subnet_of(private) for private in PRIVATE):
            accepted = f"a range inside {', '.join(map(str, PRIVATE))}"
            yield Invalid.field(f"{path}.network_range", str(network_range), accepted)
        if network_range.overlaps(data_center.external_range):
            accepted = f"a range apart from external_range {data_center.external_range}"
            yield Invalid.field(f"{path}.network_range", str(network_range), accepted)
    for one, other in combinations(catalogue.data_centers, 2):
        if one.external_range.overlaps(other.external_range):
            accepted = f"a range apart from {one.external_range} of data center {one.id!r}"
            yield Invalid.field(f"external_range of {other.id!r}", str(other.external_range), accepted)


def _wrong_services(path: str, services: tuple[str, ...]) -> Iterator[Invalid]:
    for index, service in enumerate(services):
        found = SERVICE.fullmatch(service)
        if found is None or int(found[1]) > HIGHEST_PORT:
            yield Invalid.field(f"{path}[{index}]", service, "a port and its protocol, such as 8480/tcp")


def _wrong_networks(path: str, networks: tuple[str, ...]) -> Iterator[Invalid]:
    for index, network in enumerate(networks):
        try:
            ip_network(network)
        except ValueError:
            yield Invalid.field(
                f"{path}[{index}]", network, "a network, such as 10.77.0.0/16 or fd00:77::/32"
            )


def _wrong_pools(path: str, pools: tuple[DiskPool, ...]) -> Iterator[Invalid]:
    if not pools:
        yield Invalid.field(path, [], "at least one pool")
    yield from _duplicates(path, pools)
    for index, pool in enumerate(pools):
        yield from _wrong_prices(f"{path}[{index}]", pool)
        if pool.path and not MOUNT_PATH.fullmatch(pool.path):
            yield Invalid.field(f"{path}[{index}].path", pool.path, "an absolute path, such as /mnt/fast")
        if pool.shared and not pool.path:
            yield Invalid.field(
                f"{path}[{index}].shared", "true", "false, or a path at which all hosts mount it"
            )
        if pool.ceph_pool and pool.path:
            yield Invalid.field(f"{path}[{index}].path", pool.path, "'', for the pool lies in Ceph")
    yield from _wrong_classes(path, pools)
    yield from _taken_ceph_pools(path, pools)
    paths = [pool.path for pool in pools if not pool.ceph_pool]
    if paths.count("") != 1:
        yield Invalid.field(f"{path}.path", paths, "'' in just one pool, which lies with Cumulet's own data")
    for one, other in combinations(filter(None, paths), 2):
        if Path(one).is_relative_to(other) or Path(other).is_relative_to(one):
            yield Invalid.field(f"{path}.path", other, f"a path apart from {one}")


def _taken_ceph_pools(path: str, pools: tuple[DiskPool, ...]) -> Iterator[Invalid]:
    """Refuse to promise the same room twice."""
    seen = set()
    for index, pool in enumerate(pools):
        if pool.ceph_pool in seen:
            yield Invalid.field(f"{path}[{index}].ceph_pool", pool.ceph_pool, "a pool that no other has")
        seen.add(pool.ceph_pool or None)


def _wrong_classes(path: str, pools: tuple[DiskPool, ...]) -> Iterator[Invalid]:
    serving: dict[str, str] = {}
    for index, pool in enumerate(pools):
        field = f"{path}[{index}].storage_classes"
        for name in pool.storage_classes:
            if name not in CLASSES:
                yield _not_one_of(field, name, CLASSES)
            if name in serving:
                yield Invalid.field(field, name, f"a class that no pool serves; {serving[name]!r} does")
            serving[name] = pool.id
    if not serving:
        yield Invalid.field(f"{path}.storage_classes", [], f"{' or '.join(CLASSES)} in one of the pools")


def _wrong_references(path: str, machine_type: MachineType, catalogue: Catalogue) -> Iterator[Invalid]:
    data_centers = [one.id for one in catalogue.data_centers]
    if machine_type.data_center_id not in data_centers:
        yield _not_one_of(f"{path}.data_center_id", machine_type.data_center_id, data_centers)
    gpu_models = ["", *_known_models(catalogue)]
    if machine_type.gpu_model_id not in gpu_models:
        yield _not_one_of(f"{path}.gpu_model_id", machine_type.gpu_model_id, gpu_models)


def _known_models(catalogue: Catalogue) -> list[str]:
    return list(dict.fromkeys(one.id for one in (*catalogue.gpu_models, *shipped_models())))


def _wrong_quotas(catalogue: Catalogue) -> Iterator[Invalid]:
    known = _known_models(catalogue)
    for model in catalogue.quotas.gpus_by_model:
        if model not in known:
            yield _not_one_of("quotas.gpus_by_model", model, known)


def _wrong_shape(path: str, machine_type: MachineType) -> Iterator[Invalid]:
    for name in ("vcpu", "memory_gib", "vcpu_per_memory_gib", "vcpu_per_gpu"):
        least, most = getattr(machine_type, f"min_{name}"), getattr(machine_type, f"max_{name}")
        if most < least:
            yield Invalid.field(f"{path}.max_{name}", most, f"at least min_{name}, which is {least}")
    ratios = ["max_vcpu_per_memory_gib"] + ["max_vcpu_per_gpu"] * bool(machine_type.gpu_model_id)
    for ratio in ratios:
        if not getattr(machine_type, ratio):
            yield Invalid.field(f"{path}.{ratio}", 0, "more than 0, or no VM fits")
    terms = sorted(term.months for term in CommitmentTerm if term.months)
    for months in machine_type.commitment_discount_percent:
        if months not in terms:
            yield _not_one_of(f"{path}.commitment_discount_percent", months, terms)


def _wrong_pci_ids(models: tuple[GpuModel, ...]) -> Iterator[Invalid]:
    taken: dict[str, str] = {}
    for index, model in enumerate(models):
        for ids in model.pci_ids:
            if taken.setdefault(ids, model.id) != model.id:
                yield Invalid.field(
                    f"gpu_models[{index}].pci_ids", ids, f"ids that no other model has; {taken[ids]!r} does"
                )


def _wrong_aliases(aliases: Mapping[str, str]) -> Iterator[Invalid]:
    for alias, image_id in aliases.items():
        if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", alias):
            yield Invalid.field(f"image_aliases.{alias}", alias, "an id of a-z, 0-9, '.' and '-'")
        if image_id in aliases:
            yield Invalid.field(f"image_aliases.{alias}", image_id, "the id of an image, not another alias")


def _not_one_of(path: str, value: object, accepted: list[Any]) -> Invalid:
    return Invalid.field(path, value, f"one of {', '.join(repr(one) for one in accepted)}")
