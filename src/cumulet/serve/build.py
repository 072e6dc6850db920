"""Puts a cloud together from its settings: database migrated, hosts opened, nothing running yet.

settings ─▶ database, catalogue, images ─▶ hosts and fabric ─▶ reconciler and REST
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final, cast
from uuid import UUID

from litestar.types import ASGIApp
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

import cumulet.billing  # noqa: F401 - declares its operations
from cumulet import audit, journal, projects, webhooks
from cumulet.call import Calls, repeats
from cumulet.catalogue import Catalogue, read_catalogue, with_gpus
from cumulet.console import Consoles
from cumulet.db import Database
from cumulet.disks import reconcile_disk
from cumulet.doctor.calls import find_resolvers, is_near
from cumulet.feed import Feed
from cumulet.fleet import Adder, Between, Examiner, pin_host_key
from cumulet.gpus import check_gpu_models_still_offered, reconcile_gpu
from cumulet.horizon import Horizon
from cumulet.hosts import Host, check_pools_still_offered, installation_id
from cumulet.hosts.overlay import Doctor, Vouching
from cumulet.hypervisor.memory import gpus_of, made_up_id
from cumulet.images import ImageStore
from cumulet.line.wire import PACKAGES
from cumulet.migrations import migrate
from cumulet.monitoring import Sampler, read_metrics
from cumulet.networks import check_still_offered, reconcile_network, sweep_fabric
from cumulet.private_images import reconcile_image
from cumulet.projects import admit, bootstrap, tries, write_uses
from cumulet.projects.identity_provider import IdentityProvider
from cumulet.reconcile import Reconciler
from cumulet.rest import create_app
from cumulet.rest.ready import Standing, readiness
from cumulet.retention import forget_old
from cumulet.sealing import Seal
from cumulet.security_groups import reconcile_group, sweep_groups
from cumulet.serve.backends import memory_backends, open_far_host, own_doctor, real_backends
from cumulet.serve.doctors import examine
from cumulet.serve.doors import Doors
from cumulet.serve.power import power_off_by
from cumulet.serve.pulse import Pulse
from cumulet.serve.ssh_key import ensure_ssh_key
from cumulet.settings import Settings
from cumulet.usage import settle_usage
from cumulet.vms import Backends, Sweeper, place_waiting, reconcile_vm, weigh_vcpus
from cumulet.web import ASSETS, Asking, console_pages, site
from cumulet.webhooks import Bounds, Herald, Teller

PATIENCE_SECONDS: Final = 3.0
"""How long what is asked of a host first waits for the line to it: others need the threads, and it is asked again soon."""


@dataclass(frozen=True, slots=True)
class Cloud:
    """A cloud put together; `started` runs it."""

    settings: Settings
    database: Database
    catalogue: Catalogue
    images: ImageStore
    backends: Backends
    doors: Doors
    pulse: Pulse
    reconciler: Reconciler
    feed: Feed
    herald: Herald
    standing: Standing
    app: ASGIApp


def build(settings: Settings) -> Cloud:
    """Put a cloud together from its settings: database migrated, host prepared, nothing running yet."""
    for folder in (settings.data_dir, settings.shared_dir):
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    catalogue = with_made_up_gpus(with_resolvers(read_catalogue(settings.catalogue)), settings)
    provider = IdentityProvider(settings.oidc) if settings.oidc else None
    seal, standing = Seal(settings.shared_dir), Standing()
    database = Database(settings.database_url)
    installation = prepare(database, settings, catalogue, seal)
    backends = (memory_backends if settings.is_made_up else real_backends)(
        settings, catalogue, database, installation
    )
    ssh_key = ensure_ssh_key(settings.shared_dir)
    open_far = partial(open_far_host, catalogue=catalogue, installation=installation, identity=ssh_key.path)
    doors = Doors(database, backends.hosts, partial(open_far, patience=PATIENCE_SECONDS))
    pulse = Pulse(database, doors)
    backends = replace(
        backends, hosts=doors, silent=pulse.silent, power_off=power_off_by(settings.power_command)
    )
    between = Between(
        partial(doctor_on, own=own_doctor(settings), hosts=doors, is_made_up=settings.is_made_up),
        Vouching.below(settings.shared_dir, lambda: datetime.now(UTC)),
        catalogue,
    )
    horizon = Horizon(database)
    feed = Feed(database, horizon, most_of_one=catalogue.limits.streams_per_user)
    return Cloud(
        settings=settings,
        database=database,
        catalogue=catalogue,
        images=backends.images,
        backends=backends,
        doors=doors,
        pulse=pulse,
        reconciler=Reconciler(
            database,
            reconcilers(
                backends,
                Adder(open_far, pin_host_key, partial(take_in, database, between)),
                Examiner(partial(examine, backends=backends, settings=settings)),
                Teller(horizon, Bounds(catalogue.allowed_webhook_networks, is_near), seal),
                between,
            ),
        ),
        feed=feed,
        herald=Herald(database),
        standing=standing,
        app=behind_proxies(
            settings, app_of(database, catalogue, backends, feed, ssh_key.public, standing, provider, seal)
        ),
    )


def prepare(database: Database, settings: Settings, catalogue: Catalogue, seal: Seal) -> str:
    """Bring the database to what this version and this catalogue ask for; gives the installation's id.

    Invalid when the catalogue offers no more what somebody has.
    """
    migrate(database)
    bootstrap(database, settings.data_dir, datetime.now(UTC))
    with database.writing() as db:
        projects.seal_secrets(db, seal)
        webhooks.seal_secrets(db, seal)
        check_still_offered(db, catalogue)
        check_pools_still_offered(db, catalogue)
        check_gpu_models_still_offered(db, catalogue)
        weigh_vcpus(db, catalogue)
        return installation_id(db)


def app_of(
    database: Database,
    catalogue: Catalogue,
    backends: Backends,
    feed: Feed,
    ssh_key: str,
    standing: Standing,
    provider: IdentityProvider | None,
    seal: Seal,
) -> ASGIApp:
    """Put together what answers requests."""
    consoles = Consoles(database, backends.hosts, catalogue.limits, clock=lambda: datetime.now(UTC))
    provided = {
        "catalogue": catalogue,
        "limits": catalogue.limits,
        "images": backends.images,
        "hosts": backends.hosts,
        "fabric": backends.fabrics.fabric,
        "feed": feed,
        "provider": provider,
        "seal": seal,
        "ssh_key": ssh_key,
    }
    calls = Calls(database, admit, provided, lambda: datetime.now(UTC), write_uses)
    return create_app(
        database,
        admit=admit,
        write_uses=write_uses,
        provided=provided,
        metrics=partial(read_metrics, catalogue=catalogue),
        limits=catalogue.limits,
        pages=(*console_pages(consoles), ASSETS.route(), *site(Asking(calls)), readiness(standing)),
    )


def take_in(
    database: Database,
    between: Between,
    doctor: Doctor,
    peer: str,
    report: Callable[[str], None],
) -> None:
    """Prepare a machine to be a host of the network that there is."""
    with database.reading() as db:
        centre = between.centre(db, peer)
    centre.take_in(doctor, peer, report, packages=PACKAGES)


def doctor_on(host: Host, *, own: Any, hosts: Mapping[UUID, Any], is_made_up: bool) -> Any:  # noqa: ANN401 - the calls by their names
    """Give the doctor's calls, done on a host; KeyError where nobody can be asked."""
    if is_made_up:
        raise KeyError(host.name)
    return own if host.is_here else hosts[host.id].doctor


def behind_proxies(settings: Settings, app: ASGIApp) -> ASGIApp:
    """Have requests that come through a proxy that is trusted count as coming from where it says."""
    if not settings.trusted_proxies:
        return app
    trusting: Any = ProxyHeadersMiddleware  # it has types of its own for the same protocol
    return cast("ASGIApp", trusting(app, trusted_hosts=list(settings.trusted_proxies)))


def reconcilers(
    backends: Backends, adder: Adder, examiner: Examiner, teller: Teller, between: Between
) -> dict[str, Callable[..., datetime | None]]:
    """Name the reconciler of each kind of resource."""
    limits = backends.fabrics.catalogue.limits
    return {
        "vm": partial(reconcile_vm, backends=backends),
        "disk": partial(reconcile_disk, find_host=backends.host),
        "private_image": partial(
            reconcile_image, find_host=backends.host, hosts=backends.hosts, store=backends.images
        ),
        "network": partial(reconcile_network, fabrics=backends.fabrics),
        "security_group": partial(reconcile_group, fabrics=backends.fabrics),
        "gpu": partial(reconcile_gpu, find_host=backends.host),
        "host": adder.before(Sweeper(backends).sweep_host),
        "between": between.look,
        "samples": Sampler(backends).sample_host,
        "examination": examiner.examine_host,
        "fabric": partial(sweep_fabric, fabrics=backends.fabrics),
        "groups": partial(sweep_groups, fabrics=backends.fabrics),
        "queue": partial(place_waiting, catalogue=backends.fabrics.catalogue),
        "webhook": teller.reconcile_webhook,
        "usage": settle_usage,
        "journal": partial(forget_old, forget=journal.forget, kept_for=timedelta(days=limits.journal_days)),
        "audit": partial(forget_old, forget=audit.forget, kept_for=timedelta(days=limits.audit_days)),
        "answers": partial(forget_old, forget=repeats.forget, kept_for=repeats.KEPT_FOR),
        "tries": partial(forget_old, forget=tries.forget, kept_for=tries.KEPT_FOR),
    }


def with_made_up_gpus(catalogue: Catalogue, settings: Settings) -> Catalogue:
    """Offer the GPUs that made-up hosts are asked to have."""
    model, fabric = gpus_of(settings.hypervisor) if settings.is_made_up else ("", "")
    return with_gpus(catalogue, model, made_up_id(model), fabric=fabric) if model else catalogue


def with_resolvers(catalogue: Catalogue) -> Catalogue:
    """Give data centers that name no DNS servers those of this machine."""
    found = find_resolvers()
    data_centers = tuple(replace(one, resolvers=one.resolvers or found) for one in catalogue.data_centers)
    return replace(catalogue, data_centers=data_centers)
