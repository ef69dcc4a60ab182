"""BeaverTails (Ji et al. 2023, arXiv 2307.04657): questions and answers, the answers judged in 14 categories of harm.

`is_safe` judges the answer. An unsafe answer marks its question as harmful; a safe one says nothing of the question (it
may be a good refusal), so that such rows are left out.
"""

from collections.abc import Iterator

from builders.prompts.generic import read_label
from builders.prompts.hub import published
from builders.prompts.source import UNCATEGORISED, Item, Source, Table
from demur.nouns import Label

HOMEPAGE = "https://huggingface.co/datasets/PKU-Alignment/BeaverTails"
SPLITS = ("30k_train", "30k_test", "330k_train", "330k_test")


def _recognises(table: Table) -> bool:
    return table.has("prompt", "response", "category", "is_safe")


def _read(table: Table, _label: Label | None) -> Iterator[Item]:
    """The category of a prompt is the first of those its answer was marked with."""
    columns = table.column("prompt"), table.column("category"), table.column("is_safe")
    for row in table.rows:
        text, categories, is_safe = (row.get(column) for column in columns)
        marked = [name for name, holds in categories.items() if holds] if isinstance(categories, dict) else []
        yield Item(
            text=text,
            label=Label.HARMFUL,
            category=marked[0] if marked else UNCATEGORISED,
            left_out=None if read_label(is_safe, "is_safe") is Label.HARMFUL else "answer judged safe",
        )


SOURCE = Source(
    name="beavertails",
    license="CC-BY-NC-4.0",
    homepage=HOMEPAGE,
    recognises=_recognises,
    read=_read,
    published=published(
        HOMEPAGE, {split: ("PKU-Alignment/BeaverTails", None, split) for split in SPLITS}, default=SPLITS[:2]
    ),
)
