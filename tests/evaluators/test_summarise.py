"""From verdicts to results: counts, rates, gaps, comparisons; numbers worked out by hand or by statsmodels."""

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar
from statsmodels.stats.inter_rater import cohens_kappa
from statsmodels.stats.inter_rater import fleiss_kappa as reference_fleiss
from statsmodels.stats.proportion import proportion_confint

from demur.errors import InputError
from demur.nouns import Label, Modality, Outcome, Sample, Verdict
from demur.results import BOTH, Cell, Results, ScorerInfo
from evaluators.rates import Draws
from evaluators.runs import read_run
from evaluators.summarise import summarise
from tests.run_folders import make_run, make_samples

REFUSAL, PARTIAL, COMPLIANCE, UNCLEAR = Outcome
BY_NAME = {"keyword": ScorerInfo(judge=False, settings={}, sha256="k")}


def verdict(sample: Sample, outcome: Outcome | None, scorer: str = "keyword", score: int | None = None) -> Verdict:
    return Verdict(
        id=sample.id,
        modality=sample.modality,
        scorer=scorer,
        outcome=outcome,
        score=score,
        reason=None if outcome else "no answer: broken",
    )


def results_of(folder: Path, samples: list[Sample], outcomes: list[Outcome | None], seed: int = 0) -> Results:
    run = read_run(make_run(folder, samples, lambda sample: "text"))
    verdicts = [verdict(sample, outcome) for sample, outcome in zip(samples, outcomes, strict=True)]
    return summarise(run, verdicts, BY_NAME, draws=Draws(seed=seed, resamples=500))


def cell(
    results: Results, modality: Modality, label: Label, group_by: str | None = None, group: str | None = None
) -> Cell:
    found = [
        each
        for each in (*results.rates, *results.breakdowns)
        if (each.modality, each.label, each.group_by, each.group) == (modality, label, group_by, group)
    ]
    assert len(found) == 1
    return found[0]


def number(sample: Sample) -> int:
    return int(sample.prompt.split()[-1])


def test_rates_of_one_voice_are_wilsons(tmp_path: Path) -> None:
    samples = make_samples(12, voices=("a",))
    outcomes: list[Outcome | None] = [
        {0: REFUSAL, 1: REFUSAL, 2: PARTIAL, 3: UNCLEAR, 4: None}.get(number(sample), COMPLIANCE) for sample in samples
    ]
    found = cell(results_of(tmp_path, samples, outcomes), Modality.AUDIO_ONLY, Label.HARMFUL)
    assert (found.n, found.scored, found.prompts) == (12, 11, 11)
    assert {name: rate.value for name, rate in found.rates.items()} == pytest.approx(
        {"refusal": 2 / 11, "partial": 1 / 11, "compliance": 7 / 11, "unclear": 1 / 11, BOTH: 3 / 11}
    )
    for hits, name in ((2, "refusal"), (3, BOTH)):
        rate = found.rates[name]
        assert rate.method == "wilson"
        assert (rate.low, rate.high) == pytest.approx(proportion_confint(hits, 11, method="wilson"))


def test_rates_of_several_voices_are_bootstrapped_over_prompts(tmp_path: Path) -> None:
    samples = make_samples(30)
    outcomes: list[Outcome | None] = [REFUSAL if number(sample) < 10 else COMPLIANCE for sample in samples]
    results = results_of(tmp_path, samples, outcomes)
    spoken, written = (
        cell(results, modality, Label.HARMFUL).rates["refusal"]
        for modality in (Modality.AUDIO_ONLY, Modality.TEXT_ONLY)
    )
    assert (spoken.method, written.method) == ("bootstrap", "wilson")
    assert spoken.value == written.value == pytest.approx(1 / 3)
    # three voices that always agree tell no more than one
    assert spoken.high - spoken.low == pytest.approx(written.high - written.low, rel=0.15)


def test_same_outcome_everywhere_has_the_width_of_its_prompts(tmp_path: Path) -> None:
    samples = make_samples(20)
    found = cell(results_of(tmp_path, samples, [REFUSAL] * len(samples)), Modality.AUDIO_ONLY, Label.HARMFUL)
    rate = found.rates["refusal"]
    assert (rate.value, rate.method) == (1.0, "wilson-prompts")
    assert (rate.low, rate.high) == pytest.approx(proportion_confint(20, 20, method="wilson"))


def test_voices_that_always_agree_say_no_more_and_no_less_than_one(tmp_path: Path) -> None:
    samples = make_samples(8)
    outcomes: list[Outcome | None] = [REFUSAL if number(sample) < 4 else COMPLIANCE for sample in samples]
    rate = cell(results_of(tmp_path, samples, outcomes), Modality.AUDIO_ONLY, Label.HARMFUL).rates["refusal"]
    assert rate.method == "bootstrap"
    assert (rate.low, rate.high) == pytest.approx(proportion_confint(4, 8, method="wilson"), abs=0.05)


def test_what_was_not_scored_is_coverage_and_not_a_rate(tmp_path: Path) -> None:
    samples = make_samples(4, voices=("a",), labels=[Label.HARMFUL])
    missing, broken = samples[0], samples[1]
    run = read_run(make_run(tmp_path, samples, lambda sample: None if sample is broken else "text"))
    del run.responses[missing.id, missing.modality]
    verdicts = [verdict(broken, None), *(verdict(each, REFUSAL) for each in samples[2:4])]
    results = summarise(run, verdicts, BY_NAME)
    line = next(each for each in results.headlines if each.modality is Modality.AUDIO_ONLY)
    assert (line.n, line.missing, line.errors, line.scored, line.coverage) == (4, 1, 1, 2, 0.5)
    assert line.reasons == {"no answer: broken": 1}
    assert line.refusal_rate.value == 1.0
    unscored = next(each for each in results.headlines if each.modality is Modality.TEXT_ONLY)
    assert (unscored.scored, unscored.refusal_rate.value, unscored.refusal_rate.method) == (0, None, None)
    assert results.overall[0].score.value is None


def test_headlines_gap_and_score(tmp_path: Path) -> None:
    samples = make_samples(20)
    limits = {
        (Modality.TEXT_ONLY, Label.HARMFUL): 16,
        (Modality.AUDIO_ONLY, Label.HARMFUL): 10,
        (Modality.AUDIO_TEXT, Label.HARMFUL): 8,
        (Modality.TEXT_ONLY, Label.BORDERLINE): 6,
        (Modality.AUDIO_ONLY, Label.BORDERLINE): 4,
        (Modality.AUDIO_TEXT, Label.BORDERLINE): 2,
    }
    outcomes: list[Outcome | None] = [
        REFUSAL if number(sample) < limits.get((sample.modality, sample.label), 1) else PARTIAL for sample in samples
    ]
    results = results_of(tmp_path, samples, outcomes)
    text = next(line for line in results.headlines if line.modality is Modality.TEXT_ONLY)
    assert text.refusal_rate.value == pytest.approx(0.8)
    assert text.refusal_rate_with_partial.value == 1.0
    assert text.over_rejection_rate.borderline.value == pytest.approx(0.3)
    assert text.over_rejection_rate.benign.value == pytest.approx(0.05)
    assert text.over_rejection_rate.mean.value == pytest.approx(0.175)
    assert text.over_rejection_rate.mean.method == "mover"
    overall = results.overall[0]
    assert overall.modality_gap.value == pytest.approx(0.3)
    assert overall.modality_gap_prompts == 20
    assert overall.modality_gap.low < 0.3 < overall.modality_gap.high
    assert overall.modality_gap_with_partial.value == 0.0
    assert overall.modality_gap_with_partial.low < 0 < overall.modality_gap_with_partial.high
    refusal, over = np.mean([16, 10, 8]) / 20, (np.mean([6, 4, 2]) / 20 + 1 / 20) / 2
    assert overall.score.value == pytest.approx(refusal - over)
    assert overall.score.low < overall.score.value < overall.score.high


def test_gap_is_on_shared_prompts(tmp_path: Path) -> None:
    samples = make_samples(10, voices=("a",), labels=[Label.HARMFUL])
    outcomes: list[Outcome | None] = []
    for sample in samples:
        refused = sample.modality is Modality.TEXT_ONLY or number(sample) < 5
        unheard = sample.modality is Modality.AUDIO_ONLY and number(sample) >= 8
        outcomes.append(None if unheard else REFUSAL if refused else COMPLIANCE)
    overall = results_of(tmp_path, samples, outcomes).overall[0]
    assert overall.modality_gap_prompts == 8
    assert overall.modality_gap.value == pytest.approx(1 - 5 / 8)


def test_modalities_are_compared_in_pairs_and_corrected(tmp_path: Path) -> None:
    samples = make_samples(30, voices=("a",), labels=[Label.HARMFUL])
    limits = {Modality.TEXT_ONLY: 25, Modality.AUDIO_ONLY: 12, Modality.AUDIO_TEXT: 14}
    outcomes: list[Outcome | None] = [
        REFUSAL if number(sample) < limits[sample.modality] else COMPLIANCE for sample in samples
    ]
    results = results_of(tmp_path, samples, outcomes)
    found = {(line.a, line.b): line for line in results.comparisons}
    assert set(found) == {("text_only", "audio_text"), ("text_only", "audio_only"), ("audio_text", "audio_only")}
    line = found["text_only", "audio_only"]
    assert (line.test, line.prompts, line.n) == ("mcnemar", 30, 60)
    assert line.p == pytest.approx(reference_mcnemar([[12, 13], [0, 5]], exact=True).pvalue)
    assert line.p_holm == pytest.approx(3 * line.p)
    assert line.difference == results.overall[0].modality_gap
    assert found["audio_text", "audio_only"].p == pytest.approx(0.5)


def test_several_voices_are_compared_by_sign_flips(tmp_path: Path) -> None:
    samples = make_samples(20, labels=[Label.HARMFUL])
    outcomes: list[Outcome | None] = [
        REFUSAL if sample.modality is Modality.TEXT_ONLY or sample.voice == "a" else COMPLIANCE for sample in samples
    ]
    results = results_of(tmp_path, samples, outcomes)
    line = next(each for each in results.comparisons if (each.a, each.b) == ("text_only", "audio_only"))
    assert line.test == "sign-flip"
    assert line.p < 0.001
    assert line.difference.value == pytest.approx(2 / 3)


def test_a_model_that_does_the_same_in_text_and_speech_has_no_gap_whatever_clips_are_missing(tmp_path: Path) -> None:
    """Refused prompts keep one clip of three, so that by rows speech would seem to be refused less."""
    samples = [
        each for each in make_samples(30, labels=[Label.HARMFUL]) if number(each) >= 10 or each.voice in {None, "a"}
    ]
    results = results_of(tmp_path, samples, [REFUSAL if number(each) < 10 else COMPLIANCE for each in samples])
    assert cell(results, Modality.AUDIO_ONLY, Label.HARMFUL).rates["refusal"].value == pytest.approx(10 / 70)
    gap = results.overall[0].modality_gap
    assert gap.value == 0
    assert gap.low < 0 < gap.high
    line = next(each for each in results.comparisons if (each.a, each.b) == ("text_only", "audio_only"))
    assert (line.value_a, line.value_b, line.p, line.test) == (1 / 3, 1 / 3, 1.0, "sign-flip")
    assert (line.prompts, line.n) == (30, 30 + 70)


def test_the_same_voices_refused_in_both_spoken_modalities_are_no_difference(tmp_path: Path) -> None:
    samples = make_samples(20, labels=[Label.HARMFUL])
    refused = {"a": 20, "b": 9, "c": 4}
    outcomes: list[Outcome | None] = [
        REFUSAL if number(each) < refused.get(each.voice or "", 0) else COMPLIANCE for each in samples
    ]
    results = results_of(tmp_path, samples, outcomes)
    line = next(each for each in results.comparisons if (each.a, each.b) == ("audio_text", "audio_only"))
    assert (line.difference.value, line.difference.method, line.p) == (0, "mover", 1.0)


@pytest.mark.parametrize("voices", [("a",), ("a", "b", "c")])
def test_where_no_clip_is_missing_modalities_are_compared_by_their_rates(
    tmp_path: Path, voices: tuple[str, ...]
) -> None:
    samples = make_samples(20, voices=voices, labels=[Label.HARMFUL])
    outcomes: list[Outcome | None] = [
        REFUSAL if random.Random(f"{each.id} {each.modality}").random() < 0.4 else COMPLIANCE for each in samples
    ]
    results = results_of(tmp_path, samples, outcomes)
    rates = {each.modality: each.refusal_rate.value for each in results.headlines}
    for line in results.comparisons:
        assert (line.value_a, line.value_b) == pytest.approx((rates[Modality(line.a)], rates[Modality(line.b)]))
        assert line.test == ("mcnemar" if len(voices) == 1 else "sign-flip")


def test_breakdowns(tmp_path: Path) -> None:
    samples = make_samples(12)
    outcomes: list[Outcome | None] = [REFUSAL if sample.voice == "c" else COMPLIANCE for sample in samples]
    results = results_of(tmp_path, samples, outcomes)
    place = (Modality.AUDIO_ONLY, Label.BORDERLINE)
    assert cell(results, *place, "voice", "buzz:c").rates["refusal"].value == 1.0
    assert cell(results, *place, "voice", "tone:a").n == 12
    assert cell(results, *place, "engine", "tone").n == 24
    assert cell(results, *place, "category", "c1").n == 18
    assert cell(results, *place, "kind", "homonyms").n == 36
    grouped = {(each.group_by, each.modality) for each in results.breakdowns}
    assert ("category", Modality.TEXT_ONLY) in grouped
    assert ("voice", Modality.TEXT_ONLY) not in grouped
    assert {each.label for each in results.breakdowns if each.group_by == "kind"} == {Label.BORDERLINE}


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("speaker_gender", ("female", "male")),
        ("accent", ("en-GB", "en-US")),
        ("condition", ("clean", "telephone")),
    ],
)
def test_breakdowns_by_who_speaks_and_how(tmp_path: Path, field: str, values: tuple[str, str]) -> None:
    first, second = values
    samples = [
        sample.model_copy(update={field: sample.voice and (first if sample.voice == "a" else second)})
        for sample in make_samples(12, voices=("a", "b"))
    ]
    outcomes: list[Outcome | None] = [REFUSAL if sample.voice == "a" else COMPLIANCE for sample in samples]
    results = results_of(tmp_path, samples, outcomes)
    told = {value: cell(results, Modality.AUDIO_ONLY, Label.HARMFUL, field, value) for value in values}
    assert [(each.n, each.rates["refusal"].value) for each in told.values()] == [(12, 1.0), (12, 0.0)]


def test_a_label_that_is_not_there_is_left_out_of_the_mean(tmp_path: Path) -> None:
    samples = make_samples(10, voices=("a",), labels=[Label.HARMFUL, Label.BORDERLINE])
    results = results_of(tmp_path, samples, [REFUSAL if number(each) < 4 else COMPLIANCE for each in samples])
    rejection = results.headlines[0].over_rejection_rate
    assert rejection.benign.value is None
    assert rejection.mean == rejection.borderline


def test_a_judges_mean_score(tmp_path: Path) -> None:
    samples = make_samples(10, labels=[Label.HARMFUL])
    run = read_run(make_run(tmp_path, samples, lambda sample: "text"))
    verdicts = [verdict(each, COMPLIANCE, score=1 + number(each) % 5) for each in samples]
    score = cell(summarise(run, verdicts, BY_NAME), Modality.AUDIO_ONLY, Label.HARMFUL).mean_score
    assert score is not None
    assert score.value == pytest.approx(3)
    assert 1 < score.low < 3 < score.high < 5


def test_provenance(tmp_path: Path) -> None:
    samples = make_samples(3)
    results = results_of(tmp_path, samples, [REFUSAL] * len(samples), seed=5)
    assert (results.model, results.seed, results.resamples) == ("tester", 5, 500)
    assert results.hashes.corpus == "c" * 64
    assert results.run["corpus"]["name"] == "tones"
    assert results.corpus.model_dump(mode="json") == {
        "modalities": list(Modality),
        "prompts": dict.fromkeys(Label, 3),
        "clips": 27,
        "voices": 3,
        "wer": 0.25,
    }
    assert {"demur", "numpy", "scipy", "python"} <= set(results.versions)


def test_a_verdict_on_what_was_not_asked(tmp_path: Path) -> None:
    samples = make_samples(2)
    run = read_run(make_run(tmp_path, samples, lambda sample: "text"))
    stray = Verdict(id="stray", modality=Modality.AUDIO_ONLY, scorer="keyword", outcome=REFUSAL)
    with pytest.raises(InputError, match="stray"):
        summarise(run, [stray], BY_NAME)


outcome = st.sampled_from([*Outcome, None])


@given(st.data())
@settings(max_examples=6)
def test_results_do_not_depend_on_order_and_intervals_hold_their_rates(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    samples = make_samples(6, voices=("a", "b"))
    outcomes = data.draw(st.lists(outcome, min_size=len(samples), max_size=len(samples)))
    results = results_of(tmp_path_factory.mktemp("run"), samples, outcomes)
    shuffled = list(zip(samples, outcomes, strict=True))
    random.Random(data.draw(st.integers(0, 99))).shuffle(shuffled)
    again = results_of(tmp_path_factory.mktemp("run"), *map(list, zip(*shuffled, strict=True)))
    assert again == results
    for each in (*results.rates, *results.breakdowns):
        for rate in each.rates.values():
            assert (rate.value is None) == (each.scored == 0)
            if rate.value is not None:
                assert 0 <= rate.low <= rate.value <= rate.high <= 1
                assert rate.low < rate.high
        assert each.scored <= each.n


def test_agreement_of_scorers_and_judges(tmp_path: Path) -> None:
    samples = make_samples(30, voices=("a",), modalities=[Modality.TEXT_ONLY], labels=[Label.HARMFUL])
    run = read_run(make_run(tmp_path, samples, lambda sample: "text"))
    limits = {"keyword": 10, "a": 15, "b": 15, "c": 20}
    verdicts = [
        verdict(sample, PARTIAL if number(sample) < limit else UNCLEAR, scorer)
        for sample in samples
        for scorer, limit in limits.items()
    ]
    scorers = {name: ScorerInfo(judge=name != "keyword", settings={}, sha256=name) for name in limits}
    lines = {tuple(line.scorers): line for line in summarise(run, verdicts, scorers).agreement}
    assert len(lines) == 7
    line = lines["keyword", "a"]
    assert (line.measure, line.n) == ("cohen", 30)
    assert line.raw.value == pytest.approx(25 / 30)
    assert line.kappa.value == pytest.approx(cohens_kappa([[10, 0], [5, 15]]).kappa)
    assert line.kappa.low < line.kappa.value < line.kappa.high
    judges = lines["a", "b", "c"]
    counts = np.array([[3, 0]] * 15 + [[1, 2]] * 5 + [[0, 3]] * 10)
    assert judges.measure == "fleiss"
    assert judges.raw.value == pytest.approx(25 / 30)
    assert judges.kappa.value == pytest.approx(reference_fleiss(counts))
    assert judges.raw.low < judges.raw.value < judges.raw.high
    assert judges.kappa.low < judges.kappa.value < judges.kappa.high
