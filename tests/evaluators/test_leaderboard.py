"""The leaderboard's files: who is ranked with whom, what is told of the answers, and what is refused."""

import csv
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.corpus import Corpus
from demur.errors import CorpusError, InputError
from demur.files import sha256_bytes, write_json, write_jsonl
from demur.nouns import Label, Modality, Outcome, Prompt, Sample
from demur.results import Estimate, read_results
from evaluators.calibration import report
from evaluators.labels import Labelled
from evaluators.leaderboard import Audio, leaderboard
from evaluators.report.board import Board, Entry, GroupRate, Table
from evaluators.report.charts import frontier, heat_map, place_labels
from evaluators.report.samples import Drawing
from evaluators.scorers import find_scorer
from evaluators.scoring import score
from tests.leaderboards import ANSWER, DRAWS, REFUSAL, corpus, edit, number, only, prompts, refuses, samples, scored
from tests.run_folders import Say, answer, make_run

FILES = {"index.html", "leaderboard.md", "leaderboard.csv", "leaderboard.json"}
HOSTILE = '<img src=x onerror="alert(1)"></script><script>alert(2)</script> | `*x*` [a](javascript:alert(3))'
ROWS = samples()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three models over one corpus: refuses 5 of 6, 3 of 6, and everything."""
    folder = tmp_path_factory.mktemp("runs")
    return [
        scored(folder / "half", ROWS, refuses(3), "half"),
        scored(folder / "good", ROWS, refuses(5), "good"),
        scored(folder / "all", ROWS, lambda sample: REFUSAL, "all"),
    ]


class Elements(HTMLParser):
    """The tags and attributes of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]


def texts(out: Path) -> dict[str, str]:
    """What every file but the clips says."""
    return {path.name: path.read_text(encoding="utf-8") for path in out.iterdir() if path.is_file()}


def data_of(out: Path) -> dict[str, object]:
    """What the page hands to its script."""
    page = (out / "index.html").read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    value: dict[str, object] = json.loads(found[1])
    return value


def test_files_agree_and_models_are_ranked_by_score(runs: list[Path], tmp_path: Path) -> None:
    board = leaderboard(runs, tmp_path / "out", draws=DRAWS)
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
    assert Board.model_validate_json((tmp_path / "out" / "leaderboard.json").read_text()) == board
    (table,) = board.tables
    assert [(entry.rank, entry.mark, entry.model) for entry in table.entries] == [
        (1, "1", "good"),
        (2, "2", "half"),
        (3, "3", "all"),
    ]
    with (tmp_path / "out" / "leaderboard.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["model"] for row in rows] == ["good", "half", "all"]
    results = read_results(runs[1])
    line = next(each for each in results.headlines if each.modality is Modality.AUDIO_ONLY)
    assert float(rows[0]["refusal_rate_audio_only"]) == pytest.approx(5 / 6)
    assert float(rows[0]["refusal_rate_audio_only_low"]) == line.refusal_rate.low
    assert float(rows[0]["score"]) == results.overall[0].score.value == pytest.approx(5 / 6)
    assert float(rows[2]["over_rejection_rate_text_only"]) == 1.0
    said = (tmp_path / "out" / "leaderboard.md").read_text()
    assert said.index("| 1 | good |") < said.index("| 2 | half |") < said.index("| 3 | all |")
    assert "83% [" in said


def test_same_input_same_bytes(runs: list[Path], tmp_path: Path) -> None:
    for name in ("one", "two"):
        leaderboard(runs, tmp_path / name, baseline=runs[0], draws=DRAWS)
    assert texts(tmp_path / "one") == texts(tmp_path / "two")


def test_equal_scores_share_a_rank_and_no_score_has_none(tmp_path: Path) -> None:
    harmful = [row for row in ROWS if row.label is Label.HARMFUL]
    tied = [scored(tmp_path / name, ROWS, refuses(3), name) for name in ("b", "a")]
    board = leaderboard([*tied, scored(tmp_path / "c", ROWS, refuses(1), "c")], tmp_path / "out", draws=DRAWS)
    assert [(each.rank, each.mark, each.model) for each in board.tables[0].entries] == [
        (1, "1a", "a"),
        (1, "1b", "b"),
        (3, "3", "c"),
    ]
    alone = scored(tmp_path / "d", harmful, refuses(3), "d")
    (entry,) = leaderboard([alone], tmp_path / "alone", draws=DRAWS).tables[0].entries
    assert (entry.rank, entry.mark, entry.score.value) == (None, "a", None)


def test_runs_of_one_model_are_told_apart(tmp_path: Path) -> None:
    same = [scored(tmp_path / name, ROWS, refuses(3), "same") for name in ("x", "y")]
    board = leaderboard([*same, same[0]], tmp_path / "out", draws=DRAWS)
    assert {entry.model for entry in board.tables[0].entries} == {"same (x)", "same (y)"}


def test_runs_of_one_model_in_two_tables_are_told_apart(tmp_path: Path) -> None:
    clean, noisy = (scored(tmp_path / name, ROWS, refuses(3), "same") for name in ("clean", "noisy"))
    change_corpus(noisy)
    score(noisy, [find_scorer("keyword")], draws=DRAWS, quiet=True)
    board = leaderboard([clean, noisy], tmp_path / "out", draws=DRAWS)
    assert [entry.model for table in board.tables for entry in table.entries] == ["same (clean)", "same (noisy)"]


def test_folders_of_one_name_are_told_apart(tmp_path: Path) -> None:
    same = [scored(tmp_path / name / "x" / "run", ROWS, refuses(3), "same") for name in ("a", "b")]
    board = leaderboard(same, tmp_path / "out", draws=DRAWS)
    assert {entry.model for entry in board.tables[0].entries} == {"same (a/x/run)", "same (b/x/run)"}


def test_runs_that_do_not_name_their_corpus_are_grouped_by_what_was_asked(tmp_path: Path) -> None:
    other = [row.model_copy(update={"audio_sha256": row.audio_sha256 and "e" * 64}) for row in ROWS]
    runs = [
        scored(tmp_path / name, rows, refuses(3), name) for name, rows in (("a", ROWS), ("b", ROWS[::-1]), ("c", other))
    ]
    for folder in runs:
        (folder / "run.json").unlink()
        score(folder, [find_scorer("keyword")], draws=DRAWS, quiet=True)
    board = leaderboard(runs, tmp_path / "out", draws=DRAWS)
    assert [{entry.model for entry in table.entries} for table in board.tables] == [{"a", "b"}, {"c"}]
    assert any(notice.text.startswith("Runs over different corpora stand") for notice in board.notices)


def test_a_heat_map_of_many_ties_keeps_models_apart() -> None:
    def entry(number: int) -> Entry:
        rate = GroupRate(
            group_by="category",
            group="hate",
            modality=Modality.TEXT_ONLY,
            label=Label.HARMFUL,
            prompts=9,
            refusal=Estimate(value=number / 30),
        )
        return Entry.model_construct(mark="1a", model=str(number), groups=[rate])

    table = Table.model_construct(entries=[entry(number) for number in range(30)])
    found = heat_map(table, "category", Label.HARMFUL)
    assert found is not None
    assert [cell.value for cell in found.rows[0][1]] == [number / 30 for number in range(30)]


def change_corpus(folder: Path) -> None:
    edit(folder / "run.json", lambda run: run.update(corpus={"name": "other", "content_sha256": "d" * 64}))


def test_different_corpora_prompts_and_modalities_are_never_ranked_together(runs: list[Path], tmp_path: Path) -> None:
    fewer = samples(prompts()[:-1])
    other = [
        scored(tmp_path / "fewer", fewer, refuses(3), "fewer"),
        scored(tmp_path / "written", only(ROWS, Modality.TEXT_ONLY), refuses(3), "written"),
    ]
    rebuilt = scored(tmp_path / "rebuilt", ROWS, refuses(3), "rebuilt")
    change_corpus(rebuilt)
    scored_again = find_scorer("keyword")
    score(rebuilt, [scored_again], draws=DRAWS, quiet=True)
    board = leaderboard([*runs, *other, rebuilt], tmp_path / "out", draws=DRAWS)
    assert [{entry.model for entry in table.entries} for table in board.tables] == [
        {"half", "good", "all"},
        {"fewer"},
        {"written"},
        {"rebuilt"},
    ]
    assert [table.entries[0].rank for table in board.tables] == [1, 1, 1, 1]
    assert any("not ranked together" in notice.text and "corpora" in notice.text for notice in board.notices)
    assert texts(tmp_path / "out")["index.html"].count('<table class="ranking sortable">') == 4


class Opposite:
    """Calls every refusal an answer, and the other way round; quotes the response in its reason."""

    name, judge, settings = "opposite", True, {"version": 1}

    def score(self, items):  # type: ignore[no-untyped-def]
        from evaluators.scorers import Finding

        for position, item in enumerate(items):
            refused = item.response == REFUSAL
            outcome = Outcome.COMPLIANCE if refused else Outcome.REFUSAL
            yield position, Finding(outcome, evidence=item.response[:20], reason=f"it says: {item.response}")


def test_the_scorer_that_is_asked_for_decides(tmp_path: Path) -> None:
    both = [find_scorer("keyword"), Opposite()]
    runs = [
        scored(tmp_path / "bad", ROWS, refuses(1), "bad", both),
        scored(tmp_path / "good", ROWS, refuses(5), "good", both),
    ]
    board = leaderboard(runs, tmp_path / "out", draws=DRAWS)
    assert (board.scorer, board.tables[0].entries[0].model) == ("keyword", "good")
    assert board.tables[0].entries[0].agreement[0].scorers == ["keyword", "opposite"]
    assert all(sample["disputed"] for sample in data_of(tmp_path / "out")["samples"])
    board = leaderboard(runs, tmp_path / "other", scorer="opposite", draws=DRAWS)
    assert (board.scorer, board.tables[0].entries[0].model) == ("opposite", "bad")
    with pytest.raises(InputError, match="not scored by 'judge'; scorers there: keyword, opposite"):
        leaderboard(runs, tmp_path / "out", scorer="judge")
    lone = scored(tmp_path / "lone", ROWS, refuses(1), "lone", [Opposite()])
    plain = scored(tmp_path / "plain", ROWS, refuses(1), "plain")
    with pytest.raises(InputError, match="no scorer in common"):
        leaderboard([lone, plain], tmp_path / "out")


def test_warnings(tmp_path: Path) -> None:
    def breaks(sample: Sample) -> str | None:
        return None if sample.modality is Modality.AUDIO_TEXT and sample.label is Label.BENIGN else ANSWER

    deaf = scored(tmp_path / "deaf", ROWS, breaks, "deaf")
    clips = [row for row in ROWS if row.modality is Modality.AUDIO_ONLY]
    write_jsonl(
        deaf / "controls.jsonl",
        (
            {"id": row.id, "modality": row.modality, "model": "deaf", "text": ANSWER, "control": control}
            for row in clips
            for control in ("silence", "noise", "swapped")
        ),
    )
    edit(deaf / "results.json", lambda results: results["run"].update(finished=False, settings={"training_overlap": 3}))
    other = scored(tmp_path / "other", ROWS, refuses(3), "other")
    board = leaderboard([deaf, other], tmp_path / "out", draws=DRAWS)
    told = {notice.text: (notice.models, notice.grave) for notice in board.notices}
    assert told["Only 75% of answers in audio text are scored (4 errors of the model)."] == (["deaf"], True)
    assert told["The run is not finished: some prompts have no answer yet."] == (["deaf"], True)
    assert told["The model was trained on prompts that it is asked here."] == (["deaf"], True)
    unheard = [key for key in told if key.startswith("Audio only: 100% of answers stay the same")]
    assert told[unheard[0]] == (["deaf"], True)
    few = (
        "tones (demur-core): only 6 harmful, 6 borderline, 4 benign prompts; "
        "intervals are wide, and ranks may be chance."
    )
    assert told[few] == ([], True)
    unchecked = next(key for key in told if key.startswith("Whether answers depend on the audio was not checked"))
    assert told[unchecked] == (["other"], False)
    page = texts(tmp_path / "out")["index.html"]
    assert all(text in page for text in told if "'" not in text)
    assert [notice.grave for notice in board.notices] == sorted((each.grave for each in board.notices), reverse=True)


def test_one_text_to_most_clips_is_a_warning_where_no_control_says_more(tmp_path: Path) -> None:
    rows = only(ROWS, Modality.TEXT_ONLY, Modality.AUDIO_ONLY)

    def says(share: float) -> Say:
        clips = [row.id for row in rows if row.modality is Modality.AUDIO_ONLY]
        same = set(clips[: round(share * len(clips))])
        return lambda sample: "I  hear\nnothing." if sample.id in same else f"You asked: {sample.prompt}"

    def warned(folder: str, say: Say, asked: list[Sample], controls: int = 0) -> list[str]:
        run = scored(tmp_path / folder, asked, say, folder)
        line = {"modality": Modality.AUDIO_ONLY, "model": folder, "text": "other", "control": "silence"}
        write_jsonl(run / "controls.jsonl", ({**line, "id": row.id} for row in rows[-controls:] if controls))
        board = leaderboard([run], tmp_path / f"board {folder}", draws=DRAWS)
        return [each.text for each in board.notices if each.grave and "whatever is heard" in each.text]

    (told,) = warned("most", says(0.75), rows)
    assert told.startswith("Audio only: 75% of answers are the same text whatever is heard: the audio may not reach")
    assert warned("some", says(0.4), rows) == []
    assert warned("too few controls", says(0.75), rows, controls=2) == [told]
    written = lambda sample: "No." if sample.modality is Modality.TEXT_ONLY else sample.prompt  # noqa: E731
    assert warned("written", written, rows) == []
    assert warned("few clips", says(1), samples(prompts(2, 2))) == []
    one_clip = [row.model_copy(update={"audio_sha256": row.audio_sha256 and "e" * 64}) for row in rows]
    assert warned("one clip", says(1), one_clip) == []


def test_a_share_that_is_not_all_is_never_shown_as_all(tmp_path: Path) -> None:
    rows = only(samples(prompts(150, 0)), Modality.TEXT_ONLY)
    run = scored(tmp_path / "run", rows, lambda sample: None if sample is rows[0] else ANSWER, "m")
    leaderboard([run], tmp_path / "out", draws=DRAWS)
    files = texts(tmp_path / "out")
    page = re.search(r'data-value="([\d.]+)"><span class="value">([\d.]+%)</span></td>\s*</tr>', files["index.html"])
    assert page
    assert (float(page[1]), page[2]) == (pytest.approx(299 / 300), "99.6%")
    assert "| 99.6% |" in files["leaderboard.md"]
    assert float(next(csv.DictReader(files["leaderboard.csv"].splitlines()))["coverage"]) == pytest.approx(299 / 300)


def test_the_axes_of_a_plane_say_where_their_ticks_are(tmp_path: Path) -> None:
    run = scored(tmp_path / "run", only(samples(prompts(150, 0)), Modality.TEXT_ONLY), refuses(120, 3), "m")
    leaderboard([run], tmp_path / "out", draws=DRAWS)
    ticks = re.findall(r'<text class="tick"[^>]*middle">([^<]*)</text>', texts(tmp_path / "out")["index.html"])
    assert ticks == ["0%", "2.5%", "5%", "7.5%", "10%"]


def test_base_against_fine_tuned(tmp_path: Path) -> None:
    rows = samples(prompts(pairs=24))
    base = scored(tmp_path / "base", rows, refuses(4), "base")
    tuned = scored(tmp_path / "tuned", rows, refuses(20, borderline=4), "base + rrs")
    edit(tuned / "run.json", lambda run: run["model"]["settings"].update(adapter="rrs", adapter_sha256="0"))
    score(tuned, [find_scorer("keyword")], draws=DRAWS, quiet=True)
    (change,) = leaderboard([base, tuned], tmp_path / "out", draws=DRAWS).changes
    assert (change.tuned, change.base) == ("base + rrs", "base")
    line = change.line(Label.HARMFUL, Modality.AUDIO_ONLY)
    assert line is not None
    assert (line.value_a, line.value_b) == pytest.approx((20 / 24, 4 / 24))
    assert line.difference.low < 16 / 24 < line.difference.high
    assert line.p <= line.p_holm < 0.01
    overall = change.line(None, None)
    assert overall is not None
    assert overall.value_a - overall.value_b == pytest.approx(16 / 24 - 4 / 48)
    assert str(tmp_path) not in texts(tmp_path / "out")["leaderboard.json"]
    assert (
        "base + rrs | base | tones (demur-core) | refusal of harmful prompts, audio only | 24 | 17% | 83% | +67 ["
        in (texts(tmp_path / "out")["leaderboard.md"])
    )


def test_what_cannot_be_compared_is_said(tmp_path: Path) -> None:
    def tuned(name: str, say: Say, **settings: object) -> Path:
        run = scored(tmp_path / name, ROWS, say, name)
        edit(run / "run.json", lambda info: info["model"]["settings"].update(adapter=name, **settings))
        score(run, [find_scorer("keyword")], draws=DRAWS, quiet=True)
        return run

    def half(first: bool) -> Say:
        return lambda sample: ANSWER if (number(sample) < 3) is first else None

    base = scored(tmp_path / "base", ROWS, half(True), "base")
    strange = scored(tmp_path / "strange", ROWS, refuses(1), "strange")
    edit(strange / "run.json", lambda info: info.update(model="strange"))
    score(strange, [find_scorer("keyword")], draws=DRAWS, quiet=True)
    orphan, apart = tuned("orphan", refuses(2), base="nobody"), tuned("apart", half(False), base="base")
    board = leaderboard([base, strange, orphan, apart], tmp_path / "out", draws=DRAWS)
    assert board.changes == []
    told = {notice.text: notice.models for notice in board.notices}
    assert told["Not compared with base: no row that both have answered and scored."] == ["apart"]
    assert told["No run in its table is of this fine-tuned model's base, so it is not compared with it."] == ["orphan"]
    twins = [scored(tmp_path / name, ROWS, refuses(3), name) for name in ("one", "two")]
    board = leaderboard([*twins, tuned("either", refuses(5))], tmp_path / "out", draws=DRAWS)
    told = {notice.text: notice.models for notice in board.notices}
    assert told["2 runs could be the base of this fine-tuned model: say which with --baseline."] == ["either"]


def test_a_baseline_is_compared_with_all_others(runs: list[Path], tmp_path: Path) -> None:
    board = leaderboard(runs[1:], tmp_path / "out", baseline=runs[0], draws=DRAWS)
    assert {(change.tuned, change.base) for change in board.changes} == {("good", "half"), ("all", "half")}
    assert len(board.tables[0].entries) == 3
    with pytest.raises(InputError, match="no other run was asked the same"):
        leaderboard(runs[:1], tmp_path / "alone", baseline=runs[0])


def test_calibration_is_shown_and_must_be_of_this_scorer(runs: list[Path], tmp_path: Path) -> None:
    rows = [Labelled(REFUSAL, Outcome.REFUSAL, "m", "p1"), Labelled(ANSWER, Outcome.COMPLIANCE, "m", "p2")] * 3
    (tmp_path / "labels.csv").write_text("the table that the rows came from")
    found = report(tmp_path / "labels.csv", rows, find_scorer("keyword"), {}, DRAWS)
    write_json(tmp_path / "keyword.json", found.model_dump(mode="json"))
    board = leaderboard(runs, tmp_path / "out", calibration=tmp_path / "keyword.json", draws=DRAWS)
    assert board.calibration == found
    assert not any("alibration" in notice.text for notice in board.notices)
    written = texts(tmp_path / "out")
    assert "Kappa is agreement beyond chance: 1 is perfect" in written["index.html"]
    share = found.models["m"].confusion_shares[Outcome.REFUSAL][Outcome.REFUSAL]
    assert (share.value, share.low, share.high) == (1.0, pytest.approx(0.2065, abs=1e-4), 1.0), "of one prompt"
    assert '<span class="value">100%</span><span class="interval">21–100</span>' in written["index.html"]
    assert "| m | 6 | 1.00 | 1.00 [" in written["leaderboard.md"]
    edit(tmp_path / "keyword.json", lambda value: value["models"]["m"].update(scored=0, kappa=None))
    leaderboard(runs, tmp_path / "out", calibration=tmp_path / "keyword.json", draws=DRAWS)
    assert "| m | 0 | – |" in texts(tmp_path / "out")["leaderboard.md"], "no number is not 0"
    edit(tmp_path / "keyword.json", lambda value: value["settings"].update(sha256="e" * 64))
    board = leaderboard(runs, tmp_path / "out", calibration=tmp_path / "keyword.json", draws=DRAWS)
    assert any("of another scorer" in notice.text and notice.grave for notice in board.notices)
    write_json(tmp_path / "bad.json", {"kappa": 1})
    with pytest.raises(InputError, match=r"bad.json: not what `demur calibrate` writes"):
        leaderboard(runs, tmp_path / "out", calibration=tmp_path / "bad.json")


def test_models_that_were_asked_otherwise_are_named(tmp_path: Path) -> None:
    runs = [scored(tmp_path / name, ROWS, refuses(3), name) for name in ("short", "long", "other")]
    for run, limit in zip(runs, ({"max_new_tokens": 16}, {"max_tokens": 128}, {}), strict=True):
        edit(run / "results.json", lambda found, limit=limit: found["run"]["model"]["settings"].update(limit))
    board = leaderboard(runs, tmp_path / "out", draws=DRAWS)
    said = "tones (demur-core): the models were not asked with the same limit of tokens (16: short; 128: long)."
    assert [notice.grave for notice in board.notices if notice.text == said] == [True]
    again = leaderboard(runs[1:], tmp_path / "out", draws=DRAWS)
    assert not any("were not asked with the same" in notice.text for notice in again.notices)


SECRET = "Gather the purple widgets and hide them."


def says_secret(sample: Sample) -> str:
    return f"{SECRET} {sample.id}" if sample.label is Label.HARMFUL and "2" in sample.prompt else REFUSAL


def test_harmful_answers_are_folded_or_left_out_of_every_file(tmp_path: Path) -> None:
    run = scored(tmp_path / "run", ROWS, says_secret, "m", [find_scorer("keyword"), Opposite()])
    leaderboard([run], tmp_path / "shown", draws=DRAWS)
    told = data_of(tmp_path / "shown")["samples"]
    assert {sample["harmful"] for sample in told if sample["label"] == "harmful"} == {True}
    assert not any(sample["harmful"] for sample in told if sample["label"] != "harmful")
    assert SECRET in texts(tmp_path / "shown")["index.html"]
    assert not any(SECRET in text for name, text in texts(tmp_path / "shown").items() if name != "index.html")
    leaderboard([run], tmp_path / "omitted", drawing=Drawing(omit_harmful=True), draws=DRAWS)
    files = texts(tmp_path / "omitted")
    assert set(files) == FILES
    assert not any(SECRET[:20] in text for text in files.values())
    omitted = [sample for sample in data_of(tmp_path / "omitted")["samples"] if sample["omitted"]]
    assert len(omitted) == len([row for row in ROWS if row.label is Label.HARMFUL])
    assert {sample["text"] for sample in omitted} == {None}
    assert {said[part] for sample in omitted for said in sample["verdicts"] for part in ("evidence", "reason")} == {
        None
    }


def test_a_refusal_by_all_scorers_is_not_folded_but_left_out_too(tmp_path: Path) -> None:
    refusal = f"{REFUSAL} It is a secret."
    run = scored(tmp_path / "run", ROWS, lambda sample: refusal if sample.label is Label.HARMFUL else ANSWER, "m")
    leaderboard([run], tmp_path / "out", draws=DRAWS)
    told = data_of(tmp_path / "out")["samples"]
    assert not any(sample["harmful"] or sample["omitted"] for sample in told)
    leaderboard([run], tmp_path / "omitted", drawing=Drawing(omit_harmful=True), draws=DRAWS)
    assert not any("secret" in text or "I'm sorry" in text for text in texts(tmp_path / "omitted").values())


def test_other_prompt_sets_appear_as_rates_only(tmp_path: Path) -> None:
    rows = samples(prompts(source="xstest"))
    run = scored(tmp_path / "run", rows, lambda sample: f"You said: {sample.prompt}", "m")
    made = corpus(tmp_path / "corpus", rows)
    leaderboard([run], tmp_path / "out", audio=Audio([made]), draws=DRAWS)
    assert not any("neighbour" in text for text in texts(tmp_path / "out").values())
    assert data_of(tmp_path / "out")["samples"] == []
    assert "Prompts of other sets than demur-core appear as rates only" in texts(tmp_path / "out")["index.html"]
    assert not (tmp_path / "out" / "clips").exists()
    leaderboard([run], tmp_path / "all", drawing=Drawing(show_prompts=True), draws=DRAWS)
    assert "neighbour" in texts(tmp_path / "all")["index.html"]


def test_samples_are_drawn_by_seed_and_alike_for_all_models(runs: list[Path], tmp_path: Path) -> None:
    def drawn(seed: int) -> dict[str, set[tuple[str, str]]]:
        leaderboard(runs, tmp_path / str(seed), drawing=Drawing(most=5, seed=seed), draws=DRAWS)
        found: dict[str, set[tuple[str, str]]] = {}
        for sample in data_of(tmp_path / str(seed))["samples"]:
            found.setdefault(sample["model"], set()).add((sample["id"], sample["modality"]))
        return found

    first = drawn(0)
    assert {len(keys) for keys in first.values()} == {5}
    assert first["half"] == first["good"] == first["all"]
    assert drawn(1) != first


def test_the_place_of_the_evidence_is_where_the_scorer_found_it(tmp_path: Path) -> None:
    said = 'Someone wrote: "I cannot help with that request at all." Anyway. I cannot help with that request.'
    run = scored(tmp_path / "run", ROWS, lambda sample: said, "m", [find_scorer("keyword"), Opposite()])
    leaderboard([run], tmp_path / "out", draws=DRAWS)
    keyword, other = data_of(tmp_path / "out")["samples"][0]["verdicts"]
    assert (keyword["start"], other["start"]) == (said.rindex(keyword["evidence"]), None)
    assert said.index(keyword["evidence"]) < keyword["start"]
    leaderboard([run], tmp_path / "omitted", drawing=Drawing(omit_harmful=True), draws=DRAWS)
    omitted = [each for each in data_of(tmp_path / "omitted")["samples"] if each["omitted"]]
    assert {verdict["start"] for each in omitted for verdict in each["verdicts"]} == {None}


def test_a_long_answer_is_cut(tmp_path: Path) -> None:
    run = scored(tmp_path / "run", ROWS, lambda sample: "word " * 2000, "m")
    leaderboard([run], tmp_path / "out", draws=DRAWS)
    sample = data_of(tmp_path / "out")["samples"][0]
    assert (len(sample["text"]), sample["cut"]) == (4000, 6000)


def test_what_models_and_prompts_wrote_stays_text(tmp_path: Path) -> None:
    asked = [*prompts(2, 0), Prompt(text=HOSTILE, label=Label.BENIGN, category=HOSTILE, source="demur-core")]
    rows = samples(asked)
    run = scored(tmp_path / "run", rows, lambda sample: HOSTILE, f"=cmd()|{HOSTILE}")
    leaderboard([run], tmp_path / "out", title=HOSTILE, draws=DRAWS)
    files = texts(tmp_path / "out")
    page = files["index.html"]
    elements = Elements(page)
    assert elements.tags.count("script") == 2
    assert "img" not in elements.tags
    assert not [name for name, _ in elements.attributes if name.startswith("on") or name == "style"]
    links = [value for name, value in elements.attributes if name in {"href", "src"}]
    assert links
    assert all(value.startswith(("#", "data:,")) for value in links)
    assert any(sample["text"] == HOSTILE for sample in data_of(tmp_path / "out")["samples"])
    assert not re.search(r"(?<!\\)[<`]", files["leaderboard.md"])
    row = next(csv.DictReader(files["leaderboard.csv"].splitlines()))
    assert row["model"] == f"'=cmd()|{HOSTILE}"


def test_the_policy_allows_this_script_and_style_alone(runs: list[Path], tmp_path: Path) -> None:
    import base64
    import hashlib

    leaderboard(runs, tmp_path / "out", draws=DRAWS)
    page = texts(tmp_path / "out")["index.html"]
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy
    for tag in ("style", "script"):
        text = re.search(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert text
        digest = base64.b64encode(hashlib.sha256(text[1].encode()).digest()).decode()
        assert f"{tag}-src &#39;sha256-{digest}&#39;" in policy[1]
    assert "default-src &#39;none&#39;" in policy[1]
    assert "unsafe" not in policy[1]
    assert not re.search(r"https?://", page)
    assert 'style="' not in page


def test_clips_lie_beside_the_page_or_in_it(runs: list[Path], tmp_path: Path) -> None:
    made = corpus(tmp_path / "corpus", ROWS)
    heard = {row.audio_sha256 for row in ROWS if row.audio_sha256}
    leaderboard(runs, tmp_path / "out", audio=Audio([made]), draws=DRAWS)
    clips = {path.stem: path.read_bytes() for path in (tmp_path / "out" / "clips").iterdir()}
    assert set(clips) == heard
    assert all(sha256_bytes(clip) == name for name, clip in clips.items())
    assert data_of(tmp_path / "out")["clips"] == {name: f"clips/{name}.flac" for name in heard}
    leaderboard(runs, tmp_path / "out", audio=Audio([made]), drawing=Drawing(most=3), draws=DRAWS)
    assert len(list((tmp_path / "out" / "clips").iterdir())) <= 3
    leaderboard(runs, tmp_path / "out", audio=Audio([made], embed=True), draws=DRAWS)
    assert list((tmp_path / "out" / "clips").iterdir()) == []
    assert all(address.startswith("data:audio/flac;base64,") for address in data_of(tmp_path / "out")["clips"].values())
    leaderboard(runs, tmp_path / "out", draws=DRAWS)
    assert "No clips: the page was made without <code>--corpus</code>" in texts(tmp_path / "out")["index.html"]


def test_a_corpus_of_other_runs_is_refused(runs: list[Path], tmp_path: Path) -> None:
    other = corpus(tmp_path / "corpus", samples([Prompt(text="Hello?", label=Label.BENIGN, source="demur-core")]))
    with pytest.raises(InputError, match="holds no clip that these runs were asked about"):
        leaderboard(runs, tmp_path / "out", audio=Audio([other]))
    assert not (tmp_path / "out" / "index.html").exists()


def test_a_clip_that_is_not_what_its_hash_says_is_refused(runs: list[Path], tmp_path: Path) -> None:
    damaged = [row.model_copy(update={"audio": b"<script>"}) if row.audio else row for row in ROWS]
    made = corpus(tmp_path / "corpus", damaged)
    leaderboard(runs, tmp_path / "out", draws=DRAWS)
    before = texts(tmp_path / "out")
    with pytest.raises(CorpusError, match="is damaged"):
        leaderboard(runs, tmp_path / "out", title="Another", audio=Audio([made]))
    assert texts(tmp_path / "out") == before


def test_what_was_given_up_at_its_clips_is_done_again(tmp_path: Path) -> None:
    right = corpus(tmp_path / "corpus", ROWS)
    wrong = corpus(tmp_path / "wrong", samples([Prompt(text="Hello?", label=Label.BENIGN, source="demur-core")]))
    run = scored(tmp_path / "run", ROWS, refuses(3))
    with pytest.raises(InputError, match="holds no clip"):
        leaderboard([run], tmp_path / "out", audio=Audio([right, wrong]), draws=DRAWS)
    leaderboard([run], tmp_path / "out", audio=Audio([right]), draws=DRAWS)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*FILES, "clips"}


def test_a_corpus_of_which_no_answer_is_shown_is_no_wrong_one(tmp_path: Path) -> None:
    """Answers to others' prompts are not drawn, so that none of the second corpus's clips is wanted."""
    ours, others = ROWS, samples(prompts(source="theirs.csv"))
    corpora = [corpus(tmp_path / name, rows) for name, rows in (("ours", ours), ("others", others))]
    runs = []
    for made, rows in zip(corpora, (ours, others), strict=True):
        run = make_run(tmp_path / f"run-{made.name}", rows, refuses(3), corpus_sha256=Corpus(made).sha256)
        score(run, [find_scorer("keyword")], draws=DRAWS, quiet=True)
        runs.append(run)
    leaderboard(runs, tmp_path / "out", audio=Audio(corpora), draws=DRAWS)
    assert list((tmp_path / "out" / "clips").iterdir())


def test_a_model_that_says_nothing_is_told_apart(tmp_path: Path) -> None:
    mute = scored(tmp_path / "mute", ROWS, lambda row: "" if row.modality is Modality.TEXT_ONLY else ANSWER, "mute")
    other = scored(tmp_path / "other", ROWS, refuses(3), "other")
    board = leaderboard([mute, other], tmp_path / "out", draws=DRAWS)
    (notice,) = [each for each in board.notices if "are unclear" in each.text]
    assert notice.text.startswith("100% of answers in text only are unclear (empty, off-topic or cut off)")
    assert notice.models == ["mute"]


def test_a_setting_that_a_server_refused_is_its_own(tmp_path: Path) -> None:
    both = [scored(tmp_path / name, ROWS, refuses(3), name) for name in ("one", "two")]
    for run in both:
        edit(run / "run.json", lambda info: info["model"].update(settings={"temperature": 0.0}))
    edit(both[1] / "run.json", lambda info: info.update(left_out=["temperature"]))
    for run in both:
        score(run, [find_scorer("keyword")], draws=DRAWS, quiet=True)
    said = " ".join(notice.text for notice in leaderboard(both, tmp_path / "out", draws=DRAWS).notices)
    assert "not asked with the same temperature (0.0: one; the server's own: two)" in said


def test_bad_input(runs: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    unscored = scored(tmp_path / "unscored", ROWS, refuses(1))
    (unscored / "results.json").unlink()
    with pytest.raises(InputError, match=f"demur score {unscored}"):
        leaderboard([*runs, unscored], out)
    newer = scored(tmp_path / "newer", ROWS, refuses(1))
    edit(newer / "results.json", lambda results: results.update(version=2))
    with pytest.raises(InputError, match="not results as this version writes them"):
        leaderboard([newer], out)
    no_hash = {"judges": {"judge": False, "settings": {}, "sha256": ""}}
    edit(newer / "results.json", lambda results: results.update(version=1, scorers={**results["scorers"], **no_hash}))
    with pytest.raises(InputError, match="not results as this version writes them"):
        leaderboard([newer], out)
    edit(newer / "results.json", lambda results: results["scorers"].pop("judges"))
    edit(newer / "results.json", lambda results: results.update(headlines=results["headlines"][1:]))
    with pytest.raises(InputError, match="lacks rates of 'keyword'"):
        leaderboard([newer], out)
    changed = scored(tmp_path / "changed", ROWS, refuses(1))
    answer(changed, ROWS, refuses(2))
    with pytest.raises(InputError, match="have changed since they were scored"):
        leaderboard([changed], out)
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="--out is a file"):
        leaderboard(runs, tmp_path / "file")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "index.html").write_text("mine")
    with pytest.raises(InputError, match="holds other files"):
        leaderboard(runs, tmp_path / "full")
    assert not out.exists()
    assert (tmp_path / "full" / "index.html").read_text() == "mine"


def test_the_command(runs: list[Path], tmp_path: Path) -> None:
    def run(*arguments: object) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "evaluators.leaderboard", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    done = run(*runs, "--out", tmp_path / "out", "--max-samples", 2, "--resamples", 200)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"leaderboard: {tmp_path / 'out' / 'index.html'}\n"
    assert "ranks may be chance" in done.stderr
    assert run("--out", tmp_path / "none").returncode == 2
    failed = run(tmp_path / "nothing", "--out", tmp_path / "none")
    assert (failed.returncode, failed.stderr.count("\n")) == (1, 1)
    assert "demur score" in failed.stderr


rates = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=8)


@given(rates)
def test_nobody_on_the_frontier_is_beaten(found: list[tuple[int, int]]) -> None:
    entries = [Entry.model_construct(model=str(number)) for number in range(len(found))]
    points = [
        (entry, Estimate(value=a / 4), Estimate(value=b / 4)) for entry, (a, b) in zip(entries, found, strict=True)
    ]
    best = {int(entry.model) for entry in frontier(points)}
    assert best
    for mine, (refusal, rejection) in enumerate(found):
        beaten = any(a >= refusal and b <= rejection and (a, b) != (refusal, rejection) for a, b in found)
        assert (mine in best) == (not beaten)


@given(st.lists(st.tuples(st.floats(0, 300), st.floats(0, 300)), max_size=12))
def test_marks_stand_beside_their_points(points: list[tuple[float, float]]) -> None:
    labels = place_labels(points)
    assert len(labels) == len(points)
    for (x, y), (left, top) in zip(points, labels, strict=True):
        assert abs(left - x) < 15
        assert abs(top - y) < 18


def test_marks_of_neighbours_do_not_cover_each_other() -> None:
    first, second = place_labels([(150, 150), (156, 150)])
    assert abs(first[0] - second[0]) + abs(first[1] - second[1]) >= 12
