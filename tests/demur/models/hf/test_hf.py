"""`hf:` as `demur respond` uses it: whole runs over a small spoken corpus with tiny models."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from demur.audio import resample
from demur.corpus import Corpus
from demur.errors import ModelError, UsageError
from demur.files import read_json, read_jsonl
from demur.models import Query, make_model
from demur.models.hf.hf import HFModel
from demur.models.hf.lalm import LALM, Turn, load_lalm
from demur.nouns import Modality
from evaluators.respond import app
from evaluators.run_model import RespondSettings, run_model
from tests.corpora import make_corpus, some_prompts
from tests.tiny_lalm import RATE, tone

Folder = Callable[[str], Path]
Load = Callable[[str], LALM]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of some 0.1 s."""
    return make_corpus(tmp_path_factory.mktemp("corpora") / "c", some_prompts(2, 1))


def make(folder: Path, **options: Any) -> HFModel:
    model = make_model(f"hf:{folder}", {"dtype": "float32", "max_new_tokens": 4, **options})
    assert isinstance(model, HFModel)
    return model


def respond(*flags: object) -> Any:
    return CliRunner().invoke(app, [str(flag) for flag in flags])


def test_a_run_from_the_command_line(corpus: Path, tiny_folder: Folder, tmp_path: Path) -> None:
    folder, out = tiny_folder("qwen2_audio"), tmp_path / "run"
    flags = ["--corpus", corpus, "--model", f"hf:{folder}", "--out", out, "--quiet", "--batch-size", "auto"]
    flags += ["--device", "cpu", "--dtype", "float32", "--max-new-tokens", 3]
    done = respond(*flags)
    assert done.exit_code == 0, done.exception
    lines = list(read_jsonl(out / "responses.jsonl"))
    assert len(lines) == 3 * 5
    assert {line["error"] for line in lines} == {None}
    assert {line["modality"] for line in lines} == set(Modality)
    run = read_json(out / "run.json")
    assert run["model"]["name"] == "hf:tiny-qwen2_audio"
    assert run["settings"]["batches"]["size"] == 64
    assert {"model_type": "qwen2_audio", "dtype": "float32", "max_new_tokens": 3}.items() <= run["model"][
        "settings"
    ].items()
    assert respond(*flags[:-1], 4).exception.args[0].count("max_new_tokens: 3 there, 4 now") == 1


def test_the_same_question_in_text_and_in_sound_gets_other_answers(tiny_folder: Folder) -> None:
    model = make(tiny_folder("audioflamingo3"), max_new_tokens=8)
    queries = [Query(None, 0, "Answer."), Query(tone(300), RATE, "Answer."), Query(tone(1500), RATE, "Answer.")]
    assert len({answer.text for answer in model.answer(queries)}) == 3


def test_sound_at_another_rate_is_brought_to_the_model_s(tiny_folder: Folder) -> None:
    model = make(tiny_folder("audioflamingo3"))
    low = resample(tone(300), RATE, 8_000)
    assert model.answer([Query(low, 8_000, "x")]) == model.answer([Query(resample(low, 8_000, RATE), RATE, "x")])


def test_a_text_model_is_refused_sound_before_any_work(corpus: Path, tiny_folder: Folder, tmp_path: Path) -> None:
    model = make(tiny_folder("text"))
    assert model.modalities == {Modality.TEXT_ONLY}
    with pytest.raises(UsageError, match="does not take audio_only"):
        run_model(Corpus(corpus), model, tmp_path / "run", RespondSettings(), quiet=True)
    assert not (tmp_path / "run").exists()
    assert "lalm" not in vars(model)
    only_text = RespondSettings(modalities=(Modality.TEXT_ONLY,))
    run_model(Corpus(corpus), model, tmp_path / "run", only_text, quiet=True)
    assert read_json(tmp_path / "run" / "run.json")["finished"]


def test_audio_that_is_too_long_is_cut_and_the_record_says_so(load: Load) -> None:
    lalm = load("qwen2_audio")
    long = np.concatenate([tone(300, 2.0), tone(900, 1.0)])
    short, cut = lalm.generate([Turn(tone(300, 2.0), "x"), Turn(long, "x")], max_new_tokens=4)
    assert short.text == cut.text
    assert short.finish_reason in {"length", "stop"}
    assert cut.finish_reason == f"{short.finish_reason}; audio cut at 2 s"


@pytest.mark.parametrize("model_type", ["qwen2_audio", "audioflamingo3"])
def test_what_is_wrong_with_one_turn_is_an_error_on_it_alone(load: Load, model_type: str) -> None:
    nothing, noise = np.zeros(0, np.float32), tone(300)
    noise[7] = np.nan
    lalm = load(model_type)
    asked = [Turn(nothing, "x"), Turn(tone(300), "x"), Turn(noise), Turn(text="x" * 2000), Turn(), Turn(text="Hi?")]
    empty, fine, broken, long, silent, plain = lalm.generate(asked, max_new_tokens=4)
    assert empty.error == "the audio is empty (0.000 s)"
    assert broken.error == "the audio holds values that are not numbers"
    assert "no room for an answer in 1024 tokens" in str(long.error)
    assert silent.error == "the turn has neither audio nor text"
    assert [fine] == lalm.generate([asked[1]], max_new_tokens=4)
    assert plain.text is not None


def test_a_text_model_s_turn_with_audio(load: Load) -> None:
    [answer] = load("text").generate([Turn(tone(300))], max_new_tokens=4)
    assert answer.error == "a text model cannot hear"


def test_out_of_memory_halves_the_batch_and_goes_on(tiny_folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    lalm = load_lalm(tiny_folder("qwen2_audio"), dtype="float32")
    turns = [Turn(tone(200 + 100 * number, 0.5 + number / 10), "x") for number in range(7)]
    whole = lalm.generate(turns, max_new_tokens=4)
    generate, sizes = lalm.model.generate, []

    def small(**batch: Any) -> Any:
        sizes.append(len(batch["input_ids"]))
        if sizes[-1] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return generate(**batch)

    monkeypatch.setattr(lalm.model, "generate", small)
    assert lalm.generate(turns, max_new_tokens=4) == whole
    assert sizes == [7, 3, 1, 1, 1, 1, 1, 1, 1]
    assert lalm.generate(turns[:3], max_new_tokens=4) == whole[:3]
    assert sizes[9:] == [1, 1, 1]
    assert lalm.fits_memory == 1


def test_a_run_says_how_many_fit_memory(tiny_folder: Folder, corpus: Path, tmp_path: Path) -> None:
    model, settings = make(tiny_folder("qwen2_audio")), RespondSettings()
    run_model(Corpus(corpus), model, tmp_path / "whole", settings, quiet=True)
    assert "fits_memory" not in read_json(tmp_path / "whole" / "run.json")
    generate = model.lalm.model.generate

    def small(**batch: Any) -> Any:
        if len(batch["input_ids"]) > 1:
            raise MemoryError
        return generate(**batch)

    model.lalm.model.generate = small
    run_model(Corpus(corpus), model, tmp_path / "halved", settings, quiet=True)
    assert read_json(tmp_path / "halved" / "run.json")["fits_memory"] == 1


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        MemoryError(),
    ],
)
def test_one_turn_that_fits_no_memory_is_an_error_on_it(
    load: Load, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def never(**_batch: Any) -> Any:
        raise error

    lalm = load("text")
    monkeypatch.setattr(lalm.model, "generate", never)
    assert [answer.error for answer in lalm.generate([Turn(text="a"), Turn(text="b")], max_new_tokens=4)] == [
        "out of memory on this turn alone"
    ] * 2


@pytest.mark.parametrize("kind", [ValueError, RuntimeError])
def test_a_turn_that_breaks_a_batch_is_an_error_on_it_alone(
    load: Load, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    lalm = load("text")
    encode = lalm.family.encode

    def picky(lalm: LALM, conversations: Any) -> Any:
        if "odd" in str(conversations):
            raise kind("odd turns\nare not encoded")
        return encode(lalm, conversations)

    fine = lalm.generate([Turn(text="a"), Turn(text="b")], max_new_tokens=4)
    monkeypatch.setattr(lalm, "family", replace(lalm.family, encode=picky))
    first, odd, last = lalm.generate([Turn(text="a"), Turn(text="odd"), Turn(text="b")], max_new_tokens=4)
    assert [first, last] == fine
    assert odd.error == "the model cannot take this turn (odd turns are not encoded)"


def test_a_temperature_draws_by_the_batch_alone(load: Load) -> None:
    lalm, turns = load("audioflamingo3"), [Turn(tone(300), "x"), Turn(tone(600), "x")]
    hot = lalm.generate(turns, max_new_tokens=8, temperature=1.5)
    before = torch.random.get_rng_state()
    assert lalm.generate(turns, max_new_tokens=8, temperature=1.5) == hot
    assert torch.equal(torch.random.get_rng_state(), before)
    assert hot != lalm.generate(turns, max_new_tokens=8)
    assert hot != lalm.generate(turns, max_new_tokens=8, temperature=1.5, seed=1)
    assert make_model("cascade-tiny", {"seed": 1}).settings == make_model("cascade-tiny").settings
    hot_model = make_model("cascade-tiny", {"seed": 1, "temperature": 1.0})
    assert hot_model.settings["seed"] == 1  # where it changes answers


def test_a_run_s_seed_draws_other_answers(tiny_folder: Folder, corpus: Path, tmp_path: Path) -> None:
    said = {}
    for name, seed in (("one", 1), ("again", 1), ("two", 2)):
        arguments = ["--corpus", corpus, "--model", f"hf:{tiny_folder('qwen2_audio')}", "--dtype", "float32"]
        arguments += ["--temperature", 1.5, "--max-new-tokens", 6, "--seed", seed, "--out", tmp_path / name, "--quiet"]
        assert CliRunner().invoke(app, list(map(str, arguments))).exit_code == 0
        said[name] = [line["text"] for line in read_jsonl(tmp_path / name / "responses.jsonl")]
    assert said["one"] == said["again"] != said["two"]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"batch_size": "many"}, "--batch-size 'many'"),
        ({"batch_size": 0}, "--batch-size 0"),
        ({"dtype": "int8"}, "--dtype 'int8'"),
        ({"concurrency": 3}, "takes no --concurrency"),
        ({"revision": "main"}, "--revision is of a Hub repository"),
    ],
)
def test_options_that_cannot_work(tiny_folder: Folder, options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        make_model(f"hf:{tiny_folder('text')}", options)


def test_a_device_that_is_not_there(tiny_folder: Folder) -> None:
    for device in ("cuda:7", "abacus"):
        with pytest.raises(ModelError, match=f"--device {device}"):
            make(tiny_folder("text"), device=device).answer([Query(None, 0, "Hi?")])


def test_hf_without_a_name() -> None:
    with pytest.raises(UsageError, match="hf:REPO_OR_PATH"):
        make_model("hf")


def test_a_folder_that_holds_no_model_is_refused_when_made(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no transformers model"):
        make_model(f"hf:{tmp_path}")
