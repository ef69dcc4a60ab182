"""Known answers from scipy and statsmodels, properties, and coverage in simulation."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from evaluators.statistics import Floats, Term, bootstrap, effective_clusters, holm, mcnemar, mover, sign_flip, wilson


def ratio(totals: Floats) -> Floats:
    return totals[..., :1] / totals[..., 1:]


def clusters_of(hits: list[int], sizes: list[int]) -> Floats:
    return np.array([hits, sizes], float).T


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (1, 10), (5, 10), (10, 10), (3, 7), (250, 1000), (0, 1)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_wilson_is_that_of_statsmodels(hits: int, n: int, confidence: float) -> None:
    low, high = wilson(hits, n, confidence=confidence)
    expected = proportion_confint(hits, n, alpha=1 - confidence, method="wilson")
    assert (low, high) == pytest.approx(expected, abs=1e-12)


def test_wilson_takes_arrays() -> None:
    low, high = wilson([0, 2], [4, 4])
    assert low.shape == high.shape == (2,)
    assert low[0] == 0


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (1, 0), (5, 5), (3, 9), (0, 12), (40, 61)])
def test_mcnemar_is_that_of_statsmodels(only_a: int, only_b: int) -> None:
    expected = reference_mcnemar([[7, only_a], [only_b, 9]], exact=True).pvalue if only_a + only_b else 1.0
    assert mcnemar(only_a, only_b) == pytest.approx(expected, abs=1e-12)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
@settings(max_examples=10)  # the reference collects garbage on each call
def test_holm_is_that_of_statsmodels(p: list[float]) -> None:
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1], abs=1e-12)


def test_holm_of_nothing() -> None:
    assert holm([]).shape == (0,)


def test_mover_of_two_proportions_is_newcombes_interval() -> None:
    a, b = wilson(56, 70), wilson(48, 80)
    value, low, high = mover(
        [Term(1, 56 / 70, float(a.low), float(a.high)), Term(-1, 48 / 80, float(b.low), float(b.high))]
    )
    assert value == pytest.approx(0.2)
    assert (low, high) == pytest.approx(confint_proportions_2indep(56, 70, 48, 80, method="newcomb"), abs=1e-9)


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=9), st.integers(0, 100))
@settings(max_examples=30)
def test_sign_flip_agrees_with_all_sign_flips(values: list[int], seed: int) -> None:
    signs = np.array(list(product((-1, 1), repeat=len(values))))
    exact = (np.abs(signs @ values) >= abs(sum(values))).mean()
    # 5 standard errors of 10,000 draws
    assert sign_flip(values, seed=seed) == pytest.approx(exact, abs=5 * 0.5 / 100)


def test_sign_flip_at_one_row_a_prompt_is_mcnemar() -> None:
    differences = [1] * 20 + [-1] * 7 + [0] * 30
    assert sign_flip(differences, seed=3, flips=200_000) == pytest.approx(mcnemar(20, 7), abs=0.003)


def test_sign_flip_is_never_zero_and_one_without_differences() -> None:
    assert sign_flip([1.0] * 100, seed=0, flips=999) == pytest.approx(1 / 9991)  # ten times as many
    assert sign_flip([0.0, 0.0], seed=0) == 1.0


def test_effective_clusters() -> None:
    assert effective_clusters([3, 3, 3, 3]) == pytest.approx(4)
    assert effective_clusters([1, 9]) == pytest.approx(100 / 82)


def test_bootstrap_of_many_clusters_is_the_analytic_interval() -> None:
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 6, 2000)
    hits = rng.binomial(sizes, rng.beta(2, 2, 2000))
    clusters = np.stack([hits, sizes], axis=1).astype(float)
    low, high = bootstrap(clusters, ratio, seed=1, resamples=10_000)
    rate = hits.sum() / sizes.sum()
    error = np.sqrt(2000 * np.var(hits - rate * sizes, ddof=1)) / sizes.sum()  # the linearised ratio estimator
    assert (low[0], high[0]) == pytest.approx((rate - 1.96 * error, rate + 1.96 * error), abs=0.05 * error)


def test_bootstrap_levels_are_scipys_bca_up_to_the_widening_for_few_clusters() -> None:
    values = np.random.default_rng(4).exponential(size=400)
    low, high = bootstrap(np.stack([values, np.ones(400)], axis=1), ratio, seed=5, resamples=20_000)
    reference = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="BCa", rng=np.random.default_rng(6)
    ).confidence_interval
    width = reference.high - reference.low
    assert (low[0], high[0]) == pytest.approx((reference.low, reference.high), abs=0.03 * width)


def test_bootstrap_repeats_with_its_seed_and_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    clusters = clusters_of([0, 1, 2, 3, 1, 0, 2], [3, 3, 3, 3, 2, 2, 2])
    first = bootstrap(clusters, ratio, seed=7)
    monkeypatch.setattr("evaluators.statistics._BLOCK", 50)
    again = bootstrap(clusters[::-1], ratio, seed=7)
    assert (first.low, first.high) == (again.low, again.high)
    assert bootstrap(clusters, ratio, seed=8) != first


@pytest.mark.parametrize(
    "clusters", [clusters_of([2], [4]), clusters_of([3, 3], [3, 3]), clusters_of([0] * 9, [2] * 9)]
)
def test_bootstrap_of_clusters_that_do_not_vary_has_no_width(clusters: Floats) -> None:
    low, high = bootstrap(clusters, ratio, seed=0)
    assert low == high == ratio(clusters.sum(axis=0))


sized_hits = st.integers(1, 5).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(st.lists(sized_hits, min_size=1, max_size=40), st.integers(0, 2**31))
@settings(max_examples=80)
def test_bootstrap_interval_holds_the_rate_and_is_a_rate(pairs: list[tuple[int, int]], seed: int) -> None:
    clusters = np.array(pairs, float)
    low, high = bootstrap(clusters, ratio, seed=seed, resamples=400)
    rate = ratio(clusters.sum(axis=0))
    assert 0 <= low[0] <= rate[0] <= high[0] <= 1


def test_copies_of_a_prompt_do_not_narrow_the_interval() -> None:
    rng = np.random.default_rng(2)
    sizes = rng.integers(2, 4, 60)
    clusters = np.stack([rng.binomial(sizes, 0.3), sizes], axis=1).astype(float)
    once, fivefold = bootstrap(clusters, ratio, seed=0), bootstrap(5 * clusters, ratio, seed=0)
    assert (once.low, once.high) == (fivefold.low, fivefold.high)
    independent = bootstrap(np.repeat(clusters, 5, axis=0), ratio, seed=0)
    assert independent.high - independent.low < 0.6 * (once.high - once.low)


def test_bootstrap_of_what_cannot_be_told_is_nan() -> None:
    low, high = bootstrap(clusters_of([0, 0], [0, 0]), ratio, seed=0)
    assert np.isnan([low, high]).all()
