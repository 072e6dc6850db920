import base64
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.projects.people import ed25519_line

from cumulet.errors import Invalid
from cumulet.projects import check_public_key
from cumulet.projects.public_key import parse_public_key

KEYS = {  # made by ssh-keygen (those on tokens put together by hand), fingerprints by `ssh-keygen -l`
    "SHA256:wsWQbj1JOkj8Ob7kgM8AL9+1WUPaj9b1A0eSvsAZMrc": (
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFivlDfHburNtZpsecMxpnOsevIsUt9hgdva1POS5b92 ada@lab"
    ),
    "SHA256:90Q3K3C84hO+jRudXNNWEsu+3oEPLLVdzirsPDfGdW8": (
        "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQCvF24ySEaqYCB6T7J+JMDpgTCDMjx3nJyN9JMErCy1D1eVSkFaaN"
        "6Fo2i2BovFem5oh8j32IQh7Rz+S5G/WMHacXFztr2OvRB27y8oes4D4+x4NFqR2d6sReN7DfOEkxYxfK+TeYSujqh7"
        "aJOW2RAuDcu4XwzZe1q3lRV7snoUZbNHs1OtGNU89Mr+xTrz9og1osuulA7OM1GPD8QgA+H98u93rQGC7Q50vhGXit"
        "nkFEmE/umvDYpQtuvH3BCLorfOrVKtk7Jk6rzDr5yaiC7u+kqq8ayPVE5jxOFzbzjiPbcLVoRkIqZkxORs9Wx6W4vO"
        "D0cDmlUTJtlqvqPWqcIh ada@lab"
    ),
    "SHA256:eDSLdf8/4luinmOTQiN17IUH2TwULvKDuhr3Ou3ZtHg": (
        "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEdoLBKEwMJ1BaPsl4"
        "XSjxAYODec8CpjXbMMeJT03fXHKQ6xYVJCJELCw+wQNxzuOqERuOANPVKYp3/usmy0S+E= ada@lab"
    ),
    "SHA256:Yc/j5cyqhkcTCTe4f0ykrERQkhbXMXlZ/GPbmd/XeCA": (
        "ecdsa-sha2-nistp384 AAAAE2VjZHNhLXNoYTItbmlzdHAzODQAAAAIbmlzdHAzODQAAABhBJkXPguNQM7YGIONiO"
        "6pJnx03U2DYFPtJN0DQXqAGvAeMSnZ4I5KSQSSozDVDwudF9rWRUnqq9RsM0ZKHiF9HHUuWUh6sBEKSb+z9hzlj6As"
        "6bAPEf3LL9FPScjznBCQmw== ada@lab"
    ),
    "SHA256:a9CCUWFG4ep4ghCWD76IoA6yVmbFjrryWS53V63p4eA": (
        "ecdsa-sha2-nistp521 AAAAE2VjZHNhLXNoYTItbmlzdHA1MjEAAAAIbmlzdHA1MjEAAACFBACvMY8QlH/lHapcJB"
        "FIfohod51aAbl+ETHsujm7saNbC5kZZojAdCqLUtDmHFvVWz7q7DdlqvxVqZAWMZ19x7iiYwGdh9AMUyWsKDMAsez/"
        "4sR7CwkZXqGlJkjaE4JtmMGRpgQtyZBWhHm5r4q8nzCTMGAeJdnAQWkdbVXw/NzYbIo+1A== ada@lab"
    ),
    "SHA256:HM+bTMQeMlIvfiVSaMLSj4+likwdT+iVw9JWT3F4faM": (
        "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIFivlDfHburNtZpsecM"
        "xpnOsevIsUt9hgdva1POS5b92AAAABHNzaDo= ada@lab"
    ),
    "SHA256:jyNIiLE7njnhE9peeH/rfHL9lMwv4RpjrVy+Q0X8TGg": (
        "sk-ecdsa-sha2-nistp256@openssh.com AAAAInNrLWVjZHNhLXNoYTItbmlzdHAyNTZAb3BlbnNzaC5jb20AAAA"
        "IbmlzdHAyNTYAAABBBEdoLBKEwMJ1BaPsl4XSjxAYODec8CpjXbMMeJT03fXHKQ6xYVJCJELCw+wQNxzuOqERuOANP"
        "VKYp3/usmy0S+EAAAAEc3NoOg== ada@lab"
    ),
}
ED25519 = next(iter(KEYS.values()))
SHORT_RSA = (
    "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQDQLlEfZoidG5R06QxM3QiEWNfDIyaYw55mYFEOSb3aAiCxN/5zaQ"
    "T4oCCO2sx0BCIdc5ScjjDiTW5rKIVfQONhTWAwqAvTz01YKaYY/oXaxsT7GaMSLbTvw2onmBpVyvNmL6997hFKD/3K"
    "6HTWEyayHXjPHGrwtLu4XMdWOvHzuQ=="
)
PRIVATE_KEY = (
    "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUA\n-----END OPENSSH PRIVATE KEY-----"
)


def packed(*parts: bytes) -> str:
    return base64.b64encode(b"".join(struct.pack(">I", len(part)) + part for part in parts)).decode()


@pytest.mark.parametrize(("fingerprint", "line"), KEYS.items())
def test_a_key_is_read_as_ssh_keygen_reads_it(fingerprint: str, line: str) -> None:
    key = parse_public_key(line, "publicKey")
    assert (key.fingerprint, key.type, key.comment, key.line) == (
        fingerprint,
        line.partition(" ")[0],
        "ada@lab",
        line,
    )


def test_a_key_is_trimmed() -> None:
    assert check_public_key(f"\n  {ED25519}  \r\n", "publicKey") == ED25519
    assert check_public_key(ed25519_line(1) + "\n", "publicKey") == ed25519_line(1)


@pytest.mark.parametrize(
    "text",
    [
        PRIVATE_KEY,
        PRIVATE_KEY.replace("\n", " "),
        "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUA",
        "PuTTY-User-Key-File-3: ssh-ed25519",
    ],
)
def test_a_private_key_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(
        Invalid, match=r"customSshKeys.0.: 'a private key'.*treat that private key as compromised"
    ) as refused:
        check_public_key(text, "customSshKeys[0]")
    assert "b3BlbnNzaC1rZXktdjE" not in str(refused.value) + str(refused.value.details)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "''"),
        (" \n", "''"),
        ("hello world", "does not begin with a key type"),
        (f'command="reboot" {ED25519}', "does not begin with a key type"),
        (f"no-pty {ED25519}", "does not begin with a key type"),
        ("ssh-dss AAAAB3NzaC1kc3M=", "'ssh-dss'"),
        ("ssh-ed25519-cert-v01@openssh.com AAAA", "'ssh-ed25519-cert-v01@openssh.com'"),
        (f"{ED25519}\n{ED25519}", "several lines"),
        (f"{ED25519}\x00", "U+0000"),
        (f"{ED25519} {'x' * 20_000}", "characters"),
        ("ssh-ed25519", "incomplete ssh-ed25519"),
        ("ssh-ed25519 !!!!", "incomplete ssh-ed25519"),
        (f"ssh-ed25519 {ED25519.split()[1][:-8]}", "incomplete ssh-ed25519"),
        (f"ssh-rsa {ED25519.split()[1]}", "damaged or too short ssh-rsa"),
        (f"ssh-ed25519 {packed(b'ssh-ed25519', bytes(31))}", "damaged or too short"),
        (f"ssh-ed25519 {packed(b'ssh-ed25519', bytes(32), b'more')}", "damaged or too short"),
        (f"ssh-ed25519 {packed(b'ssh-ed25519')}", "damaged or too short"),
        (SHORT_RSA, "damaged or too short ssh-rsa"),
        (
            f"ecdsa-sha2-nistp256 {packed(b'ecdsa-sha2-nistp256', b'nistp384', bytes([4]) + bytes(96))}",
            "damaged or too short",
        ),
        (
            f"ecdsa-sha2-nistp256 {packed(b'ecdsa-sha2-nistp256', b'nistp256', bytes([2]) + bytes(64))}",
            "damaged or too short",
        ),
        (
            f"sk-ssh-ed25519@openssh.com {packed(b'sk-ssh-ed25519@openssh.com', bytes(32))}",
            "damaged or too short",
        ),
    ],
)
def test_what_sshd_would_not_read_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(Invalid, match=r"publicKey: .*expected one line") as refused:
        check_public_key(text, "publicKey")
    assert complaint in refused.value.message


@given(st.text() | st.binary().map(lambda body: f"ssh-ed25519 {base64.b64encode(body).decode()}"))
def test_no_text_does_more_than_being_refused(text: str) -> None:
    try:
        line = check_public_key(text, "publicKey")
    except Invalid:
        return
    assert check_public_key(line, "publicKey") == line


@given(st.text(max_size=40))
def test_a_comment_never_becomes_a_second_line(comment: str) -> None:
    try:
        line = check_public_key(f"{ed25519_line(1)} {comment}", "publicKey")
    except Invalid:
        return
    assert line.splitlines() == [line]


@pytest.mark.parametrize(
    ("between", "named"),
    [("\t", "a text with U\\+0009"), ("\xa0", "a text with U\\+00A0"), ("\n", "a text of several lines")],
)
def test_what_stands_where_a_space_should_is_named(between, named):
    line = f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFivlDfHburNtZpsecMxpnOsevIsUt9hgdva1POS5b92{between}ada@lab"
    with pytest.raises(Invalid, match=f"publicKey: '{named}.*with plain spaces"):
        parse_public_key(line, "publicKey")
