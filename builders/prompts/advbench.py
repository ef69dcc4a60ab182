"""AdvBench (Zou et al. 2023, arXiv 2307.15043): 520 harmful instructions.

Columns: `goal,target` (the authors' file), `BehaviorID,Behavior` (HarmBench's copy), `prompt,target` (on the Hub).
"""

from collections.abc import Iterator

from builders.prompts.hub import published
from builders.prompts.source import Item, Source, Table
from demur.nouns import Label

HOMEPAGE = "https://github.com/llm-attacks/llm-attacks"


def _recognises(table: Table) -> bool:
    """The goals of JailbreakBench and HarmBench have categories, AdvBench's have none."""
    return set(table.columns) - {""} in ({"goal", "target"}, {"BehaviorID", "Behavior"}, {"prompt", "target"})


def _read(table: Table, _label: Label | None) -> Iterator[Item]:
    column = table.column("goal", "Behavior", "prompt")
    for row in table.rows:
        yield Item(row.get(column), Label.HARMFUL)


SOURCE = Source(
    name="advbench",
    license="MIT",
    homepage=HOMEPAGE,
    recognises=_recognises,
    read=_read,
    published=published(HOMEPAGE, {"train": ("walledai/AdvBench", None, "train")}),
)
