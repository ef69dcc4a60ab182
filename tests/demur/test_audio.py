import io

import numpy as np
import pyloudnorm
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from demur import audio
from demur.audio import Samples
from demur.errors import InputError

RATE = 16_000


def tone(seconds: float, rate: int = RATE, amplitude: float = 0.3, hertz: float = 440.0) -> Samples:
    return (amplitude * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def silence(seconds: float, rate: int = RATE) -> Samples:
    return np.zeros(round(seconds * rate), dtype=np.float32)


@st.composite
def sounds(draw: st.DrawFn) -> Samples:
    """Noise in bursts of different loudness, 0.1 to 2 s: pauses, peaks and quiet parts as in speech."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    levels = draw(st.lists(st.floats(-60, 0), min_size=1, max_size=10))
    parts = [10 ** (level / 20) * generator.uniform(-1, 1, size=generator.integers(1600, 3200)) for level in levels]
    return np.concatenate(parts).astype(np.float32)


@given(sounds())
@settings(max_examples=30)
def test_flac_keeps_the_samples_to_16_bits_and_repeats_its_bytes(samples: Samples) -> None:
    data = audio.encode_flac(samples, RATE)
    decoded, rate = audio.decode(data)
    assert rate == RATE
    assert decoded.dtype == np.float32
    np.testing.assert_allclose(decoded, samples, atol=1 / 2**15)
    assert audio.encode_flac(samples, RATE) == data


def test_decode_averages_channels_and_refuses_what_is_no_audio() -> None:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.stack([tone(0.1), -tone(0.1)], axis=1), RATE, format="WAV")
    decoded, _ = audio.decode(buffer.getvalue())
    np.testing.assert_allclose(decoded, 0, atol=1 / 2**15)
    with pytest.raises(InputError, match="not readable audio"):
        audio.decode(b"{'error': 'not audio'}")


@pytest.mark.parametrize("rate", [8_000, 22_050, 24_000, 48_000])
def test_resample_keeps_pitch_level_and_duration(rate: int) -> None:
    resampled = audio.resample(tone(1, rate), rate, RATE)
    assert resampled.dtype == np.float32
    assert abs(len(resampled) - RATE) <= 1
    middle = slice(RATE // 10, -RATE // 10)
    np.testing.assert_allclose(resampled[:RATE][middle], tone(1)[middle], atol=0.01)


def test_resample_removes_what_the_new_rate_cannot_hold() -> None:
    resampled = audio.resample(tone(1, 24_000, hertz=10_000), 24_000, RATE)
    assert np.sqrt(np.mean(resampled[1600:-1600] ** 2)) < 1e-3


def test_trim_leaves_the_sound_and_a_margin() -> None:
    clip = np.concatenate([silence(0.4), tone(0.5), silence(0.3), tone(0.5), silence(1.0)])
    trimmed = audio.trim_silence(clip, RATE)
    assert len(trimmed) / RATE == pytest.approx(0.5 + 0.3 + 0.5 + 2 * audio.TRIM_MARGIN_S, abs=audio.FRAME_S)
    assert np.abs(trimmed).sum() == pytest.approx(np.abs(clip).sum())


def test_trim_follows_the_level_of_the_clip() -> None:
    clip = np.concatenate([silence(0.4), tone(0.5), silence(0.4)])
    noise = np.random.default_rng(0).normal(0, 10 ** (-60 / 20), len(clip)).astype(np.float32)
    loud, quiet = audio.trim_silence(clip + noise, RATE), audio.trim_silence((clip + noise) * np.float32(0.01), RATE)
    assert len(loud) == len(quiet) < 0.7 * RATE


def test_the_level_of_speech_leaves_pauses_out() -> None:
    expected = 20 * np.log10(0.3 / np.sqrt(2))
    assert audio.speech_level(tone(0.5), RATE) == pytest.approx(expected, abs=0.1)
    spaced = np.concatenate([silence(0.3), tone(0.5), silence(2)])
    assert audio.speech_level(spaced, RATE) == pytest.approx(expected, abs=0.1)
    assert audio.speech_level(silence(1), RATE) == audio.speech_level(silence(0), RATE) == -np.inf


@pytest.mark.parametrize("samples", [silence(1), silence(0.001), silence(0)])
def test_silence_is_left_as_it_is(samples: Samples) -> None:
    assert audio.loudness_lufs(samples, RATE) is None
    levelled, loudness = audio.to_loudness(samples, RATE)
    assert loudness is None
    np.testing.assert_array_equal(levelled, samples)
    np.testing.assert_array_equal(audio.trim_silence(samples, RATE), samples)


@given(sounds().filter(lambda samples: len(samples) >= 0.4 * RATE))
@settings(max_examples=30)
def test_loudness_is_what_bs1770_says(samples: Samples) -> None:
    expected = float(pyloudnorm.Meter(RATE).integrated_loudness(samples))
    measured = audio.loudness_lufs(samples, RATE)
    assert measured == (pytest.approx(expected, abs=0.1) if np.isfinite(expected) else None)


@given(sounds())
@settings(max_examples=50)
def test_the_target_is_reached_unless_the_ceiling_binds(samples: Samples) -> None:
    levelled, reached = audio.to_loudness(samples, RATE)
    assert levelled.dtype == np.float32
    reached = audio.loudness_lufs(levelled, RATE)
    if reached is None:
        return
    ceiling = 10 ** (audio.PEAK_CEILING_DBFS / 20)
    peak = np.abs(levelled).max()
    assert peak <= ceiling * 1.0001
    assert reached == pytest.approx(audio.TARGET_LUFS, abs=0.1) or (
        reached < audio.TARGET_LUFS and peak == pytest.approx(ceiling, rel=1e-4)
    )


def test_a_clip_shorter_than_a_gating_block_has_the_loudness_of_its_sound() -> None:
    assert audio.loudness_lufs(tone(0.2), RATE) == pytest.approx(audio.loudness_lufs(tone(2), RATE), abs=0.3)
