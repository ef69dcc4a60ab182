"""Intervals of rates: what they must always hold, and how often they hold the truth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from demur.nouns import Outcome
from demur.results import Estimate
from evaluators.rates import SCORED, SUMS, Draws, Part, average_rate, combined, rates
from evaluators.statistics import Floats

DRAWS = Draws(resamples=500)
ORDER = list(Outcome)


def clusters_of(refusals: Floats, sizes: Floats) -> Floats:
    """Sums of prompts that are refused so often, and answered else."""
    clusters = np.zeros((len(sizes), SUMS))
    clusters[:, ORDER.index(Outcome.REFUSAL)] = refusals
    clusters[:, ORDER.index(Outcome.COMPLIANCE)] = sizes - refusals
    clusters[:, SCORED] = sizes
    return clusters


def refusal(refusals: list[int], sizes: list[int], seed: int = 0) -> Estimate:
    clusters = clusters_of(np.array(refusals, float), np.array(sizes, float))
    return rates(clusters, Draws(seed, DRAWS.resamples), "test")[ORDER.index(Outcome.REFUSAL)]


def width(estimate: Estimate) -> float:
    assert estimate.low is not None
    assert estimate.high is not None
    return estimate.high - estimate.low


def test_nothing_scored_is_nothing_and_not_zero() -> None:
    assert rates(np.zeros((3, SUMS)), DRAWS) == [Estimate()] * 5


def test_one_prompt_in_many_voices_is_one_prompt() -> None:
    estimate = refusal([30], [40])
    assert estimate.method == "wilson-prompts"
    assert (estimate.low, estimate.high) == pytest.approx(proportion_confint(0.75, 1, method="wilson"))


sized_hits = st.integers(1, 6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(st.lists(sized_hits, min_size=1, max_size=30), st.integers(0, 999))
@settings(max_examples=60)
def test_an_interval_holds_its_rate_and_is_never_wider_than_of_rows_all_alike(
    pairs: list[tuple[int, int]], seed: int
) -> None:
    hits, sizes = (np.array(column, float) for column in zip(*pairs, strict=True))
    estimate = rates(clusters_of(hits, sizes), Draws(seed, 300), "test")[0]
    assert estimate.value is not None
    assert estimate.low is not None
    assert estimate.high is not None
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
    prompts = sizes.sum() ** 2 / (sizes**2).sum()
    low, high = proportion_confint(estimate.value * prompts, prompts, method="wilson")
    assert 0 < width(estimate) <= high - low + 1e-9


def test_more_voices_of_the_same_prompts_do_not_narrow_as_more_prompts_do() -> None:
    rng = np.random.default_rng(0)
    refused = (rng.random(50) < 0.4).astype(int)
    one_voice = refusal(refused.tolist(), [1] * 50)
    ten_voices = refusal((10 * refused).tolist(), [10] * 50)
    assert one_voice.method == "wilson"
    assert width(ten_voices) > 0.9 * width(one_voice)
    assert width(refusal(np.tile(refused, 10).tolist(), [1] * 500)) < 0.4 * width(one_voice)


def test_a_sum_with_a_part_missing_is_missing() -> None:
    known = Estimate(value=0.5, low=0.4, high=0.6, method="wilson")
    assert combined([]) == Estimate()
    assert combined([Part(1, known), Part(-1, Estimate())]) == Estimate()
    assert combined([Part(1, known)]) is known
    assert combined([Part(0.5, known), Part(0.5, known)]).low == pytest.approx(0.5 - 0.1 / 2**0.5)


def test_a_mean_over_modalities_is_as_uncertain_as_the_one_with_few_rows() -> None:
    refused = np.array([[row % 2, row % 2] for row in range(100)], float)
    asked = np.ones_like(refused)
    even = average_rate(refused, asked, Draws(), "test")
    asked[10:, 1] = 0
    few = average_rate(refused * asked, asked, Draws(), "test")
    assert few.value == even.value == 0.5
    assert width(few) > 1.5 * width(even)


@pytest.mark.slow
@pytest.mark.parametrize("prompts", [5, 10, 30, 100])
@pytest.mark.parametrize("rate", [0.05, 0.5, 0.9])
@pytest.mark.parametrize(("voices", "correlation"), [(3, 0.95), (4, 0.6), (10, 0.3)])
def test_intervals_hold_the_truth(prompts: int, rate: float, voices: int, correlation: float) -> None:
    """Beta-binomial prompts: nominal 95%; no less than 88% even of five prompts (400 runs: standard error 1.6%)."""
    rng = np.random.default_rng(prompts)
    spread = 1 / correlation - 1
    held = 0
    for run in range(400):
        sizes = rng.integers(voices - 1, voices + 1, prompts)
        hits = rng.binomial(sizes, rng.beta(rate * spread, (1 - rate) * spread, prompts))
        estimate = rates(clusters_of(hits, sizes), Draws(run, 1000), "test")[0]
        assert estimate.low is not None
        assert estimate.high is not None
        held += estimate.low <= rate <= estimate.high
    assert held / 400 >= 0.88
