"""A part of a prompt set, drawn by seed."""

from collections import Counter
from collections.abc import Sequence

from demur.errors import UsageError
from demur.nouns import Label, Prompt
from demur.seeds import shuffled


def select(prompts: Sequence[Prompt], limit: int | None, seed: int) -> list[Prompt]:
    """`limit` prompts of each label, or all there are, in the order in which they came.

    Whole pairs are drawn first, so that a twin never comes without its partner; single prompts fill up what is missing.

    Raises:
        UsageError: the limit is below one.
    """
    if limit is None:
        return list(prompts)
    if limit < 1:
        raise UsageError(f"--limit {limit}: at least one prompt of each label is needed")
    pairs = shuffled({prompt.pair_id for prompt in prompts if prompt.pair_id is not None}, seed, "select")
    drawn = set(pairs[:limit])
    chosen = [prompt for prompt in prompts if prompt.pair_id in drawn]
    counts = Counter(prompt.label for prompt in chosen)
    singles = [prompt for prompt in prompts if prompt.pair_id is None]
    for label in Label:
        candidates = [prompt for prompt in singles if prompt.label is label]
        missing = max(0, limit - counts[label])
        chosen += shuffled(candidates, seed, "select", key=lambda prompt: prompt.prompt_id)[:missing]
    wanted = {prompt.prompt_id for prompt in chosen}
    return [prompt for prompt in prompts if prompt.prompt_id in wanted]
