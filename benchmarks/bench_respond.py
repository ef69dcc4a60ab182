"""How much faster cascade-tiny answers in batches than one sample at a time.

    OMP_NUM_THREADS=2 python benchmarks/bench_respond.py --out respond.json

The same prompts of demur-core, spoken by hibari, are asked in batches and one by one, in turns within one run, so that
whatever else the machine does weighs on both. Loading is left out. Every answer is greedy and as long as
`--new-tokens` unless it ends before.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from builders.engines import make_engine
from builders.prompts import load_prompts
from demur.console import progress
from demur.files import write_json
from demur.models import Model, Query, make_model
from demur.models.smollm import smollm2_folder
from demur.models.text_lm import TextLM
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


def seconds(work: Callable[[], Any]) -> float:
    """Wall-clock seconds of a call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare(model: Callable[[], Model], queries: Sequence[Query], batch_size: int) -> dict[str, float]:
    """Seconds a sample in batches and alone, in turns; each way by a model that has heard none of the clips before."""
    together, alone = model(), model()
    warm_up = queries[:1]
    for each in (together, alone):
        each.answer(warm_up)
        forget(each)
    in_batches = one_by_one = 0.0
    for start in progress(range(0, len(queries), batch_size), what="batches", unit="batch"):
        batch = queries[start : start + batch_size]
        in_batches += seconds(lambda batch=batch: together.answer(batch))
        one_by_one += seconds(lambda batch=batch: [alone.answer([query]) for query in batch])
    count = len(queries)
    return {"batched_s": in_batches / count, "alone_s": one_by_one / count, "ratio": one_by_one / in_batches}


def forget(model: Any) -> None:
    """Drop the transcripts that a cascade remembers."""
    model._heard.clear()


def compare_dtypes(queries: Sequence[Query], batch_size: int, new_tokens: int) -> dict[str, float]:
    """Seconds a sample of the text model alone, in batches, in each number format."""
    found = {}
    for dtype in ("bfloat16", "float32"):
        lm = TextLM(smollm2_folder(), max_new_tokens=new_tokens, dtype=dtype)
        chats = [[{"role": "user", "content": query.input_text}] for query in queries]
        lm.generate(chats[:1])
        batches = [chats[start : start + batch_size] for start in range(0, len(chats), batch_size)]
        found[dtype] = seconds(lambda lm=lm, batches=batches: [lm.generate(batch) for batch in batches]) / len(chats)
    return found


def main(
    samples: Annotated[int, typer.Option(min=1, help="Prompts in each modality.")] = 32,
    batch_size: Annotated[int, typer.Option(min=1)] = 16,
    new_tokens: Annotated[int, typer.Option(min=1)] = 32,
    out: Annotated[Path | None, typer.Option(help="Write the numbers as JSON.")] = None,
) -> None:
    """Print a table; the last line is the ratio over all three modalities."""
    import torch

    queries = make_queries(samples)
    options = {"batch_size": batch_size, "max_new_tokens": new_tokens}
    found = {
        str(modality): compare(lambda: make_model("cascade-tiny", options), asked, batch_size)
        for modality, asked in queries.items()
    }
    sums = {key: sum(row[key] for row in found.values()) / len(found) for key in ("batched_s", "alone_s")}
    found["all"] = {**sums, "ratio": sums["alone_s"] / sums["batched_s"]}
    dtypes = compare_dtypes(queries[Modality.TEXT_ONLY], batch_size, new_tokens)
    settings = {
        "samples": samples,
        "batch_size": batch_size,
        "new_tokens": new_tokens,
        "threads": torch.get_num_threads(),
    }
    print(f"cascade-tiny, {samples} prompts, batches of {batch_size}, {new_tokens} new tokens, bfloat16")
    print(f"{'modality':12} {'alone s':>9} {'batched s':>9} {'ratio':>7}")
    for name, row in found.items():
        print(f"{name:12} {row['alone_s']:9.3f} {row['batched_s']:9.3f} {row['ratio']:6.2f}x")
    print(
        "text model alone, in batches: " + ", ".join(f"{name} {each:.3f} s a sample" for name, each in dtypes.items())
    )
    if out:
        write_json(out, {"settings": settings, "seconds": found, "dtypes": dtypes})


if __name__ == "__main__":
    typer.run(main)
