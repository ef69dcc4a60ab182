"""What can be wrong with a clip of speech, told from its samples and its text; nothing here is a matter of taste.

The bounds were chosen on 200 clips: 50 questions and requests of 1 to 27 words, spoken by hibari, piper's joe and two
voices of espeak, none of which was faulty. Each bound leaves room beyond what was seen, for voices not tried.
"""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from demur.audio import FRAME_S, Samples, speech_frames, speech_level

SILENT_DBFS = -50.0
"""Speech below this is none: the engines speak at -28 to -16 dBFS."""
FULL_SCALE = 0.999
"""A sample from here on may have been cut; the largest of 16 bits is 0.99997."""
MAX_CLIPPED_SHARE = 0.001
"""On top of SLOWEST, for pauses and text that says more than its letters: "Hi" takes 0.4 s, "SQL" close to 1 s."""
FASTEST = 30.0
"""Letters a second: 19.9 at most were seen (16 in the middle); half as much again for a voice in a hurry."""
SLOWEST = 6.0
"""Letters a second: 12 at least were seen in sentences; half of that for a voice that takes its time."""
SLACK_S = 2.0
"""On top of SLOWEST, for pauses and text that says more than its letters: "Hi" takes 0.4 s, "SQL" nearly a second."""
LETTERS_IN_WIDE = 3
"""A Chinese character or a Korean block is a syllable: about three letters."""


@dataclass(frozen=True)
class Fault:
    """A reason to reject a clip, and the numbers that gave it: what was measured, and the bound."""

    reason: str
    """`not_finite`, `silent`, `clipped`, `too_short` or `too_long`."""
    numbers: Mapping[str, float]


def find_faults(samples: Samples, rate: int, text: str) -> list[Fault]:
    """Everything wrong with an engine's raw output for a text that is written as it is spoken."""
    finite = np.isfinite(samples)
    if not finite.all():
        return [Fault("not_finite", {"share": float(1 - finite.mean())})]
    level = speech_level(samples, rate)
    if level < SILENT_DBFS:
        return [Fault("silent", {"level_dbfs": max(level, -200.0), "min": SILENT_DBFS})]
    faults = []
    clipped = float(np.mean(np.abs(samples) >= FULL_SCALE))
    if clipped > MAX_CLIPPED_SHARE:
        faults.append(Fault("clipped", {"share": clipped, "max": MAX_CLIPPED_SHARE}))
    length = letters(text)
    spoken = np.flatnonzero(speech_frames(samples, rate))
    seconds = float(spoken[-1] + 1 - spoken[0]) * FRAME_S
    shortest, longest = length / FASTEST, length / SLOWEST + SLACK_S
    if seconds < shortest:
        faults.append(Fault("too_short", {"seconds": seconds, "min": shortest}))
    if seconds > longest:
        faults.append(Fault("too_long", {"seconds": seconds, "max": longest}))
    return faults


def letters(text: str) -> int:
    """How much there is to say: letters and digits, an East Asian wide character counted as three.

    >>> letters("What's up?"), letters("\\u4f60\\u597d")
    (7, 6)
    """
    spoken = [letter for letter in text if letter.isalnum()]
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in spoken)
    return len(spoken) + (LETTERS_IN_WIDE - 1) * wide


def heard_wrong(wer: float, errors: int, max_wer: float) -> bool:
    """Whether a recogniser heard something else than the prompt: above the bound, and in at least two words.

    One word alone is no proof: in a prompt of three words it is a rate of 0.33, and recognisers err too.
    """
    return wer > max_wer and errors >= 2
