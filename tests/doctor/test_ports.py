from cumulet.doctor.ports import Port, parse_ports, running_ports

STATUS = """
<domstatus state='running' reason='booted' pid='327'>
  <monitor path='/run/monitor.sock' type='unix'/>
  <domain type='qemu' id='1'>
    <name>one</name>
    <uuid>31b2a0c0-9b82-409b-90dc-7e4bb0e4e6a8</uuid>
    <devices>
      <interface type='bridge'>
        <mac address='52:54:00:00:00:11'/>
        <source bridge='br-int'/>
        <virtualport type='openvswitch'>
          <parameters interfaceid='11111111-2222-4333-8444-555555555555'/>
        </virtualport>
        <target dev='vnet0'/>
      </interface>
      <interface type='bridge'><source bridge='virbr0'/><target dev='vnet1'/></interface>
      <interface type='network'><source network='default'/><target dev='vnet2'/></interface>
    </devices>
  </domain>
</domstatus>
"""
PORT = Port(
    "vnet0",
    "br-int",
    (
        "iface-id=11111111-2222-4333-8444-555555555555",
        "vm-id=31b2a0c0-9b82-409b-90dc-7e4bb0e4e6a8",
        'attached-mac="52:54:00:00:00:11"',
        "iface-status=active",
    ),
)


def test_only_ports_on_open_vswitch_are_read():
    assert list(parse_ports(STATUS)) == [PORT]


def test_a_file_without_a_domain_has_no_ports():
    assert list(parse_ports("<domstatus/>")) == []


def test_all_running_vms_are_looked_at(tmp_path):
    assert list(running_ports(tmp_path)) == []
    (tmp_path / "one.xml").write_text(STATUS)
    (tmp_path / "one.pid").write_text("327")
    assert list(running_ports(tmp_path)) == [PORT]
