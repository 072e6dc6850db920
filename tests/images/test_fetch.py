import hashlib
import os
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from tests.images.makers import a_file, a_partitioned_disk, a_qcow2, a_raw_disk, an_empty_qcow2
from tests.words import ONLY_CHANGES

from cumulet.errors import Invalid, Unavailable
from cumulet.hypervisor import Firmware
from cumulet.images import ImageStore
from cumulet.images.fetch import import_image, part_file, public_part


class FarSide:
    """A web server with one file; it can break off, forget what it had, and not know about ranges."""

    def __init__(self, content):
        self.content = content
        self.tag = '"one"'
        self.kind = "application/octet-stream"
        self.break_off_after = None
        self.knows_ranges = True
        self.headers = {}
        """Told in the place of what is true; None leaves one out."""
        self.status = None
        self.asked = []

    def answer(self, request):
        wanted = request.headers.get("range", "")
        self.asked.append(wanted)
        current = request.headers.get("if-range") == self.tag
        start = int(wanted[6:-1]) if wanted and current and self.knows_ranges else 0
        if start >= len(self.content):
            request.send_response(416)
            request.send_header("content-length", "0")
            request.end_headers()
            return
        request.send_response(self.status or (206 if start else 200))
        end = f"{len(self.content) - 1}/{len(self.content)}"
        headers = {
            "content-range": f"bytes {start}-{end}" if start else None,
            "etag": self.tag or None,
            "content-type": self.kind,
            "content-length": str(len(self.content) - start),
        }
        for name, value in (headers | self.headers).items():
            if value is not None:
                request.send_header(name, value)
        request.end_headers()
        request.wfile.write(self.content[start : self.break_off_after])


@pytest.fixture
def disk(tmp_path):
    return a_raw_disk(tmp_path / "disk").read_bytes()


@pytest.fixture
def far_side(disk):
    return FarSide(disk)


@pytest.fixture
def url(far_side):
    class Request(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path.partition("?")[0] == "/image":
                far_side.answer(self)
            elif self.path.startswith("/moved-to/"):
                self.send_response(302)
                self.send_header("location", self.path.removeprefix("/moved-to/") or self.path)
                self.send_header("content-length", "0")
                self.end_headers()
            else:
                self.send_error(404)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Request) as server:
        threading.Thread(target=server.serve_forever, daemon=True, kwargs={"poll_interval": 0.01}).start()
        yield f"http://127.0.0.1:{server.server_port}/image"
        server.shutdown()


@pytest.fixture
def store(tmp_path):
    return ImageStore(tmp_path / "images")


@pytest.fixture
def bring(store):
    def bring(source, **options):
        return import_image(store, "far", str(source), progress=lambda *_: None, **options)

    return bring


def test_an_image_is_downloaded_and_checked(bring, store, url, disk):
    image = bring(url, sha256=hashlib.sha256(disk).hexdigest().upper(), name="From Afar")
    assert image.path.read_bytes() == disk
    assert (image.format, image.size_gib, image.display_name, image.origin) == ("raw", 1, "From Afar", url)
    assert store.find("far") == image


def test_a_file_of_this_host_is_copied(bring, tmp_path):
    source = a_qcow2(tmp_path / "cloud.img")
    image = bring(source)
    assert image.format == "qcow2"
    assert source.exists()


def test_progress_goes_to_the_whole(store, url):
    told = []
    import_image(store, "far", url, progress=lambda step, fraction: told.append((step, fraction)))
    assert ("downloading", 1.0) in told
    assert [fraction for _, fraction in told] == sorted(fraction for _, fraction in told)


def test_a_download_that_broke_off_goes_on_from_there(bring, far_side, url, disk):
    far_side.break_off_after = 1 << 20
    with pytest.raises(Unavailable, match="broke off after 1048576 bytes"):
        bring(url)
    far_side.break_off_after = None
    assert bring(url).path.read_bytes() == disk
    assert far_side.asked == ["", "bytes=1048576-"]


@pytest.mark.parametrize("change", [{"tag": '"two"'}, {"knows_ranges": False}])
def test_a_download_begins_again_when_the_far_side_cannot_go_on(bring, far_side, url, change):
    far_side.break_off_after = 1 << 20
    with pytest.raises(Unavailable):
        bring(url)
    far_side.break_off_after = None
    far_side.content = far_side.content[:-4] + b"news"
    for name, value in change.items():
        setattr(far_side, name, value)
    assert bring(url).path.read_bytes() == far_side.content


def test_without_a_version_nothing_is_resumed(bring, far_side, url, disk):
    far_side.tag = ""
    far_side.break_off_after = 1 << 20
    with pytest.raises(Unavailable):
        bring(url)
    far_side.break_off_after = None
    assert bring(url).path.read_bytes() == disk
    assert far_side.asked == ["", ""]


def test_a_crash_after_the_last_byte_costs_no_second_download(bring, store, far_side, url, disk):
    with suppress(KeyboardInterrupt), part_file(store, url) as part:
        part.write_bytes(disk)
        part.with_suffix(".version").write_text(far_side.tag)
        raise KeyboardInterrupt
    assert bring(url).path.read_bytes() == disk
    assert far_side.asked == [f"bytes={len(disk)}-"]


def test_a_wrong_checksum_is_refused_and_the_bytes_are_thrown_away(bring, store, url, disk):
    with pytest.raises(Invalid, match=hashlib.sha256(disk).hexdigest()):
        bring(url, sha256="0" * 64)
    assert store.list() == ()
    assert list(store.parts.iterdir()) == []


def test_a_web_page_is_refused_before_it_is_downloaded(bring, far_side, url):
    far_side.kind = "text/html; charset=utf-8"
    with pytest.raises(Invalid, match="is a web page"):
        bring(url)


def test_a_web_page_that_calls_itself_binary_is_refused_too(bring, far_side, url):
    far_side.content = b"<html>Please log in</html>"
    with pytest.raises(Invalid, match="a web page"):
        bring(url)


def test_an_address_that_holds_nothing_is_refused_with_the_answer(bring, url):
    with pytest.raises(Invalid, match="answered 404"):
        bring(url + "s")


def test_a_far_side_that_is_not_there_is_unavailable(bring):
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1"):
        bring("http://127.0.0.1:1/image")


@pytest.mark.parametrize("source", ["/nowhere/at/all", "ftp://example.org/image", "/"])
def test_a_source_that_is_none_is_refused(bring, source):
    with pytest.raises(Invalid, match="the path of a file, or an http or https URL"):
        bring(source)


def test_an_image_with_a_backing_file_is_refused(bring, store, tmp_path):
    base = a_qcow2(tmp_path / "base")
    with pytest.raises(Invalid, match=ONLY_CHANGES):
        bring(an_empty_qcow2(tmp_path / "overlay", "-b", str(base), "-F", "qcow2"))
    assert store.list() == ()


def test_a_redirect_is_followed_and_one_without_an_end_or_to_elsewhere_is_refused(bring, url):
    at = url.removesuffix("/image") + "/moved-to/"
    assert bring(f"{at}{url}").id == "far"
    with pytest.raises(Invalid, match="redirects without end"):
        bring(at)
    with pytest.raises(Invalid, match="redirects to an address that is not http or https"):
        bring(f"{at}ftp://127.0.0.1/image")


@pytest.mark.parametrize("status", [206, 416])
def test_a_part_that_nobody_asked_for_is_refused(bring, store, far_side, url, status):
    far_side.status = status
    with pytest.raises(Invalid, match=str(status)):
        bring(url)
    assert list(store.parts.iterdir()) == []


def test_a_rest_that_is_not_all_of_it_is_refused(bring, far_side, url):
    far_side.break_off_after = 1 << 20
    with pytest.raises(Unavailable):
        bring(url)
    far_side.headers = {"content-range": f"bytes {1 << 20}-{(1 << 20) + 9}/{len(far_side.content)}"}
    with pytest.raises(Unavailable, match="requested all bytes from 1048576 on"):
        bring(url)


def test_a_file_of_no_told_length_is_taken_only_with_its_checksum(bring, far_side, url, disk):
    far_side.headers = {"content-length": None}
    with pytest.raises(Invalid, match="does not say how long the file is"):
        bring(url)
    assert bring(url, sha256=hashlib.sha256(disk).hexdigest()).path.read_bytes() == disk


def test_nothing_is_left_of_imports_but_what_one_can_go_on_from(bring, store, far_side, url, tmp_path):
    bring(url)
    bring(a_qcow2(tmp_path / "cloud.img"))
    assert list(store.parts.iterdir()) == []
    far_side.break_off_after = 1 << 20
    with pytest.raises(Unavailable):
        bring(url)
    left = list(store.parts.iterdir())
    assert sorted(file.suffix for file in left) == [".part", ".version"]
    for file in left:
        os.utime(file, (0, 0))
    bring(a_qcow2(tmp_path / "cloud.img"))
    assert list(store.parts.iterdir()) == []


def test_what_an_image_starts_by_is_found_and_kept(bring, store, tmp_path):
    bring(a_partitioned_disk(tmp_path / "uefi"))
    assert store.find("far").firmware is Firmware.UEFI


def test_a_file_that_cannot_be_copied_is_told_with_the_reason(bring, store, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{a_file(tmp_path / 'cp').parent}:/usr/bin:/bin")
    (tmp_path / "cp").write_text("#!/bin/sh\necho 'cp: no space' >&2; echo half >\"$5\"; exit 1")
    (tmp_path / "cp").chmod(0o755)
    with pytest.raises(Invalid, match="cannot be copied: cp: no space"):
        bring(a_raw_disk(tmp_path / "disk"))
    assert list(store.parts.iterdir()) == []


def test_two_imports_of_one_source_do_not_meet(bring, store, url):
    with part_file(store, url), pytest.raises(Unavailable, match="is being imported already"):
        bring(url)


def test_an_id_is_checked_before_anything_is_fetched(store, far_side, url):
    with pytest.raises(Invalid, match="Far Away"):
        import_image(store, "Far Away", url, progress=lambda *_: None)
    assert far_side.asked == []


def test_what_is_secret_in_a_url_is_not_kept(bring, url):
    secret = url.replace("http://", "http://me:s3cret@") + "?token=abc"
    assert bring(secret).origin == url
    assert public_part("/a/file?with=marks") == "/a/file?with=marks"


def test_a_file_is_not_resumed_into_another(bring, tmp_path):
    first, second = a_raw_disk(tmp_path / "one"), a_file(tmp_path / "two", b"no disk")
    bring(first)
    with pytest.raises(Invalid):
        bring(second)
