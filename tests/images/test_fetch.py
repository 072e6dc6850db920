import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from tests.images.makers import a_file, a_qcow2, a_raw_disk

from cumulet.errors import Invalid, Unavailable
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
        request.send_response(206 if start else 200)
        if start:
            request.send_header("content-range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        if self.tag:
            request.send_header("etag", self.tag)
        request.send_header("content-type", self.kind)
        request.send_header("content-length", str(len(self.content) - start))
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
    with part_file(store, url) as part:
        part.write_bytes(disk)
        part.with_suffix(".version").write_text(far_side.tag)
    assert bring(url).path.read_bytes() == disk
    assert far_side.asked == [f"bytes={len(disk)}-"]


def test_a_wrong_checksum_is_refused_and_the_bytes_are_thrown_away(bring, store, url, disk):
    with pytest.raises(Invalid, match=hashlib.sha256(disk).hexdigest()):
        bring(url, sha256="0" * 64)
    assert store.list() == ()
    assert not list(store.parts.glob("*.part"))


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
    with pytest.raises(Invalid, match="only the changes to another file"):
        bring(a_qcow2(tmp_path / "overlay", "-b", str(base), "-F", "qcow2"))
    assert store.list() == ()


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
