"""`demur.results_frame`: all results as one tidy table."""

import subprocess
import sys
from pathlib import Path

import pandas
import pytest

import demur
from demur.errors import InputError
from demur.files import read_json, write_json
from demur.nouns import Label, Modality, Outcome, Verdict
from demur.results import RESULTS, ScorerInfo, read_results
from evaluators.rates import Draws
from evaluators.runs import read_run
from evaluators.summarise import summarise
from tests.run_folders import make_run, make_samples


def results_in(folder: Path, model: str = "tester") -> Path:
    samples = make_samples(6)
    run = read_run(make_run(folder, samples, lambda sample: "text", model))
    verdicts = [
        Verdict(
            id=sample.id,
            modality=sample.modality,
            scorer=scorer,
            outcome=Outcome.REFUSAL if sample.label is Label.HARMFUL else Outcome.COMPLIANCE,
            score=2 if scorer == "j" else None,
        )
        for sample in samples
        for scorer in ("keyword", "j")
    ]
    scorers = {name: ScorerInfo(judge=name == "j", settings={}, sha256=name) for name in ("keyword", "j")}
    results = summarise(run, verdicts, scorers, draws=Draws(resamples=300))
    write_json(folder / RESULTS, results.model_dump(mode="json"))
    return folder


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> pandas.DataFrame:
    folder = tmp_path_factory.mktemp("runs")
    return demur.results_frame(results_in(folder / "a", "first"), str(results_in(folder / "b", "second")))


def test_one_row_for_each_number(frame: pandas.DataFrame) -> None:
    key = ["run", "model", "scorer", "modality", "label", "group_by", "group", "metric"]
    assert list(frame.columns) == [*key, "value", "low", "high", "n", "scored", "method", "test", "p", "p_holm"]
    assert not frame.duplicated(key).any()
    assert set(frame["model"]) == {"first", "second"}


def test_rates_and_their_intervals(frame: pandas.DataFrame) -> None:
    rows = frame[
        (frame["model"] == "first")
        & (frame["scorer"] == "keyword")
        & (frame["modality"] == "audio_only")
        & (frame["label"] == "harmful")
        & frame["group_by"].isna()
    ].set_index("metric")
    assert rows.loc["refusal", "value"] == 1.0
    assert rows.loc["refusal_rate", "value"] == 1.0
    assert rows.loc["refusal", "n"] == rows.loc["refusal", "scored"] == 18
    assert 0 < rows.loc["refusal", "low"] < rows.loc["refusal", "high"] <= 1
    assert rows.loc["refusal", "method"] == "wilson-prompts"
    assert set(rows.index) == {*Outcome, "refusal+partial", "refusal_rate", "refusal_rate_with_partial"}


def test_groups_means_and_what_is_over_all_modalities(frame: pandas.DataFrame) -> None:
    own = frame[(frame["model"] == "first") & (frame["scorer"] == "j")]
    voice = own[(own["group_by"] == "voice") & (own["group"] == "buzz:c") & (own["metric"] == "refusal")]
    assert len(voice) == 2 * len(Label)  # two modalities with audio
    mean = own[(own["metric"] == "over_rejection_rate") & own["label"].isna()]
    assert list(mean["modality"]) == list(Modality)
    assert list(mean["n"]) == [36, 12, 36]
    assert own.loc[own["metric"] == "score", "value"].item() == 1.0
    assert own.loc[own["metric"] == "modality_gap", "n"].item() == 24
    assert (own.loc[own["metric"] == "mean_score", "value"] == 2).all()
    assert (own.loc[own["metric"] == "coverage", "value"] == 1).all()


def test_agreement_of_scorers(frame: pandas.DataFrame) -> None:
    pair = frame[(frame["model"] == "first") & (frame["metric"] == "kappa")]
    assert (pair["scorer"].item(), pair["group_by"].item(), pair["group"].item()) == ("keyword", "cohen kappa", "j")
    assert pair["value"].item() == 1.0


def test_comparisons_of_modalities(frame: pandas.DataFrame, tmp_path: Path) -> None:
    results = read_results(results_in(tmp_path, "first"))
    own = frame[(frame["model"] == "first") & (frame["metric"] == "difference_refusal")]
    assert len(own) == len(results.comparisons) == 2 * 3 * len(Label)
    line = next(each for each in results.comparisons if (each.scorer, each.b) == ("keyword", Modality.AUDIO_ONLY))
    row = own[(own["scorer"] == "keyword") & (own["label"] == line.label) & (own["group"] == f"{line.a} - {line.b}")]
    assert row["group_by"].item() == "modalities"
    assert row[["value", "low", "high", "n", "p", "p_holm"]].to_numpy().tolist() == [
        [line.difference.value, line.difference.low, line.difference.high, line.n, line.p, line.p_holm]
    ]
    assert row["test"].item() == line.test
    others = frame[frame["metric"] != "difference_refusal"]
    assert others[["test", "p", "p_holm"]].isna().all(axis=None)


def test_what_is_missing_and_how_clear_the_speech_is(tmp_path: Path) -> None:
    folder = results_in(tmp_path)
    results = read_json(folder / RESULTS)
    results["headlines"][0] |= {"missing": 2, "errors": 3}
    write_json(folder / RESULTS, results)
    found = demur.results_frame(folder)
    first = found[(found["scorer"] == "keyword") & (found["modality"] == "audio_only")].set_index("metric")
    assert (first.loc["missing", "value"], first.loc["errors", "value"], first.loc["errors", "n"]) == (2, 3, 54)
    wer = found[found["metric"] == "wer"]
    assert (wer["value"].item(), wer["n"].item()) == (0.25, results["corpus"]["clips"])
    assert wer["scorer"].isna().all()
    results["corpus"]["wer"] = None
    write_json(folder / RESULTS, results)
    assert "wer" not in set(demur.results_frame(folder)["metric"])


def test_no_run_is_an_empty_table() -> None:
    frame = demur.results_frame()
    assert frame.empty
    assert "metric" in frame


def test_a_run_without_results(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="demur score"):
        demur.results_frame(tmp_path)
    write_json(tmp_path / RESULTS, {"version": 0})
    with pytest.raises(InputError, match="not results as this version writes them"):
        demur.results_frame(tmp_path)


def test_results_survive_their_file(tmp_path: Path) -> None:
    folder = results_in(tmp_path)
    first = read_json(folder / RESULTS)
    results_in(tmp_path)
    assert read_json(folder / RESULTS) == first


def test_importing_demur_is_cheap() -> None:
    code = "import sys, demur; assert 'pandas' not in sys.modules and 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        demur.nothing  # noqa: B018
