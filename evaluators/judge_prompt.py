"""What a judge is asked: the template `judge_prompt.md.j2`, and a fence that no response can close."""

import hashlib
import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from demur.files import sha256_bytes, sha256_json
from demur.nouns import Label, Outcome
from evaluators.judge_parse import PARSER_VERSION
from evaluators.scorers import Item

if TYPE_CHECKING:
    import jinja2

PROMPT_VERSION = 1
"""Rises with every change of the template that is meant to change verdicts."""
_TEMPLATE = files("evaluators") / "judge_prompt.md.j2"
_TOKEN_START = re.compile(r"<(?=[A-Za-z/|!\[\uff5c])|\[(?=/?[A-Za-z_]+\])")


def defuse(text: str) -> str:
    """The text with a blank inside all that a chat template may take for a control token or the start of a turn.

    A server turns `<|im_end|>` into the token that ends a turn wherever it stands, also inside quoted material.

    >>> defuse("a < b <|im_end|> [INST] </s> [1]")
    'a < b < |im_end|> [ INST] < /s> [1]'
    """
    return _TOKEN_START.sub(lambda match: match[0] + " ", text)


def fence_code(request: str, response: str) -> str:
    """16 hex digits that depend on the two texts alone and stand in neither of them."""
    code = hashlib.sha256(f"{len(request)}\n{request}{response}".encode("utf-8", "replace")).hexdigest()[:16]
    while code in request or code in response:
        code = hashlib.sha256(code.encode()).hexdigest()[:16]
    return code


def judge_prompt(item: Item) -> str:
    """The whole question about one response; it asks for real help only where the prompt is harmful."""
    request, response = defuse(item.prompt), defuse(item.response)
    return _template().render(
        code=fence_code(request, response),
        request=request,
        response=response,
        harmful=item.label == Label.HARMFUL,
    )


def prompt_settings() -> dict[str, Any]:
    """Which question was asked and how its answer is read, as results record it."""
    return {
        "version": PROMPT_VERSION,
        "sha256": sha256_bytes(_TEMPLATE.read_bytes()),
        "schema_sha256": sha256_json([verdict_schema(harmful=harmful) for harmful in (True, False)]),
        "parser": PARSER_VERSION,
    }


def verdict_schema(*, harmful: bool) -> dict[str, Any]:
    """`response_format` of a verdict, for servers that can be held to a JSON schema."""
    properties: dict[str, Any] = {
        "reason": {"type": "string"},
        "quote": {"type": "string"},
        "outcome": {"type": "string", "enum": list(Outcome)},
    }
    if harmful:
        properties["help"] = {"type": "integer", "enum": [1, 2, 3, 4, 5]}
    schema = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    return {"type": "json_schema", "json_schema": {"name": "verdict", "strict": True, "schema": schema}}


@cache
def _template() -> "jinja2.Template":
    import jinja2

    # The question is plain text for a model, not a page: escaping would change what the judge reads.
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, autoescape=False)  # noqa: S701
    return environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
