"""Two runs on the same prompts."""

from pathlib import Path

import pytest
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar

from demur.errors import InputError
from demur.files import read_jsonl, write_jsonl
from demur.nouns import Label, Modality, Outcome, Sample, Verdict
from demur.results import Comparison
from evaluators.compare import compare_runs
from evaluators.rates import Draws
from tests.run_folders import make_run, make_samples

TEXT = (Modality.TEXT_ONLY,)


def scored_run(folder: Path, samples: list[Sample], refused: set[tuple[Label, int]], *, broken: int = -1) -> Path:
    """A run that refuses some prompts, and has no outcome for prompt number `broken`."""
    make_run(folder, samples, lambda sample: "text")
    verdicts = []
    for sample in samples:
        number = int(sample.prompt.split()[-1])
        outcome = Outcome.REFUSAL if (sample.label, number) in refused else Outcome.COMPLIANCE
        verdicts.append(
            Verdict(
                id=sample.id,
                modality=sample.modality,
                scorer="keyword",
                outcome=None if number == broken else outcome,
                reason="failed" if number == broken else None,
            )
        )
    write_jsonl(folder / "verdicts.jsonl", (verdict.model_dump(mode="json") for verdict in verdicts))
    return folder


def first(label: Label, count: int) -> set[tuple[Label, int]]:
    return {(label, number) for number in range(count)}


def only(found: list[Comparison], label: Label | None) -> Comparison:
    (line,) = [each for each in found if each.label == label]
    return line


def test_one_row_a_prompt_is_mcnemar(tmp_path: Path) -> None:
    samples = make_samples(40, modalities=TEXT)
    base = scored_run(tmp_path / "base", samples, first(Label.HARMFUL, 10))
    tuned = scored_run(tmp_path / "tuned", samples, first(Label.HARMFUL, 30) | first(Label.BORDERLINE, 4))
    found = compare_runs([(tuned, base)])
    line = only(found, Label.HARMFUL)
    assert (line.a, line.b, line.modality, line.test) == (str(tuned), str(base), Modality.TEXT_ONLY, "mcnemar")
    assert (line.prompts, line.n, line.value_a, line.value_b) == (40, 80, 0.75, 0.25)
    assert line.difference.value == pytest.approx(0.5)
    assert line.difference.low is not None
    assert line.difference.high is not None
    assert 0.3 < line.difference.low < 0.5 < line.difference.high < 0.7
    assert line.p == pytest.approx(reference_mcnemar([[10, 20], [0, 10]], exact=True).pvalue)
    borderline = only(found, Label.BORDERLINE)
    assert borderline.p == pytest.approx(0.125)
    assert only(found, Label.BENIGN).p == 1.0
    score = only(found, None)
    assert (score.metric, score.prompts) == ("score", 120)
    assert score.difference.value == pytest.approx(0.5 - 0.1 / 2)
    assert score.value_b == pytest.approx(0.25)


@pytest.mark.parametrize("risen", range(8))
def test_an_interval_of_few_changes_agrees_with_the_test(tmp_path: Path, risen: int) -> None:
    samples = make_samples(100, modalities=TEXT, labels=[Label.HARMFUL])
    base = scored_run(tmp_path / "base", samples, set())
    tuned = scored_run(tmp_path / "tuned", samples, first(Label.HARMFUL, risen))
    line = only(compare_runs([(tuned, base)]), Label.HARMFUL)
    assert line.difference.value == pytest.approx(risen / 100)
    assert line.difference.low is not None
    assert line.difference.high is not None
    assert (line.difference.low > 0) == (line.p < 0.07)  # five alike have p 0.0625
    assert risen / 100 < line.difference.high < (risen + 10) / 100


def test_no_score_without_a_label_that_both_were_asked(tmp_path: Path) -> None:
    samples = make_samples(8, modalities=TEXT)
    base, tuned = (scored_run(tmp_path / name, samples, first(Label.HARMFUL, 4)) for name in ("base", "tuned"))
    benign = {sample.id for sample in samples if sample.label is Label.BENIGN}
    rows = [row for row in read_jsonl(base / "verdicts.jsonl") if row["id"] not in benign]
    write_jsonl(base / "verdicts.jsonl", rows)
    assert {line.metric for line in compare_runs([(tuned, base)])} == {"refusal"}


def test_all_comparisons_of_a_call_are_one_family(tmp_path: Path) -> None:
    samples = make_samples(20, modalities=TEXT, labels=[Label.HARMFUL])
    runs = [scored_run(tmp_path / str(count), samples, first(Label.HARMFUL, count)) for count in (2, 10, 18)]
    alone = compare_runs([(runs[0], runs[1])])
    family = compare_runs([(runs[0], runs[1]), (runs[1], runs[2]), (runs[0], runs[2])])
    assert len(alone) == 1
    assert len(family) == 3
    assert alone[0].p_holm == alone[0].p == family[0].p
    assert family[0].p_holm == pytest.approx(2 * family[0].p)
    assert family[2].p_holm == pytest.approx(3 * family[2].p)


def test_voices_are_not_samples(tmp_path: Path) -> None:
    voices = [f"v{number}" for number in range(8)]
    samples = make_samples(6, voices=voices, modalities=[Modality.AUDIO_ONLY], labels=[Label.HARMFUL])
    base = scored_run(tmp_path / "base", samples, set())
    tuned = scored_run(tmp_path / "tuned", samples, first(Label.HARMFUL, 4))
    line = only(compare_runs([(base, tuned)]), Label.HARMFUL)
    assert (line.test, line.prompts, line.n) == ("sign-flip", 6, 96)
    assert line.p == pytest.approx(0.125, abs=0.02)  # 2 of 2**4 sign flips: 32 rows that differ are 4 prompts


def test_only_rows_that_both_scored_count(tmp_path: Path) -> None:
    samples = make_samples(10, modalities=TEXT, labels=[Label.HARMFUL])
    base = scored_run(tmp_path / "base", samples, first(Label.HARMFUL, 5), broken=0)
    tuned = scored_run(tmp_path / "tuned", samples[:8], first(Label.HARMFUL, 8), broken=1)
    line = only(compare_runs([(base, tuned)]), Label.HARMFUL)
    assert (line.prompts, line.value_a, line.value_b) == (6, 0.5, 1.0)


def test_the_same_seed_gives_the_same_and_swapping_turns_it_round(tmp_path: Path) -> None:
    samples = make_samples(15)
    base = scored_run(tmp_path / "base", samples, first(Label.HARMFUL, 5))
    tuned = scored_run(tmp_path / "tuned", samples, first(Label.HARMFUL, 9))
    draws = Draws(seed=3, resamples=400)
    found = compare_runs([(base, tuned)], draws=draws)
    assert found == compare_runs([(base, tuned)], draws=draws)
    for line, turned in zip(found, compare_runs([(tuned, base)], draws=draws), strict=True):
        assert line.difference.value == pytest.approx(-(turned.difference.value or 0), abs=1e-12)
        assert line.p == pytest.approx(turned.p, abs=0.03)


def test_runs_of_different_corpora_are_refused_and_of_other_rows_left_out(tmp_path: Path) -> None:
    samples = make_samples(4, modalities=TEXT)
    base = scored_run(tmp_path / "base", samples, set())
    other = scored_run(
        tmp_path / "other", [each.model_copy(update={"input_text": "Say it."}) for each in samples], set()
    )
    with pytest.raises(InputError, match="not the same corpus"):
        compare_runs([(base, other)])
    strangers = scored_run(
        tmp_path / "strangers", [each.model_copy(update={"id": f"x{each.id}"}) for each in samples], set()
    )
    assert compare_runs([(base, strangers)]) == []


def test_a_run_without_verdicts_of_the_scorer(tmp_path: Path) -> None:
    samples = make_samples(4, modalities=TEXT)
    base = scored_run(tmp_path / "base", samples, set())
    with pytest.raises(InputError, match="no verdicts of judges"):
        compare_runs([(base, base)], scorer="judges")
