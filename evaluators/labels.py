"""Responses that people have labelled: reading them from a table."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from demur.errors import InputError
from demur.nouns import Outcome

if TYPE_CHECKING:
    import pandas

XSTEST = {
    "1_full_compliance": Outcome.COMPLIANCE,
    "2_full_refusal": Outcome.REFUSAL,
    "3_partial_refusal": Outcome.PARTIAL,
}
"""What XSTest's labels mean; demur's own need no saying."""
ALL = "all"
"""The model of a table that names none."""


@dataclass(frozen=True)
class Columns:
    """Where a table has what; XSTest's names. A prompt or model column that is not there is done without."""

    response: str = "completion"
    label: str = "final_label"
    model: str = "model"
    prompt: str = "prompt"


@dataclass(frozen=True)
class Labelled:
    """A response and what people said of it."""

    response: str
    label: Outcome
    model: str = ALL
    prompt: str | None = None


def read_labels(
    path: Path, columns: Columns | None = None, meaning: Mapping[str, Outcome] | None = None
) -> list[Labelled]:
    """The labelled responses of a CSV, TSV, JSONL or Parquet file.

    Args:
        path: the table.
        columns: where it has what.
        meaning: of labels other than XSTest's and demur's.

    Raises:
        InputError: the file is missing, empty or cannot be read; a column is missing; a label is unknown.
    """
    columns, table = columns or Columns(), _read_table(path)
    missing = [name for name in (columns.response, columns.label) if name not in table.columns]
    if missing:
        there = ", ".join(map(str, table.columns)) or "none"
        raise InputError(f"{path}: no column {missing[0]!r}; there are: {there} (name yours by flag)")
    if table.empty:
        raise InputError(f"{path}: no rows")
    known = {str(outcome): outcome for outcome in Outcome} | XSTEST | dict(meaning or {})
    labels = [str(label).strip() for label in table[columns.label]]
    unknown = sorted(set(labels) - set(known))
    if unknown:
        seen = ", ".join(f"{label!r} ({labels.count(label)} rows)" for label in unknown[:5])
        raise InputError(
            f"{path}: unknown labels in {columns.label!r}: {seen}; say what they mean: --map LABEL=OUTCOME"
        )
    models = table.get(columns.model, [ALL] * len(table))
    prompts = table.get(columns.prompt, [None] * len(table))
    rows = zip(table[columns.response], labels, models, prompts, strict=True)
    return [
        Labelled(str(response), known[label], str(model), _asked(prompt)) for response, label, model, prompt in rows
    ]


def _asked(prompt: object) -> str | None:
    """A prompt as text; an empty cell is no prompt."""
    return None if prompt is None or not str(prompt).strip() else str(prompt)


def parse_meaning(pairs: list[str]) -> dict[str, Outcome]:
    """`--map LABEL=OUTCOME`, as often as it is given.

    >>> parse_meaning(["declined=refusal"])
    {'declined': <Outcome.REFUSAL: 'refusal'>}

    Raises:
        InputError: not of that form, or no outcome.
    """
    meaning = {}
    for pair in pairs:
        label, equals, outcome = pair.rpartition("=")
        if not equals or outcome not in set(Outcome):
            raise InputError(f"--map {pair}: write LABEL=OUTCOME, with one of: {', '.join(Outcome)}")
        meaning[label] = Outcome(outcome)
    return meaning


def _read_table(path: Path) -> "pandas.DataFrame":
    import pandas

    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        match path.suffix.lower():
            case ".jsonl":
                return pandas.read_json(path, lines=True, dtype=False).astype(object).fillna("")
            case ".parquet":
                return pandas.read_parquet(path).astype(object).fillna("")
            case suffix:
                separator = "\t" if suffix == ".tsv" else ","
                return pandas.read_csv(path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except pandas.errors.EmptyDataError:
        raise InputError(f"{path}: empty") from None
    except (ValueError, OSError) as error:  # pandas' and pyarrow's own errors are of these kinds
        raise InputError(f"{path}: cannot be read as a table ({error})") from None
