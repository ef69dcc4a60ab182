"""How far a scorer agrees with what people say of the same responses."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from demur.errors import InputError
from demur.files import sha256_file
from demur.nouns import Modality, Outcome, prompt_id
from demur.results import Estimate, ScorerInfo
from evaluators.agreement import SCORES, kappa_difference, row_shares, score_estimates, tables
from evaluators.journal import find
from evaluators.labels import Labelled
from evaluators.rates import Draws
from evaluators.runs import OUTCOMES
from evaluators.scorers import JUDGES, Finding, Item, Scorer, describe, describe_panel, majority
from evaluators.statistics import CONFIDENCE, Floats

Codes = npt.NDArray[np.int64]
T = TypeVar("T")

POSITIVE = frozenset({Outcome.REFUSAL, Outcome.PARTIAL})


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Interval(_Part):
    """An interval of 95%; None where nothing varies."""

    low: float | None
    high: float | None
    method: str | None


class Calibration(_Part):
    """How far a scorer agrees with people. Positive: refusal or partial; `unclear` is negative.

    Intervals are a bootstrap over prompts, in the terms of `demur.results`.
    """

    n: int
    scored: int
    """Rows that the scorer could score; the others are in no number below."""
    prompts: int
    accuracy: float | None
    kappa: float | None
    """Cohen's."""
    precision: float | None
    recall: float | None
    intervals: dict[str, Interval]
    """Of the four above, by name."""
    confusion: dict[Outcome, dict[Outcome, int]]
    """Rows, by what people said and then by what the scorer said."""
    confusion_shares: dict[Outcome, dict[Outcome, Estimate]]
    """The same, as shares of what people said."""
    kappa_over: dict[str, Estimate]
    """Kappa minus that of each other scorer, by its name; the bootstrap is paired."""


class Report(Calibration):
    """What the command writes: all models together, and each by itself, since pooling hides a scorer of one style."""

    models: dict[str, Calibration]
    judges: dict[str, Calibration] = Field(default_factory=dict)
    """Each judge by itself, where it is their majority that is calibrated."""
    scorer: str
    settings: ScorerInfo
    labels_sha256: str
    seed: int
    resamples: int
    confidence: float


def calibrate(
    rows: Sequence[Labelled],
    outcomes: Sequence[Outcome | None],
    draws: Draws,
    *,
    others: Mapping[str, Sequence[Outcome]] | None = None,
) -> Calibration:
    """The agreement of a scorer's outcomes, one a row, with people's labels.

    Rows of one prompt, answered by several models, are drawn together; a row without a prompt by itself. What could not
    be scored is None; where that is all, there are no numbers. `others` are the outcomes of scorers to compare with.
    """
    kept = [number for number, outcome in enumerate(outcomes) if outcome is not None]
    labels = [rows[number].label for number in kept]
    clusters = _clusters([rows[number] for number in kept])
    full = _tables(labels, [outcomes[number] for number in kept], clusters)
    estimates = score_estimates(_binary(full), draws) if kept else dict.fromkeys(SCORES, Estimate())
    over = {
        name: np.stack([_binary(full), _binary(_tables(labels, [said[number] for number in kept], clusters))], axis=1)
        for name, said in (others or {}).items()
    }
    return Calibration(
        n=len(rows),
        scored=len(kept),
        prompts=len(full),
        accuracy=estimates["accuracy"].value,
        kappa=estimates["kappa"].value,
        precision=estimates["precision"].value,
        recall=estimates["recall"].value,
        intervals={name: Interval(**estimates[name].model_dump(exclude={"value"})) for name in SCORES},
        confusion=_by_outcome(full.sum(axis=0).astype(int).tolist()),
        confusion_shares=_by_outcome(row_shares(full, draws)),
        kappa_over={name: kappa_difference(both, draws, name) if kept else Estimate() for name, both in over.items()},
    )


def _clusters(rows: Sequence[Labelled]) -> Codes:
    prompts = [f"row {number}" if row.prompt is None else prompt_id(row.prompt) for number, row in enumerate(rows)]
    return np.unique(prompts, return_inverse=True)[1]


def _tables(labels: Sequence[Outcome], outcomes: Sequence[Outcome | None], clusters: Codes) -> Floats:
    """Labels against outcomes, a table for each cluster: `[clusters, outcomes, outcomes]`."""
    truth, found = ([OUTCOMES.index(each) for each in side if each] for side in (labels, outcomes))
    return tables(truth, found, (len(OUTCOMES), len(OUTCOMES)), clusters)


def _binary(full: Floats) -> Floats:
    """Tables of outcomes as tables of negative and positive."""
    side = np.array([[outcome not in POSITIVE, outcome in POSITIVE] for outcome in OUTCOMES], float)
    binary: Floats = side.T @ full @ side
    return binary


def _by_outcome(table: Sequence[Sequence[T]]) -> dict[Outcome, dict[Outcome, T]]:
    return {label: dict(zip(OUTCOMES, row, strict=True)) for label, row in zip(OUTCOMES, table, strict=True)}


def score_rows(
    rows: Sequence[Labelled], scorer: Scorer, *, journal: Path | None = None, quiet: bool = True
) -> list[Outcome | None]:
    """What a scorer says of each row; None where it cannot. What a judge finds is kept in `journal`.

    A table that does not say which prompts are harmful (`Columns.prompt_label`) has them all taken for borderline. To
    keywords that is all the same, and a chat model is only not asked how much help was given. Guards cannot do without:
    that a harmful prompt was neither refused nor answered harmfully is `unclear`, of a harmless one `compliance`.
    """
    items = [Item(row.prompt or "", row.prompt_label, row.response) for row in rows]
    findings = find(journal, scorer, items, quiet=quiet)
    return [findings[item].outcome if item in findings else None for item in items]


def report(
    labels: Path,
    rows: Sequence[Labelled],
    scorer: Scorer | Sequence[Scorer],
    against: Mapping[str, Scorer],
    draws: Draws,
    *,
    journal: Path | None = None,
    quiet: bool = True,
) -> Report:
    """Calibrate a scorer on all rows and on each model's, and compare it with others that score every row, by name.

    Several judges are calibrated as `demur score` counts them: as their majority, each by itself beside it.

    Raises:
        InputError: no row could be scored.
    """
    scorers = scorer if isinstance(scorer, Sequence) else [scorer]
    said = {each.name: score_rows(rows, each, journal=journal, quiet=quiet) for each in scorers}
    infos = {each.name: describe(each) for each in scorers}
    others = {name: [found for found in score_rows(rows, other) if found] for name, other in against.items()}
    name, judges = scorers[0].name, {}
    if len(scorers) > 1:
        judges = {judge: calibrate(rows, outcomes, draws) for judge, outcomes in said.items()}
        name, said[JUDGES] = JUDGES, _majority(said)
        infos[JUDGES] = describe_panel({judge: infos[judge].sha256 for judge in sorted(judges)})
    if not any(said[name]):
        raise InputError(f"{labels}: {name} could score no response")

    def part(model: str | None) -> Calibration:
        where = [number for number, row in enumerate(rows) if model is None or row.model == model]
        return calibrate(
            [rows[number] for number in where],
            [said[name][number] for number in where],
            draws,
            others={other: [found[number] for number in where] for other, found in others.items()},
        )

    return Report(
        **dict(part(None)),
        models={model: part(model) for model in sorted({row.model for row in rows})},
        judges=judges,
        scorer=name,
        settings=infos[name],
        labels_sha256=sha256_file(labels),
        seed=draws.seed,
        resamples=draws.resamples,
        confidence=CONFIDENCE,
    )


def _majority(said: Mapping[str, Sequence[Outcome | None]]) -> list[Outcome | None]:
    """What most judges say of each row."""
    verdicts = (
        Finding(outcome).verdict(str(number), Modality.TEXT_ONLY, judge)
        for judge, outcomes in said.items()
        for number, outcome in enumerate(outcomes)
    )
    return [verdict.outcome for verdict in majority(verdicts, len(said))]
