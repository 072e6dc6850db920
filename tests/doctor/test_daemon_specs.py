import socket

from cumulet.doctor.command import output_of
from cumulet.doctor.daemon_specs import (
    ANSWERS,
    UNITS,
    Database,
    accepts_connections,
    all_daemons,
    central_daemons,
    central_options,
    prepare_database,
)
from cumulet.doctor.overlay import Overlay

DAEMONS = {
    daemon.name: daemon for daemon in all_daemons(hide_kvm=False, integration=("true",), datapath="system")
}


def test_every_daemon_can_be_asked_supervised_and_started_as_a_unit():
    assert set(ANSWERS) == set(DAEMONS) == set(UNITS)


def test_a_daemon_waits_only_for_one_that_is_listed_before_it():
    names = list(DAEMONS)
    for daemon in DAEMONS.values():
        assert daemon.after in names[: names.index(daemon.name)] or not daemon.after


def test_kvm_is_hidden_from_libvirt_alone_and_only_where_it_does_not_work():
    hidden = {
        daemon.name: daemon for daemon in all_daemons(hide_kvm=True, integration=("true",), datapath="system")
    }
    assert [name for name in DAEMONS if hidden[name] != DAEMONS[name]] == ["libvirtd"]
    assert hidden["libvirtd"].argv[0] == "unshare"
    assert DAEMONS["libvirtd"].argv == ("libvirtd",)


def test_open_vswitch_is_told_to_cache_exactly_where_it_moves_packets_itself():
    daemons = all_daemons(hide_kvm=False, integration=("true",), datapath="netdev")
    assert [daemon.name for daemon in daemons if daemon.then != DAEMONS[daemon.name].then] == ["ovs-vswitchd"]
    assert "upcall/disable-megaflows" in daemons[3].then[0]


def test_a_socket_without_a_listener_does_not_answer(tmp_path):
    path = str(tmp_path / "socket")
    assert not accepts_connections(path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        assert accepts_connections(path)
    assert not accepts_connections(path)


def test_a_database_is_made_once_and_then_only_brought_to_its_schema(tmp_path):
    schema = tmp_path / "schema"
    schema.write_text(
        '{"name": "Toy", "version": "1.0.0", "tables": {"One": {"columns": {"a": {"type": "string"}}}}}'
    )
    database = Database(tmp_path / "made" / "toy.db", schema)
    prepare_database(database)
    made = database.file.read_bytes()
    prepare_database(database)
    assert database.file.read_bytes() == made
    schema.write_text(
        '{"name": "Toy", "version": "2.0.0", "tables": {"Two": {"columns": {"a": {"type": "string"}}}}}'
    )
    prepare_database(database)
    assert output_of("ovsdb-tool", "db-version", str(database.file)).strip() == "2.0.0"


def test_databases_that_several_hosts_have_speak_tls_by_files_and_northd_asks_all_of_them():
    overlay = Overlay("192.0.2.1", "ssl:…", ("192.0.2.1", "192.0.2.2"))
    nb, sb, northd = central_daemons(overlay)
    key = "/etc/openvswitch/cumulet-central"
    assert f"--ca-cert={key}-authority.pem" in nb.argv
    assert f"--ca-cert={key}-heard.pem" in sb.argv, "hosts"
    assert "--ovnnb-db=ssl:192.0.2.1:6641,ssl:192.0.2.2:6641" in northd.argv
    assert "--ovnsb-db=ssl:192.0.2.1:16642,ssl:192.0.2.2:16642" in northd.argv
    told = central_options(overlay).split()
    assert {f"--ovn-nb-db-ssl-ca-cert={key}-authority.pem", f"--ovn-sb-db-ssl-ca-cert={key}-heard.pem"} <= {
        *told
    }
    assert "--ovn-northd-sb-db=ssl:192.0.2.1:16642,ssl:192.0.2.2:16642" in told
    assert central_options(Overlay("192.0.2.1")) == ""
