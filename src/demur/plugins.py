"""Look-up of engines, prompt sources, models, scorers and methods by entry point.

Any installed package may register one; demur's own stand in `pyproject.toml` like the others:

    [project.entry-points."demur.engines"]
    myvoice = "my_package.engine:MyVoice"
"""

import tomllib
from functools import cache
from importlib.metadata import EntryPoint, PackageNotFoundError, distribution, entry_points
from pathlib import Path
from typing import Any

from demur.errors import InputError

ENGINES = "demur.engines"
SOURCES = "demur.sources"
MODELS = "demur.models"
FAMILIES = "demur.families"
SCORERS = "demur.scorers"
METHODS = "demur.methods"


@cache
def _registered(group: str) -> dict[str, EntryPoint]:
    found = {entry.name: entry for entry in entry_points(group=group)}
    try:
        distribution("demur")
    except PackageNotFoundError:  # run from a checkout that is not installed: its own table says the same
        pyproject = Path(__file__).parents[2] / "pyproject.toml"
        if pyproject.is_file():
            table = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]["entry-points"].get(group, {})
            found = {name: EntryPoint(name, value, group) for name, value in table.items()} | found
    return found


def names(group: str) -> list[str]:
    """The registered names of a group, sorted."""
    return sorted(_registered(group))


def find(group: str, name: str) -> Any:
    """What is registered under a name, imported.

    Raises:
        InputError: nothing is; the message lists the names that exist.
    """
    entry = _registered(group).get(name)
    if entry is None:
        kind = group.removeprefix("demur.").removesuffix("s")
        raise InputError(f"no {kind} named {name!r}; there are: {', '.join(names(group)) or 'none'}")
    return entry.load()
