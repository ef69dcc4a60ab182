"""Options given by name, checked against the class that knows them: the same one line, whatever they are options of."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from demur.errors import UsageError

Options = TypeVar("Options", bound=BaseModel)


def check_options(expected: type[Options], given: Mapping[str, Any], what: str) -> Options:
    """The options as an object; those that are None count as not given. `what` is what takes them, for the message.

    Raises:
        UsageError: it does not take one, or not this value.
    """
    try:
        return expected(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        flag = _flag(str(first["loc"][0]))
        if first["type"] == "extra_forbidden":
            known = ", ".join(map(_flag, expected.model_fields))
            raise UsageError(f"{what} takes no {flag}; it takes: {known}") from None
        raise UsageError(f"{flag} {first['input']!r}: {first['msg']}") from None


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
