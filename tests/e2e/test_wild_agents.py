"""A guest's agent that sends what no agent sends harms nobody but its own guest."""

import pytest
from tests.e2e.real_cloud import Vm
from tests.e2e.traces import Parts, output_of
from tests.waiting import eventually

pytestmark = pytest.mark.lab

WILD_AGENT = r"""
cat >/run/wild <<'END'
#!/bin/sh
# Answers every line with 4,000,000 arrays within each other.
head -c 4000000 /dev/zero | tr '\0' '[' >/run/deep
exec 3<>"$1"
while :; do
    read -r line <&3 || { sleep 0.1; continue; }  # nobody speaks with it just now
    cat /run/deep >&3
    echo >&3
done
END
chmod +x /run/wild
for port in /sys/class/virtio-ports/*; do
    [ "$(cat "$port/name")" = org.qemu.guest_agent.0 ] && device=/dev/${port##*/}
done
mv /usr/sbin/qemu-ga /usr/sbin/qemu-ga.away
kill $(pidof qemu-ga)
sleep 1
setsid /run/wild "$device" </dev/null >/dev/null 2>&1 &
sleep 1
"""


def libvirtd() -> str:
    return output_of("pidof", "libvirtd")


@pytest.fixture(scope="module")
def wild(cloud) -> Vm:
    vm = cloud.create("wild").wait_for_ssh()
    eventually(lambda: vm.shown()["guest"]["firstBootDone"])
    return vm


def set_password(vm: Vm) -> None:
    path = f"/v1/projects/{vm.project}/vm/{vm.name}/password"
    vm.cloud.ask("POST", path, json={"password": "Corr3ct-horse"})


def test_a_wild_agent_is_left_alone_and_everybody_else_goes_on(wild, ann):
    before = libvirtd()
    wild.output_of(WILD_AGENT)
    set_password(wild)
    assert "ignored until the next start: it " in eventually(lambda: wild.told("vm.password_refused"))
    assert "ignored until the next start: it " in eventually(lambda: wild.told("vm.agent_ignored"))
    set_password(ann)
    eventually(lambda: ann.told("vm.password_set"))
    wild.verb("terminate")
    eventually(wild.gone)
    assert libvirtd() == before


def test_libvirtd_has_not_opened_the_channel_of_any_agent(ann):
    name = output_of("virsh", "domname", Parts.of(ann).vm).strip()
    refused = output_of(
        "sh", "-c", f'virsh qemu-agent-command {name} \'{{"execute":"guest-ping"}}\' 2>&1 || true'
    )
    assert "QEMU guest agent is not configured" in refused
