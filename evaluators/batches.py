"""Which samples are asked together, and what of each reaches the model.

Batches are fixed by the corpus and the settings alone: the rows asked, in corpus order, are taken in windows; a
window's rows are sorted by length, so that little is padded, and cut into batches. Windows bound the memory used.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from demur.audio import decode
from demur.errors import InputError
from demur.models import KeyedQuery, Query
from demur.nouns import Modality

WINDOW = 512
"""Rows sorted at once: 32 batches of 16 differ little in length within themselves; some 40 MB of FLAC."""
ASKED_COLUMNS = ("id", "prompt_id", "prompt", "modality", "audio", "input_text", "duration_s")

Row = Mapping[str, Any]
T = TypeVar("T")


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Items in lists of `size`, the last one shorter."""
    batch: list[T] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def plan_batches(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    """Rows in batches of about one length each; see the module."""
    for window in batched(rows, WINDOW):
        yield from batched(sorted(window, key=_length), size)


def _length(row: Row) -> tuple[float, int, str]:
    return row["duration_s"] or 0.0, len(row["input_text"]), row["id"]


def to_query(row: Row, *, keyed: bool) -> Query:
    """What the model is given of a row: its audio and `input_text`; where it looks answers up, who it is and no audio.

    Raises:
        InputError: the row's audio is missing or cannot be read.
    """
    modality, text = Modality(row["modality"]), row["input_text"]
    if keyed:
        return KeyedQuery(
            None, 0, text, id=row["id"], prompt_id=row["prompt_id"], prompt=row["prompt"], modality=modality
        )
    audio, rate = None, 0
    if modality.has_audio:
        if not row["audio"]:
            raise InputError("the corpus holds no audio here")
        audio, rate = decode(row["audio"]["bytes"])
    return Query(audio, rate, text)


def to_queries(rows: Sequence[Row], *, keyed: bool) -> tuple[dict[int, Query], dict[int, str]]:
    """The queries of some rows by position, and why the others have none."""
    queries: dict[int, Query] = {}
    faults: dict[int, str] = {}
    for position, row in enumerate(rows):
        try:
            queries[position] = to_query(row, keyed=keyed)
        except InputError as error:
            faults[position] = str(error)
    return queries, faults
