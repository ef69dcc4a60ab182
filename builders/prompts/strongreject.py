"""StrongREJECT (Souly et al. 2024, arXiv 2402.10260): 313 forbidden prompts in six categories."""

from collections.abc import Iterator

from builders.prompts.generic import tidy
from builders.prompts.hub import published
from builders.prompts.source import UNCATEGORISED, Item, Source, Table
from demur.nouns import Label

HOMEPAGE = "https://github.com/alexandrasouly/strongreject"


def _recognises(table: Table) -> bool:
    return table.has("category", "source", "forbidden_prompt")


def _read(table: Table, _label: Label | None) -> Iterator[Item]:
    column = table.column("forbidden_prompt", "prompt")
    for row in table.rows:
        yield Item(row.get(column), Label.HARMFUL, tidy(row.get("category")) or UNCATEGORISED)


SOURCE = Source(
    name="strongreject",
    license="MIT",
    homepage=HOMEPAGE,
    recognises=_recognises,
    read=_read,
    published=published(HOMEPAGE, {"train": ("walledai/StrongREJECT", None, "train")}),
)
