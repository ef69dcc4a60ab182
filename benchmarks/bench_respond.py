"""How much faster a model answers in batches than one sample at a time.

    OMP_NUM_THREADS=2 python benchmarks/bench_respond.py --out respond.json
    OMP_NUM_THREADS=2 python benchmarks/bench_respond.py --model demur-tiny --out respond.json

`--model` takes any SPEC (`cascade-tiny`, `demur-tiny`, `hf:FOLDER`); the aim is three times as fast on two cores. The
same prompts of demur-core, spoken by hibari, are asked in batches and one by one, in turns within one run, so that
whatever else the machine does weighs on both. Loading is left out. Every answer is greedy and as long as `--new-tokens`
unless it ends before.

Of an audio language model that transformers runs, also the share of the batched time that is not spent in its
`generate`: resampling, features, tokens and padding. The aim is a tenth at most.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Annotated, Any
from unittest.mock import patch

import typer

from builders.engines import make_engine
from builders.prompts import load_prompts
from demur.console import progress
from demur.files import write_json
from demur.models import Model, Query, make_model
from demur.models.cascade import Cascade
from demur.models.hf.lalm import Turn, load_lalm
from demur.models.smollm import smollm2_folder
from demur.nouns import Modality, Partition

INSTRUCTION = "Answer the question in the audio."


def make_queries(count: int) -> dict[Modality, list[Query]]:
    """So many test prompts in each modality, the shortest first, as a run's batches are."""
    prompts = [prompt.text for prompt in load_prompts(["demur-core"]).prompts if prompt.partition == Partition.TEST]
    voice = make_engine("hibari", {})
    name = voice.voices()[0].name
    clips = [voice.speak(text, name, 0) for text in prompts[:count]]
    clips.sort(key=lambda clip: len(clip[0]))
    return {
        Modality.AUDIO_ONLY: [Query(samples, rate, "") for samples, rate in clips],
        Modality.TEXT_ONLY: [Query(None, 0, text) for text in sorted(prompts[:count], key=len)],
        Modality.AUDIO_TEXT: [Query(samples, rate, INSTRUCTION) for samples, rate in clips],
    }


class Watch:
    """A function that adds up the wall-clock seconds of its calls."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function, self.seconds = function, 0.0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        result = self.function(*args, **kwargs)
        self.seconds += time.perf_counter() - start
        return result


def compare(model: Model, queries: Sequence[Query], batch_size: int) -> dict[str, float]:
    """Seconds a sample in batches and alone, in turns; and in the batches within `generate`, where there is one."""
    together, alone = Watch(model.answer), Watch(lambda batch: [model.answer([query]) for query in batch])
    network = model.lalm.model if hasattr(model, "lalm") else None
    inside = Watch(network.generate) if network is not None else None
    model.answer(queries[:1])  # loads what is not loaded yet
    for start in progress(range(0, len(queries), batch_size), what="batches", unit="batch"):
        batch = queries[start : start + batch_size]
        forget(model)
        with patch.object(network, "generate", inside) if network is not None else nullcontext():
            together(batch)
        forget(model)
        alone(batch)
    watches = {"alone_s": alone, "batched_s": together} | ({"inside_s": inside} if inside else {})
    return {name: watch.seconds / len(queries) for name, watch in watches.items()}


def forget(model: Model) -> None:
    """Drop the transcripts that a cascade remembers."""
    if isinstance(model, Cascade):
        model._heard.clear()


def with_ratios(row: dict[str, float]) -> dict[str, float]:
    """Seconds with what follows from them."""
    outside = {"outside_share": 1 - row["inside_s"] / row["batched_s"]} if "inside_s" in row else {}
    return {**row, "ratio": row["alone_s"] / row["batched_s"], **outside}


def compare_dtypes(queries: Sequence[Query], batch_size: int, new_tokens: int) -> dict[str, float]:
    """Seconds a sample of the text model alone, in batches, in each number format."""
    found = {}
    for dtype in ("bfloat16", "float32"):
        lm = load_lalm(smollm2_folder(), dtype=dtype)
        turns = [Turn(text=query.input_text) for query in queries]
        generate = Watch(partial(lm.generate, max_new_tokens=new_tokens))
        lm.generate(turns[:1], max_new_tokens=new_tokens)
        for start in range(0, len(turns), batch_size):
            generate(turns[start : start + batch_size])
        found[dtype] = generate.seconds / len(turns)
    return found


def show(rows: dict[str, dict[str, float]]) -> None:
    """Print a table."""
    outside = f" {'outside':>9}" if "outside_share" in rows["all"] else ""
    print(f"{'modality':12} {'alone s':>9} {'batched s':>9} {'ratio':>7}{outside}")
    for name, row in rows.items():
        share = f" {row['outside_share']:9.1%}" if outside else ""
        print(f"{name:12} {row['alone_s']:9.3f} {row['batched_s']:9.3f} {row['ratio']:6.2f}x{share}")


def main(
    spec: Annotated[str, typer.Option("--model", help="SPEC of the model.")] = "cascade-tiny",
    samples: Annotated[int, typer.Option(min=1, help="Prompts in each modality.")] = 32,
    batch_size: Annotated[int, typer.Option(min=1)] = 16,
    new_tokens: Annotated[int, typer.Option(min=1)] = 32,
    out: Annotated[Path | None, typer.Option(help="Write the numbers as JSON.")] = None,
) -> None:
    """Print a table; its last line is over all modalities."""
    import torch

    model = make_model(spec, {"batch_size": batch_size, "max_new_tokens": new_tokens})
    queries = {modality: asked for modality, asked in make_queries(samples).items() if modality in model.modalities}
    rows = {str(modality): compare(model, asked, batch_size) for modality, asked in queries.items()}
    rows["all"] = {key: sum(row[key] for row in rows.values()) / len(rows) for key in next(iter(rows.values()))}
    found = {name: with_ratios(row) for name, row in rows.items()}
    settings = {
        "model": model.name,
        **model.settings,
        "samples": samples,
        "batch_size": batch_size,
        "new_tokens": new_tokens,
        "threads": torch.get_num_threads(),
    }
    print(f"{model.name}, {samples} prompts, batches of {batch_size}, {new_tokens} new tokens")
    show(found)
    results: dict[str, Any] = {"settings": settings, "seconds": found}
    if model.name == "cascade-tiny":
        dtypes = results["dtypes"] = compare_dtypes(queries[Modality.TEXT_ONLY], batch_size, new_tokens)
        shown = ", ".join(f"{name} {each:.3f} s a sample" for name, each in dtypes.items())
        print(f"text model alone, in batches: {shown}")
    if out:
        write_json(out, results)


if __name__ == "__main__":
    typer.run(main)
