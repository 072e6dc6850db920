"""What a guest reads at its first boot, as a NoCloud disk: pure, from what is to be told to its bytes.

User data is a MIME message. A cloud-config of ours has root's keys and password, as JSON that is YAML as well. A shell
script of ours runs the owner's: senders write no shebang and expect bash, some guests have none; and the exit status
must be found afterwards. It also says when the first boot is over, for images that do not say it themselves. Where the
owner gives what only cloud-init understands, its parts stand before ours, and cloud-init merges: lists of both are
joined, and where both say something else the owner's word counts. There is no network configuration: cloud-init's own
choice, DHCP, works with every distribution's network software, which one of ours would not.
"""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Mapping
from email.encoders import encode_base64
from email.mime.multipart import MIMEMultipart
from email.mime.nonmultipart import MIMENonMultipart
from typing import Final

from pycdlib import PyCdlib

from cumulet.hypervisor import Seed
from cumulet.hypervisor.user_data import SCRIPT, Part, parts_of, script_in

LABEL: Final = "cidata"
BOUNDARY: Final = "=====part-of-the-seed====="
CLOUD_CONFIG: Final = "text/cloud-config"
LAST_SCRIPT: Final = "zz-cumulet-first-boot"
"""cloud-init runs scripts by the order of their names."""
BESIDE_OWNERS: Final = ("Merge-Type", "dict(no_replace,recurse_list)+list(append)+str()")
"""How cloud-init is to add our cloud-config to what its owner says."""
NO_YAML: Final = re.compile(r"[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
"""What JSON may have in a text and YAML forbids there, or takes for the end of a line."""
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
END_OF_CLOUD_INIT: Final = f"""\
# cloud-init runs the owner's parts, and tells only after this script how that went.
{{
    tries=0
    until [ -e /run/cloud-init/result.json ] || [ $tries = 600 ]; do
        tries=$((tries + 1))
        sleep 1
    done
    grep -q '"errors": *\\[\\]' /run/cloud-init/result.json && ! grep -q 'Failed at merging' /var/log/cloud-init.log
    echo $? >{SCRIPT_STATUS}
    : >{FIRST_BOOT_DONE}
    sync
}} </dev/null >/dev/null 2>&1 &
"""


def seed_image(seed: Seed) -> bytes:
    """Make the disk: an ISO 9660 file system with long names."""
    return iso({"meta-data": meta_data(seed), "user-data": user_data(seed)})


def meta_data(seed: Seed) -> str:
    """Say who the guest is."""
    return yaml({"instance-id": seed.instance_id, "local-hostname": seed.hostname}) + "\n"


def yaml(value: Mapping[str, object]) -> str:
    """Write what JSON and YAML both read as that value: no halves of characters, which they take differently."""
    text = json.dumps(value, indent=1, ensure_ascii=False)
    return NO_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def user_data(seed: Seed) -> str:
    """Say whom the guest lets in and what it runs."""
    message = MIMEMultipart("mixed", boundary=BOUNDARY)  # of text as base64, which no boundary can be in
    for part in seed_parts(seed):
        message.attach(encoded(part))
    return message.as_string()


def seed_parts(seed: Seed) -> list[Part]:
    """Put our parts, and the owner's own if there are any, into the order in which cloud-init is to take them."""
    given = parts_of(seed.start_script) if seed.start_script else ()
    script = script_in(given) if given else b""
    config = cloud_config(seed)
    if script is not None:
        return [Part(CLOUD_CONFIG, config_text(config)), Part(SCRIPT, first_boot_script(script).encode())]
    # Where its owner describes root as well, the keys of that description alone would count.
    beside = Part(
        CLOUD_CONFIG,
        config_text({**config, "ssh_authorized_keys": list(seed.ssh_keys)}),
        headers=(BESIDE_OWNERS,),
    )
    return [*given, beside, Part(SCRIPT, (BEGIN + END_OF_CLOUD_INIT).encode(), LAST_SCRIPT)]


def encoded(part: Part) -> MIMENonMultipart:
    """Write a part so that no byte of it is taken for anything else."""
    made = MIMENonMultipart(*part.type.split("/", 1))
    made.set_payload(part.content)
    encode_base64(made)
    if part.file_name:
        made.add_header("Content-Disposition", "attachment", filename=part.file_name)
    for name, value in part.headers:
        made[name] = value
    return made


def config_text(config: Mapping[str, object]) -> bytes:
    """Write a cloud-config."""
    return f"#cloud-config\n{yaml(config)}\n".encode()


def cloud_config(seed: Seed) -> Mapping[str, object]:
    """Let root in with its keys, and with its password where there is one."""
    root = {
        "name": "root",
        "ssh_authorized_keys": list(seed.ssh_keys),
        "lock_passwd": not seed.password_hash,
        **({"hashed_passwd": seed.password_hash} if seed.password_hash else {}),
    }
    # Once for each instance-id: a copy of a disk that booted before must not find its earlier self's traces.
    forget = ["cloud-init-per", "instance", "cumulet-forget", "sh", "-c", FORGET]
    return {
        "disable_root": False,
        "ssh_pwauth": bool(seed.password_hash),
        "users": [root],
        "chpasswd": {"expire": False},
        "bootcmd": [forget],
        **(password_logins() if seed.password_hash else {}),
    }


def password_logins() -> Mapping[str, object]:
    """Let sshd take root's password, which it refuses by its own default."""
    content = "PermitRootLogin yes\nPasswordAuthentication yes\n"
    return {"write_files": [{"path": SSHD_DROP_IN, "permissions": "0600", "content": content}]}


def first_boot_script(start_script: bytes) -> str:
    """Run the owner's script, if there is one, with its output and exit status kept; then say that we are done."""
    if not start_script:
        return BEGIN + END
    return BEGIN + RUN_SCRIPT % base64.encodebytes(start_script).decode().rstrip("\n") + END


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
