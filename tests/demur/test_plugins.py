"""Names are looked up in entry points."""

import subprocess
import sys
from pathlib import Path

import pytest

from demur import plugins
from demur.errors import InputError


def test_a_registered_name_is_imported() -> None:
    assert plugins.find(plugins.ENGINES, "hibari").__name__ == "Hibari"


def test_an_unknown_name_lists_those_that_exist() -> None:
    with pytest.raises(InputError, match="no engine named 'nobody'; there are: coqui, espeak, flite, hibari"):
        plugins.find(plugins.ENGINES, "nobody")


def test_a_checkout_that_is_not_installed_knows_its_own(root: Path) -> None:
    """Without the distribution's metadata the same names come from pyproject.toml."""
    code = (
        "import importlib.metadata as m\n"
        "real = m.distribution\n"
        "def absent(name):\n"
        "    if name == 'demur': raise m.PackageNotFoundError(name)\n"
        "    return real(name)\n"
        "m.distribution = absent\n"
        "m.entry_points = lambda **k: ()\n"
        "from demur import plugins\n"
        "print(plugins.names(plugins.ENGINES))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(plugins.names(plugins.ENGINES))
