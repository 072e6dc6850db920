"""One life of a micro guest, read from its serial console and asked of its agent."""

import base64
import subprocess
import uuid

import pytest
from tests.images.guest import booted

from cumulet.hypervisor import Seed
from cumulet.hypervisor.libvirt.nocloud import seed_image

pytestmark = pytest.mark.slow

KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ5j6v7qg0nRLsWJq8fYBqKQy7LrXr2nS8N1dKqkZ2aa somebody of "here" 🙂'
SCRIPT = '\ufeffecho "$HOME on $(hostname)" >/root/made-by-script\r\nexit 3\r\n'


def a_seed(instance_id: str, password: str = "") -> Seed:
    hashed = ""
    if password:
        crypt = ["openssl", "passwd", "-6", "-stdin"]
        hashed = subprocess.run(
            crypt, input=password, capture_output=True, text=True, check=True
        ).stdout.strip()
    return Seed(
        vm_id=uuid.uuid4(),
        instance_id=instance_id,
        hostname="hello",
        ssh_keys=(KEY,),
        password_hash=hashed,
        start_script=SCRIPT,
    )


@pytest.mark.guest
def test_a_micro_guest_becomes_what_its_seed_says_and_obeys_the_power_button(micro, tmp_path):
    with booted(micro.path, seed_image(a_seed("first", "s3cret")), tmp_path) as guest:
        guest.wait_for("eth0 has 10.0.2.15")
        guest.wait_for("the start script ended with status 3")
        guest.wait_for("first boot is done")
        guest.log_in("s3cret")
        assert guest.output_of("cat /root/made-by-script") == "/root on hello\n"
        assert guest.output_of("cat /root/.ssh/authorized_keys") == KEY + "\n"
        assert guest.output_of("nohup sh -c 'sleep 1; echo on' >/tmp/out; cat /tmp/out") == "on\n"
        assert guest.output_of("nohup no-such 2>/dev/null; echo $?") == "127\n"
        guest.output_of(r"printf '\0\0\0\5\1\0\0\0\3' >/tmp/hello")  # of a client that speaks version 3
        talk = "(cat /tmp/hello;sleep 1)|/usr/lib/sftp-server|hexdump -C"
        assert " 02 00 00 00 03 " in " ".join(guest.output_of(talk).split())
        assert guest.output_of("ls /etc/dropbear/password-logins") == "/etc/dropbear/password-logins\n"
        assert guest.output_of("cat /var/lib/cumulet/start-script.status") == "3\n"
        assert int(guest.output_of("df -m / | awk 'END {print $2}'")) > 2900
        assert guest.output_of("cat /etc/resolv.conf") == "nameserver 10.0.2.3\n"
        guest.ask_agent(
            "guest-set-user-password",
            username="root",
            password=base64.b64encode(b"an0ther").decode(),
            crypted=False,
        )
        guest.type("rm /root/made-by-script; exit")
        guest.log_in("an0ther")
        guest.press_power_button()
        guest.process.wait(timeout=60)

    with booted(micro.path, seed_image(a_seed("first")), tmp_path) as guest:
        guest.log_in("an0ther")
        assert "No such file" in guest.output_of("cat /root/made-by-script"), "the start script ran twice"
