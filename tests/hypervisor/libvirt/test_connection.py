from uuid import uuid4

import libvirt
import pytest

from cumulet.hypervisor import HostUnreachable, HypervisorError
from cumulet.hypervisor.libvirt.connection import Connection


@pytest.fixture
def connection():
    connection = Connection("test:///default")
    yield connection
    connection.close()


def test_what_a_host_refuses_is_told_in_its_words(connection, capfd):
    with pytest.raises(HypervisorError, match="not found") as refusal:
        connection.call(lambda link: link.lookupByUUIDString(str(uuid4())))
    assert not isinstance(refusal.value, HostUnreachable)
    assert capfd.readouterr().err == ""


def test_a_host_without_libvirtd_is_unreachable():
    connection = Connection("qemu:///system?socket=/nowhere/libvirt-sock")
    with pytest.raises(HostUnreachable, match="/nowhere/libvirt-sock"):
        connection.call(lambda link: link.getLibVersion())


def test_one_link_serves_all_calls_and_is_prepared_once():
    prepared = []
    connection = Connection("test:///default", prepare=prepared.append)
    links = {connection.call(id) for _ in range(3)}
    assert len(links) == len(prepared) == 1
    connection.close()


def test_a_link_that_cannot_be_prepared_is_not_used():
    def fail(_link):
        raise libvirt.libvirtError("no events here")

    connection = Connection("test:///default", prepare=fail)
    for _ in range(2):
        with pytest.raises(HostUnreachable):
            connection.call(lambda link: link.getLibVersion())


def test_a_closed_connection_stays_closed(connection):
    connection.call(lambda link: link.getLibVersion())
    connection.close()
    with pytest.raises(HostUnreachable, match="closed"):
        connection.call(lambda link: link.getLibVersion())
