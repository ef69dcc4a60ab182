"""Representations of questions: one batched pass for each set, kept as fp32 safetensors and used again by later runs.

A file holds `states` [N, d] and, as metadata, the ids of its rows and what it was made from: the model, the corpus, the
instruction, and the kind of device and the libraries that ran it. Its name is a hash of all that, so that anything that
changes a representation makes another.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demur.console import progress
from demur.errors import InputError, ModelError
from demur.files import sha256_json, write_atomic
from demur.finetune.data import Question
from demur.finetune.processes import first_alone
from demur.finetune.turns import instructed
from demur.models.hf import layers
from demur.models.hf.anatomy import last_states
from demur.models.hf.lalm import out_of_memory
from demur.models.hf.turns import Turn

if TYPE_CHECKING:
    from torch import Tensor, nn

    from demur.models.hf.lalm import LALM

_FORMAT = 1
"""Raised whenever the same key would give other states."""
_PLACES = {"_name_or_path", "transformers_version", "_attn_implementation"}
"""Of a configuration: what says where it came from, and not what the model is."""


def represent(
    lalm: "LALM",
    questions: Sequence[Question],
    ask: Callable[[Question], Turn],
    *,
    batch_size: int,
    layer: int | None = None,
    what: str = "representations",
    quiet: bool = True,
) -> "Tensor":
    """The head's input at the last prompt token of each question, or what a layer gives out there: fp32 [N, d].

    Raises:
        ModelError: a representation is not finite, or memory is short.
    """
    import torch

    lalm.model.eval()
    order = sorted(range(len(questions)), key=lambda place: _length(questions[place]))
    states: list[Any] = [None] * len(questions)
    with torch.inference_mode(), progress(total=len(order), what=what, unit="question", quiet=quiet) as bar:
        for start in range(0, len(order), batch_size):
            places = order[start : start + batch_size]
            batch = _encode(lalm, [questions[place] for place in places], ask)
            found = _states(lalm.model, batch, layer)
            for place, row in zip(places, found, strict=True):
                states[place] = row
            bar.update(len(places))
    stacked = torch.stack(states).clone()
    _check_finite(questions, stacked)
    return stacked


def capture(
    lalm: "LALM",
    questions: Sequence[Question],
    instruction: str,
    folder: Path,
    *,
    model_sha256: str,
    corpus_sha256: str,
    batch_size: int,
    layer: int | None = None,
    what: str = "representations",
    quiet: bool = True,
) -> "Tensor":
    """`represent` with an instruction, or the file that it left the last time.

    Raises:
        ModelError: a representation is not finite.
    """
    ids = [question.id for question in questions]
    source = {
        "format": _FORMAT,
        "model": model_sha256,
        "corpus": corpus_sha256,
        "instruction": instruction,
        "layer": layer,
        "batch_size": batch_size,
        "ids": ids,
        "ran_by": [lalm.device.type, *(f"{package} {version(package)}" for package in ("torch", "transformers"))],
    }
    path = folder / f"{sha256_json(source)[:32]}.safetensors"
    with first_alone():
        kept = _read(path, ids)
        if kept is not None:
            return kept
        states = represent(
            lalm,
            questions,
            lambda question: instructed(lalm, question, instruction),
            batch_size=batch_size,
            layer=layer,
            what=what,
            quiet=quiet,
        )
        _write(path, states, source)
    return states


def fingerprint(lalm: "LALM") -> str:
    """Tells one loaded model from another: by every weight, its configuration, chat template and system prompt."""
    digest = hashlib.sha256()
    for name, tensor in sorted(lalm.model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(_bytes(tensor))
    template = getattr(lalm.processor, "chat_template", None)
    config = {name: value for name, value in lalm.model.config.to_dict().items() if name not in _PLACES}
    digest.update(repr((lalm.family.name, template, lalm.system, json.dumps(config, sort_keys=True))).encode())
    return digest.hexdigest()


def _bytes(tensor: "Tensor") -> Any:
    import torch

    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


def _encode(lalm: "LALM", questions: Sequence[Question], ask: Callable[[Question], Turn]) -> Any:
    try:
        return lalm.encode([ask(question) for question in questions])
    except InputError as error:
        names = ", ".join(question.id for question in questions)
        raise InputError(f"one of {names}: {error}; build the corpus again, or take it out") from None


def _states(model: "nn.Module", batch: Any, layer: int | None) -> "Tensor":
    """fp32 [B, d], on the CPU."""
    try:
        if layer is None:
            return last_states(model, batch).float().cpu()
        with layers.outputs(model, [layer]) as seen:
            last_states(model, batch)
        return seen[layer][:, -1].float().cpu()
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        raise ModelError("out of memory while questions are represented; try a smaller --batch-size") from None


def _check_finite(questions: Sequence[Question], states: "Tensor") -> None:
    fine = states.isfinite().all(dim=1).tolist()
    bad = [question.id for question, ok in zip(questions, fine, strict=True) if not ok]
    if bad:
        raise ModelError(
            f"the representations of {len(bad)} of {len(fine)} questions hold NaN or infinity (first: {bad[0]}); the "
            "model's numbers overflow: load it with --dtype float32 or bfloat16, or check its weights"
        )


def _length(question: Question) -> tuple[int, int]:
    return len(question.flac or b""), len(question.prompt)


def _read(path: Path, ids: Sequence[str]) -> "Tensor | None":
    """The states in a file, or None where there is none or it is damaged."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            states: Tensor = file.get_tensor("states")
            fits = json.loads(file.metadata()["source"])["ids"] == list(ids) and len(states) == len(ids)
    except (SafetensorError, KeyError, ValueError, TypeError):
        return None
    return states if fits and bool(states.isfinite().all()) else None


def _write(path: Path, states: "Tensor", source: dict[str, Any]) -> None:
    from safetensors.torch import save

    write_atomic(path, save({"states": states}, metadata={"source": json.dumps(source)}))
