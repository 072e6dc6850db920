"""What operators do with hosts beyond taking one out of use: adding, labelling, giving up and removing."""

from __future__ import annotations

from typing import Final

from cumulet.errors import Invalid
from cumulet.fleet.add_operations import add_host, get_host_key
from cumulet.fleet.operations import examine_host, get_host, label_host, lose_host, remove_host
from cumulet.fleet.wire import AddHost, GetHostResponse, LabelHost, LoseHost
from cumulet.vms.offers import list_vm_data_centers
from cumulet.web.pages.hosts import HOST, HOSTS, back, host_page, page_of
from cumulet.web.pages.vm_changes import read_labels
from cumulet.web.site import form, page
from cumulet.web.visit import Gone, Shown, Visit

NEW: Final = "/new-host"
REMOVE: Final = f"{HOST}/remove"
LOST: Final = f"{HOST}/lost"


@page(NEW)
def new_page(visit: Visit) -> Shown:
    """Show the form for a new one, and the key that it has to let in."""
    data_centers = [(one.id, one.id) for one in visit.ask(list_vm_data_centers).data_centers]
    key = visit.ask(get_host_key).public_key
    return visit.show("hosts/add.html", data_centers=data_centers, key=key)


@form(NEW, on=new_page)
def add(visit: Visit) -> Gone:
    """Have a machine made part of the cloud; its own page tells each step."""
    data = AddHost(
        destination=visit.given("destination"),
        id=visit.given("id"),
        data_center_id=visit.given("dataCenterId"),
        labels=read_labels(visit.given("labels")),
        host_key=visit.given("hostKey"),
    )
    return Gone(page_of(visit.ask(add_host, data=data).id))


@form(f"{HOST}/labels", on=host_page)
def label(visit: Visit) -> Gone:
    """Give it these labels and no others."""
    visit.ask(label_host, id=visit.names["id"], data=LabelHost(labels=read_labels(visit.given("labels"))))
    return back(visit)


@form(f"{HOST}/examine", on=host_page)
def examine(visit: Visit) -> Gone:
    """Have its doctor look at it now."""
    visit.ask(examine_host, id=visit.names["id"])
    return back(visit)


@page(REMOVE)
def remove_page(visit: Visit) -> Shown:
    """Say what goes with it and what stays, or what is in the way."""
    return visit.show("hosts/remove.html", found=found(visit))


@form(REMOVE, on=remove_page)
def remove(visit: Visit) -> Gone:
    """Take it out of the cloud."""
    visit.ask(remove_host, id=visit.names["id"])
    return Gone(HOSTS)


@page(LOST)
def lost_page(visit: Visit) -> Shown:
    """Say what giving it up comes to, and what their word has to be worth."""
    return visit.show("hosts/lost.html", found=found(visit))


@form(LOST, on=lost_page)
def lose(visit: Visit) -> Gone:
    """Take the operator's word that nothing runs on it any more."""
    id, confirm = visit.names["id"], visit.given("confirm")
    if confirm != id:
        raise Invalid.field("confirm", confirm, f"the host's name, {id}: your word that nothing runs on it")
    visit.ask(lose_host, id=id, data=LoseHost(confirm=confirm))
    return back(visit)


def found(visit: Visit) -> GetHostResponse:
    """Give the host that a page is about."""
    return visit.ask(get_host, id=visit.names["id"])
