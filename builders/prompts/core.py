"""demur-core, the built-in set: harmful requests, their borderline twins and plain benign requests, in partitions."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from builders.prompts.files import read_table
from builders.prompts.generic import tidy
from builders.prompts.source import Item, Source, Table
from demur.errors import InputError
from demur.nouns import Label, Partition

FILE = "demur_core.csv"
COLUMNS = ("pair_id", "prompt", "label", "category", "kind", "partition")


def _recognises(table: Table) -> bool:
    """Under its own name only: another set in the same layout is not ours."""
    return table.name == FILE and table.has(*COLUMNS)


def _read(table: Table, _label: Label | None) -> Iterator[Item]:
    """One row of the file each.

    Raises:
        InputError: a column is missing, or a label or partition is none of ours.
    """
    for column in COLUMNS:
        table.column(column)
    for number, row in enumerate(table.rows, 1):
        try:
            own, partition = Label(row["label"]), Partition(row["partition"])
        except ValueError as error:
            raise InputError(f"{table.name}: row {number}: {error}") from None
        pair_id, kind = tidy(row["pair_id"]), tidy(row["kind"])
        yield Item(row["prompt"], own, row["category"], kind, pair_id and f"demur-core:{pair_id}", partition)


def load_core(path: Path, partition: str | None = None) -> list[Table]:
    """The built-in set in a file, whole or one partition of it.

    Raises:
        InputError: there is no such partition.
    """
    table = read_table(path)
    if partition is None:
        return [table]
    if partition not in set(Partition):
        raise InputError(f"no partition {partition!r}; there are: {', '.join(Partition)}")
    rows: list[Mapping[str, Any]] = [row for row in table.rows if row["partition"] == partition]
    return [replace(table, name=f"{table.name}:{partition}", rows=rows)]


def _published(partition: str | None) -> list[Table]:
    with as_file(files("data_cards") / FILE) as path:
        return load_core(path, partition)


SOURCE = Source(
    name="demur-core",
    license="CC-BY-4.0",
    homepage=f"data_cards/{FILE}",
    recognises=_recognises,
    read=_read,
    published=_published,
)
