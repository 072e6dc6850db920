"""Packages from Debian's archive, on whatever distribution this machine runs.

A host with Debian 12 has sources of its own for it (a near mirror, perhaps, and the only one that answers): those
are taken. Any other host, Ubuntu among them, has none, and the public mirror is taken. Either way apt works in a
state of its own, so that neither the host's package lists nor its other sources matter, and signatures are
checked with Debian's keyring.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from cumulet.images.recipes.recipe import BuildFailed, Package, run

SUITE = "bookworm"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
DESCRIPTION = "${Package}\\t${Version}\\t${binary:Synopsis}\\n"
"""What dpkg tells of a package, as `read_packages` reads it."""
LOADER = "lib64/ld-linux-x86-64.so.2"
LIBRARY_FOLDERS = ("lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu")
ARCHIVE_INFO = Path("/usr/share/python-apt/templates/Debian.info")
"""Where the distribution describes Debian's archive to its own tools (package python-apt-common)."""
SUITES = (SUITE, f"{SUITE}-updates", f"{SUITE}-security")


def sources_list() -> str:
    """Say where the packages come from, in apt's one-line format."""
    if not KEYRING.exists():
        raise BuildFailed(f"{KEYRING} is missing; install the package debian-archive-keyring")
    places = hosts_own_sources() or public_sources()
    return "".join(f"deb [arch=amd64 signed-by={KEYRING}] {uri} {suite} main\n" for uri, suite in places)


def hosts_own_sources() -> tuple[tuple[str, str], ...]:
    """Return this host's own (URI, suite) of the release that we build from; none when its apt does not have it."""
    targets = run(
        "apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)",
        "Identifier: Packages", "Origin: Debian",
    )  # fmt: skip
    lines = (line.split() for line in targets.decode().splitlines())
    found = [(uri, suite) for uri, suite, component in lines if suite in SUITES and component == "main"]
    return tuple(dict.fromkeys(found)) if SUITE in {suite for _, suite in found} else ()


def public_sources() -> tuple[tuple[str, str], ...]:
    """Return (URI, suite) of the public mirror that this host's distribution knows for Debian."""
    described = ARCHIVE_INFO.read_text() if ARCHIVE_INFO.exists() else ""
    found = re.search(r"^BaseURI: (\S+/debian)/?$", described, re.MULTILINE)
    if found is None:
        raise BuildFailed(f"{ARCHIVE_INFO} names no mirror of Debian; install the package python-apt-common")
    mirror = found[1]
    return tuple((f"{mirror}-security" if suite.endswith("-security") else mirror, suite) for suite in SUITES)


@dataclass(frozen=True, slots=True)
class Archive:
    """Debian's archive as seen from a folder that holds apt's whole state. Made by `open_archive`."""

    folder: Path

    def apt(self, program: str, *arguments: str) -> str:
        """Run a program of apt in this state."""
        options = {
            "Dir::State": self.folder,
            "Dir::State::status": "/dev/null",
            "Dir::Cache": self.folder,
            "Dir::Etc::SourceList": self.folder / "sources.list",
            "Dir::Etc::SourceParts": "/dev/null",
            "Dir::Etc::PreferencesParts": "/dev/null",
            "APT::Architecture": "amd64",
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
        }
        pairs = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        return run(program, "-q", *pairs, *arguments, cwd=self.folder).decode()

    def dependency(self, metapackage: str, prefix: str) -> str:
        """Name the package that a metapackage stands for today, such as the kernel behind `linux-image-…`."""
        for line in self.apt("apt-cache", "depends", metapackage).splitlines():
            if line.strip().startswith(f"Depends: {prefix}"):
                return line.split()[-1]
        raise BuildFailed(f"{metapackage} depends on nothing that is called {prefix}…")

    def unpack(self, packages: tuple[str, ...], into: Path) -> tuple[Package, ...]:
        """Download packages and unpack them over each other, without their dependencies and their scripts."""
        self.apt("apt-get", "download", *packages)
        unpacked = ""
        for package in packages:
            (file,) = self.folder.glob(f"{package}_*.deb")
            run("dpkg-deb", "--extract", file, into)
            unpacked += run("dpkg-deb", "--show", f"--showformat={DESCRIPTION}", file).decode()
            file.unlink()
        return read_packages(unpacked)


def open_archive(folder: Path) -> Archive:
    """Begin a state of apt in an empty folder and read the package lists into it (some 10 MB)."""
    for needed in ("lists/partial", "archives/partial"):
        (folder / needed).mkdir(parents=True)
    (folder / "sources.list").write_text(sources_list())
    archive = Archive(folder)
    archive.apt("apt-get", "update")
    return archive


def read_packages(listing: str) -> tuple[Package, ...]:
    """Read what dpkg printed in the format `DESCRIPTION`."""
    return tuple(Package(*line.split("\t")) for line in listing.splitlines())


def run_unpacked(tree: Path, program: str, *arguments: str | Path) -> bytes:
    """Run a program of unpacked packages with the libraries unpacked beside it, whatever this host has."""
    return run(tree / LOADER, "--library-path", library_path(tree), tree / program, *arguments)


def libraries_of(tree: Path, programs: tuple[str, ...]) -> list[Path]:
    """Ask the unpacked dynamic loader which of the unpacked libraries these programs load."""
    found: set[Path] = set()
    for program in programs:
        listing = run(tree / LOADER, "--library-path", library_path(tree), "--list", tree / program).decode()
        found |= {Path(path) for path in re.findall(r" => (\S+) \(", listing)}
    return sorted(path for path in found if path.name != Path(LOADER).name)


def library_path(tree: Path) -> str:
    """Return where the libraries of unpacked packages lie, as the dynamic loader is told."""
    return ":".join(str(tree / folder) for folder in LIBRARY_FOLDERS)
