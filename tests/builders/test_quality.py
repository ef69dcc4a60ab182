import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import quality
from builders.quality import find_faults, heard_wrong
from demur.audio import Samples
from demur.files import to_json

RATE = 24_000
TEXT = "How do I sharpen a kitchen knife safely at home?"


def speech(seconds: float, amplitude: float = 0.2) -> Samples:
    times = np.arange(round(seconds * RATE)) / RATE
    return (amplitude * np.sin(2 * np.pi * 150 * times) * (1.2 + np.sin(2 * np.pi * 4 * times))).astype(np.float32)


def padded(samples: Samples, seconds: float = 1.0) -> Samples:
    silence = np.zeros(round(seconds * RATE), dtype=np.float32)
    return np.concatenate([silence, samples, silence])


def reasons(samples: Samples, text: str = TEXT) -> list[str]:
    return [fault.reason for fault in find_faults(samples, RATE, text)]


def test_good_speech_has_no_fault() -> None:
    assert reasons(speech(2.5)) == reasons(padded(speech(2.5))) == []
    assert reasons(speech(0.36), "Hi.") == []
    assert reasons(speech(2.3), "SQL?") == []


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_found(broken: float) -> None:
    samples = speech(2.5)
    samples[100] = broken
    (fault,) = find_faults(samples, RATE, TEXT)
    assert fault.reason == "not_finite"
    assert fault.numbers["share"] == pytest.approx(1 / len(samples))


def test_silence_is_found() -> None:
    assert reasons(padded(speech(0))) == reasons(speech(0)) == reasons(speech(2.5, 0.001)) == ["silent"]
    hiss = np.random.default_rng(0).normal(0, 10 ** (-70 / 20), 3 * RATE).astype(np.float32)
    assert reasons(hiss) == ["silent"]


def test_clipping_is_found_and_a_peak_at_full_scale_is_none() -> None:
    assert reasons(np.clip(speech(2.5, 2), -1, 1)) == ["clipped"]
    samples = speech(2.5)
    assert reasons(samples / np.abs(samples).max()) == []


def test_speech_cut_off_or_run_on_is_found() -> None:
    assert reasons(padded(speech(0.5))) == ["too_short"]
    assert reasons(padded(speech(20))) == ["too_long"]
    assert reasons(speech(1.2), "\u5982\u4f55\u5728\u5bb6\u4e2d\u5b89\u5168\u5730\u78e8\u5200") == []
    assert reasons(speech(0.3), "\u5982\u4f55\u5728\u5bb6\u4e2d\u5b89\u5168\u5730\u78e8\u5200") == ["too_short"]


def test_every_fault_is_told_with_its_numbers() -> None:
    faults = find_faults(np.clip(speech(0.5, 2), -1, 1), RATE, TEXT)
    assert [fault.reason for fault in faults] == ["clipped", "too_short"]
    assert faults[1].numbers == pytest.approx({"seconds": 0.5, "min": 38 / quality.FASTEST}, abs=0.03)


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), max_size=5000), st.text())
def test_any_samples_and_text_give_faults_that_can_be_written_down(values: list[float], text: str) -> None:
    for fault in find_faults(np.array(values, dtype=np.float32), RATE, text):
        to_json(dict(fault.numbers))


@pytest.mark.parametrize(
    ("wer", "errors", "wrong"), [(0.5, 2, True), (0.31, 4, True), (0.3, 3, False), (1.0, 1, False), (0.0, 0, False)]
)
def test_heard_wrong_takes_a_rate_and_two_words(wer: float, errors: int, wrong: bool) -> None:
    assert heard_wrong(wer, errors, max_wer=0.3) is wrong


@pytest.mark.slow
def test_real_voices_have_no_faults() -> None:
    from hibari import Hibari

    voice = Hibari()
    for text in (TEXT, "Hi.", "Stop.", "What is ten plus fifteen?", TEXT * 5):
        for speed in (0.7, 1.0, 1.4):
            assert reasons(voice(text, speed=speed, seed=0), text) == []
