import subprocess
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

import pytest

from cumulet.images.recipes import RECIPES

SPLITTER = RECIPES["micro"].folder / "rootfs/usr/lib/cumulet/split-mime.awk"
SCRIPT = "#!/bin/sh\n--not-a-boundary\n\necho 'grüß'\n"


def a_message(charset, boundary=None):
    message = MIMEMultipart(boundary=boundary)
    message.attach(MIMEText('#cloud-config\n{"a": 1}\n', "cloud-config", "us-ascii"))
    message.attach(MIMEText(SCRIPT, "x-shellscript", charset))
    return message.as_string()


@pytest.fixture
def split(tmp_path):
    def split(message):
        subprocess.run(
            ["awk", "-v", f"folder={tmp_path}", "-f", SPLITTER], input=message.encode(), check=True
        )
        return {path.name: path.read_text() for path in tmp_path.iterdir()}

    return split


def test_parts_become_files_by_number_and_kind_with_base64_undone(split):
    message = a_message("utf-8")
    assert "base64" in message
    assert split(message) == {"001.cloud-config": '#cloud-config\n{"a": 1}\n\n', "002.x-shellscript": SCRIPT}


@pytest.mark.parametrize("boundary", ["=====part=====", "simple"])
def test_any_boundary_is_taken_from_the_header(split, boundary):
    assert split(a_message("utf-8", boundary))["002.x-shellscript"] == SCRIPT


def test_line_ends_of_the_internet_are_understood(split):
    assert split(a_message("utf-8").replace("\n", "\r\n"))["002.x-shellscript"] == SCRIPT
