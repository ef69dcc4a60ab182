"""How far raters agree: tables of counts, and accuracy, precision, recall and kappa from them.

A table counts rows by what the first rater said (first axis) and the second (second axis). Functions of tables take any
number of them at once, along leading axes, so that resamples are not looped over.
"""

import numpy as np
import numpy.typing as npt

from demur.results import Estimate
from evaluators.rates import Draws
from evaluators.statistics import Floats, bootstrap, wilson

SCORES = ("accuracy", "kappa", "precision", "recall")
"""The columns of `binary_scores`."""


def tables(first: npt.ArrayLike, second: npt.ArrayLike, shape: tuple[int, int], clusters: npt.ArrayLike) -> Floats:
    """A table for each cluster of rows: `[clusters, *shape]`, from codes `[rows]` and cluster numbers `[rows]`."""
    rows, columns = shape
    number = np.asarray(clusters, np.int64)
    place = (number * rows + np.asarray(first, np.int64)) * columns + np.asarray(second, np.int64)
    size = (int(number.max(initial=-1)) + 1) * rows * columns
    return np.bincount(place, minlength=size).astype(float).reshape(-1, rows, columns)


def kappa(table: Floats) -> Floats:
    """Cohen's kappa of square tables `[..., k, k]`; nan where both raters say one and the same of all rows.

    J. Cohen (1960), "A coefficient of agreement for nominal scales", Educational and Psychological Measurement 20.
    """
    n = table.sum(axis=(-2, -1))
    with np.errstate(divide="ignore", invalid="ignore"):
        observed = np.trace(table, axis1=-2, axis2=-1) / n
        chance = (table.sum(axis=-1) * table.sum(axis=-2)).sum(axis=-1) / n**2
        value: Floats = (observed - chance) / (1 - chance)
    return value


def binary_scores(table: Floats) -> Floats:
    """Accuracy, kappa, precision and recall `[..., 4]` of tables `[..., 2, 2]` of truth against what was found.

    Index 1 is positive. Nan where there is nothing to divide by.
    """
    right, n = np.trace(table, axis1=-2, axis2=-1), table.sum(axis=(-2, -1))
    hits, found, true = table[..., 1, 1], table[..., :, 1].sum(axis=-1), table[..., 1, :].sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.stack([right / n, kappa(table), hits / found, hits / true], axis=-1)


def cohen_kappa(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Cohen's kappa of two raters' categories `[rows]`; nan as for `kappa`.

    >>> cohen_kappa([0, 0, 1, 1], [0, 1, 1, 1])
    0.5
    """
    categories, codes = np.unique([np.asarray(first), np.asarray(second)], return_inverse=True)
    codes, k = codes.reshape(2, -1), len(categories)
    return float(kappa(tables(codes[0], codes[1], (k, k), np.zeros(codes.shape[1])).sum(axis=0)))


def fleiss_kappa(ratings: npt.ArrayLike) -> float:
    """Fleiss' kappa of the categories `[rows, raters]` that several raters gave; nan where all gave one and the same.

    J. L. Fleiss (1971), "Measuring nominal scale agreement among many raters", Psychological Bulletin 76.
    """
    return float(_fleiss(_rating_sums(ratings).sum(axis=0))[0])


def raw_agreement(ratings: npt.ArrayLike) -> float:
    """The share of rows of `ratings` `[rows, raters]` on which all agree."""
    return float(_all_agree(_rating_sums(ratings).sum(axis=0))[0])


def fleiss_estimates(
    ratings: npt.ArrayLike, clusters: npt.ArrayLike, draws: Draws, *what: object
) -> tuple[Estimate, Estimate]:
    """`raw_agreement` and `fleiss_kappa` with intervals: a bootstrap over clusters, whose numbers are `[rows]`.

    Where nothing varies between clusters the first has Wilson's interval at their number, the second none.
    """
    rows = _rating_sums(ratings)
    _, number = np.unique(np.asarray(clusters), return_inverse=True)
    sums = np.zeros((int(number.max()) + 1, rows.shape[1]))
    np.add.at(sums, number, rows)
    found = []
    for name, statistic, behind in (("raw", _all_agree, len(sums)), ("fleiss", _fleiss, 0)):
        bounds = bootstrap(sums, statistic, seed=draws.seed_for(name, *what), resamples=draws.resamples)
        found.append(_estimate(statistic(sums.sum(axis=0))[0], bounds.low[0], bounds.high[0], behind))
    return found[0], found[1]


def _rating_sums(ratings: npt.ArrayLike) -> Floats:
    """What is summed over rows of `[rows, raters]`: `[rows, 3 + categories]`.

    Of each row: 1, whether all agree, ordered pairs of raters that agree, and how often each category was given.
    """
    array = np.asarray(ratings)
    categories, codes = np.unique(array, return_inverse=True)
    counts = (codes.reshape(array.shape)[..., None] == np.arange(len(categories))).sum(axis=1)
    agree = counts.max(axis=1) == array.shape[1]
    return np.column_stack([np.ones(len(counts)), agree, (counts * (counts - 1)).sum(axis=1), counts]).astype(float)


def _all_agree(totals: Floats) -> Floats:
    share: Floats = totals[..., 1:2] / totals[..., :1]
    return share


def _fleiss(totals: Floats) -> Floats:
    """Fleiss' kappa `[..., 1]` from totals of `_rating_sums`."""
    n, pairs, counts = totals[..., :1], totals[..., 2:3], totals[..., 3:]
    given = counts.sum(axis=-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        chance = ((counts / given) ** 2).sum(axis=-1, keepdims=True)
        value: Floats = (pairs / (given * (given / n - 1)) - chance) / (1 - chance)
    return value


def score_estimates(clusters: Floats, draws: Draws, *what: object) -> dict[str, Estimate]:
    """`SCORES` with intervals, from tables `[clusters, 2, 2]`: a bootstrap over clusters.

    A proportion that does not vary between clusters has Wilson's interval at the number of clusters behind it; a kappa
    that does not vary has none.
    """
    sums, total = clusters.reshape(-1, 4), binary_scores(clusters.sum(axis=0))
    rests_on = {"accuracy": sums, "kappa": sums[:, :0], "precision": sums[:, [1, 3]], "recall": sums[:, [2, 3]]}
    estimates = {}
    for column, name in enumerate(SCORES):

        def score(totals: Floats, column: int = column) -> Floats:
            return binary_scores(totals.reshape(*totals.shape[:-1], 2, 2))[..., [column]]

        bounds = bootstrap(sums, score, seed=draws.seed_for(name, *what), resamples=draws.resamples)
        behind = int(rests_on[name].any(axis=1).sum())
        estimates[name] = _estimate(total[column], bounds.low[0], bounds.high[0], behind)
    return estimates


def row_shares(clusters: Floats, draws: Draws, *what: object) -> list[list[Estimate]]:
    """Each row of a table as shares of its sum, with intervals, from tables `[clusters, rows, columns]`."""
    return [_shares(clusters[:, row], draws, *what, row) for row in range(clusters.shape[1])]


def _shares(counts: Floats, draws: Draws, *what: object) -> list[Estimate]:
    seen = counts[counts.sum(axis=1) > 0]
    if not len(seen):
        return [Estimate()] * counts.shape[1]
    bounds = bootstrap(seen, _to_shares, seed=draws.seed_for("shares", *what), resamples=draws.resamples)
    columns = zip(_to_shares(seen.sum(axis=0)), bounds.low, bounds.high, strict=True)
    return [_estimate(value, low, high, len(seen)) for value, low, high in columns]


def _to_shares(totals: Floats) -> Floats:
    shares: Floats = totals / totals.sum(axis=-1, keepdims=True)
    return shares


def kappa_difference(clusters: Floats, draws: Draws, *what: object) -> Estimate:
    """Kappa of one scorer minus that of another, from their tables `[clusters, 2, k, k]` of the same rows.

    The bootstrap is paired: it draws clusters, each with the tables of both.
    """
    sums = clusters.reshape(len(clusters), -1)

    def difference(totals: Floats) -> Floats:
        both = kappa(totals.reshape(*totals.shape[:-1], *clusters.shape[1:]))
        return both[..., [0]] - both[..., [1]]

    bounds = bootstrap(sums, difference, seed=draws.seed_for("difference", *what), resamples=draws.resamples)
    return _estimate(difference(sums.sum(axis=0))[0], bounds.low[0], bounds.high[0], 0)


def _estimate(value: float, low: float, high: float, clusters: int) -> Estimate:
    """An estimate with the bootstrap's interval; where that is a point, Wilson's at so many clusters, if any."""
    if not np.isfinite(value):
        return Estimate()
    if low < high:
        return Estimate(value=float(value), low=float(low), high=float(high), method="bootstrap")
    if not clusters:
        return Estimate(value=float(value))
    wide = wilson(value * clusters, clusters)
    return Estimate(value=float(value), low=float(wide.low), high=float(wide.high), method="wilson-prompts")
