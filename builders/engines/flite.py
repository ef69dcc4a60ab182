"""flite: three voices made from recordings of people, a second of speech in ten milliseconds; the Debian package flite.

`slt` (a woman, American), `rms` (a man, American) and `awb` (a man, Scottish) are CMU Arctic voices in flite's own
licence, which is like BSD's. The program must be installed (`apt-get install flite`, `brew install flite`).
"""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from builders.engines import Voice
from builders.engines.common import by_name, check_voice, checked, run_program
from demur.audio import Samples, decode
from demur.errors import EngineError

PROGRAM = "flite"
TIMEOUT_S = 60.0
"""A clip takes a tenth of a second."""
LICENSE = "BSD-like (flite)"

_VOICES = {"slt": ("female", "en-US"), "rms": ("male", "en-US"), "awb": ("male", "en-GB-scotland")}
"""Those that are built into the program and were made from a person's sentences."""


class Flite:
    """flite's CMU Arctic voices. There is no noise in them: the seed changes nothing."""

    name = "flite"
    reproducible = True
    PACKAGES: tuple[str, ...] = ()
    OPTIONS: tuple[str, ...] = ()

    def version(self) -> str:
        """Of the program, as it says itself."""
        command = [_program(), "--version"]  # which ends with an exit code of 1
        said = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S, check=False)
        found = re.search(r"version: (\S+)", said.stdout.decode(errors="replace"))
        return found[1] if found else "unknown"

    def voices(self) -> Sequence[Voice]:
        """All three, where the program is installed."""
        _program()
        return [
            Voice(engine=self.name, name=name, gender=gender, accent=accent, language="en", license=LICENSE)
            for name, (gender, accent) in _VOICES.items()
        ]

    def speak(self, text: str, voice: str, seed: int) -> tuple[Samples, int]:  # noqa: ARG002
        """Speech at 16 kHz, made in a process of its own."""
        check_voice(self.name, by_name(self.name, self.voices()), voice)
        said = text.replace("’", "'").encode("ascii", "ignore").replace(b"\0", b" ")  # it knows no other letters
        if not re.search(rb"[A-Za-z0-9]", said):  # of nothing it makes a short hum
            raise EngineError(f"{self.name} found nothing to say in this text")
        samples, rate = decode(_run(said, voice))
        return checked(self.name, samples), rate


def _program() -> str:
    found = shutil.which(PROGRAM)
    if found is None:
        raise EngineError(f"{PROGRAM} is not installed: apt-get install {PROGRAM}")
    return found


def _run(text: bytes, voice: str) -> bytes:
    """A WAV file. The text goes by a file: an argument would be read as the name of one, or as an option."""
    with tempfile.TemporaryDirectory(prefix="demur-flite-") as folder:
        said, heard = Path(folder, "text"), Path(folder, "speech.wav")
        said.write_bytes(text)
        command = [_program(), "-voice", voice, "-f", str(said), "-o", str(heard)]
        run_program(PROGRAM, command, timeout_s=TIMEOUT_S)
        return heard.read_bytes()
