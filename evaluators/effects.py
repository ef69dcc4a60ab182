"""What changes between two ways to make a model: paired on the same prompts, the mean of several runs on each side.

A side is one model with one method, run once for each seed of training. A prompt's part in a rate is then the share of
a side's runs that refuse it, so that the interval, drawn over prompts, is of the mean over seeds; how much the seeds
differ stands beside it (`each`).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict

from demur.errors import InputError
from demur.nouns import Label, Modality
from demur.results import Estimate
from evaluators.compare import Arm, Pair, Scored, align, difference
from evaluators.rates import REFUSAL, SCORED, Draws, Layout, Part, combined, score_weights
from evaluators.statistics import Floats, sign_flip

Metric = Literal["score", "refusal", "over_rejection"]


class Effect(BaseModel):
    """One rate, or the score, on both sides."""

    model_config = ConfigDict(frozen=True)

    metric: Metric
    """`over_rejection` is of one label, or of both harmless ones at the same weight."""
    label: Label | None
    modality: Modality | None
    """None: the mean over all."""
    prompts: int
    before: float
    after: float
    change: Estimate
    """`after - before`, paired by prompt; drawn within each label, so that the likeness of a prompt and its twin makes
    the interval of a score rather too wide than too narrow."""
    p: float
    """Of sign flips over prompts."""
    each: tuple[float, ...]
    """The change with each run of `after` by itself, in their order."""


def effects(
    before: Sequence[Path], after: Sequence[Path], *, scorer: str = "keyword", draws: Draws | None = None
) -> list[Effect]:
    """Score, refusal and over-rejection: over all modalities, then in each.

    Raises:
        InputError: a run cannot be read, has no verdicts of the scorer, or was not asked the same; or no prompt of a
            label was scored in all of them.
    """
    runs = [Scored.read(folder, scorer) for folder in (*before, *after)]
    aligned = align(runs)
    if aligned is None:
        raise InputError(f"{after[0]}: nothing in it that {before[0]} has scored too")
    layout, cubes = aligned
    sides = _Sides(cubes[: len(before)], cubes[len(before) :])
    names = (scorer, *sorted({each.run.model for each in runs}))
    found = _of_modalities(layout, sides, None, draws or Draws(), names)
    for modality in layout.modalities:
        found += _of_modalities(layout, sides, modality, draws or Draws(), names)
    return found


class _Sides(NamedTuple):
    before: Sequence[Floats]
    after: Sequence[Floats]


def _of_modalities(
    layout: Layout, sides: _Sides, modality: Modality | None, draws: Draws, names: Sequence[str]
) -> list[Effect]:
    which = slice(None) if modality is None else [layout.modalities.index(modality)]
    pairs: dict[Label, Pair] = {}
    singles: dict[Label, list[Pair]] = {}
    for label in layout.labels:
        prompts = layout.of_label(label)
        before, after = ([cube[which][:, prompts] for cube in cubes] for cubes in sides)
        pairs[label] = _pair(after, before)
        singles[label] = [_pair([one], before) for one in after]
        if not pairs[label].comparable:
            raise InputError(f"no {label} prompt was scored in every modality of all runs")
    what = (*names, modality)
    changes = {label: difference(pair, draws, "effect", *what, label) for label, pair in pairs.items()}

    def effect(metric: Metric, label: Label | None, weights: Mapping[Label, float]) -> Effect:
        parts = np.concatenate([weight * pairs[each].contributions for each, weight in weights.items()])
        return Effect(
            metric=metric,
            label=label,
            modality=modality,
            prompts=sum(pairs[each].prompts for each in weights),
            before=sum(weight * pairs[each].b.value for each, weight in weights.items()),
            after=sum(weight * pairs[each].a.value for each, weight in weights.items()),
            change=combined([Part(weight, changes[each]) for each, weight in weights.items()]),
            p=sign_flip(parts, seed=draws.seed_for("effect flip", *what, metric, label)),
            each=tuple(
                sum(weight * (singles[each][n].a.value - singles[each][n].b.value) for each, weight in weights.items())
                for n in range(len(sides.after))
            ),
        )

    harmless = [label for label in layout.labels if label is not Label.HARMFUL]
    found = []
    if weights := score_weights(layout.labels):
        found.append(effect("score", None, weights))
    if Label.HARMFUL in pairs:
        found.append(effect("refusal", Label.HARMFUL, {Label.HARMFUL: 1.0}))
    if len(harmless) > 1:
        found.append(effect("over_rejection", None, {label: 1 / len(harmless) for label in harmless}))
    return found + [effect("over_rejection", label, {label: 1.0}) for label in harmless]


def _pair(a: Sequence[Floats], b: Sequence[Floats]) -> Pair:
    """From sums `[modalities, prompts, sums]` of each run: the mean share of refusals of each prompt, on both sides."""
    n = a[0][..., SCORED].T  # of all runs: only rows that all of them have scored are here
    there = (n > 0).any(axis=1)
    arms = (Arm(np.mean([cube[..., REFUSAL] for cube in cubes], axis=0).T[there], n[there]) for cubes in (a, b))
    return Pair(*arms)
