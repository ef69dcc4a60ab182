"""One user turn, and batches of turns with their answers."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from demur.audio import Samples

if TYPE_CHECKING:
    from torch import Tensor

MIN_AUDIO_S = 0.05
"""Shorter clips count as empty: some encoders make no frame of them."""
_IGNORED = -100
"""A label that takes no part in the loss."""


@dataclass(frozen=True)
class Turn:
    """One user turn, as a model is asked it."""

    audio: Samples | None = None
    """Mono float32 at the model's `sample_rate`."""
    text: str = ""
    """The instruction or the question; "" where the audio says it all."""
    system: str | None = None
    """A system prompt in place of the family's default."""
    messages: tuple[Mapping[str, str], ...] = ()
    """A whole conversation, each message with `role` and `content`, in place of all the above."""
    answer: str | None = None
    """The assistant's answer, for teacher forcing; None ends the turn at the generation prompt."""


def fault(turn: Turn, rate: int) -> str | None:
    """Why a turn cannot be asked, whatever the model."""
    if turn.audio is None:
        return None if turn.text or turn.messages else "the turn has neither audio nor text"
    if len(turn.audio) < MIN_AUDIO_S * rate:
        return f"the audio is empty ({len(turn.audio) / rate:.3f} s)"
    return None if np.isfinite(turn.audio).all() else "the audio holds values that are not numbers"


def size_of(turn: Turn) -> tuple[int, int]:
    """What turns are sorted by, so that little is padded."""
    letters = len(turn.text) + sum(len(message["content"]) for message in turn.messages)
    return 0 if turn.audio is None else len(turn.audio), letters


def name_of(turn: Turn) -> str:
    """Tells one turn from another, for the seed of a draw."""
    sound = "" if turn.audio is None else hashlib.sha256(turn.audio.tobytes()).hexdigest()
    said = (part for message in turn.messages for part in (message["role"], message["content"]))
    return "\x1e".join((turn.system or "", turn.text, sound, *said))


def kinds_of(places: Sequence[int], turns: Sequence[Turn], *, mixed: bool) -> Iterator[list[int]]:
    """Places of turns that may be asked together: all of them, or those without audio and those with."""
    if mixed:
        yield list(places)
        return
    for heard in (False, True):
        yield [place for place in places if (turns[place].audio is not None) is heard]


def with_answers(batch: "Mapping[str, Tensor]", ends: Sequence[Sequence[int]], *, pad: int) -> "dict[str, Tensor]":
    """A left-padded batch of prompts with an answer's tokens after each, padded anew, and `labels` [B, T].

    Answers are tokenized apart from the prompts: so a prompt's tokens are those that generation sees.
    """
    import torch

    shape = batch["input_ids"].shape
    rows: list[dict[str, Tensor]] = []
    for number, end in enumerate(ends):
        start = shape[1] - int(batch["attention_mask"][number].sum())
        tail = torch.tensor(end)
        fill = {"input_ids": tail, "attention_mask": torch.ones_like(tail)}
        row = {
            name: torch.cat([value[number, start:], fill.get(name, torch.zeros_like(tail))])
            for name, value in batch.items()
            if value.shape == shape and "feature" not in name  # a mask of as many frames as there are tokens
        }
        rows.append({**row, "labels": torch.cat([torch.full((shape[1] - start,), _IGNORED), tail])})
    longest = max(len(row["labels"]) for row in rows)
    pads = {"input_ids": pad, "labels": _IGNORED}
    padded = {name: torch.stack([_pad_left(row[name], longest, pads.get(name, 0)) for row in rows]) for name in rows[0]}
    return {**batch, **padded}


def _pad_left(row: "Tensor", length: int, fill: int) -> "Tensor":
    from torch.nn.functional import pad

    return pad(row, (length - len(row), 0), value=fill)
