"""Models on this machine: where they are, what tells one from another, and what running them takes."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from demur.errors import MissingDependency, ModelError
from demur.files import sha256_file, sha256_json


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """Loading inside this block shows no bars of transformers' own."""
    import transformers

    logging: Any = transformers.utils.logging
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def find_folder(name: str, *, revision: str | None = None, download: bool = False) -> Path:
    """The folder of a model: a path, or a Hub repository that is in the local cache (or may be downloaded).

    Raises:
        ModelError: it is not on this machine.
    """
    if Path(name).is_dir():
        return Path(name)
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    except ImportError:
        raise MissingDependency("huggingface-hub", extra="models") from None
    try:
        return Path(snapshot_download(name, revision=revision, local_files_only=not download))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        if download:
            raise ModelError(f"{name}: cannot be downloaded ({error})") from None
        raise ModelError(f"{name}: no such folder, and not in the Hub's cache here; allow it with --download") from None


def fingerprint(folder: Path) -> str:
    """Tells one model's files from another's, by all of their bytes."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    return sha256_json(
        {path.name: _hash(path.resolve(), path.stat().st_size, path.stat().st_mtime_ns) for path in files}
    )


@lru_cache(maxsize=4096)
def _hash(path: Path, _size: int, _mtime_ns: int) -> str:
    """A file's hash; read again only where its size or time has changed, for large files take a while."""
    return sha256_file(path)


def check_transformers() -> None:
    """Raise MissingDependency where torch or transformers is not installed."""
    try:
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        raise MissingDependency(error.name or "transformers", extra="models") from None
