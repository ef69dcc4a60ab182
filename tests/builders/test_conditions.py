import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.conditions import CLEAN, Condition, Step, add_noise, apply_condition, parse_condition
from demur.audio import Samples, frame_levels, speech_frames
from demur.errors import MissingDependency, UsageError
from demur.files import sha256_bytes

RATE = 16_000
EVERY = ["telephone", "noise-white@10", "noise-pink@10", "noise-babble@10", "reverb", "speed@1.2"]


def speech_like(seconds: float = 2.0, seed: int = 0) -> Samples:
    """A buzz of many harmonics that comes and goes like syllables, with a pause in the middle."""
    times = np.arange(round(seconds * RATE)) / RATE
    phases = np.random.default_rng(seed).uniform(0, 2 * np.pi, 24)
    buzz = sum(np.sin(2 * np.pi * 140 * k * times + phases[k - 1]) / k for k in range(1, 25))
    syllables = np.clip(np.sin(2 * np.pi * 3 * times), 0.001, 1) * (np.abs(times - seconds / 2) > 0.15)
    return (0.1 * buzz * syllables).astype(np.float32)


def band_level(samples: Samples, low: float, high: float) -> float:
    """dB of the part of a sound that lies in a band."""
    power = np.abs(np.fft.rfft(samples)) ** 2
    hertz = np.fft.rfftfreq(len(samples), 1 / RATE)
    return float(10 * np.log10(power[(hertz >= low) & (hertz < high)].mean()))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("clean", "clean"),
        (" Clean ", "clean"),
        ("noise@10", "noise-white@10"),
        ("noise:pink@10.0", "noise-pink@10"),
        ("noise-babble@-5.5", "noise-babble@-5.5"),
        ("noise@-0", "noise-white@0"),
        ("speed@1.20", "speed@1.2"),
        ("telephone + noise@10", "telephone+noise-white@10"),
        ("speed@0.9+reverb+noise:babble@5+telephone", "speed@0.9+reverb+noise-babble@5+telephone"),
    ],
)
def test_a_condition_has_one_canonical_name(text: str, name: str) -> None:
    assert parse_condition(text).name == name
    assert parse_condition(name) == parse_condition(text)


steps = st.one_of(
    st.sampled_from(["telephone", "reverb"]).map(Step),
    st.builds(
        lambda kind, value: parse_condition(f"{kind}@{value!r}").steps[0],
        st.sampled_from(["noise-white", "noise-pink", "noise-babble"]),
        st.floats(-20, 60),
    ),
    st.floats(0.5, 2).map(lambda value: parse_condition(f"speed@{value!r}").steps[0]),
)


@given(st.lists(steps, max_size=4))
def test_parsing_a_name_gives_the_condition(chain: list[Step]) -> None:
    condition = Condition(tuple(chain))
    assert parse_condition(condition.name) == condition


@pytest.mark.parametrize(
    "text",
    ["", "loud", "noise", "noise@", "noise@x", "noise-brown@5", "telephone@3", "speed", "clean+reverb", "reverb+", "@"],
)
def test_a_condition_that_does_not_exist_lists_those_that_do(text: str) -> None:
    with pytest.raises(UsageError, match="there are: clean, or steps joined") as error:
        parse_condition(text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["noise@61", "noise-pink@-21", "speed@0.4", "speed@2.5", "speed@nan", "noise@inf"])
def test_a_value_out_of_bounds_names_the_bounds(text: str) -> None:
    with pytest.raises(UsageError, match=r"takes (-20 to 60|0\.5 to 2), not"):
        parse_condition(text)


def test_speed_without_its_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert parse_condition("reverb").name == "reverb"
    with pytest.raises(MissingDependency, match=r"pip install 'demur\[noise\]'"):
        parse_condition("speed@1.2")


def test_clean_speech_stays_as_it_is() -> None:
    samples = speech_like()
    np.testing.assert_array_equal(apply_condition(parse_condition(CLEAN), samples, RATE, 0), samples)


@pytest.mark.parametrize("text", [*EVERY, "telephone+noise-white@10+reverb"])
def test_a_condition_depends_on_its_seed_alone(text: str) -> None:
    condition, samples = parse_condition(text), speech_like()
    before = samples.copy()
    first = apply_condition(condition, samples, RATE, 1)
    np.random.default_rng(5).normal(size=7)
    np.testing.assert_array_equal(apply_condition(condition, samples, RATE, 1), first)
    np.testing.assert_array_equal(samples, before)
    assert first.dtype == np.float32
    assert np.isfinite(first).all()
    drawn = text not in ("telephone", "speed@1.2")
    assert np.array_equal(apply_condition(condition, samples, RATE, 2), first) != drawn


def test_a_condition_is_the_same_in_another_process() -> None:
    names = [*EVERY, "speed@0.5"]
    script = (
        "import numpy as np; from builders.conditions import *; from demur.files import sha256_bytes\n"
        "samples = np.sin(np.arange(16_000) / 10).astype(np.float32) * np.float32(0.1)\n"
        f"for name in {names}:\n"
        "    print(sha256_bytes(apply_condition(parse_condition(name), samples, 16_000, 3).tobytes()))"
    )
    samples = np.sin(np.arange(16_000) / 10).astype(np.float32) * np.float32(0.1)
    here = [sha256_bytes(apply_condition(parse_condition(name), samples, RATE, 3).tobytes()) for name in names]
    there = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert there.stdout.split() == here


@pytest.mark.parametrize("kind", ["white", "pink", "babble"])
@given(snr=st.floats(-20, 60), gain=st.floats(0.01, 0.1), seed=st.integers(0, 1000))
@settings(max_examples=15)
def test_the_noise_has_the_snr_that_was_asked(kind: str, snr: float, gain: float, seed: int) -> None:
    samples = speech_like(seed=seed) * np.float32(gain)
    noise = apply_condition(parse_condition(f"noise-{kind}@{snr}"), samples, RATE, seed) - samples
    spoken = np.repeat(speech_frames(samples, RATE), round(0.02 * RATE))
    speech = samples[: len(spoken)][spoken]
    measured = 10 * np.log10(np.mean(speech.astype(float) ** 2) / np.mean(noise.astype(float) ** 2))
    assert measured == pytest.approx(snr, abs=0.5)


def test_a_mix_that_would_clip_is_turned_down_as_a_whole() -> None:
    condition, samples = parse_condition("noise-white@-20"), speech_like()
    loud = apply_condition(condition, samples * np.float32(4), RATE, 0)
    soft = apply_condition(condition, samples * np.float32(0.001), RATE, 0)
    assert np.abs(loud).max() == pytest.approx(1)
    assert np.abs(soft).max() < 0.5
    np.testing.assert_allclose(loud, soft / np.abs(soft).max(), atol=1e-3)


def test_noise_has_its_colour() -> None:
    samples = speech_like(8) * np.float32(0.01)
    white, pink = (
        apply_condition(parse_condition(f"noise-{colour}@0"), samples, RATE, 0) - samples
        for colour in ("white", "pink")
    )
    assert band_level(white, 200, 400) == pytest.approx(band_level(white, 3200, 6400), abs=1)
    assert band_level(pink, 200, 400) - band_level(pink, 3200, 6400) == pytest.approx(12, abs=1)


def test_babble_is_speech_of_several_people() -> None:
    samples = speech_like(6) * np.float32(0.01)
    babble = apply_condition(parse_condition("noise-babble@0"), samples, RATE, 0) - samples
    levels = frame_levels(babble, RATE)
    assert 1 < np.std(levels) < 8  # white noise: 0.3; one voice with its pauses: 12 and more
    assert band_level(babble, 100, 1000) - band_level(babble, 4000, 7000) > 10


def test_noise_needs_something_to_lie_below() -> None:
    silence = np.zeros(RATE, dtype=np.float32)
    noise = np.random.default_rng(0).normal(size=RATE).astype(np.float32)
    np.testing.assert_array_equal(add_noise(silence, RATE, noise, 10), silence)
    np.testing.assert_array_equal(add_noise(speech_like(1), RATE, silence, 10), speech_like(1))


def test_a_telephone_passes_its_band_alone() -> None:
    generator = np.random.default_rng(0)
    samples = (0.05 * generator.standard_normal(2 * RATE)).astype(np.float32)
    heard = apply_condition(parse_condition("telephone"), samples, RATE, 0)
    assert len(heard) == len(samples)
    passed = band_level(heard, 600, 2500)
    assert passed == pytest.approx(band_level(samples, 600, 2500), abs=1)
    assert band_level(heard, 0, 150) < passed - 25
    assert band_level(heard, 4200, 8000) < passed - 40


@pytest.mark.parametrize("peak", [0.5, 0.01])
def test_a_telephone_has_the_steps_of_mu_law(peak: float) -> None:
    """Its noise lies about 37 dB below loud and quiet sounds alike; 8 even bits would leave 10 dB at a peak of 0.01."""
    phase = 2 * np.pi * 1017 * np.arange(RATE) / RATE
    heard = apply_condition(parse_condition("telephone"), (peak * np.sin(phase)).astype(np.float32), RATE, 0)[
        2000:-2000
    ]
    tone = np.stack([np.sin(phase), np.cos(phase)], axis=1)[2000:-2000]
    weights = np.linalg.lstsq(tone, heard, rcond=None)[0]
    assert np.linalg.norm(weights) == pytest.approx(peak, rel=0.05)
    noise = heard - tone @ weights
    assert 10 * np.log10(np.mean((tone @ weights) ** 2) / np.mean(noise**2)) == pytest.approx(37, abs=5)


def test_an_echo_follows_the_sound_and_dies_away() -> None:
    click = np.zeros(RATE, dtype=np.float32)
    click[100] = 0.5
    heard = apply_condition(parse_condition("reverb"), click, RATE, 0)
    assert len(heard) - len(click) == pytest.approx(0.4 * RATE, abs=1)
    energy = heard.astype(float) ** 2
    assert energy.sum() == pytest.approx(0.25, rel=0.01)
    assert energy[:101].sum() == pytest.approx(energy[101:].sum(), rel=0.01)
    left = 10 * np.log10(np.cumsum(energy[::-1])[::-1])  # Schroeder's integral: 60 dB in 0.4 s
    fall = left[100 + round(0.1 * RATE)] - left[100 + round(0.2 * RATE)]
    assert fall == pytest.approx(15, abs=1.5)


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.2, 2.0])
def test_speed_changes_the_length_and_not_the_pitch(factor: float) -> None:
    samples = speech_like(3)
    heard = apply_condition(parse_condition(f"speed@{factor}"), samples, RATE, 0)
    assert len(heard) == pytest.approx(len(samples) / factor, abs=2)
    harmonics = [band_level(heard, 140 * k - 15, 140 * k + 15) for k in (1, 2, 3)]
    between = [band_level(heard, 140 * k + 55, 140 * k + 85) for k in (1, 2, 3)]
    assert min(harmonics) > max(between) + 5


@pytest.mark.parametrize("text", EVERY)
@pytest.mark.parametrize("length", [0, 1, 50, 400])
def test_clips_too_short_to_be_speech_do_no_harm(text: str, length: int) -> None:
    heard = apply_condition(parse_condition(text), speech_like()[3000 : 3000 + length], RATE, 0)
    assert heard.dtype == np.float32
    assert np.isfinite(heard).all()
