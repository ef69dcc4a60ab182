"""What is compared: a method with its options, by a name that a folder can have."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from demur import plugins
from demur.errors import UsageError
from demur.options import check_options

BASE = "none"
"""The model as it is."""
METHODS = ("safety-prompt", "sft", "steer", "circuit-breaker", "rrs")


@dataclass(frozen=True)
class Arm:
    """A method and the options that differ from its defaults."""

    name: str
    method: str
    options: Mapping[str, str]


def parse_arm(text: str) -> Arm:
    """From `METHOD` or `METHOD:OPTION=VALUE,…`.

    >>> parse_arm("rrs:scale=2,learning_rate=2e-4").name
    'rrs-scale=2-learning_rate=2e-4'

    Raises:
        InputError: there is no such method.
        UsageError: it has no such option, or not this value; or a part is not OPTION=VALUE.
    """
    method, _, rest = text.partition(":")
    options: dict[str, str] = {}
    for part in filter(None, rest.split(",")):
        name, equals, value = part.partition("=")
        if not equals or not re.fullmatch(r"[\w.+-]+", value):
            raise UsageError(f"--arm {text}: {part!r} is not OPTION=VALUE")
        options[name.strip().replace("-", "_")] = value
    check_options(plugins.find(plugins.METHODS, method).Options, options, f"the method {method!r}")
    return Arm("-".join([method, *(f"{name}={value}" for name, value in options.items())]), method, options)


def parse_arms(texts: Sequence[str]) -> list[Arm]:
    """Arms in the order given, each once."""
    return list({arm.name: arm for arm in map(parse_arm, texts)}.values())
