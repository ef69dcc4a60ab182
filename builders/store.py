"""Finished clips while a build is in progress: one file a clip, so that a kill loses only what was being made.

A clip file is one line of JSON (the takes, the failed attempts) and then the FLAC bytes of the takes, in order.
"""

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from builders.clip import Attempt, Clip, Take
from demur.files import write_atomic


class ClipHeader(BaseModel):
    """What is known of a finished clip without its audio; no takes means that every attempt failed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    prompt_id: str
    slot: int
    takes: tuple[Take, ...]
    failed: tuple[Attempt, ...]


class ClipStore:
    """The clip files of one build, below `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.clip"

    def save(self, clip: Clip) -> ClipHeader:
        """Write a clip whole or not at all."""
        header = ClipHeader(
            key=clip.plan.key,
            prompt_id=clip.plan.prompt_id,
            slot=clip.plan.slot,
            takes=tuple(clip.takes),
            failed=tuple(clip.failed),
        )
        line = header.model_dump_json().encode() + b"\n"
        write_atomic(self._path(header.key), line + b"".join(clip.audio), durable=False)
        return header

    def header(self, key: str) -> ClipHeader | None:
        """The header of a finished clip; None if there is none, or only the rest of one that a crash left."""
        path = self._path(key)
        try:
            with path.open("rb") as file:
                line = file.readline()
                header = ClipHeader.model_validate_json(line)
        except (FileNotFoundError, ValidationError):
            return None
        whole = path.stat().st_size == len(line) + sum(take.size for take in header.takes)
        return header if whole else None

    def audio(self, header: ClipHeader) -> Iterator[bytes]:
        """The FLAC bytes of each take."""
        with self._path(header.key).open("rb") as file:
            file.readline()
            for take in header.takes:
                yield file.read(take.size)

    def discard(self, key: str) -> None:
        """Forget a clip, so that it is made again."""
        self._path(key).unlink(missing_ok=True)
