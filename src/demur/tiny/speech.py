"""Sentences spoken by the project's own engines, kept as log-mel frames: what demur-tiny's ears are trained on.

    mel-00007.npz     256 clips: `frames` [sum of T, 80] float16, `lengths` [256]; T is 100 frames a second

Nine in twenty are hibari's voice at another pitch and speed, seven flite's three speakers at another pitch, four
espeak-ng's accents. Half are clean; the others are heard through noise, echo or a telephone line. The voices in `KEPT`
are never heard here.
"""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from demur.audio import Samples, resample, trim_silence
from demur.console import progress
from demur.files import write_atomic
from demur.seeds import derive_seed

RATE = 16_000
WINDOW_S = 15
"""What the encoder hears at once."""
HOP = 160
"""Samples in a frame of the log-mel spectrogram."""
SHARD = 256

KEPT = ("piper:joe", "espeak:en-gb-scotland")
"""joe is for tests alone; no Scottish voice of espeak is heard in training, so that validation has one that is new."""
HIBARI, FLITE = 0.45, 0.35
"""Shares of the clips; the rest is espeak-ng's."""
CONDITIONS = ("clean",) * 6 + (
    "noise-white@20", "noise-pink@20", "noise-pink@12", "noise-babble@15", "reverb", "telephone",
)  # fmt: skip

Mel = npt.NDArray[np.float16]
"""[T, 80]: log-mel frames as Whisper's feature extractor makes them."""


def check_engines() -> None:
    """Raise what a missing engine raises: EngineError or MissingDependency."""
    for name in ("espeak", "flite"):
        _voices(name)
    _hibari_voice()


def speak(folder: Path, sentences: Sequence[str], *, seed: int, workers: int, quiet: bool = False) -> None:
    """Write every shard that is not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    shards = [(n, sentences[n * SHARD : (n + 1) * SHARD]) for n in range(-(-len(sentences) // SHARD))]
    missing = [(number, part) for number, part in shards if not shard_path(folder, number).is_file()]
    with (
        ProcessPoolExecutor(workers) as pool,
        progress(total=len(shards), what="speech", unit="shard", quiet=quiet) as bar,
    ):
        bar.update(len(shards) - len(missing))
        for _ in pool.map(_speak_shard, repeat(folder), missing, repeat(seed)):
            bar.update()


def shard_path(folder: Path, number: int) -> Path:
    """Where a shard is."""
    return folder / f"mel-{number:05}.npz"


def load(folder: Path, count: int) -> list[Mel]:
    """The first `count` clips, in the order of their sentences."""
    clips: list[Mel] = []
    for number in range(-(-count // SHARD)):
        with np.load(shard_path(folder, number)) as shard:
            clips += np.split(shard["frames"], np.cumsum(shard["lengths"])[:-1])
    return clips[:count]


def to_mel(samples: Samples) -> Mel:
    """Log-mel frames of a clip at 16 kHz, the silence that fills the window left out but for two frames."""
    samples = samples[: WINDOW_S * RATE]
    features = _extractor()(samples, sampling_rate=RATE, return_tensors="np")["input_features"][0]
    kept: Mel = features.T[: length(samples) + 2].astype(np.float16)
    return kept


def length(samples: Samples) -> int:
    """Frames that hold sound."""
    return -(-min(len(samples), WINDOW_S * RATE) // HOP)


def synthesize(text: str, seed: int) -> Samples:
    """A sentence in a voice, at a pace and in a condition that its seed draws; 16 kHz, at a level drawn too."""
    from builders.conditions import apply_condition, parse_condition

    draw = np.random.default_rng(seed)
    which = draw.random()
    samples = (_hibari if which < HIBARI else _flite if which < HIBARI + FLITE else _espeak)(text, draw)
    samples = trim_silence(samples, RATE)
    pad = [np.zeros(int(draw.uniform(0.0, 0.4) * RATE), np.float32) for _ in range(2)]
    samples = np.concatenate([pad[0], samples, pad[1]])
    condition = parse_condition(CONDITIONS[int(draw.integers(len(CONDITIONS)))])
    samples = apply_condition(condition, samples, RATE, int(draw.integers(2**31)))
    peak = max(float(np.abs(samples).max(initial=0.0)), 1e-6)
    level: Samples = (samples * (10 ** draw.uniform(-1.5, -0.05) / peak)).astype(np.float32)
    return level


def _hibari(text: str, draw: np.random.Generator) -> Samples:
    """Played faster or slower, which changes the pitch too; the speaking rate is drawn apart."""
    pitch, pace = draw.uniform(0.82, 1.22), draw.uniform(0.95, 1.3)
    voice = _hibari_voice()
    speech = voice(text, speed=pace / pitch, seed=int(draw.integers(2**31)))
    return resample(np.asarray(speech, np.float32), round(voice.sample_rate * pitch), RATE)


def _flite(text: str, draw: np.random.Generator) -> Samples:
    engine, voices = _voices("flite")
    samples, rate = engine.speak(text, voices[int(draw.integers(len(voices)))], 0)
    return resample(samples, round(rate * draw.uniform(0.85, 1.18)), RATE)


def _espeak(text: str, draw: np.random.Generator) -> Samples:
    engine, voices = _voices("espeak")
    pitch = draw.uniform(0.9, 1.12)
    samples, rate = engine.speak(text, voices[int(draw.integers(len(voices)))], int(draw.integers(2**31)))
    return resample(samples, round(rate * pitch), RATE)


@cache
def _extractor() -> Any:
    import transformers

    extractor: Any = transformers.WhisperFeatureExtractor
    return extractor(feature_size=80, chunk_length=WINDOW_S)


@cache
def _hibari_voice() -> Any:
    from hibari import Hibari

    return Hibari(threads=1)


@cache
def _voices(name: str) -> tuple[Any, list[str]]:
    from builders.engines import make_engine

    engine = make_engine(name, {})
    return engine, [voice.name for voice in engine.voices() if not voice.spec.startswith(KEPT)]


def _speak_shard(folder: Path, shard: tuple[int, Sequence[str]], seed: int) -> None:
    import io

    import torch

    torch.set_num_threads(1)
    number, sentences = shard
    clips = [to_mel(synthesize(text, derive_seed("speech", seed, text))) for text in sentences]
    buffer = io.BytesIO()
    np.savez(buffer, frames=np.concatenate(clips), lengths=np.array([len(clip) for clip in clips]))
    write_atomic(shard_path(folder, number), buffer.getvalue())
