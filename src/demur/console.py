"""What all commands share at the terminal: exit codes, one-line errors, progress bars."""

import signal
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import typer

from demur.errors import DemurError

if TYPE_CHECKING:
    from tqdm import tqdm


class _InterruptedError(DemurError):
    exit_code = 130


def _interrupt(*_: object) -> None:
    raise _InterruptedError("interrupted; run the same command again to go on")


def run(app: typer.Typer) -> None:
    """Run a command: 0 done, 1 failed with one line on stderr, 2 called wrongly, 130 interrupted."""
    signal.signal(signal.SIGINT, _interrupt)
    try:
        code = app(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except DemurError as error:
        print(f"demur: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:  # a full disk, a folder that may not be written
        print(f"demur: {error}", file=sys.stderr)
        sys.exit(1)
    except Exception as error:
        usage = getattr(error, "format_message", None)  # typer's usage errors have no public base
        if usage is None:
            raise
        if type(error).__name__ == "NoArgsIsHelpError":
            sys.exit(2)
        print(f"demur: {' '.join(usage().split())} (--help shows how)", file=sys.stderr)
        sys.exit(2)


def say(message: str, *, quiet: bool = False) -> None:
    """Tell the user something that is not a result: on stderr, so that output can be piped."""
    if not quiet:
        print(message, file=sys.stderr, flush=True)


LINE_EVERY_S = 60.0
"""Seconds between the lines that stand in a log for a bar."""


class _Lines:
    """Stderr as a log, in which each state of a bar is a line of its own."""

    def write(self, text: str) -> None:
        if state := text.strip("\r\n "):
            print(state, file=sys.stderr)

    def flush(self) -> None:
        sys.stderr.flush()


def progress(
    items: Iterable[Any] | None = None, *, total: int | None = None, what: str, unit: str, quiet: bool = False
) -> "tqdm[Any]":
    """A progress bar on stderr with rate and time left; silent with `quiet`.

    Where stderr is a file, as on a cluster, it is a line a minute, and none where less than a minute is needed.
    """
    from tqdm import tqdm

    how: dict[str, Any] = {"total": total, "desc": what, "unit": unit, "disable": quiet}
    if sys.stderr.isatty():
        how["dynamic_ncols"] = True
    else:
        every = LINE_EVERY_S
        how |= {"file": _Lines(), "ncols": 0, "position": 0, "delay": every, "mininterval": every, "maxinterval": every}
    return tqdm(items, **how)
