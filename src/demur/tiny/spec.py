"""`--model demur-tiny`: the embedded audio language model, as `hf:` runs it."""

from demur.errors import UsageError
from demur.models.hf.hf import HFModel, HFOptions
from demur.tiny.alignment import PROMPTS
from demur.tiny.assemble import tiny_folder, weights_sha256


class DemurTiny(HFModel):
    """demur-tiny in all three modalities; put together on first use, offline afterwards."""

    def __init__(self, name: str, options: HFOptions) -> None:
        if name:
            raise UsageError(f"demur-tiny takes nothing after its name, not {name!r}")
        if options.revision:
            raise UsageError("demur-tiny comes with demur: there is no --revision of it")
        self._set_up("demur-tiny", tiny_folder, {"weights": weights_sha256()[:16]}, options, "audioflamingo3")
        self.training_prompts |= aligned_on()


def aligned_on() -> frozenset[str]:
    """`prompt_id` of every prompt that demur-tiny learnt to refuse, or not to."""
    from builders.prompts import TableOptions, load_prompts

    return frozenset(prompt.prompt_id for prompt in load_prompts([PROMPTS], TableOptions()).prompts)
