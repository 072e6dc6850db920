"""Who vouches, for whom, and until when."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from cumulet.self_signed import AUTHORITY_DAYS, SERVER_DAYS, believed_authorities, ensure_client

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def client(tmp_path, now):
    files = ensure_client(
        tmp_path / "authority", tmp_path / "client", "server", now, renewed=timedelta(days=200)
    )
    return x509.load_pem_x509_certificate(Path(files[1]).read_bytes()), files


def test_a_client_has_one_certificate_until_it_is_to_be_made_anew(tmp_path):
    first, (key, _, believed) = client(tmp_path, NOON)
    assert Path(key).stat().st_mode & 0o777 == 0o600
    assert Path(believed).read_text() == believed_authorities(tmp_path / "authority", NOON)
    assert client(tmp_path, NOON + timedelta(days=SERVER_DAYS - 201))[0] == first
    assert client(tmp_path, NOON + timedelta(days=SERVER_DAYS - 199))[0] != first


def test_an_authority_has_a_successor_before_it_ends_and_a_client_is_of_that_then(tmp_path):
    first, _ = client(tmp_path, NOON)
    earlier = believed_authorities(tmp_path / "authority", NOON)
    late = NOON + timedelta(days=AUTHORITY_DAYS - SERVER_DAYS + 1)
    second, _ = client(tmp_path, late)
    assert second.issuer != first.issuer
    both = believed_authorities(tmp_path / "authority", late)
    assert both.endswith(earlier)
    assert both.count("BEGIN CERTIFICATE") == 2
    assert earlier not in believed_authorities(
        tmp_path / "authority", NOON + timedelta(days=AUTHORITY_DAYS + 1)
    )


def test_those_who_ask_at_once_have_the_same_authority(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        believed = {*pool.map(lambda _: believed_authorities(tmp_path, NOON), range(8))}
    assert len(believed) == 1
