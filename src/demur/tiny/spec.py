"""`--model demur-tiny`: the embedded audio language model, as `hf:` runs it."""

from demur.errors import UsageError
from demur.models.hf.hf import HFModel, HFOptions


class DemurTiny(HFModel):
    """demur-tiny in all three modalities; put together on first use, offline afterwards."""

    def __init__(self, name: str, options: HFOptions) -> None:
        from demur.tiny import assemble

        if name:
            raise UsageError(f"demur-tiny takes nothing after its name, not {name!r}")
        self._set_up("demur-tiny", assemble.tiny_folder, {"weights": assemble.SHA256[:16]}, options, "audioflamingo3")
