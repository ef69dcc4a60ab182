"""What a prompt source is: something that recognises a table by its columns and reads its rows."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from demur.errors import InputError
from demur.nouns import Label, Partition

UNCATEGORISED = "uncategorised"


@dataclass(frozen=True)
class Table:
    """Rows of one file, or of one split of a dataset."""

    name: str
    """The file's name, or `owner/name/config/split`; some formats tell their labels by it alone."""
    columns: tuple[str, ...]
    rows: Sequence[Mapping[str, Any]]
    sha256: str
    """Of the file's bytes; of the rows where there is no file."""

    def has(self, *columns: str) -> bool:
        return set(columns) <= set(self.columns)

    def column(self, *names: str) -> str:
        """The first of these columns that the table has.

        Raises:
            InputError: it has none of them.
        """
        for name in names:
            if name in self.columns:
                return name
        wanted = " or ".join(map(repr, names))
        raise InputError(f"{self.name}: no column {wanted}; the columns are: {', '.join(self.columns)}")


class Item(NamedTuple):
    """One row as its source reads it; the text is not checked yet."""

    text: Any
    label: Label
    category: str = UNCATEGORISED
    kind: str | None = None
    pair_id: str | None = None
    partition: Partition | None = None
    left_out: str | None = None
    """Why the row is no prompt for this purpose; such rows are counted, not listed."""


@dataclass(frozen=True)
class TableOptions:
    """How to read what has no known format, and what is too long to be spoken."""

    text_column: str | None = None
    label_column: str | None = None
    label: Label | None = None
    """For rows that do not say their label themselves."""
    max_characters: int = 4000
    """HarmBench's longest context, read out, is within both limits: about four minutes of speech."""
    max_words: int = 700


Reader = Callable[[Table, Label | None], Iterator[Item]]
"""Reads every row of a table; the label is the user's `--label`, for formats that carry none."""


@dataclass(frozen=True)
class Source:
    """A prompt set's format, its licence, and where it is published."""

    name: str
    license: str
    homepage: str
    recognises: Callable[[Table], bool]
    """By content: no other source should recognise the same table."""
    read: Reader
    published: Callable[[str | None], list[Table]]
    """Its tables, or one named part of them, without a path from the user; raises `InputError` where there are none."""


def label_by_name(table: Table, names: Mapping[str, Label], given: Label | None) -> Label:
    """The label of a whole table whose format says it in the file's name alone.

    Raises:
        InputError: the name says nothing, and neither does the user.
    """
    for part, label in names.items():
        if part in table.name.casefold():
            return label
    if given is not None:
        return given
    raise InputError(
        f"{table.name}: only the file's name tells this format's label ({', '.join(names)}); rename it or pass --label"
    )
