"""Speak one text with espeak-ng and end: `python -I -S espeak_process.py LIBRARY DATA VOICE SEED < text > speech`.

A process of its own for each clip, because what espeak-ng has said changes how it says the next thing; and a seed,
because it otherwise seeds its breath noise with the time of day. Nothing but the standard library is imported, so that
it starts in milliseconds. Standard output is the sample rate as a
line of digits, then 16-bit little-endian mono samples. Exit code 1, with a line on standard error: the library, its
data or the voice cannot be used; 2: this text cannot be spoken.
"""

import ctypes
import os
import sys

_SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS: espeak_Synth returns when all is spoken, into the callback
_POSITION_CHARACTER = 1
_UTF8 = 1  # espeakCHARS_UTF8; without espeakSSML and espeakPHONEMES, so that markup in a text is only text
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)  # t_espeak_callback


class _Voice(ctypes.Structure):
    """The head of `espeak_VOICE` in speak_lib.h."""

    _fields_ = (("name", ctypes.c_char_p), ("languages", ctypes.c_char_p), ("identifier", ctypes.c_char_p))


def _speak(library: ctypes.CDLL, text: bytes) -> bytes:
    chunks: list[bytes] = []

    def keep(samples: int | None, count: int, _events: int | None) -> int:
        if samples and count > 0:
            chunks.append(ctypes.string_at(samples, 2 * count))
        return 0

    callback = _CALLBACK(keep)
    library.espeak_SetSynthCallback(callback)
    data = ctypes.create_string_buffer(text)
    size = ctypes.c_size_t(len(data))
    if library.espeak_Synth(data, size, 0, _POSITION_CHARACTER, 0, _UTF8, None, None) != 0:
        sys.exit(2)
    return b"".join(chunks)


def _main(library_path: str, data_path: str, voice: str, seed: str) -> None:
    try:
        library = ctypes.CDLL(library_path)
    except OSError as error:
        sys.exit(f"cannot load the library: {error}")
    rate = library.espeak_Initialize(_SYNCHRONOUS, 0, os.fsencode(data_path), 0)
    if rate <= 0:
        sys.exit(f"cannot read its data in {data_path}")
    library.espeak_SetVoiceByName(voice.encode())
    library.espeak_GetCurrentVoice.restype = ctypes.POINTER(_Voice)
    current = library.espeak_GetCurrentVoice().contents.identifier or b""
    # An unknown voice or variant leaves the default one in place, without an error.
    if current.decode().rpartition("/")[2].lower() != voice.lower():
        sys.exit(f"no voice {voice} in {data_path}")
    library.espeak_ng_SetRandSeed(ctypes.c_long(int(seed)))
    sys.stdout.buffer.write(b"%d\n" % rate + _speak(library, sys.stdin.buffer.read()))


if __name__ == "__main__":
    _main(*sys.argv[1:])
