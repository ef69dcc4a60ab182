"""What is compared: a method with its options, by a name that a folder can have."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_origin

from pydantic import BaseModel

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
    options: Mapping[str, Any]


def parse_arm(text: str, shared: Mapping[str, str] | None = None) -> Arm:
    """From `METHOD` or `METHOD:OPTION=VALUE,…`; `shared` are options of every arm whose method has them.

    Several values of one option stand with a plus between them: `validation_modalities=audio_text+audio_only`.

    >>> parse_arm("rrs:scale=2,learning_rate=2e-4").name
    'rrs-scale=2-learning_rate=2e-4'

    Raises:
        InputError: there is no such method.
        UsageError: it has no such option, or not this value; or a part is not OPTION=VALUE.
    """
    method, _, rest = text.partition(":")
    own = parse_options(rest, f"--arm {text}")
    expected = plugins.find(plugins.METHODS, method).Options
    options = {name: value for name, value in (shared or {}).items() if name in expected.model_fields} | own
    checked = {name: _values(expected, name, value) for name, value in options.items()}
    check_options(expected, checked, f"the method {method!r}")
    return Arm("-".join([method, *(f"{name}={value}" for name, value in own.items())]), method, checked)


def parse_arms(texts: Sequence[str], shared: Mapping[str, str]) -> list[Arm]:
    """Arms in the order given, each once.

    Raises:
        UsageError: no arm takes a shared option.
    """
    arms = list({arm.name: arm for arm in (parse_arm(text, shared) for text in texts)}.values())
    for name in shared:
        if not any(name in arm.options for arm in arms):
            raise UsageError(f"--set {name}={shared[name]}: none of the arms takes it; name an option of one of them")
    return arms


def parse_options(text: str, what: str) -> dict[str, str]:
    """From `OPTION=VALUE,…`; `what` names the text in the message.

    Raises:
        UsageError: a part is not OPTION=VALUE.
    """
    options: dict[str, str] = {}
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        if not equals or not re.fullmatch(r"[\w.+-]+", value):
            raise UsageError(f"{what}: {part!r} is not OPTION=VALUE")
        options[name.strip().replace("-", "_")] = value
    return options


def _values(expected: type[BaseModel], name: str, value: str) -> str | list[str]:
    """As an option takes it: a list where it holds several values."""
    field = expected.model_fields.get(name)
    return value.split("+") if field and get_origin(field.annotation) is tuple else value
