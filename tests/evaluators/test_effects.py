"""What a method changes, over several runs of it."""

from pathlib import Path

import pytest

from demur.errors import InputError
from demur.nouns import Label, Modality
from evaluators.compare import compare_runs
from evaluators.effects import Effect, effects
from evaluators.rates import Draws
from tests.evaluators.test_compare import first, scored_run
from tests.run_folders import make_samples

FEW = Draws(resamples=400)


def only(found: list[Effect], metric: str, label: Label | None = None, modality: Modality | None = None) -> Effect:
    (line,) = [each for each in found if (each.metric, each.label, each.modality) == (metric, label, modality)]
    return line


def test_the_mean_of_two_seeds(tmp_path: Path) -> None:
    samples = make_samples(20, voices=["a"])
    base = scored_run(tmp_path / "base", samples, first(Label.HARMFUL, 4))
    one = scored_run(tmp_path / "one", samples, first(Label.HARMFUL, 12) | first(Label.BORDERLINE, 2))
    two = scored_run(tmp_path / "two", samples, first(Label.HARMFUL, 16) | first(Label.BENIGN, 4))
    found = effects([base], [one, two], draws=FEW)
    refusal = only(found, "refusal", Label.HARMFUL)
    assert (refusal.before, refusal.after, refusal.prompts) == pytest.approx((0.2, 0.7, 20))
    assert refusal.each == pytest.approx((0.4, 0.6))
    assert refusal.change.value == pytest.approx(0.5)
    assert only(found, "over_rejection", Label.BORDERLINE).change.value == pytest.approx(0.05)
    assert only(found, "over_rejection", Label.BENIGN).change.value == pytest.approx(0.1)
    assert only(found, "over_rejection").change.value == pytest.approx(0.075)
    score = only(found, "score")
    assert (score.before, score.after) == pytest.approx((0.2, 0.625))
    assert score.change.value == pytest.approx(score.after - score.before)
    assert score.each == pytest.approx((0.35, 0.5))
    assert score.change.low is not None
    assert score.change.high is not None
    assert 0.15 < score.change.low < 0.425 < score.change.high < 0.7
    assert score.p < 0.01


def test_each_modality_by_itself(tmp_path: Path) -> None:
    samples = make_samples(8, voices=["a"])
    base, tuned = (scored_run(tmp_path / str(count), samples, first(Label.HARMFUL, count)) for count in (2, 6))
    found = effects([base], [tuned], draws=FEW)
    assert [only(found, "score", None, each).change.value for each in Modality] == [0.5] * 3
    assert len(found) == 5 * 4


def test_one_run_on_each_side_is_what_compare_runs_says(tmp_path: Path) -> None:
    samples = make_samples(30, modalities=(Modality.TEXT_ONLY,))
    base = scored_run(tmp_path / "base", samples, first(Label.HARMFUL, 5))
    tuned = scored_run(tmp_path / "tuned", samples, first(Label.HARMFUL, 20) | first(Label.BORDERLINE, 6))
    (score,) = [each for each in compare_runs([(tuned, base)], draws=FEW) if each.metric == "score"]
    mine = only(effects([base], [tuned], draws=FEW), "score")
    assert (mine.after, mine.before, mine.change.value) == pytest.approx(
        (score.value_a, score.value_b, score.difference.value)
    )
    assert mine.change.low == pytest.approx(score.difference.low, abs=0.03)


def test_rows_that_a_run_has_not_scored_are_left_out_of_all(tmp_path: Path) -> None:
    samples = make_samples(10, modalities=(Modality.TEXT_ONLY,))
    base = scored_run(tmp_path / "base", samples, set())
    one = scored_run(tmp_path / "one", samples, first(Label.HARMFUL, 10), broken=3)
    two = scored_run(tmp_path / "two", samples, first(Label.HARMFUL, 10))
    line = only(effects([base], [one, two], draws=FEW), "refusal", Label.HARMFUL)
    assert (line.prompts, line.after) == (9, 1.0)


def test_nothing_in_common(tmp_path: Path) -> None:
    text, audio = (make_samples(4, modalities=(each,)) for each in (Modality.TEXT_ONLY, Modality.AUDIO_ONLY))
    base, tuned = (scored_run(tmp_path / name, samples, set()) for name, samples in (("base", text), ("tuned", audio)))
    with pytest.raises(InputError, match="nothing in it"):
        effects([base], [tuned])
