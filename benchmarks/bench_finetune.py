"""What RRS costs beside the passes through the model that it cannot do without.

    OMP_NUM_THREADS=2 python benchmarks/bench_finetune.py --out finetune.json

On SmolLM2-135M (or --model REPO_OR_PATH, audio models too, given --corpus), in fp32 on a CPU:

step      what the Trainer does for a batch, loss, penalty, clipping and AdamW included, against a bare forward and
          backward pass of the same adapted model over the same batch, with logits at one position
capture   representations of a set from the questions to the file, against bare forward passes over ready-made batches
memory    peak of a process that makes such steps, against one that makes the bare passes

The two sides take turns within one run, so that whatever else the machine does weighs on both; the ratio is that of
the medians.
"""

import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from builders.prompts import load_prompts
from demur.corpus import Corpus
from demur.files import write_json
from demur.finetune.capture import capture, fingerprint
from demur.finetune.data import Question, Questions, Split, load_split
from demur.finetune.methods import Job
from demur.finetune.options import TrainOptions
from demur.finetune.rrs import Reshaping, RRSOptions
from demur.finetune.train import low_rank
from demur.finetune.trainer import make_trainer
from demur.finetune.turns import instructed
from demur.finetune.wordings import INSTRUCTION
from demur.models.hf.lalm import LALM, load_lalm
from demur.models.smollm import smollm2_folder
from demur.nouns import Label, Outcome, Partition

BATCH = 8
"""Of a capture."""


def questions(corpus: Path | None, *, audio: bool) -> Split:
    """The pairs of a corpus, or demur-core's for tuning, unspoken."""
    if corpus is not None:
        return load_split(Corpus(corpus), audio=audio, seed=0)
    prompts = [prompt for prompt in load_prompts(["demur-core"]).prompts if prompt.partition is Partition.TUNE]
    found = {
        label: tuple(
            Question(each.prompt_id, each.prompt_id, each.pair_id, each.label, each.text)
            for each in prompts
            if each.label is label
        )
        for label in (Label.HARMFUL, Label.BORDERLINE)
    }
    harmful, twins = found[Label.HARMFUL], found[Label.BORDERLINE]
    return Split("demur-core", Questions(harmful[24:], twins[24:]), Questions(harmful[:24], twins[:24]))


@contextmanager
def work(model: str, corpus: Path | None, scratch: Path) -> Iterator[tuple[Callable[[], None], Callable[[], None]]]:
    """A step of RRS, and the bare passes that it holds."""
    import torch

    lalm = load_lalm(model, dtype="float32")
    options = RRSOptions()
    job = Job(
        lalm,
        questions(corpus, audio=lalm.family.audio),
        scratch,
        lambda _prompt, _answer: Outcome.UNCLEAR,
        options,
        0,
        scratch,
        True,
    )
    few = Questions(job.split.train.harmful[:8], job.split.train.twins[:8])
    job = Job(lalm, Split("few", few, few), scratch, job.outcome, options, 0, scratch, True)
    with _objective(job) as objective, low_rank(lalm.model, options, 0) as adapted:
        trainer: Any = make_trainer(job, objective, adapted, scratch / "checkpoints")
        batches = [trainer.collate([(0, place) for place in places]) for places in _batches(options)]
        trainer.state.max_steps, trainer.current_gradient_accumulation_steps = 1, len(batches)
        optimiser = trainer.create_optimizer()

        def step() -> None:
            for batch in batches:
                trainer.training_step(adapted, batch)
            torch.nn.utils.clip_grad_norm_(adapted.parameters(), options.clip)
            optimiser.step()
            optimiser.zero_grad()

        def bare() -> None:
            adapted.train()
            for batch in batches:
                logits = adapted(**batch["inputs"], use_cache=False, logits_to_keep=1).logits
                logits.square().mean().backward()
            adapted.zero_grad()

        yield step, bare


@contextmanager
def _objective(job: Job) -> Iterator[Reshaping]:
    import torch

    from demur.finetune import arithmetic

    harmful, benign = job.capture(job.split.train.harmful), job.capture(job.split.train.benign)
    delta = torch.ones(harmful.shape[1])
    yield Reshaping(job, arithmetic.mask_shift(delta, delta), harmful, benign)


def _batches(options: TrainOptions) -> list[list[int]]:
    size = options.train_batch
    return [list(range(start, start + size)) for start in range(0, size * options.accumulation, size)]


def seconds(call: Callable[[], Any]) -> float:
    """Wall-clock seconds of a call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def in_turns(a: Callable[[], Any], b: Callable[[], Any], times: int) -> tuple[float, float]:
    """Median seconds of each, after one turn that does not count."""
    taken = [(seconds(a), seconds(b)) for _ in range(times + 1)][1:]
    return statistics.median(each for each, _ in taken), statistics.median(each for _, each in taken)


def captures(lalm: LALM, asked: Sequence[Question], times: int) -> tuple[float, float]:
    """Seconds of a capture and of bare passes over the same batches."""
    import torch

    order = sorted(asked, key=lambda each: (len(each.flac or b""), len(each.prompt)))
    ready = [
        lalm.encode([instructed(lalm, each) for each in order[start : start + BATCH]])
        for start in range(0, len(order), BATCH)
    ]
    model_sha256 = fingerprint(lalm)

    def bare() -> None:
        with torch.inference_mode():
            for batch in ready:
                lalm.model(**batch, use_cache=False, logits_to_keep=1)

    def ours() -> None:
        with tempfile.TemporaryDirectory() as folder:
            capture(
                lalm, asked, INSTRUCTION, Path(folder), model_sha256=model_sha256, corpus_sha256="", batch_size=BATCH
            )

    return in_turns(ours, bare, times)


def peak_bytes(side: int, model: str, corpus: Path | None, pipe: Any) -> None:
    """Peak memory of this process over three turns of one side (0: ours, 1: bare), loading left out."""
    with tempfile.TemporaryDirectory() as scratch, work(model, corpus, Path(scratch)) as sides:
        Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
        for _ in range(3):
            sides[side]()
        status = Path("/proc/self/status").read_text()
    pipe.send(1024 * int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]))


def peaks(model: str, corpus: Path | None) -> list[int]:
    """Peak bytes of both sides, each in a process of its own."""
    context = multiprocessing.get_context("spawn")
    found = []
    for side in (0, 1):
        receiving, sending = context.Pipe(duplex=False)
        process = context.Process(target=peak_bytes, args=(side, model, corpus, sending))
        process.start()
        found.append(int(receiving.recv()))
        process.join()
    return found


def main(
    model: Annotated[str, typer.Option(help="Repository or folder. Default: SmolLM2-135M.")] = "",
    corpus: Annotated[Path | None, typer.Option(help="A corpus with pairs; needed by an audio model.")] = None,
    times: Annotated[int, typer.Option(min=1, help="Turns of each side.")] = 7,
    out: Annotated[Path | None, typer.Option(help="Write the numbers as JSON.")] = None,
) -> None:
    """Print a table: ours, bare, and their ratio."""
    import torch

    name = model or str(smollm2_folder())
    with tempfile.TemporaryDirectory() as scratch, work(name, corpus, Path(scratch)) as (step, bare):
        found: dict[str, tuple[float, float]] = {"step": in_turns(step, bare, times)}
    lalm = load_lalm(name, dtype="float32")
    asked = list(questions(corpus, audio=lalm.family.audio).train)[:64]
    found["capture"] = captures(lalm, asked, times)
    ours, bare_peak = peaks(name, corpus)
    found["memory"] = ours, bare_peak
    goals = {"step": 1.15, "capture": 1.10, "memory": 1.10}
    print(f"{Path(name).name}, {torch.get_num_threads()} threads, medians of {times}")
    print(f"{'':8} {'ours':>12} {'bare':>12} {'ratio':>7} {'goal':>6}")
    for what, (a, b) in found.items():
        shown = [f"{each / 2**20:8.0f} MiB" if what == "memory" else f"{each:10.3f} s" for each in (a, b)]
        print(f"{what:8} {shown[0]:>12} {shown[1]:>12} {a / b:7.3f} {goals[what]:6.2f}")
    if out:
        write_json(
            out, {what: {"ours": a, "bare": b, "ratio": a / b, "goal": goals[what]} for what, (a, b) in found.items()}
        )


if __name__ == "__main__":
    typer.run(main)
