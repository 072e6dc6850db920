"""The README's commands are run as a reader would: one shell, from the first to the last."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.cli.conftest import own_settings, plain_environment
from tests.e2e.real_cloud import built_images, lab_dir
from tests.ports import free_port

from cumulet.cli.background import stop_server
from cumulet.settings import read_settings

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
NEED_A_HOST = frozenset({"cumulet doctor", "cumulet gpu prepare --dry-run"})


def commands() -> list[str]:
    """What stands after a prompt in the README's console blocks."""
    blocks = re.findall(r"^```console\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    return [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]


def run_tour(lines: list[str], environment: dict[str, str]) -> str:
    """Run the commands in one shell; gives what they printed."""
    told = subprocess.run(
        ("bash", "-euxo", "pipefail", "-c", "\n".join(lines)),
        env=environment,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout
    return told.stdout


def test_the_tour_works_on_made_up_hosts(tmp_path, home):
    settings = own_settings(tmp_path / "data")
    ssh = tmp_path / "bin/ssh"
    ssh.parent.mkdir()
    ssh.write_text("#!/bin/sh\nexit 0\n")
    ssh.chmod(0o755)
    path = {"PATH": f"{ssh.parent}:{os.environ['PATH']}", "HOME": str(home)}
    lines = [line for line in commands() if line not in NEED_A_HOST]
    try:
        printed = run_tour(lines, plain_environment(settings | path))
    finally:
        stop_server(read_settings(settings))
    assert "Cumulet is up." in printed
    assert "web is deleted after" in printed


@pytest.mark.lab
@pytest.mark.guest
def test_the_tour_works_on_real_guests(home):
    data_dir = lab_dir() / "tour"
    data_dir.mkdir()
    shutil.copytree(built_images(), data_dir / "images", symlinks=True)
    settings = {"CUMULET_DATA_DIR": str(data_dir), "CUMULET_LISTEN": f"127.0.0.1:{free_port()}"}
    printed = run_tour(commands(), plain_environment(settings | {"HOME": str(home)}))
    assert "\nit works\n" in printed
    links = subprocess.run(("ip", "-brief", "link"), capture_output=True, text=True, check=True).stdout
    tables = subprocess.run(("nft", "list", "tables"), capture_output=True, text=True, check=True).stdout
    assert "cx-" not in links
    assert "cumulet" not in tables


def test_the_readme_leads_only_to_what_is_there():
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
