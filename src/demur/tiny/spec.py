"""`--model demur-tiny`: the embedded audio language model, as `hf:` runs it."""

from demur.errors import UsageError
from demur.models.hf.hf import HFModel, HFOptions
from demur.tiny.assemble import tiny_folder, weights_sha256


class DemurTiny(HFModel):
    """demur-tiny in all three modalities; put together on first use, offline afterwards."""

    def __init__(self, name: str, options: HFOptions) -> None:
        if name:
            raise UsageError(f"demur-tiny takes nothing after its name, not {name!r}")
        self._set_up("demur-tiny", tiny_folder, {"weights": weights_sha256()[:16]}, options, "audioflamingo3")
