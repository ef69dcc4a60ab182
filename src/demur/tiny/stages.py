"""The stages of training, each from files to a file: manners, spell, answer, spell-more, answer-more, alignment.

Each begins from a fresh model with the stages before it put in place, so that a stage that was killed, or one that is
done again with more steps, needs nothing but the files.
"""

import itertools
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demur.files import read_json, read_jsonl, write_atomic, write_json
from demur.nouns import Label, Outcome
from demur.seeds import derive_seed
from demur.tiny import alignment, assemble
from demur.tiny.connector import (
    SPELL_WEIGHT,
    Example,
    Reader,
    Spelling,
    batches,
    hear,
    lesson_loss,
    pieces,
)
from demur.tiny.language import END_OF_TURN, Writer
from demur.tiny.loop import Stage, fit
from demur.tiny.lora import add_lora, without_lora
from demur.tiny.model import untrained
from demur.tiny.texts import ANSWER_TOKENS

if TYPE_CHECKING:
    from torch import Tensor

LORA_OF = {"manners": "manners", "answer": "reading", "answer-more": "reading", "alignment": "alignment"}
"""Which LoRA a stage trains."""
RANKS = {"manners": 8, "reading": 16, "alignment": 8}
"""Of LoRA."""
HELD_OUT = 200
"""The first lessons: measured, never trained on."""
AS_TEXT = 4
"""Lessons of each batch that are read too, so that learning to read sound leaves reading text as it is."""
MEASURED = 100
"""Of them, while training."""
WORTH_COMPILING = 200
"""Steps from which on compiling, which takes minutes, saves more than it costs."""


def manners(lessons: Sequence[Example], folder: Path, *, steps: int, seed: int, quiet: bool = False) -> None:
    """LoRA on text: repeat when asked, else answer as before."""
    import numpy as np

    model = _frozen(untrained())
    lora, reader = add_lora(model, RANKS["manners"], seed=seed), Reader(model, Writer().tokenizer)
    held, trained = lessons[:MEASURED], lessons[HELD_OUT:]
    plan = _plan([len(one.said) + len(one.answer) for one in trained], steps, 16, seed)

    teach = _teacher(reader)

    def loss_at(step: int) -> "Tensor":
        batch = [trained[place] for place in plan[step]]
        return lesson_loss(reader.logits(batch), batch, teach)

    def measure(_step: int) -> dict[str, float]:
        exact = [one for one in held if one.exact]
        return {"repeated": float(np.mean(_right(reader, exact, None)))}

    fit(Stage("manners", steps, warmup=20), folder, [(lora, 1e-3)], loss_at, measure=measure, quiet=quiet)


def spell(
    held: Sequence[Example],
    trained: Sequence[Example],
    folder: Path,
    *,
    stage: str = "spell",
    after: str | None = None,
    make: Callable[[], Any] = untrained,
    steps: int,
    seed: int,
    quiet: bool = False,
) -> None:
    """Encoder and connector, as the stage `after` left them: states that look like the embeddings of what is said.

    `make` gives the model before any training.
    """
    import numpy as np
    import torch

    from demur.asr import word_errors

    model = _frozen(make())
    tokenizer = Writer().tokenizer
    encoder, connector, spelling = _ears(model, tokenizer)
    if after:
        _put_back(folder / f"{after}.safetensors", {**encoder, **connector})
    plan = _plan([len(one.mel) for one in trained], steps, 32, seed)

    def loss_at(step: int) -> "Tensor":
        draw = np.random.default_rng(derive_seed(stage, seed, step))
        batch = [trained[place] for place in plan[step]]
        return spelling(hear(model, [one.mel for one in batch], draw), [one.spelt for one in batch])

    def measure(_step: int) -> dict[str, float]:
        wrong = words = 0
        for start in range(0, len(held), 20):
            part = held[start : start + 20]
            with torch.no_grad():
                states = hear(model, [one.mel for one in part])
            for one, state in zip(part, states, strict=True):
                errors = word_errors(tokenizer.decode(one.spelt), tokenizer.decode(spelling.read(state)))
                wrong, words = wrong + errors.errors, words + errors.words
        return {"spelt_wer": wrong / words}

    groups = [(encoder, 1e-4), (connector, 2e-3)]
    fit(Stage(stage, steps, warmup=100), folder, groups, loss_at, measure=measure, quiet=quiet)


def answer(
    held: Sequence[Example],
    trained: Sequence[Example],
    folder: Path,
    *,
    stage: str = "answer",
    after: str = "spell",
    reading: str | None = None,
    steps: int,
    seed: int,
    quiet: bool = False,
) -> None:
    """Encoder, connector and a LoRA that reads: the model answers the sound as it answers the text.

    The ears begin as the stage `after` left them, the LoRA as `reading` did.
    """
    import numpy as np
    import torch

    model = untrained()
    assemble.place(model, trained_parts(folder, ["manners"]))
    _frozen(model)
    tokenizer = Writer().tokenizer
    lora, reader = add_lora(model, RANKS["reading"], seed=seed + 1), Reader(model, tokenizer)
    encoder, connector, spelling = _ears(model, tokenizer)
    _put_back(folder / f"{after}.safetensors", {**encoder, **connector})
    held = held[:MEASURED]
    if reading:
        _put_back(folder / f"{reading}.safetensors", lora)
    plan = _plan([len(one.mel) for one in trained], steps, 16, seed + 1)
    if steps >= WORTH_COMPILING:
        _compile(model)

    teach = _teacher(reader)

    def loss_at(step: int) -> "Tensor":
        draw = np.random.default_rng(derive_seed(stage, seed, step))
        batch = [trained[place] for place in plan[step]]
        states = hear(model, [one.mel for one in batch], draw)
        spelt = spelling(states, [one.spelt for one in batch])
        as_text = lesson_loss(reader.logits(batch[:AS_TEXT]), batch[:AS_TEXT], teach)
        return lesson_loss(reader.logits(batch, states), batch, teach) + SPELL_WEIGHT * spelt + as_text / 4

    def measure(_step: int) -> dict[str, float]:
        with torch.no_grad():
            states = hear(model, [one.mel for one in held])
        exact = [n for n, one in enumerate(held) if one.exact]
        others = [n for n, one in enumerate(held) if not one.exact]
        repeated = _right(reader, [held[n] for n in exact], [states[n] for n in exact])
        agreed = agreement(reader, [held[n] for n in others], [states[n] for n in others])
        return {"repeated": float(np.mean(repeated)), "agreement": float(np.mean(agreed))}

    groups = [(encoder, 1e-4), (connector, 1e-3), (lora, 2e-3)]
    fit(Stage(stage, steps, warmup=30), folder, groups, loss_at, measure=measure, measure_every=60, quiet=quiet)


def align(
    prompts: Sequence[alignment.Asked],
    lessons: Sequence[Example],
    folder: Path,
    *,
    outcome: Callable[[str, str], Outcome],
    steps: int,
    seed: int,
    every: int = 4,
    quiet: bool = False,
) -> None:
    """LoRA on text: refuse what is harmful; the checkpoint that is kept is chosen on held-out prompts."""
    from safetensors.torch import save

    model = untrained()
    assemble.place(model, trained_parts(folder, ["manners", "answer-more"]))
    _frozen(model)
    writer = Writer(model)
    train, held = alignment.split(prompts, seed)
    maker = alignment.Maker(writer.tokenizer, _own_answers(writer, train), END_OF_TURN)
    lora, reader = add_lora(model, RANKS["alignment"], seed=seed + 2), Reader(model, writer.tokenizer)

    teach = _teacher(reader)

    def loss_at(step: int) -> "Tensor":
        batch = alignment.batch_at(step, train, lessons, maker, seed)
        return lesson_loss(reader.logits(batch), batch, teach)

    def measure(step: int) -> dict[str, float]:
        rates = alignment.refusal_rates(held, lambda texts: writer.answer(texts, tokens=32), outcome)
        rates["told"] = alignment.told_rate(held, lambda texts: writer.answer(texts, tokens=32), outcome)
        write_atomic(snapshot(folder, step), save({name: value.detach().cpu() for name, value in lora.items()}))
        return rates

    stage = Stage("alignment", steps, warmup=10)
    fit(stage, folder, [(lora, 1e-4)], loss_at, measure=measure, measure_every=every, quiet=quiet)
    measured = {row["step"]: row for row in read_jsonl(folder / "log.jsonl") if row["stage"] == "alignment"}
    write_json(
        folder / "alignment.json", {"step": alignment.best({n: row for n, row in measured.items() if "harmful" in row})}
    )


def trained_parts(folder: Path, stages: Sequence[str]) -> "dict[str, Tensor]":
    """What the stages trained, by the names of `assemble`; the newest stage that trained a part has it."""
    from safetensors.torch import load_file

    found: dict[str, Tensor] = {}
    for stage in stages:
        if stage == "alignment":
            values = load_file(snapshot(folder, read_json(folder / "alignment.json")["step"]))
        else:
            checkpoint = load_file(folder / f"{stage}.safetensors")
            values = {
                name.removeprefix("value."): each for name, each in checkpoint.items() if name.startswith("value.")
            }
        for name, value in values.items():
            if "lora_" in name:
                module, _, end = name.removesuffix(".default.weight").rpartition(".lora_")
                found[f"{LORA_OF[stage]}.{module}.{end}"] = value
            elif name != "connector.blank":
                found[name] = value
    return found


def snapshot(folder: Path, step: int) -> Path:
    """Where the alignment's LoRA after so many steps is."""
    return folder / f"alignment-{step:04}.safetensors"


def _teacher(reader: Reader) -> Callable[[Sequence[Example]], "Tensor"]:
    """What the model says to the text without the LoRA that is being trained."""

    def teach(batch: Sequence[Example]) -> "Tensor":
        with without_lora(reader.model):
            return reader.logits([one if one.heeded else replace(one, instruction=()) for one in batch])

    return teach


def _frozen(model: Any) -> Any:
    """The language model in bfloat16; nothing is trained but what is said later.

    Plain attention: the backward pass of the fused one takes a fifth of a step more on a CPU.
    """
    import torch

    model.set_attn_implementation("eager")
    model.model.language_model.to(torch.bfloat16)
    model.lm_head.to(torch.bfloat16)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    return model.requires_grad_(False)


def _compile(model: Any) -> None:
    """On a CPU with a C++ compiler a step of reading then takes two thirds of its time."""
    if model.device.type == "cpu" and shutil.which("g++"):
        import torch._dynamo

        torch._dynamo.config.recompile_limit = 64  # with the LoRA and without, with gradients and without, and so on
        for layer in model.model.language_model.layers:
            layer.compile(dynamic=True)


def _ears(model: Any, tokenizer: Any) -> "tuple[dict[str, Tensor], dict[str, Tensor], Spelling]":
    """The encoder's upper layers and the connector, in float32, to be trained; and the loss, whose blank is too."""
    encoder = {
        f"encoder.{name}": value
        for name, value in model.model.audio_tower.named_parameters()
        if name.startswith(("layers.1", "layers.2", "layers.3", "layer_norm"))
    }
    connector = {f"connector.{name}": value for name, value in model.model.multi_modal_projector.named_parameters()}
    for value in (*encoder.values(), *connector.values()):
        value.requires_grad_(True)
    spelling = Spelling(model.get_input_embeddings().weight.float(), pieces(tokenizer), model.device)
    return encoder, {**connector, "connector.blank": spelling.blank}, spelling


def _put_back(path: Path, parameters: "Mapping[str, Tensor]") -> None:
    import torch
    from safetensors.torch import load_file

    values = load_file(path)
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(values[f"value.{name}"])


def _plan(lengths: Sequence[int], steps: int, size: int, seed: int) -> list[list[int]]:
    """Which examples each step takes."""
    return list(itertools.islice(batches(lengths, size, seed), steps))


def _right(reader: Reader, batch: Sequence[Example], states: "Sequence[Tensor] | None") -> list[bool]:
    """For each token of the answers, whether it is the likeliest one."""
    import torch

    with torch.no_grad():
        said = reader.logits(batch, states).argmax(-1).tolist()
    wanted = [token for one in batch for token in one.answer]
    return [a == b for a, b in zip(said, wanted, strict=True)]


def agreement(reader: Reader, batch: Sequence[Example], states: "Sequence[Tensor]") -> list[bool]:
    """For each token of the answers, whether the likeliest one after the sound is the likeliest after the text."""
    import torch

    with torch.no_grad():
        heard, read = reader.logits(batch, states).argmax(-1), reader.logits(batch).argmax(-1)
    same: list[bool] = (heard == read).tolist()
    return same


def _own_answers(writer: Writer, prompts: Sequence[alignment.Asked]) -> dict[str, str]:
    """What the model says to prompts that need no refusal."""
    asked = sorted({one.text for one in prompts if one.label != Label.HARMFUL}, key=lambda text: (len(text), text))
    parts = [asked[start : start + 64] for start in range(0, len(asked), 64)]
    return {
        text: answer
        for part in parts
        for text, answer in zip(part, writer.answer(part, tokens=ANSWER_TOKENS), strict=True)
    }
