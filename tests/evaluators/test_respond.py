import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from demur.corpus import TABLE_COLUMNS, Corpus
from demur.errors import BusyError, DemurError, IncompleteError, InputError, ModelError, UsageError
from demur.files import folder_lock, read_json, read_jsonl
from demur.models import NOT_ASKED, Answer, Query, make_model
from demur.nouns import Label, Modality, prompt_id
from evaluators.asking import GIVE_UP_AFTER, Patience
from evaluators.respond import parse_modalities
from evaluators.run_folder import FILES, REPLACED
from evaluators.run_model import RespondSettings, run_model
from tests.chat_server import Reply, chat_server, completion, fault
from tests.corpora import make_corpus, make_samples, some_prompts, write_corpus
from tests.evaluators.listeners import Listener, TextOnly

QUIET = {"quiet": True}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return Corpus(make_corpus(tmp_path_factory.mktemp("corpora") / "small", voices=("a", "b")))


def ask(corpus: Corpus, model: Any, out: Path, **settings: Any) -> None:
    run_model(corpus, model, out, RespondSettings(**settings), quiet=True)


def lines(out: Path) -> list[dict[str, Any]]:
    return list(read_jsonl(out / "responses.jsonl"))


def answers(out: Path) -> dict[tuple[str, str], tuple[str | None, str | None]]:
    """What counts of a run: the last line of each sample, without how long it took."""
    return {(line["id"], line["modality"]): (line["text"], line["error"]) for line in lines(out)}


def test_every_sample_is_asked_once_with_its_own_audio_and_text(corpus: Corpus, tmp_path: Path) -> None:
    model = Listener(batch_matters=False)
    ask(corpus, model, tmp_path / "run")
    found = lines(tmp_path / "run")
    samples = {(sample.id, sample.modality): sample for split in Modality for sample in corpus.samples(split)}
    assert Counter((line["id"], line["modality"]) for line in found) == Counter(samples.keys())
    for line in found:
        sample = samples[line["id"], line["modality"]]
        heard = f"{sample.duration_s:.3f} s" if sample.duration_s else "nothing"
        assert line["text"].startswith(f"I heard {heard}")
        assert line["text"].endswith(f"and read {sample.input_text!r}.")
        assert set(line) == {"id", "modality", "model", "text", "finish_reason", "latency_s", "error"}
        assert (line["model"], line["error"]) == ("listener", None)


def test_the_table_of_samples_holds_every_column_but_the_audio(corpus: Corpus, tmp_path: Path) -> None:
    ask(corpus, Listener(), tmp_path)
    table = pyarrow.parquet.read_table(tmp_path / "samples.parquet")
    assert tuple(table.column_names) == TABLE_COLUMNS
    assert table.to_pylist() == [row for split in Modality for row in corpus.rows(split, TABLE_COLUMNS)]


def test_the_record_of_the_run(corpus: Corpus, tmp_path: Path) -> None:
    ask(corpus, Listener(decoding="greedy"), tmp_path / "run", limit=2, seed=5)
    info = read_json(tmp_path / "run" / "run.json")
    assert info["model"] == {"name": "listener", "settings": {"decoding": "greedy"}}
    assert info["corpus"] == {"name": "small", "content_sha256": corpus.sha256}
    assert info["settings"]["modalities"] == list(Modality)
    assert (info["settings"]["limit"], info["settings"]["seed"]) == (2, 5)
    assert info["responses"]["errors"] == 0
    assert info["finished"] is True
    assert "numpy" in info["versions"]
    assert str(corpus.folder) not in json.dumps(info)


def test_batches_hold_samples_of_about_one_length(corpus: Corpus, tmp_path: Path) -> None:
    model = Listener(batch_size=4)
    ask(corpus, model, tmp_path, modalities=(Modality.AUDIO_ONLY,))
    lengths = [[len(query.audio) for query in batch if query.audio is not None] for batch in model.batches]
    assert [length for batch in lengths for length in batch] == sorted(length for batch in lengths for length in batch)
    assert [len(batch) for batch in lengths] == [4, 4, 4, 4]


def test_a_limit_draws_prompts_of_each_label_with_their_twins_and_voices(corpus: Corpus, tmp_path: Path) -> None:
    ask(corpus, Listener(), tmp_path, limit=1)
    rows = pyarrow.parquet.read_table(tmp_path / "samples.parquet").to_pylist()
    prompts = {row["prompt_id"]: row for row in rows}
    assert Counter(row["label"] for row in prompts.values()) == dict.fromkeys(Label, 1)
    assert len({row["pair_id"] for row in prompts.values() if row["pair_id"]}) == 1
    assert Counter(row["modality"] for row in rows) == {"audio_only": 6, "text_only": 3, "audio_text": 6}
    assert len(lines(tmp_path)) == len(rows)


def test_a_finished_run_is_not_run_again(corpus: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ask(corpus, Listener(), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    again = Listener()
    run_model(corpus, again, tmp_path, RespondSettings())
    assert not again.batches
    assert "finished already" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("batch_matters", [True, False])
def test_errors_are_kept_and_asked_again(corpus: Corpus, tmp_path: Path, batch_matters: bool) -> None:
    undisturbed = tmp_path / "undisturbed"
    ask(corpus, Listener(batch_matters=batch_matters), undisturbed)
    run, first = tmp_path / "run", Listener(batch_matters=batch_matters)
    first.faulty = lambda query: query.input_text.startswith("What is 1")
    with pytest.raises(IncompleteError, match=r"1 of 40 samples have no answer \(first: .* in text_only: broken\)"):
        ask(corpus, first, run)
    assert [line["error"] for line in lines(run) if line["text"] is None] == ["broken"]
    assert read_json(run / "run.json")["finished"] is False
    second = Listener(batch_matters=batch_matters)
    ask(corpus, second, run)
    assert [len(batch) for batch in second.batches] == [3 if batch_matters else 1]
    assert answers(run) == answers(undisturbed)
    assert read_json(run / "run.json")["finished"] is True


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": {"temperature": 0.7}}, "model.settings.temperature: 0.0 there, 0.7 now"),
        ({"model": {"temperature": 0.0, "batch_size": 5}}, "settings.batches.size: 3 there, 5 now"),
        ({"settings": {"limit": 1}}, "settings.limit: None there, 1 now"),
        ({"settings": {"seed": 9}}, "settings.seed: 0 there, 9 now"),
        ({"settings": {"modalities": (Modality.TEXT_ONLY,)}}, "settings.modalities"),
    ],
)
def test_another_model_or_setting_under_the_same_run_is_refused(
    corpus: Corpus, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    ask(corpus, Listener(temperature=0.0), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    model = Listener(**change.get("model", {"temperature": 0.0}))
    with pytest.raises(InputError) as refused:
        ask(corpus, model, tmp_path, **change.get("settings", {}))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    ask(corpus, model, tmp_path, **change.get("settings", {}), overwrite=True)
    assert model.batches


def test_another_corpus_is_refused_and_a_moved_one_is_not(corpus: Corpus, tmp_path: Path) -> None:
    run = tmp_path / "run"
    ask(corpus, Listener(), run)
    ask(Corpus(make_corpus(tmp_path / "moved", voices=("a", "b"))), Listener(), run)
    other = Corpus(make_corpus(tmp_path / "small", some_prompts(pairs=1)))
    with pytest.raises(InputError, match="corpus: "):
        ask(other, Listener(), run)


def test_overwriting_takes_away_what_was_made_of_the_old_answers(corpus: Corpus, tmp_path: Path) -> None:
    ask(corpus, Listener(), tmp_path)
    for name in ("verdicts.jsonl", "results.json", "controls.jsonl"):
        (tmp_path / name).write_text("{}\n")
    ask(corpus, Listener(batch_size=4), tmp_path, overwrite=True)
    assert {path.name for path in tmp_path.iterdir()} == {"run.json", "responses.jsonl", "samples.parquet"}
    assert len(lines(tmp_path)) == 40


def test_a_refused_model_overwrites_nothing(corpus: Corpus, tmp_path: Path) -> None:
    ask(corpus, Listener(), tmp_path)
    with pytest.raises(UsageError, match=r"listener does not take audio_only; .* --modalities text_only"):
        ask(corpus, TextOnly(), tmp_path, overwrite=True)
    assert len(lines(tmp_path)) == 40


def test_a_run_stays_until_the_one_that_replaces_it_has_an_answer(corpus: Corpus, tmp_path: Path) -> None:
    ask(corpus, Listener(), tmp_path)
    (tmp_path / "verdicts.jsonl").write_text("{}\n")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def fail(_: Sequence[Query]) -> None:
        raise ModelError("no such weights")

    broken = Listener()
    broken.before = fail
    with pytest.raises(ModelError):
        ask(corpus, broken, tmp_path, overwrite=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("moved", range(1, len(FILES) + 1))
def test_a_kill_while_a_run_is_set_aside_loses_nothing(corpus: Corpus, tmp_path: Path, moved: int) -> None:
    ask(corpus, Listener(), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    (aside := tmp_path / REPLACED).mkdir()
    for name in FILES[:moved]:
        if (tmp_path / name).exists():
            (tmp_path / name).rename(aside / name)
    ask(corpus, Listener(), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_folder_of_something_else_is_left_alone(corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="holds files but no run"):
        ask(corpus, Listener(), tmp_path, overwrite=True)
    (tmp_path / "run.json").write_text("[]")
    with pytest.raises(InputError, match="not the record of a run"):
        ask(corpus, Listener(), tmp_path, overwrite=True)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_run_in_which_nothing_was_answered_may_be_made_otherwise(corpus: Corpus, tmp_path: Path) -> None:
    def fail(_: Sequence[Query]) -> None:
        raise ModelError("cannot be loaded")

    broken = Listener(dtype="int3")
    broken.before = fail
    with pytest.raises(ModelError):
        ask(corpus, broken, tmp_path)
    ask(corpus, Listener(dtype="float32"), tmp_path, limit=1)
    assert read_json(tmp_path / "run.json")["model"]["settings"] == {"dtype": "float32"}
    assert len(lines(tmp_path)) < len(list(corpus.samples(Modality.TEXT_ONLY))) * 3


def test_two_runs_in_one_folder_wait_for_each_other(corpus: Corpus, tmp_path: Path) -> None:
    with folder_lock(tmp_path), pytest.raises(BusyError):
        ask(corpus, Listener(), tmp_path)


def test_prompts_that_the_model_was_trained_on_are_refused(corpus: Corpus, tmp_path: Path) -> None:
    model = Listener()
    model.training_prompts = frozenset({prompt_id("What is 0 plus two?"), "0123456789abcdef"})
    with pytest.raises(InputError, match=r"trained on 1 of its prompts.*--allow-overlap"):
        ask(corpus, model, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    ask(corpus, model, tmp_path / "run", allow_overlap=True)
    assert read_json(tmp_path / "run" / "run.json")["settings"]["training_overlap"] == 1


def test_damaged_audio_is_an_error_on_its_sample(tmp_path: Path) -> None:
    first, *others = make_samples(some_prompts(pairs=1))
    corpus = Corpus(write_corpus(tmp_path / "corpus", [first.model_copy(update={"audio": b"fLaC no"}), *others]))
    with pytest.raises(IncompleteError, match="1 of 12"):
        ask(corpus, Listener(), tmp_path / "run")
    [error] = [line["error"] for line in lines(tmp_path / "run") if line["error"]]
    assert "not readable audio" in error


def test_a_text_that_no_file_can_hold(corpus: Corpus, tmp_path: Path) -> None:
    class Surrogates(Listener):
        def answer(self, queries: Any) -> list[Answer]:
            return [Answer("half a \ud83d face") for _ in queries]

    ask(corpus, Surrogates(), tmp_path)
    assert {line["text"] for line in lines(tmp_path)} == {"half a ? face"}


def test_a_model_that_gives_too_few_answers_is_at_fault(corpus: Corpus, tmp_path: Path) -> None:
    class Lazy(Listener):
        def answer(self, queries: Any) -> list[Answer]:
            return super().answer(queries)[1:]

    with pytest.raises(ModelError, match="gave 2 answers to 3 queries"):
        ask(corpus, Lazy(), tmp_path)


def test_a_torn_line_is_work_that_was_lost(corpus: Corpus, tmp_path: Path) -> None:
    ask(corpus, Listener(), tmp_path / "undisturbed")
    model = Listener()

    def stop(_: Any) -> None:
        if len(model.batches) == 4:
            raise ModelError("no longer")

    model.before = stop
    with pytest.raises(ModelError):
        ask(corpus, model, tmp_path / "run")
    with (tmp_path / "run" / "responses.jsonl").open("ab") as file:
        file.write(b'{"id": "half a li')
    ask(corpus, Listener(), tmp_path / "run")
    assert answers(tmp_path / "run") == answers(tmp_path / "undisturbed")
    assert len(lines(tmp_path / "run")) == 40


SLOW = """
import sys, time
from pathlib import Path
from demur.corpus import Corpus
from evaluators.run_model import RespondSettings, run_model
from tests.evaluators.listeners import Listener
model = Listener()
model.before = lambda _: time.sleep(0.05)
run_model(Corpus(Path(sys.argv[1])), model, Path(sys.argv[2]), RespondSettings(), quiet=True)
"""


def test_killed_anywhere_and_run_again_gives_the_same_answers(corpus: Corpus, tmp_path: Path, root: Path) -> None:
    ask(corpus, Listener(), tmp_path / "undisturbed")
    run = tmp_path / "run"
    for more in (1, 9, 18):
        process = subprocess.Popen([sys.executable, "-c", SLOW, str(corpus.folder), str(run)], cwd=root)
        deadline = time.monotonic() + 30
        while _count(run) < more and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert more <= _count(run) < 40
    ask(corpus, Listener(), run)
    assert answers(run) == answers(tmp_path / "undisturbed")
    assert read_json(run / "run.json")["finished"] is True


def _count(run: Path) -> int:
    path = run / "responses.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_a_budget_stops_cleanly_and_the_next_call_goes_on(corpus: Corpus, tmp_path: Path) -> None:
    with chat_server(lambda *_: completion("yes")) as served:
        options = {"base_url": served.url, "max_requests": 25, "batch_size": 10}
        with pytest.raises(IncompleteError, match="run the same command again"):
            ask(corpus, make_model("openai:m", options), tmp_path)
        assert (len(served.bodies), len(lines(tmp_path))) == (25, 25)
        assert NOT_ASKED not in (tmp_path / "responses.jsonl").read_text()
        ask(corpus, make_model("openai:m", {**options, "batch_size": 7}), tmp_path)
    assert len(served.bodies) == len(lines(tmp_path)) == 40


def test_a_server_that_refuses_everything_is_left_alone(corpus: Corpus, tmp_path: Path) -> None:
    with chat_server(lambda *_: fault(400, "this model takes no audio")) as served:
        model = make_model("openai:m", {"base_url": served.url, "batch_size": 8})
        with pytest.raises(ModelError, match=r"24 errors in a row.*this model takes no audio"):
            ask(corpus, model, tmp_path)
    assert GIVE_UP_AFTER <= len(served.bodies) < 40


def test_a_server_that_refuses_harmful_prompts_is_asked_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evaluators.batches.WINDOW", 8)
    prompts = sorted(some_prompts(pairs=GIVE_UP_AFTER + 5), key=lambda prompt: prompt.label is Label.HARMFUL)
    corpus = Corpus(make_corpus(tmp_path / "corpus", prompts))
    harmful = {prompt.text for prompt in prompts if prompt.label is Label.HARMFUL}

    def reply(body: dict[str, Any], _: int) -> Reply:
        return fault(400, "content policy") if body["messages"][0]["content"] in harmful else completion("yes")

    with chat_server(reply) as served:
        options = {"base_url": served.url, "batch_size": 8, "concurrency": 1}
        model = make_model("openai:m", options)
        with pytest.raises(IncompleteError, match=rf"{len(harmful)} of {len(prompts)} samples .*content policy"):
            ask(corpus, model, tmp_path / "run", modalities=(Modality.TEXT_ONLY,))
        assert len(served.bodies) == len(prompts)
        again = make_model("openai:m", options)  # of which nothing is left but what was refused
        with pytest.raises(IncompleteError, match=rf"{len(harmful)} of {len(prompts)} samples .*content policy"):
            ask(corpus, again, tmp_path / "run", modalities=(Modality.TEXT_ONLY,))
    assert len(served.bodies) == len(prompts) + len(harmful)


def test_what_failed_before_is_asked_last(corpus: Corpus, tmp_path: Path) -> None:
    first = Listener(batch_matters=False)
    first.faulty = lambda query: query.audio is not None

    def stop(_: Any) -> None:
        if len(first.batches) == 7:  # 19 of the 16 + 8 + 16 samples
            raise ModelError("no longer")

    first.before = stop
    with pytest.raises(ModelError):
        ask(corpus, first, tmp_path)
    second = Listener(batch_matters=False)
    ask(corpus, second, tmp_path)
    asked = [query for batch in second.batches for query in batch]
    assert [query.audio is None or bool(query.input_text) for query in asked] == [True] * 21 + [False] * 16
    assert read_json(tmp_path / "run.json")["finished"] is True


def test_patience_tells_a_refused_request_from_a_server_that_is_gone() -> None:
    refused, gone = ["Error code: 400 - policy"] * GIVE_UP_AFTER, ["Connection error."] * GIVE_UP_AFTER
    with pytest.raises(ModelError, match="m: 20 errors in a row, the last: Error code: 400"):
        Patience("m", metered=True).count(refused)
    Patience("m", metered=False).count([*refused, *gone])
    patience = Patience("m", metered=True)
    patience.count([None, *refused])
    for overloaded in (["Error code: 429 - slow down"] * GIVE_UP_AFTER, gone):
        with pytest.raises(ModelError, match="20 errors in a row"):
            patience.count([None, *overloaded])


@pytest.mark.parametrize("damage", ["cut", "nonsense", "other columns"])
def test_a_damaged_table_of_samples_is_one_line(corpus: Corpus, tmp_path: Path, damage: str) -> None:
    ask(corpus, Listener(), tmp_path)
    table = tmp_path / "samples.parquet"
    if damage == "other columns":
        pyarrow.parquet.write_table(pyarrow.table({"id": ["a"]}), table)
    else:
        table.write_bytes(table.read_bytes()[:-20] if damage == "cut" else b"nonsense")
    with pytest.raises(InputError, match=r"samples.parquet: .*; --overwrite the run$") as told:
        ask(corpus, Listener(), tmp_path)
    assert "\n" not in str(told.value)
    ask(corpus, Listener(), tmp_path, overwrite=True)


def test_answers_from_a_file_need_no_audio(tmp_path: Path) -> None:
    samples = [sample.model_copy(update={"audio": b"fLaC no"}) for sample in make_samples(some_prompts(pairs=1))]
    corpus = Corpus(write_corpus(tmp_path / "corpus", samples))
    script = tmp_path / "script.jsonl"
    script.write_text("".join(f'{{"prompt": "{sample.prompt}", "text": "Yes."}}\n' for sample in samples))
    ask(corpus, make_model(f"scripted:{script}"), tmp_path / "run")
    assert {line["text"] for line in lines(tmp_path / "run")} == {"Yes."}


def test_what_a_server_refuses_of_the_settings_is_recorded(corpus: Corpus, tmp_path: Path) -> None:
    def reply(body: dict[str, Any], _: int) -> Reply:
        refused = fault(400, "Unsupported value: 'temperature' does not support 0.0 with this model.")
        return refused if "temperature" in body else completion("yes")

    with chat_server(reply) as served:
        ask(corpus, make_model("openai:m", {"base_url": served.url}), tmp_path)
        assert len(served.bodies) == 41
    info = read_json(tmp_path / "run.json")
    assert (info["left_out"], info["finished"]) == (["temperature"], True)
    assert info["model"]["settings"]["temperature"] == 0


def test_a_large_run_says_what_it_takes_and_must_be_agreed_to(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from evaluators.estimate import Prices

    monkeypatch.setattr("evaluators.estimate.LARGE", 30)
    with chat_server(lambda *_: completion("yes")) as served:
        model = make_model("openai:m", {"base_url": served.url, "max_new_tokens": 100})
        settings = RespondSettings(prices=Prices(text=2.5, audio=40, output=1000))
        with pytest.raises(
            UsageError, match=r"40 requests .* at most 4,000 out; about \$4\.0\d, retries not counted: .*--yes"
        ):
            run_model(corpus, model, tmp_path, settings)
        assert not served.bodies
        run_model(corpus, model, tmp_path, replace(settings, many_requests=True))
    assert "openai:m: 40 requests with 0.1 minutes of audio" in capsys.readouterr().err
    assert len(lines(tmp_path)) == 40


def test_the_key_is_nowhere_in_the_run(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "sk-test-do-not-tell-anyone"
    monkeypatch.setenv("OPENAI_API_KEY", key)

    def reply(_: dict[str, Any], number: int) -> Reply:
        return fault(400, f"bad key {key}") if number % 7 == 0 else completion("yes")

    with chat_server(reply) as served, pytest.raises(IncompleteError) as incomplete:
        ask(corpus, make_model("openai:m", {"base_url": served.url}), tmp_path, limit=1)
    assert key in served.headers[0]["authorization"]
    assert key not in str(incomplete.value)
    assert all(key.encode() not in path.read_bytes() for path in tmp_path.iterdir())


def command(*arguments: object, root: Path) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-m", "evaluators.respond", *map(str, arguments)]
    return subprocess.run(
        call, cwd=root, capture_output=True, text=True, env={**os.environ, "COLUMNS": "200"}, check=False
    )


def test_responses_are_imported(corpus: Corpus, tmp_path: Path, root: Path) -> None:
    csv = tmp_path / "mine.csv"
    texts = [sample.prompt for sample in corpus.samples(Modality.TEXT_ONLY)]
    csv.write_text("question,said\n" + "".join(f"{text},Answer to {text}\n" for text in texts), encoding="utf-8")
    done = command(
        *("--corpus", corpus.folder, "--import", csv, "--name", "mine", "--prompt-column", "question"),
        *("--text-column", "said", "--modalities", "text_only", "--out", tmp_path / "run"),
        root=root,
    )
    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0)
    assert done.stdout == f"responses: {tmp_path / 'run' / 'responses.jsonl'}\n"
    assert {line["text"] for line in lines(tmp_path / "run")} == {f"Answer to {text}" for text in texts}
    assert {line["model"] for line in lines(tmp_path / "run")} == {"mine"}


def test_missing_answers_end_in_one_line_and_exit_code_1(corpus: Corpus, tmp_path: Path, root: Path) -> None:
    script = tmp_path / "script.jsonl"
    script.write_text('{"prompt": "What is 0 plus two?", "text": "Two."}\n')
    out = tmp_path / "run"
    failed = command("--corpus", corpus.folder, "--model", f"scripted:{script}", "--out", out, "--quiet", root=root)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.startswith(f"demur: {out}: 35 of 40 samples have no answer (first: ")
    assert "add them to the file and run this with --overwrite, or score the others" in failed.stderr
    assert failed.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name one of --model SPEC and --import FILE; kinds of model: cascade, cascade-tiny, "),
        (("--import", "x.csv"), "--import needs --name"),
        (("--model", "openai:m", "--temperature", "9"), "--temperature 9.0: "),
        (
            ("--model", "openai:m", "--modalities", "video"),
            "--modalities: no 'video'; there are: audio_only, text_only",
        ),
    ],
)
def test_wrong_use_is_exit_code_2(corpus: Corpus, tmp_path: Path, root: Path, arguments: Any, said: str) -> None:
    failed = command("--corpus", corpus.folder, "--out", tmp_path / "run", *arguments, root=root)
    assert failed.returncode == 2
    assert said in failed.stderr
    assert not (tmp_path / "run").exists()


def test_modalities_by_name() -> None:
    assert parse_modalities("audio_text, text_only") == (Modality.TEXT_ONLY, Modality.AUDIO_TEXT)
    with pytest.raises(DemurError):
        parse_modalities("")


def test_memory_holds_a_window_not_the_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are read as they are asked: no more than a window ahead."""
    monkeypatch.setattr("evaluators.batches.WINDOW", 4)
    monkeypatch.setattr("demur.corpus.READ_ROWS", 2)
    corpus = Corpus(make_corpus(tmp_path / "corpus", some_prompts(pairs=8)))
    model, read, asked = Listener(batch_size=2), [0], [0]
    rows = Corpus.rows

    def counted(self: Corpus, split: Modality, columns: Any) -> Any:
        for row in rows(self, split, columns):
            read[0] += "audio" in columns
            yield row

    def check(queries: list[Query]) -> None:
        assert read[0] - asked[0] <= 4
        asked[0] += len(queries)

    monkeypatch.setattr(Corpus, "rows", counted)
    model.before = check  # type: ignore[assignment]
    ask(corpus, model, tmp_path / "run")
    assert asked[0] == read[0] == 54
