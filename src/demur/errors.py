"""The errors that demur raises on purpose.

DemurError                  everything below; a command ends with exit code 1 and its message as one line
├── UsageError              the command was called wrongly (exit code 2)
├── InputError              what was given cannot be used: a file, a column, a value
├── MissingDependency       an optional package is absent; the message names its `pip install`
├── BusyError               another process is working in this folder
├── IncompleteError         some of the work is undone; running the command again resumes it
├── EngineError             a TTS engine cannot be loaded or cannot speak
│   └── EngineUnavailable   it cannot speak now (network, timeout); not a fault of the prompt
├── ModelError              a model cannot be loaded or cannot answer
└── CorpusError             a folder is not a corpus, or a damaged one
"""

from functools import partial
from typing import Any


class DemurError(Exception):
    """Base of all errors that demur raises on purpose; its message is one line for the user."""

    exit_code = 1


class UsageError(DemurError):
    """A command was called in a way that cannot work."""

    exit_code = 2


class InputError(DemurError):
    """Something that the user gave cannot be used; the message says what, where and what to do."""


class MissingDependency(DemurError):
    """An optional package is not installed.

    >>> str(MissingDependency("piper", extra="piper"))
    "piper is not installed: pip install 'demur[piper]'"
    """

    def __init__(self, package: str, *, extra: str) -> None:
        super().__init__(f"{package} is not installed: pip install 'demur[{extra}]'")
        self.package, self.extra = package, extra

    def __reduce__(self) -> tuple[Any, ...]:  # errors travel between processes
        return partial(MissingDependency, extra=self.extra), (self.package,)


class BusyError(DemurError):
    """Another process holds the lock of this folder."""


class IncompleteError(DemurError):
    """Part of the work could not be done now; what is done is kept and the next run goes on from it."""


class EngineError(DemurError):
    """A TTS engine cannot be loaded or failed to speak."""


class EngineUnavailable(EngineError):
    """A TTS engine cannot speak now, for a reason that may pass; never a reason to reject a prompt."""


class ModelError(DemurError):
    """A model under test, or a judge, cannot be loaded or failed to answer."""


class CorpusError(DemurError):
    """A folder does not hold a corpus that demur can read."""
