"""Two modalities of a run, or two runs, on the same prompts: difference, interval, test, correction."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from demur.errors import InputError
from demur.nouns import Modality
from demur.results import Comparison, Estimate
from evaluators.rates import REFUSAL, SCORED, Draws, Layout, Part, combined, row_sums, score_weights
from evaluators.run_folder import Key
from evaluators.runs import Marks, Run, marks, read_run, read_verdicts
from evaluators.statistics import (
    TINY,
    Floats,
    Term,
    bootstrap,
    effective_clusters,
    holm,
    mcnemar,
    mover,
    sign_flip,
    wilson,
)

FROM_TEXT_TO_SPEECH = (Modality.TEXT_ONLY, Modality.AUDIO_TEXT, Modality.AUDIO_ONLY)
"""The order of modalities, in comparisons and as shown. The earlier minus the later: what speech loses of refusal."""
FEW_CHANGES = 6
"""Fewer prompts that differ cannot be significant in the exact test, even if all differ alike."""
_SAME = ("prompt_id", "label", "input_text", "audio_sha256")
"""What makes two runs' rows the same question."""


class Arm(NamedTuple):
    """One side of a comparison, over the same prompts as the other: hits and rows, each `[prompts, modalities]`."""

    hits: Floats
    n: Floats

    @property
    def value(self) -> float:
        """The rate, averaged over the modalities."""
        return float((self.hits.sum(axis=0) / self.n.sum(axis=0)).mean())

    @property
    def contributions(self) -> Floats:
        """What each prompt adds to `value`."""
        parts: Floats = (self.hits / self.n.sum(axis=0)).mean(axis=1)
        return parts

    @property
    def shares(self) -> "Arm":
        """The same as the share of hits of each prompt, all of the same weight; every prompt needs rows."""
        return Arm(self.hits / self.n, np.ones_like(self.n))


class Pair(NamedTuple):
    """Two arms on the prompts that both have rows of."""

    a: Arm
    b: Arm

    @classmethod
    def of(cls, sums_a: Floats, sums_b: Floats, columns: Sequence[int] = (REFUSAL,)) -> "Pair":
        """From sums `[modalities, prompts, sums]` of each; what counts as a hit is the sum of `columns`."""
        arms = [Arm(sums[..., list(columns)].sum(axis=-1).T, sums[..., SCORED].T) for sums in (sums_a, sums_b)]
        both = ((arms[0].n > 0) & (arms[1].n > 0)).any(axis=1)
        return cls(*(Arm(arm.hits[both], arm.n[both]) for arm in arms))

    @property
    def prompts(self) -> int:
        return len(self.a.n)

    @property
    def rows(self) -> int:
        return int(self.a.n.sum() + self.b.n.sum())

    @property
    def comparable(self) -> bool:
        """Whether each modality has rows on both sides."""
        return bool(self.prompts and (self.a.n.sum(axis=0) > 0).all() and (self.b.n.sum(axis=0) > 0).all())

    @property
    def contributions(self) -> Floats:
        return self.a.contributions - self.b.contributions

    @property
    def shares(self) -> "Pair":
        """The same of means over prompts, for sides that have other numbers of rows of one prompt.

        A prompt is written once and spoken in several clips, some of which may be missing: by rows, prompts would weigh
        otherwise on one side than on the other, and a model that does the same on both would seem to differ.
        """
        return Pair(self.a.shares, self.b.shares)


def difference(pair: Pair, draws: Draws, *what: object) -> Estimate:
    """`a - b` with its paired bootstrap interval over prompts; nothing where there is nothing to compare.

    A bootstrap of few prompts, or of few that differ, says too much: it cannot draw a change that it never saw. There
    the shares of prompts that rise and that fall have Wilson's intervals, put together by `mover`: of some 20 prompts
    or more, the interval then holds 0 where the exact test is not significant; of fewer it is still too short.
    """
    if not pair.comparable:
        return Estimate()

    def subtract(totals: Floats) -> Floats:
        hits_a, n_a, hits_b, n_b = np.split(totals, 4, axis=-1)
        differences: Floats = (hits_a / n_a - hits_b / n_b).mean(axis=-1, keepdims=True)
        return differences

    clusters = np.column_stack([pair.a.hits, pair.a.n, pair.b.hits, pair.b.n])
    bounds = bootstrap(clusters, subtract, seed=draws.seed_for("pair", *what), resamples=draws.resamples)
    low, high = float(bounds.low[0]), float(bounds.high[0])
    if low == high or np.count_nonzero(np.abs(pair.contributions) > TINY) < FEW_CHANGES:
        return _of_few_changes(pair)
    return Estimate(value=pair.a.value - pair.b.value, low=low, high=high, method="bootstrap")


def _of_few_changes(pair: Pair) -> Estimate:
    prompts = effective_clusters(((pair.a.n / pair.a.n.sum(axis=0)) + (pair.b.n / pair.b.n.sum(axis=0))).mean(axis=1))
    terms = []
    for weight in (1.0, -1.0):
        share = min(1.0, float(np.clip(weight * pair.contributions, 0, None).sum()))
        ends = wilson(share * prompts, prompts)
        terms.append(Term(weight, share, float(ends.low), float(ends.high)))
    value, low, high = mover(terms)
    return Estimate(value=value, low=max(-1.0, low), high=min(1.0, high), method="mover")


def paired_test(
    pair: Pair, contributions: Floats, draws: Draws, *what: object
) -> tuple[Literal["mcnemar", "sign-flip"], float]:
    """Name of the test and its p: exact McNemar at one row a prompt on each side, else sign flips of contributions."""
    if (pair.a.n == 1).all() and (pair.b.n == 1).all() and pair.a.n.shape[1] == 1:
        a, b = pair.a.hits > 0, pair.b.hits > 0
        return "mcnemar", mcnemar(int((a & ~b).sum()), int((b & ~a).sum()))
    return "sign-flip", sign_flip(contributions, seed=draws.seed_for("flip", *what))


def corrected(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The same comparisons as one family, `p_holm` set."""
    adjusted = holm([each.p for each in comparisons])
    return [each.model_copy(update={"p_holm": float(p)}) for each, p in zip(comparisons, adjusted, strict=True)]


def compare_modalities(layout: Layout, cube: Floats, scorer: str, draws: Draws) -> list[Comparison]:
    """Refusal in each pair of modalities, for each label, on the same prompts, each of the same weight; one family."""
    found: list[Comparison] = []
    present = [each for each in FROM_TEXT_TO_SPEECH if each in layout.modalities]
    for label, (a, b) in ((label, pair) for label in layout.labels for pair in combinations(present, 2)):
        prompts = layout.of_label(label)
        left, right = (cube[[layout.modalities.index(side)]][:, prompts] for side in (a, b))
        names = {"a": str(a), "b": str(b), "scorer": scorer, "modality": None, "label": label}
        pair = Pair.of(left, right)
        found += _compared(pair, pair.shares, names, draws, scorer, a, b, None, label)
    return corrected(found)


def _compared(
    pair: Pair, weighed: Pair, names: Mapping[str, object], draws: Draws, *what: object
) -> Iterator[Comparison]:
    """Of what both sides have rows of, counted in rows; `weighed` is what a prompt's part in the rates is."""
    if pair.comparable:
        name, p = paired_test(pair, weighed.contributions, draws, *what)
        yield Comparison.model_validate(
            {
                **names,
                "metric": "refusal",
                "prompts": pair.prompts,
                "n": pair.rows,
                "value_a": weighed.a.value,
                "value_b": weighed.b.value,
                "difference": difference(weighed, draws, *what),
                "test": name,
                "p": p,
                "p_holm": p,
            }
        )


def compare_runs(
    pairs: Sequence[tuple[Path, Path]], *, scorer: str = "keyword", draws: Draws | None = None
) -> list[Comparison]:
    """Pairs of runs on the rows that both have scored: refusal in each modality and label, and the score.

    `a` and `b` are the runs' folders as given, the difference is `a - b`, and all comparisons of the call are one
    family for Holm's correction. What has no prompts in both runs is left out, and so is a pair without a row that both
    have scored; where a modality or a label is left out, so is the score.

    Raises:
        InputError: a run cannot be read, has no verdicts of the scorer, or two runs were not asked the same things.
    """
    draws = draws or Draws()
    loaded = {folder: Scored.read(folder, scorer) for pair in pairs for folder in pair}
    found: list[Comparison] = []
    for a, b in pairs:
        aligned = align([loaded[a], loaded[b]])
        if aligned is None:
            continue
        layout, cubes = aligned
        models = (loaded[a].run.model, loaded[b].run.model)  # draws depend on them, and not on where the runs lie
        for number, modality in enumerate(layout.modalities):
            for label in layout.labels:
                prompts = layout.of_label(label)
                left, right = (cube[[number]][:, prompts] for cube in cubes)
                names = {"a": str(a), "b": str(b), "scorer": scorer, "modality": modality, "label": label}
                pair = Pair.of(left, right)  # both sides have the same rows, and so the same weights
                found += _compared(pair, pair, names, draws, *models, scorer, modality, label)
        if _is_whole(layout, loaded[a], loaded[b]):
            found += _compare_scores(layout, cubes, {"a": str(a), "b": str(b), "scorer": scorer}, draws, *models)
    return corrected(found)


class Scored(NamedTuple):
    """A run and one scorer's verdicts on it."""

    run: Run
    marks: Marks

    @classmethod
    def read(cls, folder: Path, scorer: str) -> "Scored":
        """From the run's folder.

        Raises:
            InputError: it cannot be read, or has no verdicts of the scorer.
        """
        run = read_run(folder)
        found = marks(run, (verdict for verdict in read_verdicts(folder) if verdict.scorer == scorer))
        if scorer not in found:
            raise InputError(f"{folder}: no verdicts of {scorer}; make them with: demur score {folder}")
        return cls(run, found[scorer])


def align(runs: Sequence[Scored]) -> tuple[Layout, list[Floats]] | None:
    """The rows that all runs have scored: where they belong, and each run's sums by modality and prompt; or None.

    Raises:
        InputError: two runs were not asked the same things.
    """
    first, *others = runs
    places = [{key: row for row, key in enumerate(each.run.keys)} for each in others]
    common = [(n, *(place[key] for place in places)) for n, key in enumerate(first.run.keys) if _in_all(key, places)]
    rows = np.array(common, int).reshape(-1, len(runs))
    for column in _SAME:
        found = [each.run.samples[column].fillna("").to_numpy(str)[rows[:, i]] for i, each in enumerate(runs)]
        for each, values in zip(others, found[1:], strict=True):
            if (values != found[0]).any():
                raise InputError(
                    f"{first.run.folder} and {each.run.folder}: not the same corpus ({column} differs under one id)"
                )
    scored = np.all([each.marks.outcomes[rows[:, i]] >= 0 for i, each in enumerate(runs)], axis=0)
    rows = rows[scored]
    if not len(rows):
        return None
    layout = Layout(first.run.samples.iloc[rows[:, 0]])
    return layout, [layout.cube(row_sums(each.marks)[rows[:, i]]) for i, each in enumerate(runs)]


def _in_all(key: Key, places: Sequence[Mapping[Key, int]]) -> bool:
    return all(key in place for place in places)


def _is_whole(layout: Layout, *runs: Scored) -> bool:
    """Whether every modality and label that both runs were asked has rows that both have scored.

    Without one of them the rest would make a number that is not the score.
    """
    for part, kept in (("modality", layout.modalities), ("label", layout.labels)):
        asked = [set(each.run.samples[part].unique()) for each in runs]
        if not set.intersection(*asked) <= set(map(str, kept)):
            return False
    return True


def _compare_scores(
    layout: Layout, cubes: Sequence[Floats], names: Mapping[str, str], draws: Draws, *models: str
) -> Iterator[Comparison]:
    """The difference of what models are ranked by, over all modalities and labels that both runs have."""
    weights = score_weights(layout.labels)
    if weights is None:
        return
    pairs = {}
    for label in layout.labels:
        prompts = layout.of_label(label)
        pairs[label] = Pair.of(cubes[0][:, prompts], cubes[1][:, prompts])
    if not all(pair.comparable for pair in pairs.values()):
        return
    what = ("score", *models, names["scorer"])
    parts = [Part(weights[label], difference(pair, draws, *what, label)) for label, pair in pairs.items()]
    contributions = np.concatenate([weights[label] * pair.contributions for label, pair in pairs.items()])
    p = sign_flip(contributions, seed=draws.seed_for("flip", *what))
    yield Comparison(
        **names,
        modality=None,
        label=None,
        metric="score",
        prompts=sum(pair.prompts for pair in pairs.values()),
        n=sum(pair.rows for pair in pairs.values()),
        value_a=sum(weights[label] * pair.a.value for label, pair in pairs.items()),
        value_b=sum(weights[label] * pair.b.value for label, pair in pairs.items()),
        difference=combined(parts),
        test="sign-flip",
        p=p,
        p_holm=p,
    )
