"""A whole Ceph on one machine: a monitor, a manager and one OSD on a sparse file; it ends with the private host."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final
from uuid import uuid4

from tests.waiting import eventually

CONF: Final = Path("/etc/ceph/ceph.conf")
POOL: Final = "vms"
USER: Final = "cumulet"
OSD_GIB: Final = 6
OPTIONS: Final = """
[global]
fsid = {fsid}
mon_host = {address}
public_addr = {address}
keyring = {folder}/admin.keyring
[mon]
mon_data = {folder}/mon
mon_allow_pool_size_one = true
[mgr]
mgr_data = {folder}/mgr
mgr_initial_modules =
[osd]
osd_data = {folder}/osd
osd_class_update_on_start = false
osd_mclock_skip_benchmark = true
osd_crush_chooseleaf_type = 0
osd_pool_default_size = 1
bluestore_block_size = {bytes}
bluestore_cache_autotune = false
bluestore_cache_size = 33554432
[global]
log_file = {folder}/$name.log
admin_socket = {folder}/$name.asok
pid_file = {folder}/$name.pid
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 8
osd_pool_default_pg_autoscale_mode = off
mon_warn_on_pool_no_redundancy = false
"""
"""What the daemons and the administrator read."""


def run(*words: object) -> str:
    """Have a command succeed, and return what it printed."""
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout


class Ceph:
    """One cluster, whose hosts are given its address and a key for one pool."""

    def __init__(self, folder: Path, address: str) -> None:
        folder.mkdir()
        self.folder = folder
        self._conf = folder / "ceph.conf"
        self.fsid = str(uuid4())
        self._conf.write_text(
            OPTIONS.format(fsid=self.fsid, address=address, folder=folder, bytes=OSD_GIB << 30)
        )
        self._start_monitor(address)
        self._start("mgr", "x", caps=("mon", "allow profile mgr", "osd", "allow *"))
        self._start_osd()
        self.admin("osd", "pool", "create", POOL)
        self.admin("osd", "pool", "application", "enable", POOL, "rbd")
        self.conf = f"[global]\nfsid = {self.fsid}\nmon_host = {address}\n"
        self.keyring = self.admin(
            "auth", "get-or-create", f"client.{USER}",
            "mon", "profile rbd", "osd", f"profile rbd pool={POOL}", "mgr", f"profile rbd pool={POOL}",
        )  # fmt: skip
        eventually(lambda: f'"name":"{POOL}"' in self.admin("df", "--format=json"))

    def admin(self, *words: str) -> str:
        """Have an administrator's command succeed."""
        return run("ceph", "--conf", self._conf, "--connect-timeout=30", *words)

    def let_in(self, run: Callable[..., str] = run) -> None:
        """Give this machine, or the one that `run` has commands succeed on, what a host of the cluster has."""
        keyring = CONF.with_name(f"ceph.client.{USER}.keyring")
        for path, content in ((CONF, self.conf), (keyring, self.keyring)):
            run("sh", "-c", f"umask 077; mkdir -p {path.parent}; echo '{content}' >{path}")
        run("chmod", "-R", "go+rX", CONF.parent)
        run("chmod", "600", keyring)

    def stop(self) -> None:
        """End it, with all that it holds."""
        for pid in self.folder.glob("*.pid"):
            self.signal(pid.stem, signal.SIGKILL)
        shutil.rmtree(self.folder)

    def signal(self, name: str, which: int) -> None:
        """Send a signal to one of its daemons: `mon.a`, `mgr.x` or `osd.0`."""
        os.kill(int((self.folder / f"{name}.pid").read_text()), which)

    def _start_monitor(self, address: str) -> None:
        keyring, map = self.folder / "admin.keyring", self.folder / "monmap"
        run(
            "ceph-authtool", "--create-keyring", keyring, "--gen-key", "-n", "mon.", "--cap", "mon", "allow *"
        )
        caps = [word for part in ("mon", "osd", "mgr", "mds") for word in ("--cap", part, "allow *")]
        run("ceph-authtool", keyring, "--gen-key", "-n", "client.admin", *caps)
        run("monmaptool", "--create", "--add", "a", address, "--fsid", self.fsid, map)
        run("ceph-mon", "--conf", self._conf, "--mkfs", "-i", "a", "--monmap", map, "--keyring", keyring)
        run("ceph-mon", "--conf", self._conf, "-i", "a")

    def _start(self, kind: str, id: str, *, caps: tuple[str, ...]) -> None:
        data = self.folder / kind
        data.mkdir(exist_ok=True)
        self.admin("auth", "get-or-create", f"{kind}.{id}", *caps, "-o", str(data / "keyring"))
        run(f"ceph-{kind}", "--conf", self._conf, "-i", id, "--keyring", data / "keyring")

    def _start_osd(self) -> None:
        data, uuid = self.folder / "osd", str(uuid4())
        data.mkdir()
        id = self.admin("osd", "new", uuid).strip()
        caps = ("mon", "allow profile osd", "mgr", "allow profile osd", "osd", "allow *")
        self.admin("auth", "get-or-create", f"osd.{id}", *caps, "-o", str(data / "keyring"))
        run(
            "ceph-osd",
            "--conf",
            self._conf,
            "-i",
            id,
            "--mkfs",
            "--osd-uuid",
            uuid,
            "--keyring",
            data / "keyring",
        )
        self._start("osd", id, caps=caps)
        eventually(lambda: "1 up" in self.admin("osd", "stat"))
