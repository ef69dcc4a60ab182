"""Audio in and out: mono float32 arrays in [-1, 1] inside, FLAC bytes on disk."""

import io
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from demur.errors import InputError

Samples = npt.NDArray[np.float32]
"""Mono audio, shape [n], values in [-1, 1]."""

FRAME_S = 0.02
"""Seconds in one frame of `frame_levels`: two periods of a low voice."""
SPEECH_RANGE_DB = 40.0
"""A frame this far below the loudest one is silence: TTS voices pause below it, and speak soft consonants above."""
TRIM_MARGIN_S = 0.05
"""Silence left at each end: the part of an onset or release below the range is nearly always shorter than this."""
TARGET_LUFS = -23.0
"""The loudness of EBU R 128."""
PEAK_CEILING_DBFS = -1.0
"""No sample may pass this peak, so that resampling a clip later does not clip it."""
_BLOCK_S = 0.4
"""Gating block of ITU-R BS.1770-4."""


def encode_flac(samples: Samples, rate: int) -> bytes:
    """16-bit FLAC; the same samples give the same bytes."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def decode(data: bytes) -> tuple[Samples, int]:
    """Samples (mono: channels are averaged) and sample rate of any file that libsndfile reads.

    Raises:
        InputError: the bytes are not audio.
    """
    import soundfile

    try:
        samples, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise InputError(f"not readable audio: {error}") from None
    return samples.mean(axis=1), int(rate)


def resample(samples: Samples, rate: int, to: int) -> Samples:
    """The same sound at another sample rate (soxr, high quality)."""
    import soxr

    if rate == to:
        return samples
    resampled: Samples = soxr.resample(samples, rate, to, quality="HQ")
    return resampled


def frame_levels(samples: Samples, rate: int) -> npt.NDArray[np.float32]:
    """Level of each whole frame of 20 ms in dBFS (root mean square; -inf where silent), shape [n // frame]."""
    size = round(FRAME_S * rate)
    frames = samples[: len(samples) // size * size].reshape(-1, size)
    power = np.square(frames).mean(axis=1)
    with np.errstate(divide="ignore"):
        levels: npt.NDArray[np.float32] = 10 * np.log10(power)
    return levels


def speech_frames(samples: Samples, rate: int) -> npt.NDArray[np.bool_]:
    """Which frames of `frame_levels` hold speech: those within 40 dB of the loudest one; none in silence."""
    levels = frame_levels(samples, rate)
    spoken: npt.NDArray[np.bool_] = levels > levels.max(initial=-np.inf) - SPEECH_RANGE_DB
    return spoken


def speech_level(samples: Samples, rate: int) -> float:
    """Level of the frames that hold speech in dBFS (root mean square), pauses left out; -inf in silence."""
    spoken = frame_levels(samples, rate)[speech_frames(samples, rate)]
    return float(10 * np.log10(np.mean(10 ** (spoken / 10)))) if len(spoken) else -np.inf


def trim_silence(samples: Samples, rate: int) -> Samples:
    """The clip without the silence at its ends, but for 50 ms; a clip shorter than a frame as it is."""
    spoken = np.flatnonzero(speech_frames(samples, rate))
    if not len(spoken):
        return samples
    size, margin = round(FRAME_S * rate), round(TRIM_MARGIN_S * rate)
    start, end = spoken[0] * size - margin, (spoken[-1] + 1) * size + margin
    return samples[max(0, start) : end]


def loudness_lufs(samples: Samples, rate: int) -> float | None:
    """Integrated loudness (ITU-R BS.1770-4) in LUFS; None where every block is below -70 LUFS.

    A clip shorter than one gating block (0.4 s) is measured as one block of its own length.
    """
    # Half a sample less, because pyloudnorm refuses a clip shorter than `block * rate`, which may round up.
    block = min(_BLOCK_S, max(0.0, len(samples) - 0.5) / rate)
    if block == 0:
        return None
    loudness = float(_meter(rate, block).integrated_loudness(samples))
    return loudness if np.isfinite(loudness) else None


@lru_cache(maxsize=4)
def _meter(rate: int, block_s: float) -> Any:
    """pyloudnorm's meter; its two filters in one pass over the samples, which takes half the time."""
    import pyloudnorm
    from scipy.signal import sosfilt

    class KWeighting:
        def __init__(self, stages: Iterable[Any]) -> None:
            self.sections = np.array([[*stage.b, *stage.a] for stage in stages])
            self.gain = float(np.prod([stage.passband_gain for stage in stages]))

        def apply_filter(self, data: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.floating[Any]]:
            weighted: npt.NDArray[np.floating[Any]] = self.gain * sosfilt(self.sections, data)
            return weighted

    meter = pyloudnorm.Meter(rate, block_size=block_s)
    meter._filters = {"k_weighting": KWeighting(list(meter._filters.values()))}
    return meter


def to_loudness(
    samples: Samples, rate: int, target: float = TARGET_LUFS, peak_ceiling_dbfs: float = PEAK_CEILING_DBFS
) -> tuple[Samples, float | None]:
    """The clip at a loudness in LUFS, or as near below it as the peak ceiling allows, and the loudness reached.

    A silent clip stays as it is, and has none.
    """
    loudness = loudness_lufs(samples, rate)
    if loudness is None:
        return samples, None
    peak_dbfs = float(20 * np.log10(np.abs(samples).max()))
    gain_db = min(target - loudness, peak_ceiling_dbfs - peak_dbfs)
    return samples * np.float32(10 ** (gain_db / 20)), loudness + gain_db
