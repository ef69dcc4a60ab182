"""Any table of prompts, by the names of its columns."""

import re
from collections.abc import Iterator
from typing import Any

from builders.prompts.source import UNCATEGORISED, Item, Table, TableOptions
from demur.errors import InputError
from demur.nouns import Label

TEXT_COLUMNS = ("prompt", "text", "question", "instruction", "query", "request", "goal", "behavior")
SPELLINGS: dict[Label, tuple[str, ...]] = {
    Label.HARMFUL: ("harmful", "unsafe", "toxic", "malicious", "1", "true", "yes"),
    Label.BORDERLINE: ("borderline", "safe", "over-refusal"),
    Label.BENIGN: ("benign", "harmless", "neutral", "0", "false", "no"),
}
_LABELS = {spelling: label for label, spellings in SPELLINGS.items() for spelling in spellings}
_SAFE = {"1": Label.BORDERLINE, "true": Label.BORDERLINE, "yes": Label.BORDERLINE}
_SAFE |= {"0": Label.HARMFUL, "false": Label.HARMFUL, "no": Label.HARMFUL}
SHOWN_VALUES = 8


def read_label(value: Any, column: str = "label") -> Label | None:
    """A label by any accepted spelling; None for others. In a column that asks "safe?", yes and no mean the opposite.

    >>> read_label("Unsafe"), read_label(1.0), read_label(True, "is_safe"), read_label("maybe")
    (<Label.HARMFUL: 'harmful'>, <Label.HARMFUL: 'harmful'>, <Label.BORDERLINE: 'borderline'>, None)
    """
    spelling = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip().casefold()
    asks_safe = re.search(r"(?<!un)safe(?!ty)", column.casefold()) is not None
    return (_SAFE.get(spelling) if asks_safe else None) or _LABELS.get(spelling)


def read_rows(table: Table, options: TableOptions) -> Iterator[Item]:
    """Every row of a table with a text and a label; `category`, `kind` and `pair_id` are taken where there are any.

    Raises:
        InputError: a column is missing, a label is unknown, or there is no label at all.
    """
    text_column = _text_column(table, options)
    for row, label in zip(table.rows, _labels(table, options), strict=True):
        yield Item(
            text=row.get(text_column),
            label=label,
            category=tidy(row.get("category")) or UNCATEGORISED,
            kind=tidy(row.get("kind")),
            pair_id=tidy(row.get("pair_id")),
        )


def tidy(value: Any) -> str | None:
    """A cell as a short text, None where it is empty; characters that no file can hold are replaced."""
    if value is None or isinstance(value, dict | list):
        return None
    return str(value).strip().encode(errors="replace").decode() or None


def _text_column(table: Table, options: TableOptions) -> str:
    if options.text_column is not None:
        return _named(table, options.text_column, "--text-column")
    column = table.columns[0] if len(table.columns) == 1 else _usual(table, *TEXT_COLUMNS)
    if column is None:
        raise InputError(
            f"{table.name}: which column holds the prompts? Say --text-column NAME; the columns are: {_listed(table)}"
        )
    return column


def _labels(table: Table, options: TableOptions) -> list[Label]:
    if options.label_column is None:
        column = _usual(table, "label")
    else:
        column = _named(table, options.label_column, "--label-column")
    if column is not None:
        return _read_labels(table, column, options.label)
    if options.label is None:
        raise InputError(
            f"{table.name}: nothing says what the prompts are; say --label-column NAME, or --label harmful, borderline "
            f"or benign for all of them; the columns are: {_listed(table)}"
        )
    return [options.label] * len(table.rows)


def _read_labels(table: Table, column: str, fallback: Label | None) -> list[Label]:
    values = [row.get(column) for row in table.rows]
    read = [fallback if value is None or value == "" else read_label(value, column) for value in values]
    labels = [label for label in read if label is not None]
    if len(labels) < len(read):
        unknown = dict.fromkeys(
            repr(str(value)[:40]) for value, label in zip(values, read, strict=True) if label is None
        )
        seen = ", ".join(list(unknown)[:SHOWN_VALUES]) + (", …" if len(unknown) > SHOWN_VALUES else "")
        accepted = "; ".join(f"{label} ({', '.join(spellings)})" for label, spellings in SPELLINGS.items())
        raise InputError(f"{table.name}: unknown labels in column {column!r}: {seen}; accepted are {accepted}")
    return labels


def _usual(table: Table, *names: str) -> str | None:
    spelled = {column.casefold(): column for column in reversed(table.columns)}
    return next((spelled[name] for name in names if name in spelled), None)


def _named(table: Table, column: str, flag: str) -> str:
    if not table.has(column):
        raise InputError(f"{table.name}: no column {column!r} ({flag}); the columns are: {_listed(table)}")
    return column


def _listed(table: Table) -> str:
    return ", ".join(table.columns)
