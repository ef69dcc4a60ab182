"""Agreement against scikit-learn and statsmodels, and its intervals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics
from statsmodels.stats.inter_rater import aggregate_raters
from statsmodels.stats.inter_rater import fleiss_kappa as reference_fleiss

from evaluators.agreement import (
    SCORES,
    binary_scores,
    cohen_kappa,
    fleiss_estimates,
    fleiss_kappa,
    kappa_difference,
    raw_agreement,
    row_shares,
    score_estimates,
    tables,
)
from evaluators.rates import Draws

pairs = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=60)
QUICK = Draws(seed=1, resamples=400)


def table(rows: list[tuple[int, int]]) -> np.ndarray:
    first, second = np.transpose(rows)
    return tables(first, second, (2, 2), np.zeros(len(rows)))[0]


@given(pairs)
def test_scores_are_scikit_learns(rows: list[tuple[int, int]]) -> None:
    truth, found = np.transpose(rows)
    accuracy, kappa, precision, recall = binary_scores(table(rows))
    assert accuracy == pytest.approx(metrics.accuracy_score(truth, found))
    if len({*truth, *found}) > 1:  # scikit-learn warns where all is one category
        assert kappa == pytest.approx(metrics.cohen_kappa_score(truth, found))
    else:
        assert np.isnan(kappa)
    if found.any():
        assert precision == pytest.approx(metrics.precision_score(truth, found))
    if truth.any():
        assert recall == pytest.approx(metrics.recall_score(truth, found))


def test_scores_take_many_tables_at_once() -> None:
    many = np.random.default_rng(0).integers(1, 9, (5, 3, 2, 2)).astype(float)
    assert binary_scores(many).shape == (5, 3, len(SCORES))
    assert binary_scores(many)[2, 1] == pytest.approx(binary_scores(many[2, 1]))


@given(st.lists(st.tuples(*[st.sampled_from(["refusal", "partial", "unclear"])] * 2), min_size=2, max_size=40))
def test_cohen_takes_any_categories(rows: list[tuple[str, str]]) -> None:
    first, second = zip(*rows, strict=True)
    if len({*first, *second}) > 1:
        assert cohen_kappa(first, second) == pytest.approx(metrics.cohen_kappa_score(first, second))


@given(st.integers(2, 5).flatmap(lambda raters: st.lists(st.tuples(*[st.integers(0, 3)] * raters), min_size=1)))
def test_fleiss_is_statsmodels(rows: list[tuple[int, ...]]) -> None:
    ratings = np.array(rows)
    if len(np.unique(ratings)) == 1:
        assert np.isnan(fleiss_kappa(ratings))
    else:
        assert fleiss_kappa(ratings) == pytest.approx(reference_fleiss(aggregate_raters(ratings)[0]))


def test_raw_agreement_is_of_all_raters() -> None:
    assert raw_agreement([[1, 1, 1], [1, 1, 0]]) == 0.5


def test_fleiss_intervals_are_of_clusters() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 80)
    ratings = np.where(rng.random((80, 3)) < 0.8, truth[:, None], 1 - truth[:, None])
    raw, kappa = fleiss_estimates(ratings, np.arange(80), QUICK)
    assert (raw.value, kappa.value) == pytest.approx((raw_agreement(ratings), fleiss_kappa(ratings)))
    assert kappa.low < kappa.value < kappa.high
    # each row said four times over by one cluster is no more certain
    _, voices = fleiss_estimates(np.repeat(ratings, 4, axis=0), np.repeat(np.arange(80), 4), QUICK)
    assert (voices.low, voices.high) == pytest.approx((kappa.low, kappa.high))
    same, none = fleiss_estimates(np.ones((9, 3)), np.arange(9), QUICK)
    assert (same.value, same.method, none.value) == (1.0, "wilson-prompts", None)


def test_intervals_hold_the_estimate_and_repeat() -> None:
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 2, 300)
    found = np.where(rng.random(300) < 0.9, truth, 1 - truth)
    clusters = tables(truth, found, (2, 2), np.arange(300) // 3)
    estimates = score_estimates(clusters, QUICK, "x")
    assert estimates == score_estimates(clusters, QUICK, "x")
    for each in estimates.values():
        assert each.low < each.value < each.high
        assert each.method == "bootstrap"
        assert each.high - each.low < 0.2


def test_perfect_agreement_still_has_room_below() -> None:
    truth = np.arange(40) % 2
    estimates = score_estimates(tables(truth, truth, (2, 2), np.arange(40)), QUICK)
    assert estimates["accuracy"].value == 1
    assert 0.85 < estimates["accuracy"].low < 1
    assert estimates["precision"].low < estimates["accuracy"].low  # of 20 rows, not 40
    assert estimates["kappa"].value == 1
    assert estimates["kappa"].low is None


def test_what_cannot_be_divided_is_none() -> None:
    nothing_found = score_estimates(tables([1, 0, 1], [0, 0, 0], (2, 2), np.arange(3)), QUICK)
    assert nothing_found["precision"].value is None
    assert nothing_found["recall"].value == 0


def test_clusters_widen_intervals() -> None:
    """The same rows, as single prompts and as prompts of ten that stand or fall together."""
    truth = np.repeat(np.arange(40) % 2, 10)
    found = np.where(np.repeat(np.arange(40) % 5 == 0, 10), 1 - truth, truth)
    apart = score_estimates(tables(truth, found, (2, 2), np.arange(400)), QUICK)["accuracy"]
    together = score_estimates(tables(truth, found, (2, 2), np.arange(400) // 10), QUICK)["accuracy"]
    assert apart.value == together.value == 0.8
    assert together.high - together.low > 2 * (apart.high - apart.low)


def test_shares_of_a_row_are_of_its_sum() -> None:
    shares = row_shares(tables([0, 0, 0, 1], [0, 0, 2, 1], (3, 3), np.arange(4)), QUICK)
    assert [each.value for each in shares[0]] == pytest.approx([2 / 3, 0, 1 / 3])
    assert [each.value for each in shares[1]] == [0, 1, 0]
    assert [each.value for each in shares[2]] == [None, None, None]


def test_paired_difference_is_narrower_than_the_parts() -> None:
    rng = np.random.default_rng(5)
    truth = rng.integers(0, 2, 400)
    good = np.where(rng.random(400) < 0.85, truth, 1 - truth)
    better = np.where(rng.random(400) < 0.3, truth, good)
    prompts = np.arange(400)
    both = np.stack([tables(truth, each, (2, 2), prompts) for each in (better, good)], axis=1)
    difference = kappa_difference(both, QUICK)
    single = [score_estimates(both[:, which], QUICK)["kappa"] for which in (0, 1)]
    assert difference.value == pytest.approx(single[0].value - single[1].value)
    assert difference.low > 0
    assert difference.high - difference.low < sum(each.high - each.low for each in single) / 2
