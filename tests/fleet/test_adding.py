"""A machine becomes a host: what is done there, what can go wrong, and that it can be done again."""

import threading
from dataclasses import replace
from types import SimpleNamespace
from uuid import UUID

import pytest
from tests.made_up import make_cloud
from tests.waiting import eventually

from cumulet.doctor.calls import Finding, Level
from cumulet.errors import AlreadyExists, Invalid
from cumulet.fleet import Adder, add_operations, operations
from cumulet.fleet.wire import AddHost
from cumulet.hosts import Host, HostState, list_hosts
from cumulet.hypervisor import HostUnreachable
from cumulet.hypervisor.memory import memory_hosts
from cumulet.journal import events_about
from cumulet.serve.doors import Doors
from cumulet.serve.ssh_key import ensure_ssh_key

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG9uZSBrZXkgdGhhdCBub2JvZHkgaGFzIGluIHRydXRo"


class Machine:
    """A machine that is new, as far as adding it goes."""

    def __init__(self, name):
        (self.host,) = memory_hosts("memory:", pools=("local",)).values()
        self.host._facts = replace(self.host._facts, name=name)
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.problem = None
        self.findings = [Finding("kvm", Level.DEGRADED, "no KVM", cost="slow")]
        self.closed = 0
        self.doctor = SimpleNamespace(find_resolvers=tuple, examine=lambda *_, **__: self.findings)

    def take_in(self, doctor, peer, tell):
        """Take it into the network as what it was called."""
        assert doctor is self.doctor
        self.peer = peer
        tell("installing python3-libvirt")
        self.may_go_on.wait()
        if self.problem:
            raise self.problem

    def facts(self):
        return self.host.facts()

    def close(self):
        self.closed += 1


@pytest.fixture
def machine():
    return Machine("server2")


@pytest.fixture
def cloud(database, tmp_path, machine):
    cloud = make_cloud(database, tmp_path, hypervisor="memory:?hosts=1&vcpus=8&memory_gib=16&disk_gib=100")
    asked = []

    def open_new(uri, data_center_id):
        asked.append((uri, data_center_id))
        return machine

    cloud.adder = Adder(
        open_new,
        lambda uri: uri if "host_key" in uri else f"{uri}?host_key={KEY.replace(' ', '%20')}",
        machine.take_in,
    )
    cloud.asked, cloud.may_go_on = asked, machine.may_go_on
    cloud.reconciler = cloud.new_reconciler()
    return cloud


def add(cloud, destination="root@server2", **more):
    return cloud.call(add_operations.add_host, data=AddHost(destination=destination, **more))


def shown(cloud, id="server2"):
    return cloud.call(operations.get_host, id=id).host


def row(cloud, id="server2"):
    with cloud.database.reading() as db:
        return db.query(Host).filter(Host.name == id).one()


def look(cloud, seconds=1):
    """Look once more at what is being added, when it has come to its end or to a halt."""
    cloud.run()
    for addition in cloud.adder._additions.values():
        eventually(
            lambda addition=addition: (
                addition.work.done()
                or (addition.step.startswith("installing") and not cloud.may_go_on.is_set())
            )
        )
    cloud.pass_time(seconds)


def test_a_machine_is_a_host_once_it_is_prepared_and_is_up(cloud, machine):
    machine.may_go_on.clear()
    assert add(cloud, labels={"rack": "3"}).state is HostState.ADDING
    look(cloud)
    assert (shown(cloud).state, shown(cloud).why) == (HostState.ADDING, "installing python3-libvirt")
    cloud.backends.hosts.update({row(cloud).id: machine.host})
    machine.may_go_on.set()
    look(cloud)
    look(cloud)
    there = shown(cloud)
    assert (there.state, there.why, there.labels, there.cpus) == (HostState.UP, "", {"rack": "3"}, 64)
    assert row(cloud).uri == f"ssh://root@server2?host_key={KEY.replace(' ', '%20')}", "its key is pinned"
    assert (cloud.asked[0][1], machine.closed, machine.peer) == ("local", 1, "server2")


def test_nothing_is_placed_on_a_host_that_is_being_added(cloud, machine):
    machine.may_go_on.clear()
    add(cloud)
    look(cloud)
    cloud.call(operations.cordon_host, id="memory-1", data=operations.AskOfHost())
    with pytest.raises(Invalid, match="being added"):
        cloud.create()
    machine.may_go_on.set()


def test_what_fails_is_told_and_tried_again(cloud, machine):
    machine.problem = HostUnreachable("apt-get: no route to the archive")
    add(cloud)
    look(cloud)
    assert shown(cloud).state is HostState.ADDING
    assert "apt-get: no route to the archive" in shown(cloud).why
    assert "host_key" in row(cloud).uri, "the key that was pinned is kept"
    machine.problem = None
    cloud.backends.hosts.update({row(cloud).id: machine.host})
    look(cloud, 30)
    look(cloud)
    assert shown(cloud).state is HostState.UP


def test_to_add_it_again_is_to_try_again_at_once(cloud, machine):
    machine.problem = HostUnreachable("no")
    add(cloud)
    look(cloud)
    tries = len(cloud.asked)
    add(cloud, "server2")
    cloud.run()
    eventually(lambda: len(cloud.asked) == tries + 1)
    for other in ("root@server3", "root@server2:2222"):
        with pytest.raises(AlreadyExists, match="another machine"):
            add(cloud, other, id="server2")
    with pytest.raises(AlreadyExists):
        add(cloud, "x", id="memory-1")


OTHER_KEY = KEY.replace("AAAAIG9u", "AAAAIG8u")


def test_added_again_a_host_has_more_labels_and_is_known_by_the_key_that_is_given(cloud, machine):
    add(cloud, labels={"rack": "3"})
    look(cloud)
    add(cloud, labels={"cpu": "genoa"})
    assert (shown(cloud).labels, KEY.split()[1] in row(cloud).uri) == ({"rack": "3", "cpu": "genoa"}, True)
    add(cloud, host_key=OTHER_KEY)
    assert row(cloud).uri == f"ssh://root@server2?host_key={OTHER_KEY.replace(' ', '%20')}"
    with cloud.database.writing() as db:
        host = db.query(Host).filter(Host.name == "server2").one()
        assert "its SSH key is SHA256:" in [one.text for one in events_about(db, host.id)][-1]
        host.data_center_id = "elsewhere"
    with pytest.raises(AlreadyExists, match="is in data center 'elsewhere' already"):
        add(cloud, data_center_id="local")


def test_a_key_that_is_given_while_it_is_added_is_the_one_that_stays(cloud, machine):
    machine.may_go_on.clear()
    add(cloud)
    look(cloud)
    add(cloud, host_key=OTHER_KEY)
    machine.problem = HostUnreachable("no")
    machine.may_go_on.set()
    look(cloud)
    look(cloud)
    assert "failed while" in shown(cloud).why
    assert OTHER_KEY.split()[1] in row(cloud).uri


def test_what_is_broken_there_is_told_with_its_cure(cloud, machine):
    machine.findings = [
        Finding("libvirt", Level.BROKEN, "it does not answer", cure="systemctl start libvirtd")
    ]
    add(cloud)
    look(cloud)
    assert "libvirt: it does not answer (fix: systemctl start libvirtd)" in shown(cloud).why


def test_a_machine_that_calls_itself_otherwise_is_no_host_of_that_name(cloud):
    add(cloud, id="another")
    look(cloud)
    assert "calls itself 'server2'" in shown(cloud, "another").why


def test_a_machine_that_is_a_host_already_is_not_added_twice(cloud, machine):
    machine.host._facts = replace(cloud.host._facts, name="server2")
    add(cloud)
    look(cloud)
    assert "is host 'memory-1' already" in shown(cloud).why


def test_one_that_is_removed_while_it_is_added_is_gone(cloud, machine):
    machine.may_go_on.clear()
    add(cloud)
    look(cloud)
    cloud.call(operations.remove_host, id="server2")
    machine.may_go_on.set()
    look(cloud)
    with cloud.database.reading() as db:
        assert [one.name for one in list_hosts(db)] == ["memory-1"]


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"destination": "nobody@server2"}, "destination"),
        ({"destination": "root@-oProxyCommand=x"}, "destination"),
        ({"destination": ""}, "destination"),
        ({"destination": "root@10.0.0.2"}, "id"),
        ({"destination": "server2", "data_center_id": "moon"}, "dataCenterId"),
        ({"destination": "server2", "labels": {"": "x"}}, "labels"),
        ({"destination": "server2", "host_key": "ssh-ed25519"}, "hostKey"),
    ],
)
def test_what_names_no_machine_is_refused_by_its_field(cloud, data, field):
    with pytest.raises(Invalid, match=f"^{field}: "):
        add(cloud, **data)


@pytest.mark.parametrize("destination", ["root@192.0.2.7", "root@[2001:db8::7]:2222"])
def test_a_machine_at_an_address_has_to_be_named(cloud, destination):
    with pytest.raises(Invalid, match="is not accepted; expected what the machine at"):
        add(cloud, destination)
    assert add(cloud, destination, id="node-7").id == "node-7"


def test_a_key_that_is_named_is_the_pinned_one(cloud):
    add(cloud, host_key=f"{KEY} root@server2")
    assert row(cloud).uri == f"ssh://root@server2?host_key={KEY.replace(' ', '%20')}"


class Door:
    """A line that was opened."""

    def __init__(self, uri):
        self.uri, self.closed, self.listeners = uri, False, []

    def on_change(self, notify):
        self.listeners.append(notify)

    def close(self):
        self.closed = True


def test_doors_follow_the_rows(cloud, machine):
    doors = Doors(cloud.database, dict(cloud.hosts), lambda uri, _: Door(uri))
    add(cloud)
    id = row(cloud).id
    assert list(doors) == list(cloud.hosts)
    assert id not in doors, "it is being added"
    with cloud.database.writing() as db:
        db.get_one(Host, id).state = HostState.UP
    door = doors[id]
    assert (door.uri, doors[id], set(doors)) == (row(cloud).uri, door, {id, *cloud.hosts})
    heard = []
    doors._near = {}
    doors.on_change(heard.append)
    door.listeners[0](id)
    assert heard == [id]
    add(cloud, host_key=OTHER_KEY)
    assert (set(doors), door.closed, doors[id].uri) == ({id}, True, row(cloud).uri)
    door = doors[id]
    with cloud.database.writing() as db:
        db.get_one(Host, id).state = HostState.ADDING
    cloud.call(operations.remove_host, id="server2")
    assert (list(doors), door.closed) == ([], True)
    assert UUID(int=7) not in doors


def test_an_operator_is_shown_the_public_key_alone(cloud):
    assert cloud.call(add_operations.get_host_key).public_key == cloud.provided["ssh_key"]


def test_the_server_s_key_is_made_once_and_its_private_half_is_for_its_own_eyes(tmp_path):
    key = ensure_ssh_key(tmp_path)
    assert ensure_ssh_key(tmp_path) == key
    assert key.path.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [key.path.name]
