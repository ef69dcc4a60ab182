"""The training pairs of RRS (Yang et al. 2025, arXiv 2505.19670): harmful questions from BeaverTails and benign twins.

Two JSON files of `prompt, category, path`; `path` names the clip, and says the label and the pair: `B_audio_08998` is
the minimally edited twin of `audio_08998`. The twins keep BeaverTails's licence, being derived from it.
"""

import re
from collections.abc import Iterator

from builders.prompts.generic import tidy
from builders.prompts.hub import published
from builders.prompts.source import UNCATEGORISED, Item, Source, Table
from demur.errors import InputError
from demur.nouns import Label

HOMEPAGE = "https://github.com/YangHao97/RRS"
_CLIP = re.compile(r"(B_)?(audio_\d+)")


def _recognises(table: Table) -> bool:
    return table.has("prompt", "category", "path") and all(_CLIP.fullmatch(str(row.get("path"))) for row in table.rows)


def _read(table: Table, _label: Label | None) -> Iterator[Item]:
    column, text_column = table.column("path"), table.column("prompt")
    for number, row in enumerate(table.rows, 1):
        clip = _CLIP.fullmatch(str(row.get(column)))
        if clip is None:
            raise InputError(f"{table.name}: row {number}: {row.get(column)!r} is not the name of one of RRS's clips")
        yield Item(
            text=row.get(text_column),
            label=Label.BORDERLINE if clip[1] else Label.HARMFUL,
            category=tidy(row.get("category")) or UNCATEGORISED,
            pair_id=f"rrs:{clip[2]}",
        )


SOURCE = Source(
    name="rrs",
    license="CC-BY-NC-4.0",
    homepage=HOMEPAGE,
    recognises=_recognises,
    read=_read,
    published=published(HOMEPAGE, {}),
)
