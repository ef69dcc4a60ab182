"""The clips of the answers that are shown, found in corpora by the hash of their bytes."""

import base64
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from demur.corpus import Corpus
from demur.errors import CorpusError, InputError
from demur.files import sha256_bytes, write_atomic
from demur.nouns import Modality

FOLDER = "clips"
_MAGIC = b"fLaC"
_NAME = re.compile(r"[0-9a-f]{64}\.flac")


def find_clips(
    corpora: Sequence[Path], wanted: frozenset[str], asked: frozenset[str] = frozenset()
) -> Iterator[tuple[str, bytes]]:
    """Hash and bytes of each clip wanted that the corpora hold, one at a time.

    Args:
        corpora: their folders.
        wanted: hashes of clips.
        asked: hashes of corpora that may hold none of them: the runs are of these, but none of their clips is shown.

    Raises:
        InputError: a corpus holds none of them, and is none of those.
        CorpusError: a corpus cannot be read, or a clip is not what its hash says.
    """
    missing = set(wanted)
    for folder in corpora:
        corpus = Corpus(folder)
        found = corpus.sha256 in asked
        for digest, clip in _clips(corpus, wanted):
            found = True
            if digest in missing:
                missing.remove(digest)
                yield digest, clip
        if wanted and not found:
            raise InputError(f"{folder}: --corpus holds no clip that these runs were asked about; which one was it?")


def _clips(corpus: Corpus, wanted: frozenset[str]) -> Iterator[tuple[str, bytes]]:
    for split in (modality for modality in Modality if modality.has_audio):
        for row in corpus.rows(split, ("id", "audio_sha256", "audio")):
            if row["audio_sha256"] in wanted and row["audio"]:
                clip = row["audio"]["bytes"]
                # the hash becomes a file name and the bytes are handed to browsers: neither is taken on trust
                if sha256_bytes(clip) != row["audio_sha256"] or not clip.startswith(_MAGIC):
                    raise CorpusError(f"{corpus.folder}: the clip of {row['id']} is damaged (not the FLAC of its hash)")
                yield row["audio_sha256"], clip


def write_clip(out: Path, digest: str, clip: bytes) -> str:
    """Put a clip beside the page; its address there."""
    path = out / FOLDER / f"{digest}.flac"
    if not path.is_file() or path.stat().st_size != len(clip):
        write_atomic(path, clip, durable=False)
    return f"{FOLDER}/{digest}.flac"


def data_uri(clip: bytes) -> str:
    """A clip as an address that holds it."""
    return f"data:audio/flac;base64,{base64.b64encode(clip).decode()}"


def remove_others(out: Path, kept: frozenset[str]) -> None:
    """Take away clips that an earlier page showed and this one does not."""
    for path in (out / FOLDER).glob("*.flac"):
        if _NAME.fullmatch(path.name) and path.stem not in kept:
            path.unlink()
