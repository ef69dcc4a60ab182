"""Low-rank adapters on the text decoder, trained by transformers' Trainer.

From the Trainer come several GPUs, gradient checkpointing, accumulation, and checkpoints that hold the optimiser. Every
draw (which questions make a batch, an instruction, dropout) is seeded by run and step, so that a run that was killed
and goes on from its last whole checkpoint gives the same losses as one that was not.
"""

import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from demur.errors import InputError, ModelError
from demur.files import read_json, write_atomic
from demur.finetune.capture import represent
from demur.finetune.methods import Job, Tuned
from demur.finetune.objective import Objective
from demur.finetune.options import TrainOptions
from demur.finetune.processes import first_alone, rank
from demur.finetune.turns import instructed
from demur.finetune.validate import choose, validate
from demur.models.hf import anatomy
from demur.models.hf.lalm import out_of_memory
from demur.seeds import derive_seed

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
"""PEFT's own names."""


def train(job: Job, objective: Objective) -> Tuned:
    """Train, validate each epoch, keep the best one's adapter in `job.out`; go on where an earlier call was stopped.

    Raises:
        ModelError: the loss is not finite, or memory is short.
    """
    options: TrainOptions = job.options
    checkpoints = job.out / "checkpoints"
    with low_rank(job.lalm.model, options, job.seed, objective.top_layer) as model:
        with first_alone():
            last = last_checkpoint(checkpoints)
        done = 0 if last is None else int(last.name.rpartition("-")[2])
        for log in (job.log, job.answers):
            log.cut(done)
        if not job.log.rows("validation"):
            validate(job, "base", 0, objective.measure)
        _run(job, objective, model, checkpoints, last)
        with first_alone():  # the first has written the last row and checkpoint when the others read them
            best = choose([row for row in job.log.rows("validation") if row["step"] > 0])
            _load(model, checkpoints / f"checkpoint-{best['step']}")
        questions = [*job.split.train, *job.split.validation]
        after = represent(
            job.lalm, questions, lambda each: instructed(job.lalm, each), batch_size=options.batch_size, quiet=job.quiet
        )
    if rank() == 0:
        for name in (WEIGHTS, CONFIG):
            write_atomic(job.out / name, (checkpoints / f"checkpoint-{best['step']}" / name).read_bytes())
    return Tuned(best, after)


@contextmanager
def low_rank(model: Any, options: TrainOptions, seed: int, top_layer: int | None = None) -> Iterator[Any]:
    """The model with fresh adapters on its text decoder, which add nothing yet; without them again afterwards."""
    import torch
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=options.lora_r,
        lora_alpha=options.lora_alpha,  # type: ignore[arg-type]
        lora_dropout=options.lora_dropout,
        target_modules=_targets(model, options.targets, top_layer),
        task_type="CAUSAL_LM",
    )
    needed = [parameter.requires_grad for parameter in model.parameters()]
    device = next(model.parameters()).device
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks for a property by its old name
        torch.manual_seed(derive_seed("low-rank", seed))
        wrapped: Any = get_peft_model(model, config)
    try:
        yield wrapped
    finally:
        wrapped.unload()
        if hasattr(model, "peft_config"):
            del model.peft_config
        for parameter, need in zip(model.parameters(), needed, strict=True):
            parameter.requires_grad_(need)
        model.eval()


def _targets(model: Any, names: Sequence[str], top_layer: int | None) -> list[str]:
    found = anatomy.decoder_targets(model, names)
    if top_layer is None:
        return found
    return [name for name in found if int(name.rpartition(".layers.")[2].partition(".")[0]) <= top_layer]


def last_checkpoint(folder: Path) -> Path | None:
    """The latest checkpoint that is whole; what a kill left half-written is removed."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    while found:
        try:
            read_json(found[-1] / "trainer_state.json")  # written last
            return found[-1]
        except InputError:
            shutil.rmtree(found.pop())
    return None


def _run(job: Job, objective: Objective, model: Any, folder: Path, last: Path | None) -> None:
    from demur.finetune.trainer import make_trainer

    config = vars(job.lalm.model.config)
    found = dict(config)
    trainer = make_trainer(job, objective, model, folder)
    checkpointing = job.options.gradient_checkpointing
    if checkpointing:
        job.lalm.model.gradient_checkpointing_enable({"use_reentrant": False})
    try:
        trainer.train(resume_from_checkpoint=None if last is None else str(last))
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        raise ModelError(
            "out of memory in training; try --gradient-checkpointing, or less --train-batch and more --accumulation"
        ) from None
    finally:
        config.clear()  # the Trainer switches `use_cache` off
        config.update(found)
        if checkpointing:
            job.lalm.model.gradient_checkpointing_disable()


def _load(model: Any, checkpoint: Path) -> None:
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    set_peft_model_state_dict(model, load_file(checkpoint / WEIGHTS))
