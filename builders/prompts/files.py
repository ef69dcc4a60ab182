"""Tables from files: text (a prompt a line), CSV, TSV, JSON, JSONL, Parquet. Nothing in them is trusted."""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from builders.prompts.source import Table
from demur.errors import InputError
from demur.files import sha256_file

TABLES = (".csv", ".tsv", ".json", ".jsonl", ".parquet")
SUFFIXES = (".txt", *TABLES)
LINE_COLUMN = "prompt"
"""The one column of a plain text file."""

Rows = list[Mapping[str, Any]]


def read_tables(path: Path) -> list[Table]:
    """The table in a file, or all tables of a folder by name (its text files are left alone, its sub-folders too).

    Raises:
        InputError: there is none, or a file cannot be read; the message says which, where and why.
    """
    if not path.is_dir():
        return [read_table(path)]
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in TABLES and not file.name.startswith("."))
    if not files:
        raise InputError(f"{path}: no prompt files in this folder ({' '.join(TABLES)})")
    return [read_table(file) for file in files]


def read_table(path: Path) -> Table:
    """The table in one file.

    Raises:
        InputError: it is missing, empty, of an unknown kind or broken; with the line, where there is one.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path}: unknown kind of file; prompts are read from {' '.join(SUFFIXES)}")
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    rows = _parquet(path) if suffix == ".parquet" else _parse(path, suffix, _text(path))
    if not rows:
        raise InputError(f"{path}: no prompts in this file")
    columns = tuple(dict.fromkeys(column for row in rows for column in row))
    return Table(path.name, columns, rows, sha256_file(path))


def _text(path: Path) -> str:
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}:{line}: not UTF-8 text; save the file as UTF-8") from None
    if not text.strip():
        raise InputError(f"{path}: the file is empty")
    return text


def _parse(path: Path, suffix: str, text: str) -> Rows:
    if suffix == ".txt":
        return [{LINE_COLUMN: line} for line in io.StringIO(text, newline=None).read().split("\n") if line.strip()]
    if suffix in {".csv", ".tsv"}:
        return list(_csv(path, text, "\t" if suffix == ".tsv" else None))
    if suffix == ".json" and text.lstrip().startswith("["):
        return _json(path, text)
    return list(_jsonl(path, text))


def _csv(path: Path, text: str, delimiter: str | None) -> Iterator[Mapping[str, Any]]:
    header = text.split("\n", 1)[0]
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter or max(",;\t", key=header.count), strict=True
    )
    try:
        columns = next(reader)
        twice = {column for column in columns if columns.count(column) > 1}
        if twice:
            raise InputError(f"{path}:1: two columns are named {min(twice)!r}")
        for row in reader:
            if row and len(row) != len(columns):
                raise InputError(
                    f"{path}:{reader.line_num}: {len(row)} fields where the header has {len(columns)}; "
                    "a text with a comma or a line break needs double quotes around it"
                )
            if row:
                yield dict(zip(columns, row, strict=True))
    except csv.Error as error:
        raise InputError(f"{path}:{reader.line_num}: not valid CSV ({error})") from None


def _json(path: Path, text: str) -> Rows:
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{path}:{error.lineno}: not valid JSON ({error.msg})") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON ({error})") from None
    return [_record(value, f"{path}: entry {number}") for number, value in enumerate(values, 1)]


def _jsonl(path: Path, text: str) -> Iterator[Mapping[str, Any]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else error
            raise InputError(f"{path}:{number}: not a line of JSON ({reason})") from None
        yield _record(value, f"{path}:{number}")


def _record(value: Any, where: str) -> Mapping[str, Any]:
    if isinstance(value, str):
        return {LINE_COLUMN: value}
    if isinstance(value, dict):
        return value
    raise InputError(f"{where}: neither an object nor a text")


def _parquet(path: Path) -> Rows:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            # Audio and images are bytes; reading them would fill the memory for nothing.
            columns = [field.name for field in file.schema_arrow if "binary" not in str(field.type)]
            rows: Rows = file.read(columns).to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(f"{path}: not a Parquet file that can be read ({error})") from None
    return rows
