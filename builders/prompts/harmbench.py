"""HarmBench (Mazeika et al. 2024, arXiv 2402.04249): harmful behaviours, a part of them about a given text.

A contextual behaviour is spoken after its context, as HarmBench itself puts them together. Copyright behaviours ask for
song texts and book pages; whether a model reproduces them is not what this project measures, so they are left out.
"""

from collections.abc import Iterator

from builders.prompts.generic import tidy
from builders.prompts.hub import published
from builders.prompts.source import UNCATEGORISED, Item, Source, Table
from demur.nouns import Label

HOMEPAGE = "https://github.com/centerforaisafety/HarmBench"


def _recognises(table: Table) -> bool:
    return table.has("Behavior", "FunctionalCategory", "SemanticCategory", "ContextString")


def _read(table: Table, _label: Label | None) -> Iterator[Item]:
    """The authors' columns, or those of the Hub's three configs, where only `copyright` has `tags`."""
    column = table.column("Behavior", "prompt")
    for row in table.rows:
        text, context = row.get(column), row.get("ContextString", row.get("context"))
        if isinstance(text, str) and isinstance(context, str) and context.strip():
            text = f"{context}\n\n---\n\n{text}"
        is_copyright = row.get("FunctionalCategory") == "copyright" or "tags" in row
        yield Item(
            text=text,
            label=Label.HARMFUL,
            category=tidy(row.get("SemanticCategory", row.get("category"))) or UNCATEGORISED,
            left_out="copyright" if is_copyright else None,
        )


SOURCE = Source(
    name="harmbench",
    license="MIT",
    homepage=HOMEPAGE,
    recognises=_recognises,
    read=_read,
    published=published(
        HOMEPAGE,
        {config: ("walledai/HarmBench", config, "train") for config in ("standard", "contextual", "copyright")},
    ),
)
