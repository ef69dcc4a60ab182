"""Reading a run: what was asked, what was answered, what scorers made of it.

A run is a folder:

    samples.parquet    what was asked: every column of the corpus but the audio
    responses.jsonl    what the model answered; of several lines for one (id, modality) the last counts
    run.json           model, settings, corpus, seeds, versions
    controls.jsonl     answers to silence, noise and swapped audio; no part of any rate, not read here
    verdicts.jsonl     what scorers made of the answers
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from demur.corpus import TABLE_COLUMNS
from demur.errors import InputError
from demur.files import read_json, read_jsonl
from demur.nouns import Label, Modality, Outcome, Response, Verdict
from evaluators.run_folder import Key, read_responses

if TYPE_CHECKING:
    import pandas

Ints = npt.NDArray[np.int8]

OUTCOMES: tuple[Outcome, ...] = tuple(Outcome)
UNSCORED = -1
_REASON_LENGTH = 80


@dataclass(frozen=True)
class Run:
    """A run in memory, checked."""

    folder: Path
    model: str
    info: dict[str, Any]
    """`run.json`; empty where there is none."""
    samples: "pandas.DataFrame"
    """One row for each sample asked, columns `TABLE_COLUMNS`."""
    keys: list[Key]
    """Of the rows of `samples`, in their order."""
    responses: dict[Key, Response]


@dataclass(frozen=True)
class Marks:
    """One scorer's verdicts, aligned with the samples of a run."""

    outcomes: Ints
    """Indices into `OUTCOMES`, or `UNSCORED`: shape [rows]."""
    scores: Ints
    """A judge's 1 to 5, or 0 where there is none: shape [rows]."""
    reasons: dict[int, str]
    """Why a row has a verdict without outcome, by row."""

    @classmethod
    def none(cls, rows: int) -> "Marks":
        """No verdict on any of so many rows."""
        return cls(np.full(rows, UNSCORED, np.int8), np.zeros(rows, np.int8), {})


def check_run(folder: Path) -> None:
    """Raise InputError where a folder holds no run."""
    if not (folder / "responses.jsonl").is_file():
        raise InputError(f"{folder}: no run here (no responses.jsonl); make one with: demur respond --out {folder}")


def read_run(folder: Path) -> Run:
    """Read what was asked and answered.

    Raises:
        InputError: a file is missing, damaged or at odds with another; or two models answered.
    """
    check_run(folder)
    samples = _read_samples(folder / "samples.parquet")
    keys = [(id_, Modality(name)) for id_, name in zip(samples["id"], samples["modality"], strict=True)]
    asked = set(keys)
    if len(asked) < len(keys):
        raise InputError(f"{folder}/samples.parquet: the same id and modality occurs twice")
    responses = {(line.id, line.modality): line for line in read_responses(folder / "responses.jsonl")}
    for id_, modality in responses:
        if (id_, modality) not in asked:
            raise InputError(f"{folder}/responses.jsonl: {id_} in {modality} was not asked (not in samples.parquet)")
    models = sorted({response.model for response in responses.values()})
    if len(models) != 1:
        found = f"of {len(models)} models ({', '.join(models[:3])})" if models else "none at all"
        raise InputError(f"{folder}/responses.jsonl: responses {found}; a run holds one model's")
    info = read_json(folder / "run.json") if (folder / "run.json").is_file() else {}
    if not isinstance(info, dict):
        raise InputError(f"{folder}/run.json: not a JSON object")
    return Run(folder, models[0], info, samples, keys, responses)


def _read_samples(path: Path) -> "pandas.DataFrame":
    import pyarrow
    import pyarrow.parquet

    try:
        samples: pandas.DataFrame = pyarrow.parquet.read_table(path, columns=list(TABLE_COLUMNS)).to_pandas()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; a run says here what was asked") from None
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    missing = [column for column in TABLE_COLUMNS if column not in samples]
    if missing:
        raise InputError(f"{path}: no column {missing[0]!r}")
    for column, names in (("modality", Modality), ("label", Label)):
        unknown = set(samples[column].unique()) - set(names)
        if unknown:
            raise InputError(f"{path}: unknown {column} {unknown.pop()!r}")
    if samples["id"].isna().any() or samples["prompt_id"].isna().any():
        raise InputError(f"{path}: rows without an id or a prompt_id")
    return samples


def read_verdicts(folder: Path) -> list[Verdict]:
    """The verdicts of a run; none where it was not scored. The last counts, of several of one scorer on one row.

    Raises:
        InputError: the file is damaged.
    """
    path = folder / "verdicts.jsonl"
    if not path.is_file():
        return []
    found: dict[tuple[str, str, Modality], Verdict] = {}
    for number, row in enumerate(read_jsonl(path), 1):
        try:
            verdict = Verdict.model_validate(row)
        except ValidationError as error:
            raise InputError(f"{path}: row {number} is not a verdict ({error.errors()[0]['msg']})") from None
        found[verdict.scorer, verdict.id, verdict.modality] = verdict
    return list(found.values())


def marks(run: Run, verdicts: Iterable[Verdict]) -> dict[str, Marks]:
    """Each scorer's verdicts as arrays over the run's samples; a row without one is unscored.

    Raises:
        InputError: a verdict is of a row that was not asked.
    """
    index = {key: row for row, key in enumerate(run.keys)}
    code = {outcome: number for number, outcome in enumerate(OUTCOMES)} | {None: UNSCORED}
    found: dict[str, Marks] = {}
    for verdict in verdicts:
        row = index.get((verdict.id, verdict.modality))
        if row is None:
            raise InputError(f"{run.folder}: a verdict on {verdict.id} in {verdict.modality}, which was not asked")
        if verdict.scorer not in found:
            found[verdict.scorer] = Marks.none(len(run.keys))
        own = found[verdict.scorer]
        own.outcomes[row] = code[verdict.outcome]
        own.scores[row] = verdict.score or 0
        if verdict.outcome is None:
            own.reasons[row] = " ".join((verdict.reason or "no reason given").split())[:_REASON_LENGTH]
    return found
