from pathlib import Path

import pytest

from demur.errors import ModelError
from demur.models.text_lm import TextLM, find_folder, fingerprint
from tests.tiny_lm import make_tiny_lm

pytest.importorskip("transformers")
QUESTIONS = ["Hi?", "How do I whittle a spoon?", "What is the tallest tree that was ever measured?"]


def chats(*questions: str) -> list[list[dict[str, str]]]:
    return [[{"role": "user", "content": question}] for question in questions]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_lm(tmp_path_factory.mktemp("lm"))


def test_the_same_batch_gives_the_same_answers(folder: Path) -> None:
    first = TextLM(folder, max_new_tokens=12).generate(chats(*QUESTIONS))
    assert first == TextLM(folder, max_new_tokens=12).generate(chats(*QUESTIONS))
    assert {answer.finish_reason for answer in first} == {"length"}
    assert len({answer.text for answer in first}) == 3


def test_alone_or_in_a_batch_the_answers_are_the_same_in_float32(folder: Path) -> None:
    lm = TextLM(folder, max_new_tokens=12, dtype="float32")
    assert lm.generate(chats(*QUESTIONS)) == [lm.generate(chats(question))[0] for question in QUESTIONS]


def test_a_temperature_draws_by_the_batch_alone(folder: Path) -> None:
    import torch

    hot = TextLM(folder, max_new_tokens=12, temperature=1.5)
    first = hot.generate(chats(*QUESTIONS))
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    assert hot.generate(chats(*QUESTIONS)) == first
    assert torch.equal(torch.random.get_rng_state(), before)
    assert first != TextLM(folder, max_new_tokens=12).generate(chats(*QUESTIONS))


def test_a_stop_token_ends_an_answer_and_is_no_part_of_it(tmp_path: Path, folder: Path) -> None:
    [unstopped] = TextLM(folder, max_new_tokens=12, dtype="float32").generate(chats(QUESTIONS[0]))
    stopping = make_tiny_lm(tmp_path, eos_token_id=list(range(2, 200)))
    [answer] = TextLM(stopping, max_new_tokens=12, dtype="float32").generate(chats(QUESTIONS[0]))
    assert answer.finish_reason == "stop"
    assert str(unstopped.text).startswith(str(answer.text))
    assert len(str(answer.text)) < len(str(unstopped.text))


def test_what_a_checkpoint_suggests_for_decoding_is_left_aside(tmp_path: Path, folder: Path) -> None:
    advised = make_tiny_lm(tmp_path, do_sample=True, temperature=2.0, repetition_penalty=5.0)
    greedy = TextLM(folder, max_new_tokens=12).generate(chats(*QUESTIONS))
    assert TextLM(advised, max_new_tokens=12).generate(chats(*QUESTIONS)) == greedy


def test_a_prompt_too_long_for_the_context_is_an_error_on_it_alone(tmp_path: Path) -> None:
    lm = TextLM(make_tiny_lm(tmp_path, context=64), max_new_tokens=8)
    short, long = lm.generate(chats("Hi?", "Hi? " * 30))
    assert short.text is not None
    assert long.text is None
    assert "64 tokens" in str(long.error)


def test_folders_that_hold_no_chat_model(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="no tokenizer"):
        TextLM(tmp_path / "empty").generate(chats("Hi?"))
    with pytest.raises(ModelError, match="no chat template"):
        TextLM(make_tiny_lm(tmp_path / "base", template=None)).generate(chats("Hi?"))


def test_pickled_weights_are_not_loaded(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    folder = make_tiny_lm(tmp_path)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="safetensors"):
        TextLM(folder).generate(chats("Hi?"))


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
