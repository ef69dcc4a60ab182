"""demur: does an audio language model refuse what it should, and only that?"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("demur")
except PackageNotFoundError:  # a checkout that is not installed
    __version__ = "0.1.0"
