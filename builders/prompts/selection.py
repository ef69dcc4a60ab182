"""A part of a prompt set, drawn by seed."""

from collections.abc import Sequence

from demur.draw import draw
from demur.errors import UsageError
from demur.nouns import Prompt


def select(prompts: Sequence[Prompt], limit: int | None, seed: int) -> list[Prompt]:
    """`limit` prompts of each label, or all there are, in the order in which they came; twins together.

    Raises:
        UsageError: the limit is below one.
    """
    if limit is None:
        return list(prompts)
    if limit < 1:
        raise UsageError(f"--limit {limit}: at least one prompt of each label is needed")
    return draw(
        prompts,
        limit,
        seed,
        key=lambda prompt: prompt.prompt_id,
        label=lambda prompt: prompt.label,
        pair=lambda prompt: prompt.pair_id,
    )
