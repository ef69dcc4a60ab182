"""Making one clip: a plain function of its plan, so that a process, a pool or a cluster can call it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict

from builders.conditions import CLEAN, apply_condition, parse_condition
from builders.engines import Engine
from builders.quality import find_faults, heard_wrong
from demur.asr import WordErrors, word_errors
from demur.audio import Samples, encode_flac, resample, to_loudness, trim_silence
from demur.errors import EngineUnavailable, MissingDependency
from demur.files import sha256_bytes
from demur.seeds import derive_seed


class Hears(Protocol):
    """What turns speech into text: `demur.asr.Transcriber`, or nothing at all with `--no-asr`."""

    def transcribe(self, samples: Samples, rate: int) -> str: ...


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SoundSettings(_Record):
    """How every clip of a corpus is made and checked; part of what a corpus is a function of."""

    conditions: tuple[str, ...] = ("clean",)
    sample_rate: int = 16_000
    loudness_lufs: float = -23.0
    max_wer: float = 0.3
    asr: str | None = "tiny.en"
    attempts: int = 4
    """Takes of one clip before it is rejected: its own voice twice, then its understudies."""


class ClipPlan(_Record):
    """One clip to make, in all conditions. `text` is already speakable; `voices` are tried in order."""

    prompt_id: str
    slot: int
    text: str
    voices: tuple[str, ...]

    @property
    def key(self) -> str:
        """Unique in a build, and a safe file name."""
        return f"{self.prompt_id}-{self.slot}"


class Attempt(_Record):
    """A take that failed: who spoke, why it was not kept, and the numbers behind that."""

    voice: str
    reason: str
    numbers: dict[str, float | str] = {}


class Take(_Record):
    """One kept recording; its bytes travel beside it."""

    voice: str
    condition: str
    duration_s: float
    loudness_lufs: float | None
    transcript: str | None
    wer: float | None
    audio_sha256: str
    size: int


@dataclass
class Clip:
    """What became of a plan: its takes with their FLAC bytes, one a condition, or none if every attempt failed."""

    plan: ClipPlan
    takes: list[Take] = field(default_factory=list)
    audio: list[bytes] = field(default_factory=list)
    failed: list[Attempt] = field(default_factory=list)


@dataclass(frozen=True)
class Studio:
    """What a process needs to make clips: settings, engines by name, and a recogniser unless clips go unheard."""

    settings: SoundSettings
    seed: int
    engines: Mapping[str, Engine]
    hears: Hears | None

    def speak(self, plan: ClipPlan, voice: str, number: int) -> tuple[Samples, int]:
        """The raw speech of a take, and its rate."""
        engine, _, name = voice.partition(":")
        seed = derive_seed(self.seed, plan.prompt_id, voice, CLEAN, number)
        return self.engines[engine].speak(plan.text, name, seed)


def make_clip(plan: ClipPlan, studio: Studio) -> Clip:
    """Speak, check and, where that fails, speak again: with a new seed, then with the next voice.

    Raises:
        EngineUnavailable: the engine cannot speak now; nothing is decided about this clip.
    """
    clip = Clip(plan)
    failed_before: list[Samples] = []
    # a voice gets a second chance with another seed before its first understudy is called
    tries = [(plan.voices[0], 0), (plan.voices[0], 1), *((voice, 0) for voice in plan.voices[1:])]
    for voice, number in tries[: studio.settings.attempts]:
        try:
            speech, rate = studio.speak(plan, voice, number)
        except (EngineUnavailable, MissingDependency):
            raise
        except Exception as error:  # whatever an engine raises on a text is a failed take, not the end of the build
            clip.failed.append(Attempt(voice=voice, reason="engine_error", numbers={"message": str(error)[:300]}))
            continue
        if any(np.array_equal(speech, before) for before in failed_before):
            continue  # an engine without chance says the same again: no use in judging it twice
        failure = _record(clip, voice, speech, rate, studio)
        if failure is None:
            return clip
        clip.failed.append(failure)
        failed_before.append(speech)
    return clip


def _record(clip: Clip, voice: str, speech: Samples, rate: int, studio: Studio) -> Attempt | None:
    """Check the speech and keep it in every condition, or say why not."""
    settings, text = studio.settings, clip.plan.text
    faults = find_faults(speech, rate, text)
    if faults:
        return Attempt(voice=voice, reason=faults[0].reason, numbers=dict(faults[0].numbers))
    clean = _level(resample(trim_silence(speech, rate), rate, settings.sample_rate), studio)
    heard = _hear(clean, text, studio)
    if heard and heard_wrong(heard.errors.rate, heard.errors.errors, settings.max_wer):
        numbers: dict[str, float | str] = {
            "wer": heard.errors.rate,
            "errors": heard.errors.errors,
            "transcript": heard.transcript,
        }
        return Attempt(voice=voice, reason="heard_wrong", numbers=numbers)
    for condition in settings.conditions:
        sound, heard_here = clean, heard
        if condition != CLEAN:
            seed = derive_seed(studio.seed, clip.plan.prompt_id, voice, condition, 0)
            changed = apply_condition(parse_condition(condition), clean.samples, settings.sample_rate, seed)
            sound = _level(changed, studio)
            heard_here = _hear(sound, text, studio)
        take, data = _take(voice, condition, sound, settings.sample_rate, heard_here)
        clip.takes.append(take)
        clip.audio.append(data)
    return None


class _Sound(NamedTuple):
    samples: Samples
    loudness_lufs: float | None


class _Heard(NamedTuple):
    transcript: str
    errors: WordErrors


def _level(samples: Samples, studio: Studio) -> _Sound:
    return _Sound(*to_loudness(samples, studio.settings.sample_rate, studio.settings.loudness_lufs))


def _hear(sound: _Sound, text: str, studio: Studio) -> _Heard | None:
    if studio.hears is None:
        return None
    transcript = studio.hears.transcribe(sound.samples, studio.settings.sample_rate)
    return _Heard(transcript, word_errors(text, transcript))


def _take(voice: str, condition: str, sound: _Sound, rate: int, heard: _Heard | None) -> tuple[Take, bytes]:
    data = encode_flac(sound.samples, rate)
    take = Take(
        voice=voice,
        condition=condition,
        duration_s=round(len(sound.samples) / rate, 4),
        loudness_lufs=None if sound.loudness_lufs is None else round(sound.loudness_lufs, 2),
        transcript=heard and heard.transcript,
        wer=heard and round(heard.errors.rate, 4),
        audio_sha256=sha256_bytes(data),
        size=len(data),
    )
    return take, data
