"""`log.jsonl` of a run: a line for each step of training and for each candidate that was validated.

{"kind": "step", "step": 7, "epoch": 0.29, "loss": …, "mse": …, "penalty": …, "learning_rate": …}
{"kind": "validation", "step": 24, "candidate": "epoch 1", "score": …, "refusal": …, "over_rejection": …, …}
"""

from pathlib import Path
from typing import Any

from demur.files import append_jsonl, read_jsonl, write_jsonl
from demur.finetune.processes import rank


class RunLog:
    """The log of a run, or its answers; only the first process writes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, *rows: dict[str, Any]) -> None:
        if rank() == 0:
            append_jsonl(self.path, rows)

    def rows(self, kind: str | None = None) -> list[dict[str, Any]]:
        """All rows, or those of a kind, in order."""
        rows = list(read_jsonl(self.path)) if self.path.is_file() else []
        return rows if kind is None else [row for row in rows if row["kind"] == kind]

    def cut(self, step: int) -> None:
        """Forget what came after a step: it is done again."""
        if rank() == 0:
            write_jsonl(self.path, [row for row in self.rows() if row["step"] <= step])
