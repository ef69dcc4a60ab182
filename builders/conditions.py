"""Acoustic conditions: what happens to clean speech on its way to a listener.

A condition is `clean`, or one or more steps joined by `+` and done from left to right:

    telephone          an old telephone line: 300 to 3400 Hz, 8 kHz, mu-law in 8 bits
    reverb             a room whose echo dies away by 60 dB in 0.4 s
    noise-white@SNR    white noise at SNR dB below the speech (-20 to 60); also `noise@SNR`
    noise-pink@SNR     the same with noise of equal power in every octave
    noise-babble@SNR   the same with six voices that speak at once
    speed@FACTOR       speech FACTOR times as fast (0.5 to 2) at the same pitch

Each is a function of the samples and a seed alone. Noise and echo are made here from numpy's generator, because the
transforms of augmentation libraries draw from global random state and set the SNR by the level of the whole clip,
pauses included.
"""

import importlib.util
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from demur.audio import Samples, resample, speech_level, trim_silence
from demur.errors import MissingDependency, UsageError
from demur.seeds import derive_seed

CLEAN = "clean"
"""Name of the condition in which nothing happens."""
GRAMMAR = (
    "clean, or steps joined by +: telephone, reverb, noise-white@SNR, noise-pink@SNR, noise-babble@SNR "
    "(SNR from -20 to 60 dB), speed@FACTOR (from 0.5 to 2); for example telephone+noise-pink@10"
)

TELEPHONE_RATE = 8_000
TELEPHONE_BAND_HZ = (300, 3400)
MU = 255
"""Of G.711 mu-law, 8 bits a sample: a sign and 127 steps."""
RT60_S = 0.4
"""Time in which the echo dies away by 60 dB: a furnished living room."""
ECHO_DELAY_S = 0.003
"""From the direct sound to the first echo: a metre of detour."""
DIRECT_TO_ECHO_DB = 0.0
"""The echo carries as much energy as the direct sound: a listener a metre or two away."""

_STEP = re.compile(r"(?P<kind>[a-z]+(?:[-:][a-z]+)?)(?:@(?P<value>\S+))?")
_SNR_DB = (-20.0, 60.0)
_BOUNDS = {"noise-white": _SNR_DB, "noise-pink": _SNR_DB, "noise-babble": _SNR_DB, "speed": (0.5, 2.0)}
_PLAIN = ("telephone", "reverb")


@dataclass(frozen=True)
class Step:
    """One thing that happens to speech; `value` is an SNR in dB, a factor of speed, or None."""

    kind: str
    value: float | None = None

    @property
    def name(self) -> str:
        """As `parse_condition` reads it."""
        return self.kind if self.value is None else f"{self.kind}@{self.value:g}"


@dataclass(frozen=True)
class Condition:
    """Steps in the order in which they happen; none for clean speech."""

    steps: tuple[Step, ...]

    @property
    def name(self) -> str:
        """The one spelling under which a corpus records it; parsing it gives the same condition."""
        return "+".join(step.name for step in self.steps) or CLEAN


def parse_condition(text: str) -> Condition:
    """The condition that a text names.

    Raises:
        UsageError: it names none; the message says what can be written.
        MissingDependency: `speed` needs python-stretch.
    """
    plain = text.strip().lower()
    condition = Condition(() if plain == CLEAN else tuple(_parse_step(part, text) for part in plain.split("+")))
    if any(step.kind == "speed" for step in condition.steps) and not importlib.util.find_spec("python_stretch"):
        raise MissingDependency("python-stretch", extra="noise")
    return condition


def _parse_step(part: str, text: str) -> Step:
    wrong = UsageError(f"no condition {text!r}; there are: {GRAMMAR}")
    match = _STEP.fullmatch(part.strip())
    if match is None:
        raise wrong
    kind = match["kind"].replace(":", "-")
    kind = "noise-white" if kind == "noise" else kind
    if kind in _PLAIN and match["value"] is None:
        return Step(kind)
    if kind not in _BOUNDS or match["value"] is None:
        raise wrong
    try:
        value = float(f"{float(match['value']):g}") + 0.0  # as precise as its name; never -0
    except ValueError:
        raise wrong from None
    low, high = _BOUNDS[kind]
    if not low <= value <= high:
        raise UsageError(f"condition {text!r}: {kind} takes {low:g} to {high:g}, not {match['value']}")
    return Step(kind, value)


def apply_condition(condition: Condition, samples: Samples, rate: int, seed: int) -> Samples:
    """Speech in a condition: finite, float32, no peak above 1 (turned down as a whole where it would be).

    The length stays, but for `speed` (divided by the factor) and `reverb` (the echo's 0.4 s longer).
    """
    for number, step in enumerate(condition.steps if len(samples) else ()):
        generator = np.random.default_rng(derive_seed(seed, number, step.name))
        changed = _STEPS[step.kind](samples, rate, step.value or 0.0, generator)
        samples = (changed / max(1.0, np.abs(changed).max(initial=0.0))).astype(np.float32)
    return samples


_Change = Callable[[Samples, int, float, np.random.Generator], Samples]


def _telephone(samples: Samples, rate: int, _value: float, _generator: np.random.Generator) -> Samples:
    from scipy.signal import butter, sosfilt

    band = butter(4, TELEPHONE_BAND_HZ, "bandpass", fs=TELEPHONE_RATE, output="sos")
    line = np.clip(sosfilt(band, resample(samples, rate, TELEPHONE_RATE)), -1, 1)
    # mu-law (ITU-T G.711, the continuous form): fine steps for quiet samples, coarse ones for loud ones
    steps = np.round(127 * np.log1p(MU * np.abs(line)) / np.log1p(MU))
    heard = np.sign(line) * np.expm1(steps / 127 * np.log1p(MU)) / MU
    return _of_length(resample(heard.astype(np.float32), TELEPHONE_RATE, rate), len(samples))


def _of_length(samples: Samples, length: int) -> Samples:
    return np.pad(samples[:length], (0, max(0, length - len(samples))))


def _reverb(samples: Samples, rate: int, _value: float, generator: np.random.Generator) -> Samples:
    """Convolve with a room: a direct sound, then noise that decays exponentially (Moorer's model)."""
    from scipy.signal import fftconvolve

    times = np.arange(round(RT60_S * rate)) / rate
    echo = generator.standard_normal(len(times)) * 10 ** (-3 * times / RT60_S)
    echo[times < ECHO_DELAY_S] = 0
    room = echo * 10 ** (-DIRECT_TO_ECHO_DB / 20) / np.linalg.norm(echo)
    room[0] = 1
    return np.asarray(fftconvolve(samples, room / np.linalg.norm(room)), dtype=np.float32)


def _speed(samples: Samples, rate: int, value: float, _generator: np.random.Generator) -> Samples:
    """Signalsmith Stretch, the library that audiomentations' TimeStretch runs."""
    from python_stretch import Signalsmith

    stretch = Signalsmith.Stretch()
    stretch.preset(1, rate)
    stretch.setTimeFactor(value)
    stretched: Samples = np.asarray(stretch.process(samples[np.newaxis, :]), dtype=np.float32)[0]
    return stretched


def _white(samples: Samples, rate: int, value: float, generator: np.random.Generator) -> Samples:
    return add_noise(samples, rate, generator.standard_normal(len(samples)).astype(np.float32), value)


def _pink(samples: Samples, rate: int, value: float, generator: np.random.Generator) -> Samples:
    spectrum = np.fft.rfft(generator.standard_normal(len(samples)))
    spectrum[0] = 0
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    return add_noise(samples, rate, np.fft.irfft(spectrum, len(samples)).astype(np.float32), value)


def _babble(samples: Samples, rate: int, value: float, generator: np.random.Generator) -> Samples:
    noise = np.zeros(len(samples), dtype=np.float32)
    for talker in _talkers(rate):
        start = generator.integers(len(talker))
        noise += np.take(talker, np.arange(start, start + len(samples)), mode="wrap")
    return add_noise(samples, rate, noise, value)


def add_noise(samples: Samples, rate: int, noise: Samples, snr_db: float) -> Samples:
    """Speech plus noise of its length, whose mean power lies `snr_db` below that of the speech, pauses left out."""
    noise_power = float(np.mean(np.square(noise))) if len(noise) else 0.0
    level = speech_level(samples, rate)
    if noise_power == 0 or level == -np.inf:
        return samples
    return samples + noise * np.float32(np.sqrt(10 ** ((level - snr_db) / 10) / noise_power))


_STEPS: dict[str, _Change] = {
    "telephone": _telephone,
    "reverb": _reverb,
    "noise-white": _white,
    "noise-pink": _pink,
    "noise-babble": _babble,
    "speed": _speed,
}

_BABBLE_SENTENCES = (
    "The bus to the harbour leaves every twenty minutes from the other side of the square.",
    "My sister baked two loaves of bread this morning, and the whole house smells of it.",
    "We should water the tomatoes before it gets too hot in the afternoon.",
    "He said that the library is open until eight, but only on weekdays.",
    "There is a new cafe on the corner where they play old records all day.",
    "If the rain stops, the children want to walk along the river after lunch.",
    "I put your umbrella next to the door, so that you will not forget it again.",
    "The train was late, so they missed the first half of the concert.",
)
_PITCHES = (0.72, 0.8, 0.9, 1.0, 1.12, 1.25)
"""One talker each: the packaged hibari voice played faster or slower, which also makes it higher or lower."""
_SENTENCES_EACH = 4


@cache
def _talkers(rate: int) -> Sequence[Samples]:
    """Six people talking without a pause, about ten seconds each, equally loud; made once in a process."""
    from hibari import Hibari

    voice = Hibari(threads=1)
    talkers = []
    for number, pitch in enumerate(_PITCHES):
        spoken = []
        for place in range(_SENTENCES_EACH):
            sentence = _BABBLE_SENTENCES[(number + 2 * place) % len(_BABBLE_SENTENCES)]
            speech = voice(sentence, speed=0.9 / pitch, seed=number)
            spoken.append(trim_silence(resample(speech, round(voice.sample_rate * pitch), rate), rate))
        talker = np.concatenate(spoken)
        talkers.append(talker / np.sqrt(np.mean(np.square(talker))))
    return talkers
