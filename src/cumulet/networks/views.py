"""From networks' rows to JSON: what an answer shows besides its row is gathered with one query for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session

from cumulet.networks.model import ExternalAddress, Network
from cumulet.networks.wire import NetworkAnswer, NetworkState
from cumulet.reconcile import Due, Kind
from cumulet.wire import Amount

SHORT_STATES: Final[Mapping[NetworkState, str]] = {
    NetworkState.CREATING: "boot",
    NetworkState.ACTIVE: "runn",
    NetworkState.STARTING: "boot",
    NetworkState.STOPPED: "poff",
    NetworkState.STOPPING: "stop",
    NetworkState.DELETING: "done",
}
"""As a VM's: clients of 2024 wait for a network as for the router VM that it once was."""
VM_STATES: Final[Mapping[NetworkState, str]] = {NetworkState.CREATING: "STARTING"}
"""Where a VM's state is called otherwise."""


def network_views(db: Session, networks: Sequence[Network]) -> list[NetworkAnswer]:
    """Show networks, in the order given."""
    columns = (ExternalAddress.address, Due.why, Due.error)
    surroundings = (
        select(Network.id, *(func.coalesce(column, "") for column in columns))
        .outerjoin(ExternalAddress, ExternalAddress.holder_id == Network.router_id)
        .outerjoin(Due, and_(Due.kind == Kind.NETWORK, Due.id == Network.id))
        .where(Network.id.in_([network.id for network in networks]))
    )
    around = {id: values for id, *values in db.execute(surroundings)}
    return [_answer(network, *around[network.id]) for network in networks]


def network_view(db: Session, network: Network) -> NetworkAnswer:
    """Show one network."""
    (answer,) = network_views(db, [network])
    return answer


def _answer(network: Network, external: str, why: str, error: str) -> NetworkAnswer:
    state = network.state
    return NetworkAnswer(
        project_id=network.project_id,
        id=network.name,
        data_center_id=network.data_center_id,
        ip_range=network.range,
        gateway=str(network.gateway),
        price_hr=Amount.of(network.price),
        external_ip_address=external,
        internal_ip_address=str(network.gateway),
        short_state=SHORT_STATES[state],
        state=state,
        vm_state=VM_STATES.get(state, str(state.value)),
        create_time=network.create_time,
        ipv6_range=str(network.local_range),
        waiting_for=why,
        problem=error,
    )
