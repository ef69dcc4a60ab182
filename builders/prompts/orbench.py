"""OR-Bench (Cui et al. 2024, arXiv 2405.20947): 80,000 prompts that seem toxic, the 1,000 hardest, and 600 toxic ones.

All three files are `prompt,category`, so that only their names tell them apart.
"""

from collections.abc import Iterator

from builders.prompts.generic import tidy
from builders.prompts.hub import published
from builders.prompts.source import UNCATEGORISED, Item, Source, Table, label_by_name
from demur.nouns import Label

HOMEPAGE = "https://huggingface.co/datasets/bench-llm/or-bench"
NAMES = {"toxic": Label.HARMFUL, "80k": Label.BORDERLINE, "hard": Label.BORDERLINE}
CATEGORIES = {
    *("deception", "harassment", "harmful", "hate", "illegal"),
    *("privacy", "self-harm", "sexual", "unethical", "violence"),
}


def _recognises(table: Table) -> bool:
    """Two such common columns say nothing alone; the ten categories do."""
    return set(table.columns) == {"prompt", "category"} and all(row.get("category") in CATEGORIES for row in table.rows)


def _read(table: Table, label: Label | None) -> Iterator[Item]:
    column, whole = table.column("prompt"), label_by_name(table, NAMES, label)
    for row in table.rows:
        yield Item(row.get(column), whole, tidy(row.get("category")) or UNCATEGORISED)


SOURCE = Source(
    name="or-bench",
    license="CC-BY-4.0",
    homepage=HOMEPAGE,
    recognises=_recognises,
    read=_read,
    published=published(
        HOMEPAGE,
        {part: ("bench-llm/or-bench", f"or-bench-{part}", "train") for part in ("80k", "hard-1k", "toxic")},
    ),
)
