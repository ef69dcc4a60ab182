"""Teaching SmolLM2 to hear: the connector, and the encoder below it, learn to say in sound what a text would say.

Two stages, each of which comes twice, the second time with everyday words too:

1. `spell`: connectionist temporal classification against the language model's own token embeddings E: the logit of
   token v at a state z is z . E_v, and of "nothing here" z . b + c with b and c learnt. A state learns to look like the
   embedding of what is being said, without a pass through the language model. What is said is spelt in pieces of at
   most two letters (`spelt`): whole words are too many to be learnt from a few hours of speech, pieces are not.
2. `answer`: the language model reads the sound and must say what it says to the text: Kullback-Leibler divergence from
   its own distribution over the answer's tokens (Hinton, Vinyals and Dean 2015, temperature 1), cross-entropy where the
   answer is the sentence itself, and three tenths of stage 1's loss. A small LoRA learns to read the states; on text it
   is held to what was said without it.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from demur.seeds import derive_seed
from demur.tiny.language import ASSISTANT, END_OF_TURN, USER
from demur.tiny.model import window
from demur.tiny.speech import WINDOW_S, Mel
from demur.tiny.texts import ANSWER, ANSWER_TOKENS, REPEAT

if TYPE_CHECKING:
    from torch import Tensor

PIECE = 2
"""Letters in a piece, at most."""
SPELL_WEIGHT = 0.3
"""Of stage 1's loss in stage 2: with less, voices that were never heard are spelt worse after it than before."""
MOST_WARP = 0.12
"""Of the frequency axis, in training."""
BUCKET = 32
"""Batches whose clips are sorted by length together, so that a batch holds clips of about one length."""
FRAMES_STEP, TOKENS_STEP = 64, 16
"""Mel frames and tokens are padded to a multiple: on a CPU each new shape of a product is compiled, and kept."""
MOST_FRAMES = 100 * WINDOW_S
"""That the encoder takes."""
SLACK = 2
"""Mel frames that a clip has beyond its sound, see `speech.to_mel`."""


@dataclass(frozen=True)
class Example:
    """One clip and what goes with it, as token ids."""

    mel: Mel
    said: tuple[int, ...]
    """As the language model reads it."""
    spelt: tuple[int, ...]
    """In pieces."""
    instruction: tuple[int, ...]
    """What stands after the sound, with the line break before it; empty without one."""
    answer: tuple[int, ...]
    exact: bool
    """Whether the answer is wanted word for word, as where the sentence is repeated."""
    heeded: bool = True
    """Whether the answer depends on the instruction; else it is the one to the sentence alone."""


def examples(lessons: Sequence[Mapping[str, Any]], clips: Sequence[Mel], tokenizer: Any) -> list[Example]:
    """Lessons and their clips, in order."""

    def ids(text: str) -> tuple[int, ...]:
        return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])

    inventory = pieces(tokenizer)
    found = []
    for lesson, mel in zip(lessons, clips, strict=True):
        answer = ids(lesson["answer"])
        ended = (END_OF_TURN,) if len(answer) < ANSWER_TOKENS or lesson["answer"] == lesson["text"] else ()
        instruction = ids("\n" + lesson["instruction"]) if lesson["instruction"] else ()
        said, spelling = ids(lesson["text"]), spelt(lesson["text"], inventory)
        exact, heeded = lesson["answer"] == lesson["text"], lesson.get("heeded", True)
        found.append(Example(mel, said, spelling, instruction, answer + ended, exact, heeded))
    return found


def asked_to_repeat(lessons: Sequence[Example], tokenizer: Any) -> list[Example]:
    """The clips of lessons that ask for an answer, each to be repeated instead."""
    asks = _beside(REPEAT, tokenizer)
    answered = [one for one in lessons if not one.exact]
    return [
        replace(one, instruction=asks[place % len(asks)], answer=(*one.said, END_OF_TURN), exact=True)
        for place, one in enumerate(answered)
    ]


def asked_to_answer(lessons: Sequence[Example], tokenizer: Any) -> list[Example]:
    """Lessons anew: those without an instruction come again with one that asks for no more than the answer.

    Those that had such an instruction, and SmolLM2's own answer to it, are left out.
    """
    asks = _beside(ANSWER, tokenizer)
    kept = [one for one in lessons if one.instruction not in asks]
    bare = [one for one in kept if not one.instruction]
    return [*kept, *(replace(one, instruction=asks[n % len(asks)], heeded=False) for n, one in enumerate(bare))]


def _beside(instructions: Sequence[str], tokenizer: Any) -> list[tuple[int, ...]]:
    return [tuple(tokenizer(f"\n{one}", add_special_tokens=False)["input_ids"]) for one in instructions]


def pieces(tokenizer: Any) -> dict[str, int]:
    """The vocabulary's tokens of one or two letters, by their text; a space before them where they begin a word."""
    pattern = re.compile(rf"Ġ?[a-z']{{1,{PIECE}}}")
    return {
        token.replace("Ġ", " "): number for token, number in tokenizer.get_vocab().items() if pattern.fullmatch(token)
    }


def spelt(text: str, inventory: Mapping[str, int]) -> tuple[int, ...]:
    """Each word cut into the longest pieces, from its start; case and punctuation are left out.

    >>> spelt("Where, then?", {" wh": 1, "er": 2, "e": 3, " t": 4, " th": 5, "en": 6})
    (1, 2, 3, 5, 6)
    """
    found = []
    for word in re.findall(r"[a-z']+", text.lower()):
        rest = f" {word}"
        while rest:
            most = PIECE + rest.startswith(" ")
            piece = next(rest[:n] for n in range(most, 0, -1) if rest[:n] in inventory)
            found.append(inventory[piece])
            rest = rest[len(piece) :]
    return tuple(found)


def batches(lengths: Sequence[int], size: int, seed: int) -> Iterator[list[int]]:
    """Places of examples, batch after batch without end: each epoch in a new order, clips of like length together."""
    epoch, size = 0, min(size, len(lengths))
    while True:
        draw = np.random.default_rng(derive_seed("batches", seed, epoch))
        order = draw.permutation(len(lengths))
        whole = []
        for start in range(0, len(order), size * BUCKET):
            chunk = sorted(order[start : start + size * BUCKET], key=lambda place: lengths[place])
            whole += [chunk[n : n + size] for n in range(0, len(chunk) - size + 1, size)]
        for n in draw.permutation(len(whole)):
            yield [int(place) for place in whole[n]]
        epoch += 1


def hear(model: Any, mels: Sequence[Mel], draw: np.random.Generator | None = None) -> "list[Tensor]":
    """States of each clip in the language model's space, [T/4, 576]; with `draw`, warped and masked."""
    import torch

    device = model.device
    frames = max(len(mel) for mel in mels)
    frames = min(frames + -frames % FRAMES_STEP, MOST_FRAMES)
    features = torch.stack([torch.from_numpy(_padded(mel, frames, draw)) for mel in mels]).to(device)
    sounding = torch.tensor([len(mel) - SLACK for mel in mels], device=device)
    mask = (torch.arange(frames, device=device) < sounding[:, None]).long()
    with window(model.model.audio_tower, frames), torch.autocast(device.type, torch.bfloat16):
        states = model.get_audio_features(features.transpose(1, 2), mask).pooler_output
    counts = [states_of(len(mel) - SLACK) for mel in mels]
    return list(states.float().split(counts))


def states_of(frames: int) -> int:
    """How many states the encoder makes of so many mel frames."""
    return ((frames - 1) // 2 + 1 - 2) // 2 + 1


def _padded(mel: Mel, frames: int, draw: np.random.Generator | None) -> Any:
    """With its own silence up to `frames`; with `draw`, warped, then masked in time and frequency (SpecAugment)."""
    silence = float(mel.min())
    padded = np.full((frames, mel.shape[1]), silence, np.float32)
    padded[: len(mel)] = mel if draw is None else warped(mel, 1 + draw.uniform(-MOST_WARP, MOST_WARP))
    if draw is not None:
        for _ in range(2):
            width = int(draw.integers(0, max(2, min(25, len(mel) // 12))))
            start = int(draw.integers(0, len(mel) - width))
            padded[start : start + width] = silence
        width, low = int(draw.integers(0, 12)), int(draw.integers(0, 68))
        padded[:, low : low + width] = silence
    return padded


def warped(mel: Mel, by: float) -> Any:
    """As from a vocal tract of another length: each mel bin from the place `by` times as high; [frames, bins].

    N. Jaitly and G. Hinton (2013), "Vocal tract length perturbation improves speech recognition".
    """
    bins = mel.shape[1]
    places = np.clip(np.arange(bins) * by, 0, bins - 1)
    low = places.astype(int)
    high, share = np.minimum(low + 1, bins - 1), (places - low).astype(np.float32)
    values = mel.astype(np.float32)
    return values[:, low] * (1 - share) + values[:, high] * share


class Spelling:
    """Stage 1's loss; `blank` ([577]: b and c) is trained beside the model, and not kept."""

    def __init__(self, embedding: "Tensor", inventory: Mapping[str, int], device: Any) -> None:
        import torch

        self.tokens = sorted(inventory.values())
        self._classes = {token: place + 1 for place, token in enumerate(self.tokens)}
        self._rows = embedding[self.tokens].to(device)
        self.blank = torch.zeros(embedding.shape[1] + 1, device=device, requires_grad=True)

    def __call__(self, states: "Sequence[Tensor]", said: Sequence[Sequence[int]]) -> "Tensor":
        """Per piece said, averaged over the batch."""
        import torch
        from torch.nn import functional

        logits = self._logits(torch.nn.utils.rnn.pad_sequence(list(states)))
        return functional.ctc_loss(
            logits.log_softmax(-1),
            torch.tensor([self._classes[token] for one in said for token in one], device=logits.device),
            torch.tensor([len(one) for one in states]),
            torch.tensor([len(one) for one in said]),
            zero_infinity=True,
        )

    def _logits(self, states: "Tensor") -> "Tensor":
        import torch

        return torch.cat([(states @ self.blank[:-1] + self.blank[-1])[..., None], states @ self._rows.T], dim=-1)

    def read(self, states: "Tensor") -> list[int]:
        """The likeliest piece at each state of one clip, repeats and blanks left out: what the states spell."""
        import torch

        with torch.no_grad():
            best = self._logits(states).argmax(-1).tolist()
        return [self.tokens[one - 1] for n, one in enumerate(best) if one and (n == 0 or one != best[n - 1])]


class Reader:
    """The language model inside the model (bfloat16), reading turns with the sound or with the text in its place."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model = model
        self.before = tuple(tokenizer(USER, add_special_tokens=False)["input_ids"])
        self.after = tuple(tokenizer(ASSISTANT, add_special_tokens=False)["input_ids"])

    def logits(self, batch: "Sequence[Example]", states: "Sequence[Tensor] | None" = None) -> "Tensor":
        """At each place that predicts a token of an answer, example after example, [sum of tokens, V], float32."""
        import torch

        turns = [self._embed(one, states[n] if states else None) for n, one in enumerate(batch)]
        lengths = torch.tensor([len(turn) for turn in turns])
        embeds = _rounded(torch.nn.utils.rnn.pad_sequence(turns)).transpose(0, 1).contiguous()
        mask = (torch.arange(embeds.shape[1]) < lengths[:, None]).long().to(embeds.device)
        hidden = self.model.model.language_model(
            inputs_embeds=embeds, attention_mask=mask, use_cache=False
        ).last_hidden_state
        places = [
            hidden[n, len(turn) - len(one.answer) - 1 : len(turn) - 1]
            for n, (turn, one) in enumerate(zip(turns, batch, strict=True))
        ]
        rows = torch.cat(places)
        logits: Tensor = self.model.lm_head(_rounded(rows))[: len(rows)].float()
        return logits

    def _embed(self, one: Example, state: "Tensor | None") -> "Tensor":
        import torch

        table = self.model.get_input_embeddings().weight
        said = one.said if state is None else ()
        ids = torch.tensor([*self.before, *said, *one.instruction, *self.after, *one.answer])
        rows: Tensor = table[ids.to(table.device)]
        if state is None:
            return rows
        cut = len(self.before)
        return torch.cat([rows[:cut], state.to(rows.dtype), rows[cut:]])


def _rounded(rows: "Tensor") -> "Tensor":
    """With zeros after the last of the first dimension."""
    from torch.nn import functional

    return functional.pad(rows, (0, 0) * (rows.ndim - 1) + (0, -len(rows) % TOKENS_STEP))


def lesson_loss(
    student: "Tensor", batch: Sequence[Example], teach: "Callable[[Sequence[Example]], Tensor]"
) -> "Tensor":
    """Per token of the answers: cross-entropy where they are exact, else divergence from the teacher."""
    import torch
    from torch.nn import functional

    repeats = torch.tensor([one.exact for one in batch for _ in one.answer], device=student.device)
    loss = student.new_zeros(())
    if targets := [token for one in batch if one.exact for token in one.answer]:
        wanted = torch.tensor(targets, device=student.device)
        loss = loss + functional.cross_entropy(student[repeats], wanted, reduction="sum")
    if others := [one for one in batch if not one.exact]:
        with torch.no_grad():
            teacher = teach(others).log_softmax(-1)
        loss = loss + functional.kl_div(student[~repeats].log_softmax(-1), teacher, reduction="sum", log_target=True)
    return loss / len(repeats)
