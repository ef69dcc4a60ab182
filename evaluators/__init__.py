"""Running models over a corpus, scoring what they answer, and the statistics and leaderboard."""

import sys
from importlib.util import find_spec
from pathlib import Path

if find_spec("demur") is None:  # run from a checkout that is not installed
    sys.path.insert(0, str(Path(__file__).parents[1] / "src"))
