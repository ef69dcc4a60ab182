"""Audio in and out: mono float32 arrays in [-1, 1] inside, FLAC bytes on disk."""

import io

import numpy as np
import numpy.typing as npt

from demur.errors import InputError

Samples = npt.NDArray[np.float32]
"""Mono audio, shape [n], values in [-1, 1]."""


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
