import itertools
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers.models.audioflamingo3.modeling_audioflamingo3 import AudioFlamingo3Encoder

from demur.tiny.connector import (
    Example,
    Spelling,
    asked_to_answer,
    asked_to_repeat,
    batches,
    lesson_loss,
    pieces,
    spelt,
    states_of,
    warped,
)
from demur.tiny.language import END_OF_TURN
from demur.tiny.texts import ANSWER


@given(st.integers(4, 1500))
def test_states_are_counted_as_the_encoder_counts_them(frames: int) -> None:
    counted = AudioFlamingo3Encoder._get_feat_extract_output_lengths(None, torch.tensor(frames))  # type: ignore[arg-type]
    assert states_of(frames) == int(counted[1])


def test_every_example_comes_once_an_epoch_with_its_like() -> None:
    lengths = [int(n) for n in np.random.default_rng(0).integers(100, 800, 640)]
    epoch = list(itertools.islice(batches(lengths, 16, seed=0), 40))
    assert sorted(place for batch in epoch for place in batch) == list(range(640))
    spread = [max(lengths[n] for n in batch) - min(lengths[n] for n in batch) for batch in epoch]
    assert np.median(spread) < 40
    assert list(itertools.islice(batches(lengths, 16, seed=0), 40)) == epoch
    assert list(itertools.islice(batches(lengths, 16, seed=1), 40)) != epoch


@given(st.floats(0.88, 1.12), st.integers(20, 60))
def test_warping_moves_a_tone_to_another_place(by: float, tone: int) -> None:
    mel = np.zeros((5, 80), np.float16)
    mel[:, tone] = 1
    heard = warped(mel, by)
    assert heard.shape == mel.shape
    assert 0.4 < heard.max() <= 1  # a tone between two places is shared by them
    assert (heard == heard[0]).all()
    assert abs(int(heard[0].argmax()) - tone / by) <= 1
    assert np.array_equal(warped(mel, 1.0), mel)


def test_what_was_to_be_answered_is_also_to_be_repeated() -> None:
    def tokens(text: str, *, add_special_tokens: bool) -> dict[str, list[int]]:
        assert text.startswith("\n")
        assert not add_special_tokens
        return {"input_ids": [len(text)]}

    answered, repeated = example((5, 6), exact=False), example((1, 0), exact=True)
    (again,) = asked_to_repeat([answered, repeated], tokens)
    assert again.mel is answered.mel
    assert (again.said, again.answer, again.exact) == (answered.said, (*answered.said, END_OF_TURN), True)
    assert len(again.instruction) == 1


def test_an_instruction_that_changes_nothing_stands_beside_what_had_none() -> None:
    def tokens(text: str, *, add_special_tokens: bool) -> dict[str, list[int]]:
        return {"input_ids": [ord(letter) for letter in text]}

    def asked(instruction: str) -> Example:
        return replace(example((5, 6), exact=False), instruction=tuple(map(ord, instruction)))

    bare, heeded, vague = asked(""), asked("\nAnswer briefly."), asked(f"\n{ANSWER[1]}")
    *kept, again = asked_to_answer([bare, heeded, vague], tokens)
    assert kept == [bare, heeded]
    assert (again.answer, again.heeded) == (bare.answer, False)
    assert "".join(map(chr, again.instruction)) == f"\n{ANSWER[0]}"


def example(answer: tuple[int, ...], *, exact: bool) -> Example:
    return Example(np.zeros((8, 80), np.float16), (1,), (), (), answer, exact)


def test_the_loss_of_a_lesson() -> None:
    """By hand: cross-entropy where the answer is exact, divergence from the teacher elsewhere, per token."""
    batch = [example((2, 0), exact=True), example((1, 1, 1), exact=False)]
    draw = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(5, 4, generator=draw), torch.randn(3, 4, generator=draw)
    p, q = teacher.double().softmax(-1).numpy(), student[2:].double().softmax(-1).numpy()
    divergence = (p * (np.log(p) - np.log(q))).sum()
    wanted = student[:2].double().log_softmax(-1).numpy()
    expected = (-wanted[0, 2] - wanted[1, 0] + divergence) / 5
    assert float(lesson_loss(student, batch, lambda _: teacher)) == pytest.approx(expected, rel=1e-5)


def test_a_student_like_its_teacher_has_nothing_to_learn() -> None:
    logits = torch.randn(3, 6)
    assert float(lesson_loss(logits, [example((1, 2, 3), exact=False)], lambda _: logits)) == pytest.approx(0, abs=1e-6)


def test_states_learn_to_spell() -> None:
    """States that are free to move become what is said, and are read as it."""
    torch.manual_seed(0)
    embedding = torch.nn.functional.normalize(torch.randn(50, 16), dim=-1) * 3
    spelling = Spelling(embedding, {f"piece {token}": token for token in range(2, 40)}, "cpu")
    said = [(7, 7, 9), (3,)]
    states = [torch.randn(12, 16, requires_grad=True), torch.randn(6, 16, requires_grad=True)]
    optimizer = torch.optim.Adam([*states, spelling.blank], lr=0.1)
    for _ in range(150):
        loss = spelling(states, said)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert [tuple(spelling.read(state)) for state in states] == said


class Letters:
    """A tokenizer whose tokens are letters and a few pairs of them."""

    def get_vocab(self) -> dict[str, int]:
        letters = "abcdefghijklmnopqrstuvwxyz'"
        tokens = [*letters, *(f"Ġ{letter}" for letter in letters), "Ġth", "er", "in", "Ġthe", "ing", "T", "!", "é"]
        return {token: place for place, token in enumerate(tokens)}


@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyzTHE' ,.!-", max_size=60))
def test_pieces_spell_every_word(text: str) -> None:
    inventory = pieces(Letters())
    assert not {" the", "ing", "T", "!", "é"} & set(inventory)
    named = {number: piece for piece, number in inventory.items()}
    spelling = "".join(named[number] for number in spelt(text, inventory))
    assert spelling.split() == re.findall(r"[a-z']+", text.lower())
