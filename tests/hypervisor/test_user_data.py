import base64
import gzip
from contextlib import suppress
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cumulet.errors import Invalid
from cumulet.hypervisor import Seed
from cumulet.hypervisor.libvirt.nocloud import user_data
from cumulet.hypervisor.user_data import MOST_UNPACKED, SCRIPT, parts_of, script_in

CONFIG = "#cloud-config\nruncmd: [reboot]\n"
MESSAGE = "Content-Type: multipart/mixed; boundary=b\nMIME-Version: 1.0\n\n--b\n{}\n--b--\n"


def in_base64(text):
    return base64.encodebytes(text if isinstance(text, bytes) else text.encode()).decode()


def in_gzip(text):
    return in_base64(gzip.compress(text.encode(), mtime=0))


@pytest.mark.parametrize(
    "script",
    ["reboot", "echo hi\nexit 3", "#!/bin/sh\nreboot", "# a comment\nls", "\n\nls", "sendmail <<X\nContent-Type: text/plain\nX",
     "shutdown", "MIME-version: not a message", "# include nothing\nls"],
)  # fmt: skip
def test_commands_are_a_script_just_as_they_are(script):
    assert script_in(parts_of(script)) == script.encode()


@pytest.mark.parametrize(
    ("text", "type"),
    [
        (CONFIG, "text/cloud-config"),
        ("\n" + CONFIG, "text/cloud-config"),
        ("#Cloud-Config\na: b", "text/cloud-config"),
        ("\ufeff" + CONFIG, "text/cloud-config"),
        ("#cloud-config-archive\n- a", "text/cloud-config-archive"),
        ("#cloud-boothook\n#!/bin/sh", "text/cloud-boothook"),
        ("#include\nhttp://example.com", "text/x-include-url"),
        ("#include-once\nhttp://example.com", "text/x-include-once-url"),
        ("#part-handler\n", "text/part-handler"),
        ("## template: jinja\n#cloud-config\n", "text/jinja2"),
    ],
)
def test_what_cloud_init_knows_is_told_by_its_beginning(text, type):
    for form in (text, in_base64(text), in_gzip(text)):
        (part,) = parts_of(form)
        assert (part.type, part.content.decode()) == (type, text.removeprefix("\ufeff"))
        assert script_in((part,)) is None


def test_a_packed_script_is_a_script():
    assert script_in(parts_of(in_gzip("echo hi"))) == b"echo hi"
    assert script_in(parts_of(in_base64("#!/bin/sh\necho hi"))) == b"#!/bin/sh\necho hi"
    assert script_in(parts_of(MESSAGE.format("Content-Type: text/x-shellscript\n\necho hi"))) == b"echo hi"


def test_line_ends_of_windows_go_when_the_first_line_has_one():
    assert script_in(parts_of("a\r\nb\r\n")) == b"a\nb\n"
    assert script_in(parts_of("a\r\nb\r")) == b"a\nb"
    assert script_in(parts_of("a\nb\r\n")) == b"a\nb\r\n"
    assert script_in(parts_of("reboot\r")) == b"reboot"


def test_parts_of_a_message_are_known_by_their_types_or_where_those_are_vague_by_their_beginnings():
    parts = parts_of(
        MESSAGE.format(
            "Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\n"
            + in_base64(CONFIG)
            + "\n--b\nContent-Type: text/x-shellscript-per-boot\n\n#!/bin/sh"
            + "\n--b\nContent-Type: multipart/mixed; boundary=c\n\n--c\nContent-Type: text/cloud-boothook\n\nx\n--c--"
        )
    )
    assert [part.type for part in parts] == ["text/cloud-config", f"{SCRIPT}-per-boot", "text/cloud-boothook"]
    assert parts[0].content.decode() == CONFIG


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("#cloud-confg\na: b", "begins with #cloud-confg"),
        ("# cloud-config\na: b", "user data that cloud-init knows"),
        ("#upstart-job\n", "begins with #upstart-job"),
        (MESSAGE.format("Content-Type: text/upstart-job\n\nx"), "of type text/upstart-job"),
        (MESSAGE.format("Content-Type: text/plain\n\nx"), "of type text/plain"),
        ("MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n", "without parts"),
        (in_base64(gzip.compress(b"echo", mtime=0)[:-4]), "gzip data"),
        (in_base64(b"\x1f\x8bnonsense"), "damaged gzip data"),
        (in_gzip("x" * (MOST_UNPACKED + 1)), f"at most {MOST_UNPACKED} bytes"),
        (in_base64(gzip.compress(b"\x7fELF\xff", mtime=0)), "no text"),
        ("a\0b", "NUL"),
        (MESSAGE.format("Content-Type: text/cloud-config; name*=utf-8''a%0Ab\n\nx"), "unprintable"),
        (MESSAGE.format("Content-Type: multipart/x\n" * 16), "at most 16 in one another"),
    ],
)
def test_what_nobody_would_run_is_refused(text, said):
    with pytest.raises(Invalid, match=r"startScript: .*") as refusal:
        parts_of(text)
    assert said in str(refusal.value)


@given(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.sampled_from(["", "#cloud-config\n", MESSAGE, MESSAGE + MESSAGE]),
)
def test_whatever_is_pasted_is_refused_or_makes_a_seed(text, frame):
    seed = Seed(UUID(int=1), "i", "h", (), "", frame.replace("{}", text) or text)
    with suppress(Invalid):
        assert parts_of(seed.start_script) or not seed.start_script
        user_data(seed).encode()
