"""One clip: spoken, checked, heard, made again, and kept in every condition."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest

from builders.clip import Clip, ClipPlan, SoundSettings, Studio, make_clip
from builders.engines import Voice
from demur.audio import Samples, decode
from demur.errors import EngineError, EngineUnavailable, MissingDependency

TEXT = "please open the window"
Say = Callable[[str, int], Samples]


def speech(seconds: float = 1.2) -> Samples:
    """A tone that swells four times a second, as loud as speech."""
    time = np.arange(int(24_000 * seconds)) / 24_000
    return (0.3 * np.sin(2 * np.pi * 150 * time) * (1 + np.sin(8 * np.pi * time)) / 2).astype(np.float32)


class Engine:
    name = "fake"
    reproducible = True

    def __init__(self, say: Say) -> None:
        self.say = say
        self.calls: list[tuple[str, int]] = []

    def voices(self) -> Sequence[Voice]:
        return []

    def speak(self, text: str, voice: str, seed: int) -> tuple[Samples, int]:
        self.calls.append((voice, seed))
        return self.say(voice, len(self.calls)), 24_000


class Ears:
    """Hears what it is told to, in order, and the last of it for ever."""

    def __init__(self, *transcripts: str) -> None:
        self.transcripts = list(transcripts)

    def transcribe(self, samples: Samples, rate: int) -> str:
        return self.transcripts.pop(0) if len(self.transcripts) > 1 else self.transcripts[0]


def make(engine: Engine, ears: Ears | None = None, *, voices: str = "ab", **settings: object) -> Clip:
    plan = ClipPlan(prompt_id="0" * 16, slot=0, text=TEXT, voices=tuple(f"fake:{voice}" for voice in voices))
    sound = SoundSettings(asr=None if ears is None else "tiny.en", **settings)  # type: ignore[arg-type]
    return make_clip(plan, Studio(sound, 0, {"fake": engine}, ears))


def varied(voice: str, number: int) -> Samples:
    return speech() * np.float32(1 - 0.01 * number)


def test_a_good_take_is_kept_as_it_was_heard() -> None:
    clip = make(Engine(varied), Ears("Please, open the window."))
    (take,) = clip.takes
    assert (take.voice, take.condition, take.transcript, take.wer) == (
        "fake:a",
        "clean",
        "Please, open the window.",
        0.0,
    )
    samples, rate = decode(clip.audio[0])
    assert rate == 16_000
    assert take.duration_s == pytest.approx(len(samples) / rate, abs=1e-4)
    assert take.loudness_lufs == pytest.approx(-23, abs=0.1)
    assert clip.failed == []


def test_a_misheard_take_is_made_again_with_another_seed_then_by_the_next_voice() -> None:
    engine = Engine(varied)
    clip = make(engine, Ears("something else altogether", "nothing like it", TEXT))
    assert [voice for voice, _ in engine.calls] == ["a", "a", "b"]
    assert len({seed for _, seed in engine.calls}) == 3
    assert [take.voice for take in clip.takes] == ["fake:b"]
    assert [(attempt.voice, attempt.reason) for attempt in clip.failed] == [("fake:a", "heard_wrong")] * 2
    assert clip.failed[0].numbers["transcript"] == "something else altogether"


def test_one_word_misheard_is_not_enough_to_fail() -> None:
    clip = make(Engine(varied), Ears("please open the widow"), max_wer=0.1)
    assert clip.takes[0].wer == 0.25


def test_a_clip_that_never_comes_right_is_rejected_with_all_its_attempts() -> None:
    clip = make(Engine(varied), Ears("no no no no"), voices="abcdef")
    assert clip.takes == []
    assert [attempt.voice for attempt in clip.failed] == ["fake:a", "fake:a", "fake:b", "fake:c"]


def test_an_engine_without_chance_is_not_judged_twice() -> None:
    clip = make(Engine(lambda voice, number: speech()), Ears("no no no no"), voices="a")
    assert len(clip.failed) == 1


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (np.zeros(24_000, np.float32), "silent"),
        (np.full(24_000, np.nan, np.float32), "not_finite"),
        (np.clip(speech() * 30, -1, 1), "clipped"),
        (speech(0.2), "too_short"),
        (speech(20), "too_long"),
    ],
)
def test_faulty_sound_is_not_kept(bad: Samples, reason: str) -> None:
    clip = make(Engine(lambda voice, number: bad if voice == "a" else speech()))
    assert clip.failed[0].reason == reason
    assert [take.voice for take in clip.takes] == ["fake:b"]


def test_conditions_are_recorded_but_not_gated() -> None:
    ears = Ears(TEXT, "mumble mumble mumble", "open window")
    clip = make(Engine(varied), ears, conditions=("clean", "telephone", "noise-white@0"))
    assert [(take.condition, take.wer) for take in clip.takes] == [
        ("clean", 0.0),
        ("telephone", 1.0),
        ("noise-white@0", 0.5),
    ]
    assert len({take.audio_sha256 for take in clip.takes}) == 3


def test_the_clean_clip_is_gated_even_where_it_is_not_kept() -> None:
    clip = make(Engine(varied), Ears("no no no no"), conditions=("telephone",))
    assert clip.takes == []


def test_whatever_an_engine_raises_is_a_failed_take() -> None:
    def say(voice: str, number: int) -> Samples:
        if voice == "a":
            raise (EngineError("no phonemes") if number == 1 else ZeroDivisionError("oops"))
        return speech()

    clip = make(Engine(say))
    assert [attempt.reason for attempt in clip.failed] == ["engine_error"] * 2
    assert [take.voice for take in clip.takes] == ["fake:b"]


@pytest.mark.parametrize("error", [EngineUnavailable("no network"), MissingDependency("piper", extra="piper")])
def test_what_is_no_fault_of_the_prompt_decides_nothing(error: Exception) -> None:
    def say(voice: str, number: int) -> Samples:
        raise error

    with pytest.raises(type(error)):
        make(Engine(say))


def test_the_same_plan_gives_the_same_clip() -> None:
    def noisy(voice: str, seed: int) -> Samples:
        return speech()

    settings: Mapping[str, object] = {"conditions": ("clean", "noise-pink@5")}
    assert make(Engine(noisy), **settings).audio == make(Engine(noisy), **settings).audio
