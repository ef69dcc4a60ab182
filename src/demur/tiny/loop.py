"""A training loop that a kill costs minutes: AdamW, warm-up and cosine decay, a checkpoint in safetensors, a log.

<stage>.safetensors   parameters, both moments of AdamW and the step; replaced by a rename
log.jsonl             {"stage", "step", "loss", "seconds", ...}
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demur.console import progress
from demur.files import append_jsonl, write_atomic

if TYPE_CHECKING:
    from torch import Tensor

LOG_EVERY = 20
CHECKPOINT_S = 180.0
"""Seconds between checkpoints."""


@dataclass(frozen=True)
class Stage:
    """One stretch of training."""

    name: str
    steps: int
    warmup: int = 50
    weight_decay: float = 0.01
    clip: float = 1.0
    floor: float = 0.05
    """The learning rate at the end, as a share of the highest."""


def fit(
    stage: Stage,
    folder: Path,
    groups: Sequence[tuple[Mapping[str, "Tensor"], float]],
    loss_at: Callable[[int], "Tensor"],
    *,
    measure: Callable[[int], Mapping[str, Any]] | None = None,
    measure_every: int = 200,
    quiet: bool = False,
) -> None:
    """Train named parameters, each group at its own learning rate, until the stage's steps are done; resumes.

    `loss_at(step)` must depend on the step and the parameters alone; what `measure(steps done)` gives is logged.
    """
    import torch

    parameters = {name: value for group, _ in groups for name, value in group.items()}
    optimizer = torch.optim.AdamW(
        [{"params": list(group.values()), "lr": rate} for group, rate in groups],
        betas=(0.9, 0.98),
        weight_decay=stage.weight_decay,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(stage, step))
    path = folder / f"{stage.name}.safetensors"
    done = _resume(path, parameters, optimizer)
    schedule.last_epoch = done
    for group, base in zip(optimizer.param_groups, schedule.base_lrs, strict=True):
        group["lr"] = base * _rate(stage, done)
    losses: list[float] = []
    began = saved = time.monotonic()
    with progress(total=stage.steps, what=stage.name, unit="step", quiet=quiet) as bar:
        bar.update(done)
        for step in range(done, stage.steps):
            loss = loss_at(step)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(list(parameters.values()), stage.clip)
            optimizer.step()
            schedule.step()
            losses.append(float(loss.detach()))
            bar.update()
            last = step + 1 == stage.steps
            measured = measure(step + 1) if measure and (last or (step + 1) % measure_every == 0) else {}
            if measured or (step + 1) % LOG_EVERY == 0:
                entry = {"stage": stage.name, "step": step + 1, "loss": sum(losses) / len(losses)}
                append_jsonl(folder / "log.jsonl", [{**entry, "seconds": time.monotonic() - began, **measured}])
                losses = []
            if last or time.monotonic() - saved > CHECKPOINT_S:
                _save(path, parameters, optimizer, step + 1)
                saved = time.monotonic()


def _rate(stage: Stage, step: int) -> float:
    if step < stage.warmup:
        return (step + 1) / stage.warmup
    gone = (step - stage.warmup) / max(1, stage.steps - stage.warmup)
    return stage.floor + (1 - stage.floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, gone)))


def _save(path: Path, parameters: Mapping[str, "Tensor"], optimizer: Any, step: int) -> None:
    import torch
    from safetensors.torch import save

    tensors = {"step": torch.tensor(step)}
    for name, value in parameters.items():
        state = optimizer.state[value]
        tensors |= {
            f"value.{name}": value.detach().cpu().contiguous(),
            f"first.{name}": state["exp_avg"].cpu().contiguous(),
            f"second.{name}": state["exp_avg_sq"].cpu().contiguous(),
        }
    write_atomic(path, save(tensors))


def _resume(path: Path, parameters: Mapping[str, "Tensor"], optimizer: Any) -> int:
    """Put a checkpoint back, and say how many steps it has behind it."""
    import torch
    from safetensors.torch import load_file

    if not path.is_file():
        return 0
    tensors = load_file(path)
    step = int(tensors["step"])
    with torch.no_grad():
        for name, value in parameters.items():
            value.copy_(tensors[f"value.{name}"])
            optimizer.state[value] = {
                "step": torch.tensor(float(step)),
                "exp_avg": tensors[f"first.{name}"].to(value.device),
                "exp_avg_sq": tensors[f"second.{name}"].to(value.device),
            }
    return step
