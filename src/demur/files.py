"""Files that survive a kill: written under a temporary name and renamed, or appended line by line."""

import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from demur.errors import BusyError, InputError


def write_atomic(path: Path, data: bytes | str, *, durable: bool = True) -> None:
    """Write a whole file or nothing: readers never see a half-written one.

    Without `durable` a power cut (not a kill) may still leave an empty file: for what can be checked and made again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def to_json(value: Any, *, indent: int | None = None) -> str:
    """JSON with sorted keys, so that the same value gives the same bytes."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, indent=indent, allow_nan=False)


def write_json(path: Path, value: Any) -> None:
    """Write a value as an indented JSON file, whole or not at all."""
    write_atomic(path, to_json(value, indent=2) + "\n")


def read_json(path: Path) -> Any:
    """The value in a JSON file.

    Raises:
        InputError: the file is missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid JSON ({error})") from None


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write rows as a JSONL file, whole or not at all."""
    write_atomic(path, "".join(to_json(row) + "\n" for row in rows))


def append_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Append rows and flush them to disk; a torn last line (a kill, a full disk) is cut off first.

    A last line that lacks nothing but its newline is kept, as `read_jsonl` does.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(to_json(row) + "\n" for row in rows).encode()
    with path.open("ab+") as file:
        _end_last_line(file.fileno())
        file.seek(0, os.SEEK_END)
        file.write(lines)
        file.flush()
        os.fsync(file.fileno())


def _end_last_line(descriptor: int) -> None:
    """Cut a torn last line off; add the newline to a whole one that has none."""
    size = os.fstat(descriptor).st_size
    end = size
    while end > 0:
        start = max(0, end - 65536)
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    if end == size:
        return
    try:
        _parse_row(os.pread(descriptor, size - end, end))
    except InputError:
        os.ftruncate(descriptor, end)
    else:
        os.write(descriptor, b"\n")  # the file is open for appending


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a JSONL file; a last line that has no newline and does not parse was cut off, and is left out.

    Raises:
        InputError: the file is missing or not UTF-8, or a whole line is not a JSON object.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    with file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = _parse_row(line)
            except InputError as error:
                if not line.endswith(b"\n"):
                    return
                raise InputError(f"{path}:{number}: {error}") from None
            yield row


def _parse_row(line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InputError(f"not UTF-8 ({error.reason} at byte {error.start + 1}); save the file as UTF-8") from None
    except json.JSONDecodeError as error:
        raise InputError(f"not valid JSON ({error})") from None
    if not isinstance(row, dict):
        raise InputError("not a JSON object")
    return row


def sha256_bytes(data: bytes) -> str:
    """Hex digest of some bytes."""
    return hashlib.sha256(data).hexdigest()


def sha256_json(value: Any) -> str:
    """Hash of a JSON value, the same whatever the order of its keys."""
    return sha256_bytes(to_json(value).encode())


def sha256_file(path: Path) -> str:
    """Hex digest of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold a folder for this process alone; the lock goes with the process, however that ends.

    Raises:
        BusyError: another process holds it.
        InputError: `folder` is a file.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(f"{folder}: not a folder") from None
    path = folder / ".lock"
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise BusyError(f"{folder}: another demur process is working here; wait for it to end") from None
        if not path.exists() or not path.samefile(f"/dev/fd/{file.fileno()}"):
            raise BusyError(f"{folder}: another demur process has just ended here; run the command again")
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
