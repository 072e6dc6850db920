"""Where webhooks may go, and what is refused when one is made."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from tests.made_up import PROJECT, make_cloud
from tests.webhooks.conftest import look, make, tell

from cumulet.doctor.near import is_local, is_near
from cumulet.errors import AlreadyExists, Exhausted, Invalid, NotFound
from cumulet.webhooks import operations as hooks
from cumulet.webhooks.addresses import Bounds, NotAllowed, is_of_the_world
from cumulet.webhooks.wire import CreateWebhook

NOBODYS = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",  # noqa: S104
    "224.0.0.1", "255.255.255.255", "192.0.2.1", "::1", "::", "fe80::1", "fd00::1", "ff02::1", "::ffff:127.0.0.1",
    "64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:7f00:1::", "2001:db8::1",
]  # fmt: skip


@pytest.fixture
def database_kind() -> str:
    return "sqlite"


@pytest.fixture
def strict(database, tmp_path):
    """A cloud whose operator allows nothing besides the world."""
    return make_cloud(database, tmp_path)


@pytest.mark.parametrize("address", NOBODYS)
def test_an_address_that_only_this_machine_reaches_is_none_of_the_world(strict, address):
    assert not is_of_the_world(ip_address(address))
    shown = f"[{address}]" if ":" in address else address
    with pytest.raises(Invalid, match=r"url: .* is not accepted; expected an address of the world"):
        make(strict, f"https://{shown}/")


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111"])
def test_what_is_anybodys_may_be_called_unless_it_is_beside_the_server(address):
    there = Bounds((), lambda _: False)
    assert there.resolve(address, 443, in_plain=False) == address
    with pytest.raises(NotAllowed, match="by https alone"):
        there.resolve(address, 80, in_plain=True)
    with pytest.raises(NotAllowed, match="webhook_networks"):
        Bounds((), lambda _: True).resolve(address, 443, in_plain=False)
    listed = Bounds((ip_network(f"{address}"),), lambda _: True)
    assert listed.resolve(address, 80, in_plain=True) == address


def test_a_name_that_leads_inside_is_not_called(strict, receiver):
    make(strict, receiver.url.replace("http://127.0.0.1", "https://localhost"))
    tell(strict)
    assert look(strict).problem.startswith("its address is this cloud's own")
    assert receiver.requests == []


def test_the_name_is_resolved_once_for_each_delivery(cloud, receiver, monkeypatch):
    asked = []

    def resolve(host, port, *_, **__):
        asked.append(host)
        return [(2, 1, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr("cumulet.webhooks.addresses.socket.getaddrinfo", resolve)
    make(cloud, receiver.url.replace("127.0.0.1", "receiver.example"))
    tell(cloud)
    assert (asked.count("receiver.example"), len(receiver.requests)) == (1, 1)
    assert receiver.requests[0][0]["host"].startswith("receiver.example")


def test_the_kernel_says_what_is_beside_this_machine():
    assert is_near("127.0.0.1")
    assert is_near("::1")
    assert is_local({"type": "local", "dst": "203.0.113.7"})
    assert is_local({"dst": "203.0.113.0/24", "dev": "eth0"})
    assert not is_local({"dst": "default", "gateway": "203.0.113.1"})
    assert not is_local({"dst": "default", "dev": "ppp0"})
    assert not is_local({"dst": "0.0.0.0/1", "dev": "tun0"})
    assert not is_local({"dst": "10.0.0.0/8", "gateway": "203.0.113.1"})
    assert not is_local({"dst": "10.0.0.0/8", "nexthops": []})


@pytest.mark.parametrize(
    "url",
    [
        "", "example.org", "ftp://example.org", "http://example.org", "https://", "https://me:secret@example.org/",
        "https://example.org/#part", "https://example.org/a b", "https://example.org:0/", "https://example.org:x/",
        "https://example.org/" + "x" * 2000, "https://[::1", "https://exämple.org/", "https://example.org/\n",
    ],
)  # fmt: skip
def test_what_is_no_receivers_url_is_refused_and_not_repeated(strict, url):
    with pytest.raises(Invalid) as refused:
        make(strict, url)
    assert refused.value.message.startswith(
        "url: '(not repeated)' is not accepted; expected a URL such as https://"
    )


def test_what_nobody_could_be_told_of_is_refused(cloud, receiver):
    with pytest.raises(Invalid, match="kind: 'vms' is not accepted"):
        make(cloud, receiver.url, kind=["vms"])
    with pytest.raises(Invalid, match=r"event: 'vm\.begun' is not accepted"):
        make(cloud, receiver.url, event=["vm.begun"])
    with pytest.raises(Invalid, match="id: "):
        make(cloud, receiver.url, "Chat")


def test_a_name_is_taken_once_and_no_more_are_made_than_there_may_be(cloud, receiver):
    make(cloud, receiver.url)
    with pytest.raises(AlreadyExists):
        make(cloud, receiver.url)
    for number in range(19):
        make(cloud, receiver.url, f"more-{number}")
    with pytest.raises(Exhausted, match="has 20 webhooks"):
        make(cloud, receiver.url, "one-more")


def test_the_secret_is_told_once(cloud, receiver):
    data = CreateWebhook(id="chat", url=receiver.url)
    made = cloud.call(hooks.create_webhook, project_id=PROJECT, data=data)
    assert made.secret.startswith("whsec_")
    shown = cloud.call(hooks.list_webhooks, project_id=PROJECT)
    assert shown.webhooks == [made.webhook]
    assert cloud.call(hooks.get_webhook, project_id=PROJECT, id="chat").webhook == made.webhook
    assert made.secret not in str(shown)
    with pytest.raises(NotFound, match="there is only 'chat'"):
        look(cloud, "chart")


def test_neither_the_journal_nor_the_audit_tells_where_one_leads(cloud, receiver, capfd):
    secret = make(cloud, receiver.url)
    receiver.answers = [500]
    tell(cloud)
    with cloud.database.reading() as db:
        for table in ("journal", "audit"):
            for row in db.connection().exec_driver_sql(f"SELECT * FROM {table}"):
                assert "token=hidden" not in str(row)
                assert secret not in str(row)
