"""transformers' Trainer, told what a batch, a loss and an epoch are here."""
# ruff: noqa: ARG002 -- transformers names the arguments

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset, Sampler
from transformers import PrinterCallback, ProgressCallback, Trainer, TrainerCallback, TrainingArguments

from demur.console import progress
from demur.errors import ModelError
from demur.finetune.methods import Job
from demur.finetune.objective import Batch, Objective
from demur.finetune.options import TrainOptions
from demur.finetune.processes import gather, rank
from demur.finetune.validate import validate
from demur.models.hf import anatomy
from demur.seeds import derive_seed, shuffled

Place = tuple[int, int]
"""Epoch, and the number of a question."""


def make_trainer(job: Job, objective: Objective, model: Any, folder: Path) -> Trainer:
    """A Trainer that minimises an objective and validates each epoch; checkpoints go into `folder`."""
    trainer = _Trainer(job, objective, model, _arguments(job, folder))
    for shown in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(shown)
    trainer.add_callback(_Steps(job, objective))
    return trainer


def _arguments(job: Job, folder: Path) -> TrainingArguments:
    options: TrainOptions = job.options
    arguments: Any = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=options.train_batch,
        gradient_accumulation_steps=options.accumulation,
        num_train_epochs=options.epochs,
        learning_rate=options.learning_rate,
        lr_scheduler_type="linear",
        adam_beta1=options.beta1,
        adam_beta2=options.beta2,
        weight_decay=options.weight_decay,
        max_grad_norm=options.clip,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="epoch",
        report_to=[],
        seed=job.seed % 2**32,
        use_cpu=job.lalm.device.type == "cpu",
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        ddp_find_unused_parameters=False,
        disable_tqdm=True,
    )
    arguments._n_gpu = min(arguments.n_gpu, 1)  # several GPUs by torchrun alone: DataParallel would split the hooks
    return arguments  # type: ignore[no-any-return]


class _Places(Dataset[Place]):
    """The places that the sampler gives; the batch is made of them by `collate`."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, place: Place) -> Place:
        return place


class _EpochSampler(Sampler[Place]):
    """Every question once an epoch, in an order that seed and epoch draw."""

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.seed, self.epoch = count, seed, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Place]:
        yield from ((self.epoch, place) for place in shuffled(range(self.count), "order", self.seed, self.epoch))


class _Trainer(Trainer):
    job: Job
    objective: Objective

    def __init__(self, job: Job, objective: Objective, model: Any, arguments: TrainingArguments) -> None:
        self.job = job
        self.objective = objective
        self.parts: dict[str, float] = {}
        super().__init__(
            model=model,
            args=arguments,
            data_collator=self.collate,
            train_dataset=_Places(len(objective.questions)),
        )
        self.model_accepts_loss_kwargs = False  # the loss is a mean, to be divided by the accumulated batches

    def collate(self, places: Sequence[Place]) -> dict[str, Any]:
        questions = [self.objective.questions[place] for _, place in places]
        turns = [self.objective.turn(each, epoch) for each, (epoch, _) in zip(questions, places, strict=True)]
        return {"inputs": self.job.lalm.encode(turns), "extras": self.objective.extras(questions)}

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return _EpochSampler(len(self.objective.questions), self.job.seed)

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        bare = anatomy.base(self.accelerator.unwrap_model(model))
        bare.eval()  # but for the decoder: nothing else learns, and an audio tower may have dropout of its own
        anatomy.decoder(bare).train()
        progress = self.state.global_step / self.state.max_steps
        parts = self.objective.loss(model, Batch(inputs["inputs"], inputs["extras"], progress))
        for name, part in parts.items():
            share = float(part.detach()) / self.current_gradient_accumulation_steps
            self.parts[name] = self.parts.get(name, 0.0) + share
        return sum(parts.values())

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """A line for each step; the Trainer's own closing figures are left out."""
        if "loss" not in logs:
            return
        ranks, self.parts = gather([self.parts]), {}
        parts = {name: sum(each[name] for each in ranks) / len(ranks) for name in ranks[0]}
        loss = sum(parts.values())
        for what, value in (("loss", loss), ("norm of the gradient", logs.get("grad_norm", 0.0))):
            if not math.isfinite(value):
                raise ModelError(
                    f"the {what} is {value} at step {self.state.global_step}; "
                    "try a smaller --learning-rate or --dtype float32"
                )
        row = {"kind": "step", "step": self.state.global_step, "epoch": self.state.epoch, "loss": loss, **parts}
        row |= {name: logs[name] for name in ("learning_rate", "grad_norm") if name in logs}
        self.job.log.append(row)


class _Steps(TrainerCallback):
    """Seeds what each step draws, validates at the end of each epoch, and shows how far it is."""

    def __init__(self, job: Job, objective: Objective) -> None:
        self.job, self.objective = job, objective
        self.bar: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.bar = progress(total=state.max_steps, what="training", unit="step", quiet=self.job.quiet or rank() > 0)
        self.bar.update(state.global_step)

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        torch.manual_seed(derive_seed("step", self.job.seed, state.global_step, rank()))

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.bar.update(1)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        row = validate(self.job, f"epoch {round(state.epoch)}", state.global_step, self.objective.measure)
        self.bar.set_postfix({name: f"{row[name]:.2f}" for name in ("refusal", "over_rejection")}, refresh=False)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.bar.close()
