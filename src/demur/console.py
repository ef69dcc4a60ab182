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


def progress(
    items: Iterable[Any] | None = None, *, total: int | None = None, what: str, unit: str, quiet: bool = False
) -> "tqdm[Any]":
    """A progress bar on stderr with rate and time left; silent with `quiet` or where stderr is a file."""
    from tqdm import tqdm

    return tqdm(items, total=total, desc=what, unit=unit, disable=True if quiet else None, dynamic_ncols=True)
