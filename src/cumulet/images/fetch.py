"""Disk images made elsewhere: brought here from a file or a URL, and looked at before anything boots from them.

A download keeps what it has in a `.part` file and goes on from there when it is asked for again, provided the far
side says that its file is still the same. What came is nobody's friend: the format is told from its first bytes and
not guessed by QEMU, `qemu-img` reads the rest under limits, and an image that refers to other files of this host is
refused.
"""

from __future__ import annotations

import fcntl
import hashlib
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import httpx

from cumulet.errors import Invalid, Unavailable
from cumulet.ids import check_id
from cumulet.images.build import sha256_of
from cumulet.images.inspect import GIB, inspect_disk
from cumulet.images.recipes import Progress
from cumulet.images.store import IMPORTED, Image, ImageStore

CHUNK: Final = 1 << 20
TIMEOUT_SECONDS: Final = 30
FORGOTTEN_SECONDS: Final = 7 * 86400


def import_image(
    store: ImageStore, id: str, source: str, *, sha256: str = "", name: str = "", progress: Progress
) -> Image:
    """Bring the disk image at `source` (a path, or an http or https URL) into the store under `id`.

    Raises Invalid: it is no disk image, a dangerous one, or not the one with that checksum; Unavailable: the far side
    does not answer or broke off (asking again goes on from there).
    """
    check_id("id", id)
    with part_file(store, source) as part:
        if is_url(source):
            download(source, part, progress, known=bool(sha256))
        else:
            copy(Path(source), part, progress)
        progress("checking", 1.0)
        found = sha256_of(part)
        check_sum(found, sha256)
        facts = inspect_disk(part)
        image = Image(
            id=id,
            name=name or id,
            display_name=name or id,
            description=IMPORTED,
            size_gib=-(-facts.size // GIB),
            format=facts.format,
            firmware=facts.firmware,
            sha256=found,
            origin=public_part(source),
            created=datetime.now(UTC),
        )
        return store.add(image, part)


def is_url(source: str) -> bool:
    """Whether a source is to be downloaded."""
    return source.startswith(("http://", "https://"))


def public_part(source: str) -> str:
    """Return a source without what may be secret in a URL: user, password and query."""
    return (
        str(httpx.URL(source).copy_with(userinfo=b"", query=None, fragment=None))
        if is_url(source)
        else source
    )


def check_sum(found: str, expected: str) -> None:
    """Refuse a file that is not the one that was meant; no expectation accepts any."""
    if expected and found != expected.lower():
        raise Invalid(f"the file has the SHA-256 {found}, expected {expected}")


@contextmanager
def part_file(store: ImageStore, source: str) -> Iterator[Path]:
    """Give the file that holds what has come of `source` so far; one import of it at a time.

    Of what is refused or done nothing outlives the block; what broke off can go on from there.
    """
    stem = store.parts / hashlib.sha256(source.encode()).hexdigest()[:16]
    part, lock = stem.with_suffix(".part"), stem.with_suffix(".lock")
    with locked(lock, source):
        remove_forgotten(store.parts)
        try:
            yield part
        except Invalid:
            forget(part)
            raise
        else:
            forget(part)
        finally:
            lock.unlink()


def forget(part: Path) -> None:
    """Remove what has come of a source, as far as it has not moved into the store."""
    part.unlink(missing_ok=True)
    version_file(part).unlink(missing_ok=True)


@contextmanager
def locked(path: Path, source: str) -> Iterator[None]:
    """Hold the lock of a source's import, which whoever held it before us may just have removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with path.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise Unavailable(f"{public_part(source)} is being imported already") from error
            if path.exists() and path.samefile(f"/proc/self/fd/{lock.fileno()}"):
                yield
                return


def remove_forgotten(folder: Path) -> None:
    """Remove parts of downloads that nobody has gone on with for long."""
    for file in [*folder.glob("*.part"), *folder.glob("*.version")]:
        with suppress(FileNotFoundError):  # its own import has just ended
            if time.time() - file.stat().st_mtime > FORGOTTEN_SECONDS:
                file.unlink()


def copy(source: Path, part: Path, progress: Progress) -> None:
    """Copy a file of this host, holes kept as holes."""
    if not source.is_file():
        raise Invalid.field("source", str(source), "the path of a file, or an http or https URL")
    progress(f"copying {source.name}", 0.0)
    command = ["cp", "--sparse=always", "--reflink=auto", "--", str(source), str(part)]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode != 0:
        raise Invalid(
            f"source: {str(source)!r} cannot be copied: {done.stderr.decode(errors='replace').strip()}"
        )


def download(url: str, part: Path, progress: Progress, *, known: bool) -> None:
    """Download into `part`, going on from what is there when the far side can and its file is the same.

    `known` says that a checksum tells whether the file is whole.
    """
    try:
        with httpx.Client(follow_redirects=True, timeout=TIMEOUT_SECONDS) as client:
            headers = {"accept-encoding": "identity", **resume_headers(part)}
            with client.stream("GET", url, headers=headers) as answer:
                check_answer(answer, url, resumed="range" in headers, known=known)
                receive(answer, part, progress)
    except httpx.InvalidURL as error:
        raise Invalid(f"{url!r} is not a URL: {error}") from error
    except httpx.TooManyRedirects as error:
        raise Invalid(f"{public_part(url)} redirects without end") from error
    except httpx.UnsupportedProtocol as error:
        raise Invalid(f"{public_part(url)} redirects to an address that is not http or https") from error
    except httpx.TransportError as error:
        have = part.stat().st_size if part.exists() else 0
        raise Unavailable(
            f"{public_part(url)} broke off after {have} bytes ({error}); run the same command again to resume"
        ) from error


def resume_headers(part: Path) -> Mapping[str, str]:
    """Ask for the rest of a file, if we have some of it and know which version it was."""
    version = version_file(part)
    if not part.exists() or not version.exists():
        return {}
    return {"range": f"bytes={part.stat().st_size}-", "if-range": version.read_text()}


def version_file(part: Path) -> Path:
    """Return where the version (ETag or date) of a partly downloaded file is noted."""
    return part.with_suffix(".version")


def check_answer(answer: httpx.Response, url: str, *, resumed: bool, known: bool) -> None:
    """Refuse an answer that cannot be a disk image, or of which nobody could tell whether it is whole."""
    where = public_part(url)
    nothing_left = resumed and answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE
    if answer.is_error and not nothing_left:
        raise Invalid(f"{where} answered {answer.status_code} {answer.reason_phrase}")
    if answer.status_code == httpx.codes.PARTIAL_CONTENT and not resumed:
        raise Invalid(f"{where} sends a part of the file (206) although the whole was requested")
    if (
        not known
        and answer.is_success
        and not {"content-length", "transfer-encoding"} & answer.headers.keys()
    ):
        raise Invalid(
            f"{where} does not say how long the file is, so that a truncated one would look complete: give its --sha256"
        )
    kind = answer.headers.get("content-type", "").partition(";")[0]
    if kind in {"text/html", "application/xhtml+xml"} and answer.is_success:
        raise Invalid(
            f"{where} is a web page ({kind}), not a disk image; give the address of the image itself"
        )


def receive(answer: httpx.Response, part: Path, progress: Progress) -> None:
    """Write what comes, behind what is there already (206) or from the beginning (200)."""
    if answer.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
        return  # there is no rest: we have it all, and the checks that follow tell whether it is right
    resumed = answer.status_code == httpx.codes.PARTIAL_CONTENT
    have = part.stat().st_size if resumed else 0
    if resumed:
        check_range(answer.headers.get("content-range", ""), have)
    total = have + int(answer.headers.get("content-length", 0))
    if not resumed:
        note_version(answer, part)
    with part.open("ab" if resumed else "wb") as file:
        for chunk in answer.iter_raw(CHUNK):
            file.write(chunk)
            have += len(chunk)
            progress("downloading", have / total if total > have else 1.0)


def check_range(content_range: str, have: int) -> None:
    """Refuse a part that is not all of the rest; what is there is kept, and the next try asks for the same."""
    whole = re.fullmatch(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", content_range)
    if not whole or int(whole[1]) != have or int(whole[2]) + 1 != int(whole[3]):
        raise Unavailable(f"requested all bytes from {have} on, got {content_range!r}; try again")


def note_version(answer: httpx.Response, part: Path) -> None:
    """Note by what the far side would know this version again; without such a thing nothing can be resumed."""
    strong_tag = answer.headers.get("etag", "").startswith('"') and answer.headers["etag"]
    version = strong_tag or answer.headers.get("last-modified")
    if version:
        version_file(part).write_text(version)
    else:
        version_file(part).unlink(missing_ok=True)
