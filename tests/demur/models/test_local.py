"""Text models from a local folder, as cascades and local judges ask them, and how a folder is found and told apart."""

from pathlib import Path
from typing import Any

import pytest

from demur.errors import ModelError
from demur.models import Answer
from demur.models.hf.lalm import Turn, load_lalm
from demur.models.local import find_folder, fingerprint
from tests.tiny_lm import make_tiny_lm

pytest.importorskip("transformers")
QUESTIONS = ["Hi?", "How do I whittle a spoon?", "What is the tallest tree that was ever measured?"]


def ask(folder: Path, *questions: str, dtype: str = "bfloat16", **decoding: Any) -> list[Answer]:
    turns = [Turn(messages=({"role": "user", "content": question},)) for question in questions]
    return load_lalm(folder, dtype=dtype).generate(turns, **{"max_new_tokens": 12, **decoding})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_lm(tmp_path_factory.mktemp("lm"))


def test_the_same_batch_gives_the_same_answers(folder: Path) -> None:
    first = ask(folder, *QUESTIONS)
    assert first == ask(folder, *QUESTIONS)
    assert {answer.finish_reason for answer in first} == {"length"}
    assert len({answer.text for answer in first}) == 3


def test_alone_or_in_a_batch_the_answers_are_the_same_in_float32(folder: Path) -> None:
    alone = [ask(folder, question, dtype="float32")[0] for question in QUESTIONS]
    assert ask(folder, *QUESTIONS, dtype="float32") == alone


def test_a_temperature_draws_by_the_batch_alone(folder: Path) -> None:
    import torch

    first = ask(folder, *QUESTIONS, temperature=1.5)
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    assert ask(folder, *QUESTIONS, temperature=1.5) == first
    assert torch.equal(torch.random.get_rng_state(), before)
    assert first != ask(folder, *QUESTIONS)


def test_a_stop_token_ends_an_answer_and_is_no_part_of_it(tmp_path: Path, folder: Path) -> None:
    [unstopped] = ask(folder, QUESTIONS[0], dtype="float32")
    stopping = make_tiny_lm(tmp_path, eos_token_id=list(range(2, 200)))
    [answer] = ask(stopping, QUESTIONS[0], dtype="float32")
    assert answer.finish_reason == "stop"
    assert str(unstopped.text).startswith(str(answer.text))
    assert len(str(answer.text)) < len(str(unstopped.text))


def test_what_a_checkpoint_suggests_for_decoding_is_left_aside(tmp_path: Path, folder: Path) -> None:
    advised = make_tiny_lm(tmp_path, do_sample=True, temperature=2.0, repetition_penalty=5.0)
    assert ask(advised, *QUESTIONS) == ask(folder, *QUESTIONS)


def test_a_prompt_too_long_for_the_context_is_an_error_on_it_alone(tmp_path: Path) -> None:
    short, long = ask(make_tiny_lm(tmp_path, context=64), "Hi?", "Hi? " * 30, max_new_tokens=8)
    assert short.text is not None
    assert long.text is None
    assert "64 tokens" in str(long.error)


def test_a_whole_conversation_is_asked_as_it_stands(folder: Path) -> None:
    lm = load_lalm(folder, dtype="float32")
    asked, told = {"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Hello."}
    long, short, text = (
        lm.encode([turn])["input_ids"].tolist()
        for turn in (Turn(messages=(asked, told, asked)), Turn(messages=(asked,)), Turn(text="Hi?"))
    )
    assert short == text
    assert len(long[0]) > len(short[0])


def test_folders_that_hold_no_chat_model(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="no transformers model"):
        ask(tmp_path / "empty", "Hi?")
    for number, template in enumerate((None, "")):
        with pytest.raises(ModelError, match="no chat template"):
            ask(make_tiny_lm(tmp_path / f"base-{number}", template=template), "Hi?")
    with pytest.raises(ModelError, match="chat template cannot be used"):
        ask(make_tiny_lm(tmp_path / "torn", template="{% for message in messages %}{{ mess"), "Hi?")


def test_pickled_weights_are_not_loaded(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    folder = make_tiny_lm(tmp_path)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="safetensors"):
        ask(folder, "Hi?")


def test_a_model_is_found_by_path_and_never_downloaded_unasked(folder: Path) -> None:
    assert find_folder(str(folder)) == folder
    for name in ("nobody/no-such-model", "not a name at all!"):
        with pytest.raises(ModelError, match="--download"):
            find_folder(name)


def test_a_fingerprint_tells_changed_files(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    (tmp_path / "config.json").write_text("{}")
    weights.write_bytes(bytes(3 << 20))
    first = fingerprint(tmp_path)
    assert fingerprint(tmp_path) == first
    changed = bytearray(3 << 20)
    changed[123_457] = 1
    weights.write_bytes(changed)
    second = fingerprint(tmp_path)
    (tmp_path / "config.json").write_text("{ }")
    assert len({first, second, fingerprint(tmp_path)}) == 3
