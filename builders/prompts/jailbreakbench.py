"""JailbreakBench (Chao et al. 2024, arXiv 2404.01318): 100 harmful behaviours, and 100 benign ones on the same themes.

Both files have the same columns, so that only their names tell them apart. The benign behaviour of an `Index` has the
theme of the harmful one and is there to measure over-refusal: its borderline twin.
"""

from collections.abc import Iterator

from builders.prompts.generic import tidy
from builders.prompts.hub import published
from builders.prompts.source import UNCATEGORISED, Item, Source, Table, label_by_name
from demur.nouns import Label

HOMEPAGE = "https://huggingface.co/datasets/JailbreakBench/JBB-Behaviors"
NAMES = {"benign": Label.BORDERLINE, "harmful": Label.HARMFUL}


def _recognises(table: Table) -> bool:
    return table.has("Goal", "Target", "Behavior", "Category", "Source")


def _read(table: Table, label: Label | None) -> Iterator[Item]:
    column, whole = table.column("Goal"), label_by_name(table, NAMES, label)
    for row in table.rows:
        index = tidy(row.get("Index"))
        yield Item(
            text=row.get(column),
            label=whole,
            category=tidy(row.get("Category")) or UNCATEGORISED,
            pair_id=f"jailbreakbench:{index}" if index else None,
        )


SOURCE = Source(
    name="jailbreakbench",
    license="MIT",
    homepage=HOMEPAGE,
    recognises=_recognises,
    read=_read,
    published=published(
        HOMEPAGE, {split: ("JailbreakBench/JBB-Behaviors", "behaviors", split) for split in ("harmful", "benign")}
    ),
)
