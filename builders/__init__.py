"""Prompts to speech to corpus; `python -m builders.tts_synth` is its face."""

import sys
from importlib.util import find_spec
from pathlib import Path

if find_spec("demur") is None:  # run from a checkout that is not installed
    sys.path.insert(0, str(Path(__file__).parents[1] / "src"))
