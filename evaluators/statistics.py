"""Intervals and tests for rates over prompts. Pure: arrays in, numbers out, seeds given.

The voices and conditions of one prompt are not independent, so that what is drawn is the prompt (the *cluster*). A
cluster enters as the sums of its rows, one row of an array `[clusters, sums]`; every statistic here is a function of
the totals of those sums. Clusters with the same sums are the same for a resample, so that counts are drawn for each
kind of cluster: the cost is resamples x kinds, not resamples x rows.
"""

from collections.abc import Callable, Iterator, Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Statistic = Callable[[Floats], Floats]
"""From totals `[..., sums]` to estimates `[..., m]`."""

CONFIDENCE = 0.95
RESAMPLES = 2000
FLIPS = 10_000
MIN_CLUSTERS = 5
"""Fewer clusters than this cannot show how clusters vary."""
_BLOCK = 4_000_000
"""Numbers held at once while drawing: 32 MB."""
_BINOMIAL_COST = 8
"""Of drawing how often one kind occurs, against drawing one cluster; measured."""
TINY = 1e-12
"""Differences below this are rounding."""


class Bounds(NamedTuple):
    """The two ends of an interval, for one estimate or an array of them."""

    low: Floats
    high: Floats


class Term(NamedTuple):
    """One part of a sum of independent estimates."""

    weight: float
    value: float
    low: float
    high: float


def wilson(successes: npt.ArrayLike, n: npt.ArrayLike, *, confidence: float = CONFIDENCE) -> Bounds:
    """Wilson's score interval for a proportion, element by element; `n` must be positive.

    E. B. Wilson (1927), "Probable inference, the law of succession, and statistical inference", JASA 22.
    `successes` need not be whole: a rate over clusters times their number may stand for it.
    """
    k, n = np.asarray(successes, float), np.asarray(n, float)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rate = k / n
    centre = (rate + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
    # the limits touch 0 and 1 exactly there; rounding must not carry the rate outside
    return Bounds(np.clip(np.minimum(centre - half, rate), 0, 1), np.clip(np.maximum(centre + half, rate), 0, 1))


def effective_clusters(sizes: npt.ArrayLike) -> float:
    """How many clusters of one size tell as much as clusters of these sizes, if all rows of a cluster are alike.

    L. Kish (1965), Survey Sampling: the squared sum over the sum of squares.
    """
    n = np.asarray(sizes, float)
    return float(n.sum() ** 2 / (n**2).sum())


def bootstrap(
    clusters: Floats, statistic: Statistic, *, seed: int, resamples: int = RESAMPLES, confidence: float = CONFIDENCE
) -> Bounds:
    """BCa bootstrap intervals over clusters, with levels widened for few clusters.

    BCa: B. Efron (1987), "Better bootstrap confidence intervals", JASA 82, with ties counted by half. The levels follow
    T. Hesterberg (2015), "What teachers should know about the bootstrap", The American Statistician 69, section 5.3:
    Student's t and n / (n - 1) in place of the normal. Plain percentile intervals were too short where rates are near
    0 or 1 or prompts are few, which is where safety is measured.

    Args:
        clusters: `[clusters, sums]`, the sums of each cluster's rows.
        statistic: estimates from totals; resamples in which it is not finite are left out.
        seed: of the draws.

    Returns:
        Two arrays `[m]`. Low equals high where nothing varies between clusters, or there is but one: no interval, only
        a sign of it. Nan where an estimate is.
    """
    kinds, counts = np.unique(np.asarray(clusters, float), axis=0, return_counts=True)
    total = counts @ kinds
    with np.errstate(divide="ignore", invalid="ignore"):
        estimate = statistic(total)
        replicates = np.concatenate(
            [statistic(draws @ kinds) for draws in _cluster_counts(counts, resamples, np.random.default_rng(seed))]
        )
        left_out = statistic(total - kinds)
    replicates = np.sort(replicates[np.isfinite(replicates).all(axis=1)], axis=0)
    if counts.sum() == 1 or not len(replicates) or not np.isfinite(estimate).all():
        return Bounds(estimate, estimate)
    levels = _bca_levels(estimate, replicates, left_out, counts, confidence)
    last, column = len(replicates) - 1, np.arange(len(estimate))
    low = np.minimum(replicates[np.floor(levels.low * last).astype(int), column], estimate)
    high = np.maximum(replicates[np.ceil(levels.high * last).astype(int), column], estimate)
    alike = high - low <= TINY  # sums of fractions differ in their last digits
    return Bounds(np.where(alike, estimate, low), np.where(alike, estimate, high))


def _cluster_counts(
    counts: npt.NDArray[np.int64], resamples: int, rng: np.random.Generator
) -> Iterator[npt.NDArray[np.int64]]:
    """How often each kind of cluster is drawn: blocks `[resamples in the block, kinds]`."""
    kinds, clusters = len(counts), int(counts.sum())
    few_kinds = kinds * _BINOMIAL_COST < clusters
    kind_of = np.repeat(np.arange(kinds), counts)
    block = max(1, _BLOCK // (kinds if few_kinds else clusters))
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        if few_kinds:
            yield rng.multinomial(clusters, counts / clusters, size=size)
        else:
            drawn = kind_of[rng.integers(clusters, size=(size, clusters))]
            drawn += kinds * np.arange(size)[:, None]
            yield np.bincount(drawn.ravel(), minlength=size * kinds).reshape(size, kinds)


def _bca_levels(
    estimate: Floats, replicates: Floats, left_out: Floats, counts: npt.NDArray[np.int64], confidence: float
) -> Bounds:
    """The quantiles of the replicates that bound each estimate: two arrays `[m]` in [0, 1]."""
    from scipy.special import ndtr, ndtri, stdtrit

    clusters, resamples = counts.sum(), len(replicates)
    below = (replicates < estimate - TINY).sum(axis=0) + (np.abs(replicates - estimate) <= TINY).sum(axis=0) / 2
    bias = ndtri(np.clip(below / resamples, 1 / resamples, 1 - 1 / resamples))
    influence = np.where(np.isfinite(left_out), left_out, estimate)
    influence = (counts @ influence) / clusters - influence
    spread = counts @ influence**2
    skew = np.divide(counts @ influence**3, 6 * spread**1.5, out=np.zeros_like(spread), where=spread > TINY)
    z = np.sqrt(clusters / (clusters - 1)) * stdtrit(clusters - 1, (1 + confidence) / 2)
    # where skew and shift meet, the level runs to the end of its side
    low, high = (ndtr(bias + (bias + q) / np.maximum(1 - skew * (bias + q), TINY)) for q in (-z, z))
    return Bounds(low, high)


def mover(terms: Sequence[Term]) -> tuple[float, float, float]:
    """Value, low and high of a weighted sum of independent estimates, from each one's own interval.

    The method of variance estimates recovery: G. Y. Zou and A. Donner (2008), "Construction of confidence limits about
    effect measures: a general approach", Statistics in Medicine 27; for two proportions it is Newcombe's interval.
    """
    value = sum(term.weight * term.value for term in terms)
    down = up = 0.0
    for weight, own, low, high in terms:
        below, above = weight * (own - low), weight * (high - own)
        if weight < 0:
            below, above = -above, -below
        down, up = down + below**2, up + above**2
    return value, value - down**0.5, value + up**0.5


def mcnemar(first_only: int, second_only: int) -> float:
    """Exact two-sided McNemar test of the pairs that differ: the sign test on them.

    Q. McNemar (1947), "Note on the sampling error of the difference between correlated proportions", Psychometrika 12.
    """
    from scipy.special import bdtr

    differing = first_only + second_only
    return min(1.0, 2 * float(bdtr(min(first_only, second_only), differing, 0.5))) if differing else 1.0


def sign_flip(contributions: npt.ArrayLike, *, seed: int, flips: int = FLIPS) -> float:
    """Two-sided p of a sum of clusters' contributions, when each might as well have had the other sign.

    The paired permutation test (R. A. Fisher 1935, The Design of Experiments, section 21) over clusters, drawn `flips`
    times; (1 + as far out) / (1 + flips), so that it is never 0 (B. Phipson and G. K. Smyth 2010). Where none was as
    far, ten times as many are drawn instead, so that a correction for many comparisons leaves something of it.
    """
    values = np.asarray(contributions, float)
    seen = abs(float(values.sum()))
    sizes, counts = np.unique(np.abs(values).round(12), return_counts=True)
    sizes, counts = sizes[sizes > 0], counts[sizes > 0]
    if not len(sizes):
        return 1.0
    rng, block = np.random.default_rng(seed), max(1, _BLOCK // len(sizes))

    def as_far(flips: int) -> int:
        found = 0
        for start in range(0, flips, block):
            positive = rng.binomial(counts, 0.5, size=(min(block, flips - start), len(sizes)))
            found += int((np.abs((2 * positive - counts) @ sizes) >= seen - 1e-9).sum())
        return found

    if far := as_far(flips):
        return (1 + far) / (1 + flips)
    return (1 + as_far(10 * flips)) / (1 + 10 * flips)


def holm(p_values: npt.ArrayLike) -> Floats:
    """Holm's step-down adjusted p-values, in the order given.

    S. Holm (1979), "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6.
    """
    p = np.asarray(p_values, float)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted
