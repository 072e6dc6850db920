"""What a guest reads at its first boot, as a NoCloud disk: pure, from what is to be told to its bytes.

User data is a MIME message of two parts. The first is a cloud-config with root's keys and password, as JSON, which is
YAML that nothing needs to quote. The second is a shell script of ours that runs the owner's: senders write no shebang
and expect bash, some guests have none; and the exit status must be found afterwards. It also says when the first
boot is over, for images that do not say it themselves. There is no network configuration: cloud-init's own choice,
DHCP, works with every distribution's network software, which one of ours would not.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from typing import Final

from pycdlib import PyCdlib

from cumulet.hypervisor import Seed

LABEL: Final = "cidata"
BOUNDARY: Final = "=====part-of-the-seed====="
STATE_DIR: Final = "/var/lib/cumulet"
FIRST_BOOT_DONE: Final = f"{STATE_DIR}/first-boot.done"
SCRIPT_STATUS: Final = f"{STATE_DIR}/start-script.status"
SCRIPT_LOG: Final = "/var/log/cumulet-start-script.log"
SSHD_DROP_IN: Final = "/etc/ssh/sshd_config.d/10-cumulet.conf"
FORGET: Final = f"""\
if [ -e {FIRST_BOOT_DONE} ]; then
    rm -f {FIRST_BOOT_DONE} {SCRIPT_STATUS} /root/.ssh/authorized_keys /etc/machine-id
    systemd-machine-id-setup
    find /var/lib/cloud/instances -mindepth 1 -maxdepth 1 ! -name "$INSTANCE_ID" -exec rm -r {{}} +
fi
"""
"""Makes of a copied disk another machine: its earlier self's keys, user data and machine id go; cloud-init does the rest."""
BEGIN: Final = f"""\
#!/bin/sh
# The last step of the first boot.
umask 077
mkdir -p {STATE_DIR}
export HOME=/root
cd /root || cd /
"""
RUN_SCRIPT: Final = f"""\
script={STATE_DIR}/start-script
base64 -d >$script <<'END'
%s
END
chmod 700 $script
case $(head -c 2 $script) in
    '#!') $script ;;
    *) $(command -v bash || command -v sh) $script ;;
esac </dev/null >{SCRIPT_LOG} 2>&1
status=$?
echo $status >{SCRIPT_STATUS}
{{
    echo "cumulet: the start script ended with status $status; the end of its output:"
    tail -n 20 {SCRIPT_LOG}
}} >/dev/console
"""
END: Final = f"""\
: >{FIRST_BOOT_DONE}
sync
"""


def seed_image(seed: Seed) -> bytes:
    """Make the disk: an ISO 9660 file system with long names."""
    return iso({"meta-data": meta_data(seed), "user-data": user_data(seed)})


def meta_data(seed: Seed) -> str:
    """Say who the guest is."""
    return json.dumps({"instance-id": seed.instance_id, "local-hostname": seed.hostname}, indent=1) + "\n"


def user_data(seed: Seed) -> str:
    """Say whom the guest lets in and what it runs."""
    message = MIMEMultipart("mixed", boundary=BOUNDARY)
    message.attach(MIMEText(cloud_config(seed), "cloud-config", "us-ascii"))
    message.attach(MIMEText(first_boot_script(seed.start_script), "x-shellscript", "us-ascii"))
    return message.as_string()


def cloud_config(seed: Seed) -> str:
    """Let root in with its keys, and with its password where there is one."""
    root = {
        "name": "root",
        "ssh_authorized_keys": list(seed.ssh_keys),
        "lock_passwd": not seed.password_hash,
        **({"hashed_passwd": seed.password_hash} if seed.password_hash else {}),
    }
    # Once for each instance-id: a copy of a disk that booted before must not find its earlier self's traces.
    forget = ["cloud-init-per", "instance", "cumulet-forget", "sh", "-c", FORGET]
    config = {
        "disable_root": False,
        "ssh_pwauth": bool(seed.password_hash),
        "users": [root],
        "chpasswd": {"expire": False},
        "bootcmd": [forget],
        **(password_logins() if seed.password_hash else {}),
    }
    return f"#cloud-config\n{json.dumps(config, indent=1)}\n"


def password_logins() -> Mapping[str, object]:
    """Let sshd take root's password, which it refuses by its own default."""
    content = "PermitRootLogin yes\nPasswordAuthentication yes\n"
    return {"write_files": [{"path": SSHD_DROP_IN, "permissions": "0600", "content": content}]}


def first_boot_script(start_script: str) -> str:
    """Run the owner's script, if there is one, with its output and exit status kept; then say that we are done."""
    if not start_script:
        return BEGIN + END
    encoded = base64.encodebytes(start_script.encode()).decode().rstrip("\n")
    return BEGIN + RUN_SCRIPT % encoded + END


def iso(files: Mapping[str, str]) -> bytes:
    """Make a disk of some small files at its root."""
    disk = PyCdlib()
    disk.new(interchange_level=3, joliet=3, rock_ridge="1.09", vol_ident=LABEL)
    for name, text in files.items():
        content = text.encode()
        short = name.upper().replace("-", "_")
        disk.add_fp(
            io.BytesIO(content),
            len(content),
            f"/{short}.;1",
            rr_name=name,
            joliet_path=f"/{name}",
        )
    image = io.BytesIO()
    disk.write_fp(image)
    disk.close()
    return image.getvalue()
