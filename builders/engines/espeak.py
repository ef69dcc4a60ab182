"""espeak-ng: robotic, but with many English accents and voices; the library and data of espeakng-loader (GPL-3.0).

A voice is an accent and a variant, as espeak-ng names them: `en-gb-scotland+f2`. espeak-ng repeats itself only in a
fresh process with a seed, so each clip gets both; the seed sets the breath noise of some variants (`f2`).
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from builders.engines import Voice
from builders.engines.common import by_name, check_voice, checked, from_pcm16, require, run_program
from demur.audio import Samples

TIMEOUT_S = 60.0
"""A clip takes a tenth of a second."""
UNSPEAKABLE = 2
"""Exit code of `espeak_process`."""
LICENSE = "GPL-3.0-or-later"

_ACCENTS = {
    "en-us": ("en-US", "en-us"),
    "en-us-nyc": ("en-US-x-nyc", "en-us-nyc"),
    "en-gb": ("en-GB", "en"),
    "en-gb-scotland": ("en-GB-scotland", "en-gb-scotland"),
    "en-gb-x-rp": ("en-GB-x-rp", "en-gb-x-rp"),
    "en-gb-x-gbclan": ("en-GB-x-gbclan", "en-gb-x-gbclan"),
    "en-gb-x-gbcwmd": ("en-GB-x-gbcwmd", "en-gb-x-gbcwmd"),
    "en-029": ("en-029", "en-029"),
}
"""Accent to its BCP 47 tag and espeak-ng's file: by the name `en-gb`, of a language in the file `en`, it finds none."""
_VARIANTS = {
    "": "male",
    "Henrique": "male",
    "m4": "male",
    "m8": "male",
    "f2": "female",
    "f3": "female",
    "f5": "female",
    "steph": "female",
}
"""Four men and four women, among those of espeak-ng's variants that Whisper (tiny.en) transcribes with few errors."""


class Espeak:
    """espeak-ng's English accents, each in four male and four female variants."""

    name = "espeak"
    reproducible = True
    PACKAGES = ("espeakng-loader",)
    OPTIONS: tuple[str, ...] = ()

    def voices(self) -> Sequence[Voice]:
        """Every accent in every variant."""
        require("espeakng_loader", "espeakng-loader", "espeak")
        return [
            Voice(
                engine=self.name,
                name=f"{accent}+{variant}" if variant else accent,
                gender=gender,
                accent=tag,
                language="en",
                license=LICENSE,
            )
            for accent, (tag, _) in _ACCENTS.items()
            for variant, gender in _VARIANTS.items()
        ]

    def speak(self, text: str, voice: str, seed: int) -> tuple[Samples, int]:
        """Speech at 22.05 kHz, made in a process of its own."""
        check_voice(self.name, by_name(self.name, self.voices()), voice)
        output = _run(text.replace("\0", " ").encode("utf-8", "replace"), voice, seed)
        rate, _, pcm = output.partition(b"\n")
        return checked(self.name, from_pcm16(pcm)), int(rate)


def _run(text: bytes, voice: str, seed: int) -> bytes:
    from espeakng_loader import get_data_path, get_library_path

    accent, plus, variant = voice.partition("+")
    script = Path(__file__).with_name("espeak_process.py")
    file = _ACCENTS[accent][1] + plus + variant
    command = [sys.executable, "-I", "-S", str(script), get_library_path(), get_data_path(), file, str(seed % 2**31)]
    return run_program("espeak", command, timeout_s=TIMEOUT_S, text=text, unspeakable=UNSPEAKABLE)
