"""The experiment, from its command, on a tiny random model: what is compared, that it goes on, what it reports."""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from demur.corpus import Corpus
from demur.errors import InputError, UsageError
from demur.files import read_json, read_jsonl, write_jsonl
from demur.finetune.experiment import __main__ as experiment
from demur.finetune.experiment.arms import METHODS, parse_arm, parse_arms, parse_options
from demur.finetune.experiment.equal import Curve, at_equal, difference, read_curve
from demur.finetune.experiment.steps import what_is_kept
from demur.models.hf.lalm import load_lalm
from demur.nouns import Label, Modality, Outcome
from evaluators.keyword import score_keyword
from evaluators.scorers import Finding, Item
from tests.corpora import make_corpus, some_prompts
from tests.demur.finetune.conftest import spoken

ARMS = ("safety-prompt:validation_tokens=3", "rrs:epochs=1,validation_tokens=3,learning_rate=0.01")


Call = Callable[..., str]


@pytest.fixture(scope="module")
def call(
    corpus: Corpus, tiny_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Call]:
    """The command on corpora that are spoken already; what it prints."""
    others = [prompt.model_copy(update={"text": f"Tell me: {prompt.text}"}) for prompt in some_prompts(4, 3)]
    test = make_corpus(tmp_path_factory.mktemp("spoken") / "test", others, speak=spoken)
    harmful = [prompt for prompt in others if prompt.label is Label.HARMFUL]
    harms = make_corpus(tmp_path_factory.mktemp("spoken") / "harms", harmful, speak=spoken)
    ready = {"tune": corpus.folder, "test": test, "mine": test, "harms": harms}

    def build(folder: Path, *_: object, **__: object) -> None:
        if not folder.exists():
            shutil.copytree(ready[folder.name], folder)

    def run(out: Path, *more: str) -> str:
        model = [] if "--model" in more else ["--model", f"hf:{tiny_folder('audioflamingo3')}", "--dtype", "float32"]
        arguments = ["--out", str(out), *model, "--max-new-tokens", "4", "--quiet", *more]
        return CliRunner().invoke(experiment.app, arguments, catch_exceptions=False).output

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "_build", build)
        yield run


@pytest.fixture(scope="module")
def done(call: Call, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished experiment."""
    out = tmp_path_factory.mktemp("experiment")
    call(out, *arms(), "--seeds", "2", "--also", "mine.csv")
    return out


def arms() -> list[str]:
    return [part for arm in ARMS for part in ("--arm", arm)]


def test_from_nothing_to_a_report(done: Path) -> None:
    results = read_json(done / "results.json")
    prompt, rrs = (parse_arm(arm).name for arm in ARMS)
    assert {name: set(each) for name, each in results["scorers"]["keyword"]["effects"].items()} == {
        name: {prompt, rrs} for name in ("test", "mine")
    }
    keyword = results["scorers"]["keyword"]
    (overall,) = [
        line for line in keyword["effects"]["test"][rrs] if line["metric"] == "score" and line["modality"] is None
    ]
    assert (overall["prompts"], len(overall["each"])) == (11, 2)
    assert list(keyword["against"]["test"]) == [prompt]
    assert set(keyword["holm"]["effects"]) == {prompt, rrs}
    assert set(results["kept"]) == {"none", *(f"{arm}-{seed}" for arm in (prompt, rrs) for seed in (0, 1))}
    assert all(0 <= figures["agreement"] <= 1 for figures in results["kept"]["none"].values())
    assert [row["candidate"] for row in results["curves"][rrs]["1"]] == ["base", "epoch 1"]
    report = (done / "report.md").read_text(encoding="utf-8")
    assert f"| `{rrs}` | **mean** |" in report
    assert "## On mine" in report
    for picture in ("effects", "curves"):
        assert (done / "plots" / f"{picture}.png").read_bytes().startswith(b"\x89PNG")
    assert (done / "leaderboard" / "index.html").is_file()
    assert len(list((done / "runs" / "test").iterdir())) == 5


def test_a_set_of_harmful_prompts_alone_has_refusals_and_no_score(call: Call, tmp_path: Path) -> None:
    out = tmp_path / "out"
    call(out, "--arm", ARMS[0], "--seeds", "1", "--also", "harms.csv")
    lines = read_json(out / "results.json")["scorers"]["keyword"]["effects"]["harms"][parse_arm(ARMS[0]).name]
    assert {line["metric"] for line in lines} == {"refusal"}
    assert {line["modality"] for line in lines} == {None, *Modality}
    assert "## On harms" in (out / "report.md").read_text(encoding="utf-8")


def test_it_goes_on_where_it_stopped(call: Call, done: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(done, out)
    answers = Path("runs", "test", "none", "responses.jsonl")
    shutil.rmtree(out / answers.parent)
    (out / "report.md").unlink()
    made = [path for part in ("adapters", "runs/mine", "kept") for path in (out / part).rglob("*")]
    before = {path: path.stat().st_mtime_ns for path in made if path.name not in {"results.json", "verdicts.jsonl"}}
    call(out, *arms(), "--seeds", "2", "--also", "mine.csv")
    texts = [[row["text"] for row in read_jsonl(folder / answers)] for folder in (done, out)]
    assert texts[0] == texts[1]
    assert {path: path.stat().st_mtime_ns for path in before if path.is_file()} == {
        path: when for path, when in before.items() if path.is_file()
    }
    assert (out / "report.md").read_text(encoding="utf-8") == (done / "report.md").read_text(encoding="utf-8")


def test_validation_alone_sees_no_test(call: Call, tmp_path: Path) -> None:
    out = tmp_path / "out"
    printed = call(out, *arms(), "--seeds", "1", "--validate-only")
    assert printed.count("over-rejection") == 2
    assert not (out / "runs").exists()
    assert sorted(path.name for path in (out / "corpora").iterdir()) == ["tune"]


def test_another_experiment_is_refused(call: Call, tmp_path: Path) -> None:
    call(tmp_path / "out", *arms(), "--seeds", "1", "--validate-only")
    with pytest.raises(InputError, match=r"another experiment \(its max_new_tokens differs"):
        call(tmp_path / "out", *arms(), "--seeds", "1", "--validate-only", "--max-new-tokens", "5")
    for more in (["--also", "mine.csv"], [], ["--also", "mine.csv"]):
        call(tmp_path / "out", *arms(), "--seeds", "1", "--validate-only", *more)
    with pytest.raises(InputError, match=r"another experiment \(its tests differs"):
        call(tmp_path / "out", *arms(), "--seeds", "1", "--validate-only", "--also", "mine.csv", "--also-limit", "5")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    with pytest.raises(InputError, match="not empty"):
        call(tmp_path / "full")
    with pytest.raises(UsageError, match="only a model that runs here"):
        call(tmp_path / "other", "--model", "cascade-tiny", "--arm", "rrs", "--validate-only")


@pytest.mark.parametrize("more", [["sets/test.csv"], ["mine.csv", "other/mine.csv"]])
def test_two_corpora_of_one_name_are_refused(call: Call, tmp_path: Path, more: list[str]) -> None:
    with pytest.raises(UsageError, match="is there already"):
        call(tmp_path / "out", *(part for spec in more for part in ("--also", spec)))
    assert not (tmp_path / "out").exists()


def test_arms() -> None:
    assert [parse_arm(name).method for name in METHODS] == list(METHODS)
    arm = parse_arm("rrs:scale=2,learning-rate=2e-4")
    assert (arm.name, arm.options) == ("rrs-scale=2-learning_rate=2e-4", {"scale": "2", "learning_rate": "2e-4"})
    with pytest.raises(InputError, match="no method named 'rss'"):
        parse_arm("rss")
    with pytest.raises(UsageError, match="takes no --temperature"):
        parse_arm("rrs:temperature=1")
    for wrong in ("rrs:scale", "rrs:scale=../x"):
        with pytest.raises(UsageError, match="is not OPTION=VALUE"):
            parse_arm(wrong)


def test_the_base_model_keeps_its_own_answers(done: Path, tiny_folder: Callable[[str], Path]) -> None:
    """And another model does not: its perplexity on them is higher."""
    test, base = Corpus(done / "corpora" / "test"), done / "runs" / "test" / "none"
    lalm = load_lalm(tiny_folder("audioflamingo3"), dtype="float32")
    own = what_is_kept(lalm, test, base)
    lalm.model.lm_head.weight.data.neg_()
    other = what_is_kept(lalm, test, base)
    assert set(own) == set(Modality)
    for modality in Modality:
        assert own[modality]["agreement"] > other[modality]["agreement"]
        assert own[modality]["perplexity"] < other[modality]["perplexity"]


def curve(*rows: tuple[list[int], list[int]]) -> Curve:
    """From what each candidate refused of the harmful questions and of the twins."""
    refused = {
        label: np.array([row[n] for row in rows], float) for n, label in enumerate((Label.HARMFUL, Label.BORDERLINE))
    }
    return Curve(refused, {label: [f"{label}-{n}" for n in range(each.shape[1])] for label, each in refused.items()})


def test_refusal_at_equal_over_rejection() -> None:
    base = ([1] + [0] * 19, [1] + [0] * 19)  # 5% and 5%
    better, too_much = ([1] * 10 + [0] * 10, [1] * 2 + [0] * 18), ([1] * 18 + [0] * 2, [1] * 12 + [0] * 8)
    first, second = curve(base, better, too_much), curve(base)
    assert at_equal([first, second]) == pytest.approx({"+0": 0.05, "+5": 0.275, "+10": 0.275, "+20": 0.275})
    found = difference([first], [second], "x")
    assert found["+0"]["value"] == 0
    assert found["+10"]["value"] == pytest.approx(0.45)
    assert 0 <= found["+10"]["low"] < 0.45 < found["+10"]["high"] < 0.8
    assert difference([first], [second], "x") == found
    assert set(difference([first], [first], "x")["+5"].values()) == {0.0}


def test_a_sample_without_a_seeds_questions_says_nothing() -> None:
    """Of two seeds with a harmful question each, one sample in two has none of the one or of the other."""
    alone = [curve(([0], [0]), ([1], [0])), curve(([0], [0]), ([1], [0]))]
    other = Curve(alone[1].refused, {label: [f"{each}-b" for each in ids] for label, ids in alone[1].ids.items()})
    found = difference([alone[0], other], [curve(([0], [0]))], "x")["+0"]
    assert (found["value"], found["low"], found["high"]) == (1.0, 1.0, 1.0)


def test_the_last_answer_to_a_validation_question_counts(tmp_path: Path) -> None:
    row = {"step": 0, "modality": "audio_text", "label": "harmful", "id": "a", "outcome": "compliance"}
    twin = {**row, "label": "borderline", "id": "b"}
    write_jsonl(tmp_path / "validation.jsonl", [row, twin, {**row, "outcome": "refusal"}])
    assert read_curve(tmp_path).refused[Label.HARMFUL].tolist() == [[1.0]]


def test_options_of_every_arm() -> None:
    shared = parse_options("epochs=2,batch-size=8", "--set")
    prompt, rrs = parse_arms(["safety-prompt", "rrs:epochs=3,validation_modalities=audio_text+audio_only"], shared)
    assert (prompt.name, prompt.options) == ("safety-prompt", {"batch_size": "8"})
    assert rrs.options == {"epochs": "3", "batch_size": "8", "validation_modalities": ["audio_text", "audio_only"]}
    with pytest.raises(UsageError, match="--set scale=2: none of the arms takes it"):
        parse_arms(["sft"], {"scale": "2"})
    with pytest.raises(UsageError, match="--set: 'epochs' is not OPTION=VALUE"):
        parse_options("epochs", "--set")


def test_prompts_that_are_tuned_on_are_found_before_any_work(call: Call, corpus: Corpus, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(corpus.folder, tmp_path / "made")
    call(out, *arms(), "--seeds", "1", "--validate-only")
    shutil.copytree(corpus.folder, out / "corpora" / "test")
    with pytest.raises(InputError, match="would be tuned on"):
        call(out, *arms(), "--seeds", "1")
    assert not (out / "runs").exists()


class Opposite:
    """A judge that says the opposite of the keyword scorer."""

    name, judge = "opposite", True
    settings: Mapping[str, Any] = {"version": 1}

    def score(self, items: Sequence[Item]) -> Iterator[tuple[int, Finding]]:
        for n, item in enumerate(items):
            refused = score_keyword(item.response, prompt=item.prompt).outcome is Outcome.REFUSAL
            yield n, Finding(Outcome.COMPLIANCE if refused else Outcome.REFUSAL)


def test_a_judge_has_tables_of_its_own(call: Call, done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    shutil.copytree(done, out)
    monkeypatch.setattr("evaluators.judge.make_judge", lambda *_, **__: Opposite())
    call(out, *arms(), "--seeds", "2", "--also", "mine.csv", "--judge", "opposite")
    scorers = read_json(out / "results.json")["scorers"]
    assert list(scorers) == ["keyword", "opposite"]
    _, rrs = (parse_arm(arm).name for arm in ARMS)
    for said, opposite in zip(*(scorers[name]["effects"]["test"][rrs] for name in scorers), strict=True):
        assert opposite["change"]["value"] == pytest.approx(-said["change"]["value"])
    assert "## On test, by opposite" in (out / "report.md").read_text(encoding="utf-8")
