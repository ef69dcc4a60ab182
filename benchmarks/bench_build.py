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


def build(prompts: Path, out: Path, workers: int, *options: str, watch: bool = False) -> tuple[float, float]:
    """Seconds of a build, and its peak MiB, all of its processes added up, if it is watched (which takes time)."""
    import psutil

    command = [sys.executable, "-m", "builders.tts_synth", "--prompts", str(prompts), "--label", "benign"]
    started = time.perf_counter()
    process = subprocess.Popen([*command, "--out", str(out), "--workers", str(workers), "--quiet", *options])
    peak = 0.0
    while watch and process.poll() is None:
        peak = max(peak, _memory(psutil.Process(process.pid)))
        time.sleep(0.2)
    if process.wait():
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
    prompts: Annotated[int, typer.Option(help="Prompts of the timed build without ASR, and of its second run.")] = 2000,
    asr_prompts: Annotated[int, typer.Option(help="Prompts of the timed build with ASR.")] = 200,
    memory_prompts: Annotated[int, typer.Option(help="N, for the memory at N and at 10 N.")] = 500,
    workers: Annotated[int, typer.Option(help="Processes.")] = 2,
    out: Annotated[Path | None, typer.Option(help="Write the figures as JSON here.")] = None,
) -> None:
    """Measure a build against the raw engine and the raw recogniser."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        figures: dict[str, float | int] = {"workers": workers}
        for measure, count in (
            (measure_speech, prompts),
            (measure_asr, asr_prompts),
            (measure_memory, memory_prompts),
        ):
            part = measure(folder, count, workers)
            figures |= part
            for line, value in part.items():
                print(f"{line:<44} {value}", flush=True)
    if out:
        out.write_text(json.dumps(figures, indent=2) + "\n")


def measure_speech(folder: Path, prompts: int, workers: int) -> dict[str, float | int]:
    """The whole build without ASR against the raw engine; then the same build again over what it finished."""
    raw = in_processes(speak_share, [speakable(text) for text in sentences(prompts)], workers)
    path = write_prompts(folder / "speech.txt", prompts)
    built, _ = build(path, folder / "speech", workers, "--no-asr")
    again, _ = build(path, folder / "speech", workers, "--no-asr")
    return {
        "prompts": prompts,
        "raw engine, s": round(raw, 2),
        "build without ASR, s": round(built, 2),
        "share of the raw engine's speed (>= 0.80)": round(raw / built, 3),
        "second run over the finished corpus, s (< 5)": round(again, 2),
    }


def measure_asr(folder: Path, prompts: int, workers: int) -> dict[str, float | int]:
    """The whole build with ASR against the raw recogniser on the same clips."""
    path = write_prompts(folder / "asr.txt", prompts)
    build(path, folder / "unheard", workers, "--no-asr")
    clips = [sample.audio for sample in Corpus(folder / "unheard").samples(Modality.AUDIO_ONLY)]
    raw = in_processes(hear_share, clips, workers)
    built, _ = build(path, folder / "heard", workers)
    return {
        "prompts heard": prompts,
        "raw ASR, s": round(raw, 2),
        "build with ASR, s": round(built, 2),
        "share of the raw ASR's speed (>= 0.85)": round(raw / built, 3),
    }


def measure_memory(folder: Path, prompts: int, workers: int) -> dict[str, float | int]:
    """Peak memory of a build without ASR, and of one of ten times as many prompts."""
    peaks = {}
    for count in (prompts, 10 * prompts):
        path = write_prompts(folder / f"{count}.txt", count)
        _, peaks[count] = build(path, folder / f"memory-{count}", workers, "--no-asr", watch=True)
    small, large = peaks.values()
    return {
        "N, prompts": prompts,
        "peak memory at N, MiB": round(small),
        "peak memory at 10 N, MiB": round(large),
        "memory at 10 N / at N (<= 1.15)": round(large / small, 3),
    }


if __name__ == "__main__":
    typer.run(main)
