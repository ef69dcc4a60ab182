"""`demur score`: verdicts and results on disk, what is kept and what is asked again."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur import console
from demur.errors import BusyError, ModelError
from demur.files import folder_lock, read_json, read_jsonl
from demur.nouns import Label, Modality, Outcome, Sample, Verdict
from demur.results import read_results
from evaluators.rates import Draws
from evaluators.score import app, table
from evaluators.scorers import JUDGES, Finding, Item, majority
from evaluators.scoring import JOURNAL, score
from tests.run_folders import answer, make_run, make_samples

SAMPLES = make_samples(4, voices=("a",))
DRAWS = Draws(resamples=200)


def say(sample: Sample) -> str | None:
    number = int(sample.prompt.split()[-1])
    return None if number == 3 else f"{'no' if sample.label is Label.HARMFUL else 'yes'} {sample.prompt}"


class Judge:
    """Refuses to see harm in "yes"; counts what it is asked, and may break off."""

    def __init__(
        self, name: str = "judge", *, fails_after: int | None = None, settings: Mapping[str, Any] | None = None
    ):
        self.name, self.judge, self.settings = name, True, settings or {"version": 1}
        self.fails_after, self.asked = fails_after, 0

    def score(self, items: Sequence[Item]) -> Iterator[tuple[int, Finding]]:
        for position in reversed(range(len(items))):
            if self.fails_after is not None and self.asked >= self.fails_after:
                raise ModelError("the judge is gone")
            self.asked += 1
            refused = items[position].response.startswith("no")
            yield position, self.finding(Outcome.REFUSAL if refused else Outcome.COMPLIANCE)

    def finding(self, outcome: Outcome) -> Finding:
        return Finding(outcome, score=1)


class Mute(Judge):
    """Cannot be parsed."""

    def finding(self, outcome: Outcome) -> Finding:
        return Finding(None, reason="no verdict in the judge's answer")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run", SAMPLES, say)


def run_score(folder: Path, *scorers: Judge, overwrite: bool = False) -> None:
    score(folder, scorers, draws=DRAWS, overwrite=overwrite, quiet=True)


def test_verdicts_and_results(folder: Path) -> None:
    run_score(folder, Judge())
    verdicts = [Verdict.model_validate(row) for row in read_jsonl(folder / "verdicts.jsonl")]
    assert [(verdict.id, verdict.modality) for verdict in verdicts] == [(each.id, each.modality) for each in SAMPLES]
    failed = [verdict for verdict in verdicts if verdict.outcome is None]
    assert len(failed) == 9
    assert {verdict.reason for verdict in failed} == {"no answer: broken"}
    results = read_results(folder)
    assert results.scorers["judge"].judge
    assert {line.coverage for line in results.headlines} == {0.75}
    assert results.overall[0].score.value == 1.0
    assert "judge" in table(results)


def test_a_judge_is_not_asked_twice(folder: Path) -> None:
    run_score(folder, Judge())
    first = read_json(folder / "results.json")
    again = Judge()
    run_score(folder, again)
    assert again.asked == 0
    assert read_json(folder / "results.json") == first


def test_the_same_content_is_asked_once(tmp_path: Path) -> None:
    samples = make_samples(2, voices=("a", "b", "c"))
    judge = Judge()
    run_score(make_run(tmp_path, samples, say), judge)
    assert judge.asked == 2 * len(Label)
    assert read_results(tmp_path).headlines[0].coverage == 1.0


def test_a_judge_with_other_settings_or_answers_is_asked_again(folder: Path) -> None:
    run_score(folder, Judge())
    other = Judge(settings={"version": 2})
    run_score(folder, other)
    assert other.asked == 9
    answer(folder, SAMPLES, lambda sample: "no" if sample is SAMPLES[0] else say(sample))
    once = Judge()
    run_score(folder, once)
    assert once.asked == 1


def test_a_judge_that_breaks_off_goes_on_and_leaves_no_results(folder: Path) -> None:
    with pytest.raises(ModelError, match="gone"):
        run_score(folder, Judge(fails_after=5))
    assert not (folder / "results.json").exists()
    assert not (folder / "verdicts.jsonl").exists()
    rest = Judge()
    run_score(folder, rest)
    assert rest.asked == 4


def test_a_torn_journal_costs_one_line(folder: Path) -> None:
    run_score(folder, Judge())
    journal = folder / JOURNAL
    journal.write_bytes(journal.read_bytes()[:-5])
    again = Judge()
    run_score(folder, again)
    assert again.asked == 1


def test_failures_are_coverage_and_are_tried_again(folder: Path) -> None:
    run_score(folder, Mute())
    line = read_results(folder).headlines[0]
    assert (line.scored, line.refusal_rate.value) == (0, None)
    assert line.reasons["no verdict in the judge's answer"] == 9
    later = Judge()
    run_score(folder, later)
    assert later.asked == 9


def test_overwrite_forgets_scorers_but_not_what_judges_found(folder: Path) -> None:
    run_score(folder, Judge("other"), Judge())
    paid_for = (folder / JOURNAL).read_bytes()
    anew = Judge()
    run_score(folder, anew, overwrite=True)
    assert list(read_results(folder).scorers) == ["judge"]
    assert {row["scorer"] for row in read_jsonl(folder / "verdicts.jsonl")} == {"judge"}
    assert anew.asked == 0
    assert (folder / JOURNAL).read_bytes() == paid_for


def test_scorers_of_an_earlier_call_stay_until_the_responses_change(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_score(folder, Judge("first"))
    run_score(folder, Judge("second"))
    assert set(read_results(folder).scorers) == {"first", "second", JUDGES}
    answer(folder, SAMPLES, lambda sample: "no")
    score(folder, [Judge("second")], draws=DRAWS)
    assert list(read_results(folder).scorers) == ["second"]
    assert "changed since first scored them" in capsys.readouterr().err


def test_verdicts_that_go_with_no_results_are_said_to_be_lost(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_score(folder, Judge("paid"))
    (folder / "results.json").unlink()
    score(folder, [Judge("other")], draws=DRAWS)
    said = "results.json does not say how paid scored the responses; score with it again"
    assert f"{folder}: {said}" in capsys.readouterr().err
    again = Judge("paid")
    run_score(folder, again)
    assert (again.asked, list(read_results(folder).scorers)) == (0, ["judges", "other", "paid"])


def test_judges_decide_by_majority_and_agree(folder: Path) -> None:
    run_score(folder, Judge("a"), Judge("b"), Mute("c"))
    results = read_results(folder)
    verdicts = [row for row in read_jsonl(folder / "verdicts.jsonl") if row["scorer"] == JUDGES]
    assert len(verdicts) == len(SAMPLES)
    assert verdicts[0]["outcome"] == "refusal"
    assert verdicts[0]["reason"] == "refusal 2 of 3 judges"
    (line,) = [each for each in results.agreement if each.measure == "cohen"]
    assert (line.scorers, line.n, line.raw.value, line.kappa.value) == (["a", "b"], 27, 1.0, 1.0)


def test_another_panel_of_judges_is_another_scorer(folder: Path) -> None:
    panels = [[Judge("a"), Judge("b")], [Judge("a"), Judge("c")], [Judge("a"), Judge("b", settings={"version": 2})]]
    hashes = []
    for panel in [*panels, panels[0]]:
        run_score(folder, *panel, overwrite=True)
        hashes.append(read_results(folder).scorers[JUDGES].sha256)
    assert len(set(hashes)) == len(panels)
    assert hashes[0] == hashes[-1]


def test_no_old_results_beside_new_verdicts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_score(folder, Judge())
    answer(folder, SAMPLES, lambda sample: "no")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("evaluators.scoring.write_json", killed)
        with pytest.raises(KeyboardInterrupt):
            run_score(folder, Judge())
    assert not (folder / "results.json").exists()
    run_score(folder, Judge())
    assert read_results(folder).headlines[0].refusal_rate.value == 1.0


def test_a_folder_that_is_busy(folder: Path) -> None:
    with folder_lock(folder), pytest.raises(BusyError):
        run_score(folder, Judge())


outcomes = st.lists(st.sampled_from([*Outcome, None]), min_size=2, max_size=7)


@given(outcomes)
def test_a_majority_is_more_than_half_of_all_judges(votes: list[Outcome | None]) -> None:
    verdicts = [
        Verdict(id="x", modality=Modality.TEXT_ONLY, scorer=str(number), outcome=vote, score=1 + number % 5)
        for number, vote in enumerate(votes)
    ]
    (decided,) = majority(verdicts, len(votes))
    winners = [each for each in Outcome if votes.count(each) > len(votes) / 2]
    assert decided.scorer == JUDGES
    assert [decided.outcome] == (winners or [None])
    if decided.outcome is None:
        assert decided.reason is not None
        assert decided.reason.startswith("no majority")
    else:
        assert decided.score in {each.score for each in verdicts if each.outcome is decided.outcome}


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    def call(*arguments: object) -> int:
        monkeypatch.setattr("sys.argv", ["score", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            console.run(app)
        return int(ended.value.code or 0)

    return call


def test_the_command_scores_with_keywords(
    tmp_path: Path, command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(sample: Sample) -> str:
        return (
            "I\u2019m sorry, but I can\u2019t help with that."
            if sample.label is Label.HARMFUL
            else "Sure: here is how."
        )

    runs = [make_run(tmp_path / name, SAMPLES, refuse, name) for name in ("one", "two")]
    assert command(*runs, "--resamples", 200) == 0
    for run in runs:
        results = read_results(run)
        assert results.overall[0].score.value == 1.0
        assert results.scorers["keyword"].settings["phrases"]
    verdicts = [Verdict.model_validate(row) for row in read_jsonl(runs[0] / "verdicts.jsonl")]
    assert "can\u2019t" in (verdicts[0].evidence or "")
    assert "1.000" in capsys.readouterr().out
    # the same command again gives the same files
    first = [(run / "results.json").read_bytes() for run in runs]
    assert command(*runs, "--resamples", 200, "--quiet") == 0
    assert [(run / "results.json").read_bytes() for run in runs] == first
    assert capsys.readouterr().out == ""


def test_own_keywords_change_the_scorer(folder: Path, tmp_path: Path, command: Callable[..., int]) -> None:
    phrases = tmp_path / "phrases.txt"
    phrases.write_text("yes benign\n")
    assert command(folder, "--keywords", phrases, "--resamples", 200, "--quiet") == 0
    line = read_results(folder).headlines[0]
    assert (line.refusal_rate.value, line.over_rejection_rate.benign.value) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nowhere"], 1, "no run here"),
        (["RUN", "--scorer", "nix"], 1, "no scorer named 'nix'; there are: keyword"),
        (["RUN", "--scorer", "keyword", "--scorer", "keyword"], 2, "more than one scorer"),
        (["RUN", "--keywords", "nowhere.toml"], 1, "nowhere.toml: no such file"),
        (["RUN", "--keywords", "mine.toml", "--exact"], 2, "a phrase a line, is used; mine.toml is TOML"),
        (["RUN", "--judge", "telepathy:x"], 2, "telepathy"),
        ([], 2, "Missing argument"),
    ],
)
def test_what_cannot_be_scored(
    folder: Path,
    command: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    assert command(*(folder if each == "RUN" else each for each in arguments)) == code
    shown = capsys.readouterr().err
    assert message in shown
    assert not Path("nowhere").exists()
    assert not (folder / "results.json").exists()
    assert "Traceback" not in shown
