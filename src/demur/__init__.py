"""demur: does an audio language model refuse what it should, and only that?"""

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from demur.frame import results_frame

__all__ = ["__version__", "results_frame"]

try:
    __version__ = version("demur")
except PackageNotFoundError:  # a checkout that is not installed
    __version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "results_frame":  # imported when asked for, so that `import demur` stays cheap
        from demur.frame import results_frame

        return results_frame
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
