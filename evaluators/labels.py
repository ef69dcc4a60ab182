"""Responses that people have labelled: reading them from a table."""

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from demur.errors import InputError
from demur.nouns import Label, Outcome

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


PROMPT_LABELS = {str(label): label for label in Label} | {"unsafe": Label.HARMFUL, "safe": Label.BORDERLINE}
"""What a table may say of its prompts, beside XSTest's types."""
_UNSAFE = "contrast_"
"""How XSTest's types of unsafe prompts begin."""


@dataclass(frozen=True)
class Columns:
    """Where a table has what; XSTest's names.

    Of the last three, one that is not there under its usual name is done without.
    """

    response: str = "completion"
    label: str = "final_label"
    model: str = "model"
    prompt: str = "prompt"
    prompt_label: str = "type"


@dataclass(frozen=True)
class Labelled:
    """A response and what people said of it."""

    response: str
    label: Outcome
    model: str = ALL
    prompt: str | None = None
    prompt_label: Label = Label.BORDERLINE
    """Whether the prompt is harmful; a table that does not say so does as if none were."""


def read_labels(
    path: Path, columns: Columns | None = None, meaning: Mapping[str, Outcome] | None = None
) -> list[Labelled]:
    """The labelled responses of a CSV, TSV, JSONL or Parquet file.

    Args:
        path: the table.
        columns: where it has what.
        meaning: of labels other than XSTest's and demur's.

    Raises:
        InputError: the file is missing, empty or cannot be read; a column is missing; a label is unknown; a response is
            no text.
    """
    columns, table = columns or Columns(), _read_table(path)
    named = [name for name, usual in zip(astuple(columns), astuple(Columns()), strict=True) if name != usual]
    missing = [name for name in (columns.response, columns.label, *named) if name not in table.columns]
    if missing:
        there = ", ".join(map(str, table.columns)) or "none"
        raise InputError(f"{path}: no column {missing[0]!r}; there are: {there} (name yours by flag)")
    if table.empty:
        raise InputError(f"{path}: no rows")
    responses, table = _texts(path, table, columns.response), table.fillna("")
    known = {str(outcome): outcome for outcome in Outcome} | XSTEST | dict(meaning or {})
    labels = [str(label).strip() for label in table[columns.label]]
    unknown = sorted(set(labels) - set(known))
    if unknown:
        seen = ", ".join(f"{label!r} ({labels.count(label)} rows)" for label in unknown[:5])
        raise InputError(
            f"{path}: unknown labels in {columns.label!r}: {seen}; say what they mean: --map LABEL=OUTCOME"
        )
    rows = zip(
        responses,
        [known[label] for label in labels],
        map(str, table.get(columns.model, [ALL] * len(table))),
        map(_asked, table.get(columns.prompt, [None] * len(table))),
        _prompt_labels(path, table, columns),
        strict=True,
    )
    return [Labelled(*row) for row in rows]


def _texts(path: Path, table: "pandas.DataFrame", column: str) -> list[str]:
    """The responses; what is no text (a null, an object) is not what a model said."""
    for number, response in enumerate(table[column], 1):
        if not isinstance(response, str):
            shown = "nothing" if response is None else type(response).__name__
            raise InputError(f"{path}: row {number}: {column!r} holds {shown}, not a text; leave such rows out")
    return list(table[column])


def _prompt_labels(path: Path, table: "pandas.DataFrame", columns: Columns) -> list[Label]:
    if columns.prompt_label not in table.columns:
        return [Label.BORDERLINE] * len(table)
    said = [str(value).strip() for value in table[columns.prompt_label]]
    unknown = sorted({value for value in said if value not in PROMPT_LABELS and not value.startswith(_UNSAFE)})
    if unknown and columns.prompt_label != Columns.prompt_label:  # XSTest's own has ten types of safe prompts
        raise InputError(
            f"{path}: unknown labels of prompts in {columns.prompt_label!r}: {', '.join(map(repr, unknown[:5]))}; "
            f"there are: {', '.join(PROMPT_LABELS)}"
        )
    return [
        Label.HARMFUL if value.startswith(_UNSAFE) else PROMPT_LABELS.get(value, Label.BORDERLINE) for value in said
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
    """The table, with None where it has nulls."""
    import pandas

    if not path.is_file():
        raise InputError(f"{path}: a folder; name the table" if path.is_dir() else f"{path}: no such file")
    try:
        match path.suffix.lower():
            case ".jsonl":
                table = pandas.read_json(path, lines=True, dtype=False)
            case ".parquet":
                table = pandas.read_parquet(path)
            case suffix:
                separator = "\t" if suffix == ".tsv" else ","
                return pandas.read_csv(path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except pandas.errors.EmptyDataError:
        raise InputError(f"{path}: empty") from None
    except (ValueError, OSError) as error:  # pandas' and pyarrow's own errors are of these kinds
        raise InputError(f"{path}: cannot be read as a table ({error})") from None
    return table.astype(object).where(table.notna(), None)
