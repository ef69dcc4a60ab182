"""`scripted:FILE`: answers from a file, for tests, for docs, and for responses that people have already."""

import csv
import sys
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import Field

from demur.errors import InputError
from demur.files import read_jsonl, sha256_file
from demur.models import Answer, KeyedQuery, Model, ModelOptions, Query
from demur.nouns import Modality, normalise_text

KEYS = ("id", "prompt_id", "prompt")
"""What a row may be found by, the most exact first."""
TEXT_COLUMNS = ("text", "response", "completion", "answer", "output")
"""What the column of the answers may be called."""


class ScriptedOptions(ModelOptions):
    """Which columns to read; without them the first of the usual names that the file has."""

    batch_size: int = Field(default=512, ge=1)
    """Looking up takes no time; each batch is one write to disk."""
    id_column: str | None = None
    prompt_column: str | None = None
    text_column: str | None = None
    modality_column: str = "modality"
    name: str | None = None
    """What the model is called in responses; without it, after the file."""


class Scripted(Model):
    """Answers looked up in a JSONL or CSV file by sample id, prompt id or prompt, and by modality where it says one.

    A row without a modality answers in all three; of several rows for one sample the last counts. A sample
    that no row answers is an error on that sample. Prompts are compared in their normalised form.
    """

    Options = ScriptedOptions
    keyed = True
    batch_matters = False

    def __init__(self, name: str, options: ScriptedOptions) -> None:
        self._path, self._options = Path(name), options
        if not name or not self._path.is_file():
            raise InputError(f"scripted:{name}: no such file; name a JSONL or CSV file of answers")
        self.name = options.name or f"scripted:{self._path.stem}"
        self.batch_size = options.batch_size
        self.settings = {"file_sha256": sha256_file(self._path), **options.model_dump(include=set(_COLUMN_OPTIONS))}

    def answer(self, queries: Sequence[Query]) -> list[Answer]:
        """The answers as they stand in the file."""
        key, answers = self._answers
        return [self._look_up(query, key, answers) for query in queries]

    def _look_up(self, query: Query, key: str, answers: dict[tuple[str, str], str]) -> Answer:
        if not isinstance(query, KeyedQuery):
            raise TypeError("a scripted model needs to know which sample a query is")
        wanted = normalise_text(query.prompt) if key == "prompt" else str(getattr(query, key))
        text = answers.get((wanted, query.modality), answers.get((wanted, "")))
        if text is None:
            return Answer(None, error=f"{self._path.name} has no answer for {key} {getattr(query, key)!r}")
        return Answer(text, finish_reason="stop")

    @cached_property
    def _answers(self) -> tuple[str, dict[tuple[str, str], str]]:
        """What rows are found by, and the texts by (key, modality or "")."""
        columns: tuple[str, str, str] | None = None
        answers: dict[tuple[str, str], str] = {}
        for number, row in enumerate(_rows(self._path), 1):
            columns = columns or self._columns(row)
            key, key_column, text_column = columns
            found, text = row.get(key_column), row.get(text_column)
            if not isinstance(found, str) or not isinstance(text, str | None):
                raise InputError(f"{self._path}: row {number}: {key_column!r} and {text_column!r} must be strings")
            modality = row.get(self._options.modality_column) or ""
            if modality and modality not in list(Modality):
                raise InputError(f"{self._path}: row {number}: no modality {modality!r}, only {', '.join(Modality)}")
            if text is not None:
                answers[normalise_text(found) if key == "prompt" else found, modality] = text
        if columns is None:
            raise InputError(f"{self._path}: no rows in it")
        return columns[0], answers

    def _columns(self, row: dict[str, Any]) -> tuple[str, str, str]:
        """What rows are found by (one of KEYS), the column it stands in, and the column of the answers."""
        chosen = {"id": self._options.id_column, "prompt": self._options.prompt_column}
        key = next((key for key, column in chosen.items() if column), None) or _first(KEYS, row, self._path, "prompt")
        key_column = chosen.get(key) or key
        text_column = self._options.text_column or _first(TEXT_COLUMNS, row, self._path, "text")
        for column in (key_column, text_column):
            if column not in row:
                raise InputError(f"{self._path}: no column {column!r}; it has: {', '.join(map(str, row))}")
        return key, key_column, text_column


_COLUMN_OPTIONS = ("id_column", "prompt_column", "text_column", "modality_column")


def _first(names: Iterable[str], row: dict[str, Any], path: Path, what: str) -> str:
    for name in names:
        if name in row:
            return name
    raise InputError(f"{path}: none of the columns {', '.join(names)}; name yours with --{what}-column")


def _rows(path: Path) -> Iterable[dict[str, Any]]:
    if path.suffix.lower() != ".csv":
        yield from read_jsonl(path)
        return
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # an answer may be longer than csv's 128 KiB
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from csv.DictReader(file)
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a readable CSV file ({error})") from None
