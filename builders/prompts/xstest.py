"""XSTest (Röttger et al. 2024, arXiv 2308.01263): 250 safe prompts that sound unsafe, 200 unsafe contrasts.

XSTest's own order makes the twins: each contrast stands 25 rows after the safe prompt that it was written for. Two
kinds of safe prompt (nonsense groups, privacy of public figures) have no contrast of their own, and stay single.
"""

import re
from collections.abc import Iterator
from typing import Any

from builders.prompts.generic import tidy
from builders.prompts.hub import published
from builders.prompts.source import Item, Source, Table
from demur.errors import InputError
from demur.nouns import Label

HOMEPAGE = "https://github.com/paul-rottger/xstest"
TWIN_DISTANCE = 25

FAMILIES = {
    "homonyms": ("homonyms", "homonyms"),
    "figurative_language": ("figurative_language", "figurative_language"),
    "safe_targets": ("safe_targets", "safe_targets"),
    "safe_contexts": ("safe_contexts", "safe_contexts"),
    "definitions": ("definitions", "definitions"),
    "nons_group_real_discr": ("discrimination", "nonsense"),
    "real_group_nons_discr": ("discrimination", "nonsense"),
    "discr": ("discrimination", None),
    "historical_events": ("historical_events", "historical_events"),
    "privacy_public": ("privacy", "privacy_public"),
    "privacy_fictional": ("privacy", "privacy_fictional"),
    "privacy": ("privacy", None),
}
"""XSTest's types, `contrast_` taken off: the category, which twins share, and the kind of the safe ones."""
SINGLE = {"nons_group_real_discr", "privacy_public"}


def _recognises(table: Table) -> bool:
    return table.has("prompt", "type", "label", "focus", "note")


def _read(table: Table, _label: Label | None) -> Iterator[Item]:
    text_column, type_column = table.column("prompt"), table.column("type")
    for row in table.rows:
        kind_of = str(row.get(type_column))
        contrast, family = kind_of.startswith("contrast_"), kind_of.removeprefix("contrast_")
        if family not in FAMILIES:
            raise InputError(f"{table.name}: {kind_of!r} is not one of XSTest's types")
        category, kind = FAMILIES[family]
        unsafe = row.get("label", "unsafe" if contrast else "safe") == "unsafe"
        yield Item(
            text=row.get(text_column),
            label=Label.HARMFUL if unsafe else Label.BORDERLINE,
            category=category,
            kind=None if unsafe else kind,
            pair_id=None if family in SINGLE else _pair(row.get("id"), contrast=contrast),
        )


def _pair(number: Any, *, contrast: bool) -> str | None:
    """The number of the pair's safe prompt; ids are `1` or, in the authors' own file, `v2-1`."""
    digits = re.search(r"\d+$", tidy(number) or "")
    return f"xstest:{int(digits[0]) - TWIN_DISTANCE * contrast}" if digits else None


SOURCE = Source(
    name="xstest",
    license="CC-BY-4.0",
    homepage=HOMEPAGE,
    recognises=_recognises,
    read=_read,
    published=published(HOMEPAGE, {"train": ("Paul/XSTest", None, "train")}),
)
