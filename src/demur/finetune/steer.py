"""Steering: a refusal direction is added to the residual stream at inference. Nothing is trained.

Arditi et al., "Refusal in Language Models Is Mediated by a Single Direction", 2024, arXiv 2406.11717; the part that
lies among benign states is taken out as in SARSteer (Lin et al., "Safeguarding Large Audio-Language Models
via Safe-Ablated Refusal Steering"). With states [N, d] after layer l, at the last prompt token:

    v = mean(harmful) - mean(benign)              `harmful`, a difference in means
        mean(harmful | refuse) - mean(harmful)    `refusing`: what the instruction to refuse changes
    v = v - U^T U v                               U [k, d]: top principal components of the centred benign states
    x = x + strength * v                          at layer l, at every position

Every layer and strength is a candidate; the best on the validation questions is kept.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from demur.errors import InputError
from demur.files import write_atomic, write_json
from demur.finetune.candidates import best_of
from demur.finetune.methods import Job, Tuned
from demur.finetune.options import Height, Options
from demur.finetune.processes import rank
from demur.finetune.wordings import REFUSING
from demur.models.hf import layers
from demur.models.hf.adapters import SMALL, STEER, STEER_WEIGHTS

if TYPE_CHECKING:
    from torch import Tensor


class SteerOptions(Options):
    """The choices of steering."""

    direction: Literal["harmful", "refusing"] = Field(
        "harmful",
        description="From benign to harmful questions, or from harmful ones to the same with an instruction to refuse.",
    )
    components: int = Field(
        8, ge=0, description="Principal components of benign states that are taken out of the direction; 0 takes none."
    )
    heights: tuple[Height, ...] = Field(
        (0.4, 0.6, 0.8),
        min_length=1,
        description="Layers to try, from 0 (the first) to 1 (the last); name it several times for several.",
    )
    strengths: tuple[float, ...] = Field(
        (0.5, 1.0, 2.0), min_length=1, description="Strengths to try, in lengths of the direction."
    )


class Steer:
    """Steer at inference: add the refusal direction, less what lies among benign states, to one layer's output."""

    Options: ClassVar[type[SteerOptions]] = SteerOptions

    def tune(self, job: Job) -> Tuned:
        """Find directions, try each layer and strength, keep the best; see the module."""
        options: SteerOptions = job.options
        numbers = sorted({layers.at_height(job.lalm.model, height) for height in options.heights})
        found = {number: direction(job, number) for number in numbers}
        ways = {
            f"layer {number}, strength {strength:g}": (number, strength)
            for number, strength in product(numbers, sorted(options.strengths))
        }
        best, tuned = best_of(
            job, {name: partial(_steered, job, number, by * found[number]) for name, (number, by) in ways.items()}
        )
        number, strength = ways[best]
        _write(job, number, strength, found[number])
        return replace(tuned, facts={"layer": number, "strength": strength, "length": float(found[number].norm())})


def direction(job: Job, layer: int) -> "Tensor":
    """v of the module at a layer, fp32 [d].

    Raises:
        InputError: nothing is left of it.
    """
    options: SteerOptions = job.options
    train = job.split.train
    harmful, benign = job.capture(train.harmful, layer=layer), job.capture(train.benign, layer=layer)
    if options.direction == "harmful":
        vector = harmful.mean(dim=0) - benign.mean(dim=0)
    else:
        vector = job.capture(train.harmful, REFUSING, layer=layer).mean(dim=0) - harmful.mean(dim=0)
    left = take_out(vector, benign, options.components)
    if not left.norm() > 1e-6 * benign.norm(dim=1).mean():
        raise InputError(
            f"nothing is left of the refusal direction at layer {layer} without the {options.components} principal "
            "components of benign states: take fewer by --components"
        )
    return left


def take_out(vector: "Tensor", states: "Tensor", components: int) -> "Tensor":
    """A vector [d] less its part in the top principal components of states [N, d]."""
    import torch

    if components == 0:
        return vector
    _, _, axes = torch.linalg.svd(states - states.mean(dim=0), full_matrices=False)
    top = axes[: min(components, len(states) - 1)]
    left: Tensor = vector - top.T @ (top @ vector)
    return left


@contextmanager
def _steered(job: Job, layer: int, vector: "Tensor") -> Iterator[None]:
    """The model with a vector added, inside the block."""
    hook = layers.steer(job.lalm.model, layer, vector)
    try:
        yield
    finally:
        hook.remove()


def _write(job: Job, layer: int, strength: float, vector: "Tensor") -> None:
    from safetensors.torch import save

    if rank() == 0:
        write_atomic(job.out / STEER_WEIGHTS, save({"vector": vector.contiguous()}))
        write_json(job.out / SMALL, {"kind": STEER, "layer": layer, "strength": strength})
