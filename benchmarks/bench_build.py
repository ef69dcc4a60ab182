"""How much of the raw engine's and the raw recogniser's speed a build keeps, and whether its memory grows.

    python benchmarks/bench_build.py --out build.json

Everything is measured in one run, on the same sentences, with the same number of processes and one thread in each;
every time includes starting the processes and loading what they need.
"""

import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import typer

from builders.prompts import load_prompts
from builders.speakable import speakable
from demur.corpus import Corpus
from demur.nouns import Modality

COUNTING = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven")


def sentences(count: int) -> list[str]:
    """As many different sentences as asked for: those of demur-core, then the same with a numbered second sentence."""
    core = [prompt.text for prompt in load_prompts(["demur-core"]).prompts]
    return [
        core[n % len(core)] + (f" This is version {COUNTING[n // len(core)]}." if n >= len(core) else "")
        for n in range(count)
    ]


def speak_share(texts: Sequence[str]) -> float:
    """The bare loop over the engine; seconds of speech made."""
    from hibari import Hibari

    engine = Hibari(threads=1)
    return sum(len(engine(text, seed=0)) / 24_000 for text in texts)


def hear_share(clips: Sequence[bytes]) -> int:
    """The bare loop over the recogniser."""
    from demur.asr import Transcriber
    from demur.audio import decode

    hears = Transcriber("tiny.en")
    sounds = [decode(clip) for clip in clips]
    return sum(bool(hears.transcribe(*sound)) for sound in sounds)


def in_processes(work: Callable[[Any], Any], items: Sequence[Any], workers: int) -> float:
    """Seconds that `workers` fresh processes take for their shares of the items."""
    started = time.perf_counter()
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(work, [items[number::workers] for number in range(workers)]))
    return time.perf_counter() - started


def build(prompts: Path, out: Path, workers: int, *options: str) -> tuple[float, float]:
    """Seconds and peak MiB of a build, all of its processes added up."""
    import psutil

    command = [sys.executable, "-m", "builders.tts_synth", "--prompts", str(prompts), "--label", "benign"]
    started = time.perf_counter()
    process = subprocess.Popen([*command, "--out", str(out), "--workers", str(workers), "--quiet", *options])
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, _memory(psutil.Process(process.pid)))
        time.sleep(0.5)  # reading the memory of processes takes time from them
    if process.returncode:
        raise SystemExit(f"the build failed with code {process.returncode}")
    return time.perf_counter() - started, peak / 2**20


def _memory(parent: Any) -> float:
    """Bytes of memory held by a process and its children, pages that they share counted once (PSS)."""
    import psutil

    total = 0.0
    try:
        for process in (parent, *parent.children(recursive=True)):
            total += process.memory_full_info().pss
    except psutil.Error:  # it has just ended
        pass
    return total


def write_prompts(path: Path, count: int) -> Path:
    """A prompt file of so many lines."""
    path.write_text("".join(f"{text}\n" for text in sentences(count)), encoding="utf-8")
    return path


def main(
    prompts: Annotated[
        int, typer.Option(help="N: prompts of the builds without ASR; ten times as many for memory.")
    ] = 1000,
    asr_prompts: Annotated[int, typer.Option(help="Prompts of the build with ASR.")] = 500,
    workers: Annotated[int, typer.Option(help="Processes.")] = 2,
    rerun_clips: Annotated[int, typer.Option(help="Clips of the finished corpus that is built again.")] = 2000,
    out: Annotated[Path | None, typer.Option(help="Write the figures as JSON here.")] = None,
) -> None:
    """Measure a build against the raw engine and the raw recogniser."""
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), prompts, asr_prompts, workers, rerun_clips)
    for name, value in figures.items():
        print(f"{name:<44} {value}")
    if out:
        out.write_text(json.dumps(figures, indent=2) + "\n")


def measure(folder: Path, prompts: int, asr_prompts: int, workers: int, rerun_clips: int) -> dict[str, float | int]:
    """All figures by name."""
    small = write_prompts(folder / "n.txt", prompts)
    texts = [speakable(text) for text in sentences(prompts)]
    raw_tts = in_processes(speak_share, texts, workers)
    without_asr, memory = build(small, folder / "n", workers, "--no-asr")
    few = write_prompts(folder / "asr.txt", asr_prompts)
    build(few, folder / "unheard", workers, "--no-asr")
    clips = [sample.audio for sample in Corpus(folder / "unheard").samples(Modality.AUDIO_ONLY)]
    raw_asr = in_processes(hear_share, clips, workers)
    with_asr, _ = build(few, folder / "heard", workers)
    large = write_prompts(folder / "10n.txt", 10 * prompts)
    ten_times, memory_10 = build(large, folder / "10n", workers, "--no-asr")
    rerun = write_prompts(folder / "rerun.txt", rerun_clips)
    build(rerun, folder / "rerun", workers, "--no-asr")
    again, _ = build(rerun, folder / "rerun", workers, "--no-asr")
    return {
        "prompts": prompts,
        "workers": workers,
        "raw engine, s": round(raw_tts, 2),
        "build without ASR, s": round(without_asr, 2),
        "share of the raw engine's speed (>= 0.80)": round(raw_tts / without_asr, 3),
        "prompts heard": asr_prompts,
        "raw ASR, s": round(raw_asr, 2),
        "build with ASR, s": round(with_asr, 2),
        "share of the raw ASR's speed (>= 0.85)": round(raw_asr / with_asr, 3),
        "peak memory at N, MiB": round(memory),
        "peak memory at 10 N, MiB": round(memory_10),
        "memory at 10 N / at N (<= 1.15)": round(memory_10 / memory, 3),
        "build of 10 N, s": round(ten_times, 2),
        f"second run over {rerun_clips} clips, s (< 5)": round(again, 2),
    }


if __name__ == "__main__":
    typer.run(main)
