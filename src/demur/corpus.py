"""The corpus table: its columns, and reading it. Builders write through `arrow_schema`, evaluators read by `Corpus`.

A corpus is a folder that `datasets.load_dataset` loads as it is:

    README.md        the dataset card; its `configs:` name the files below
    data/<split>/<label>-00000-of-0000N.parquet
    manifest.json    every input, version and seed, and `content_sha256`; written last
    rejected.jsonl   every prompt and clip that was left out, and why
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demur.errors import CorpusError, InputError
from demur.files import read_json
from demur.nouns import Label, Modality, Sample

if TYPE_CHECKING:
    import pyarrow

SAMPLE_RATE = 16_000
"""Hz; what speech models take."""
READ_ROWS = 64
"""Rows held in memory at once while reading: about 10 MB of speech."""

_NUMBERS = ("duration_s", "loudness_lufs", "wer")
COLUMNS: tuple[str, ...] = tuple(Sample.model_fields)
TABLE_COLUMNS: tuple[str, ...] = tuple(column for column in COLUMNS if column != "audio")
"""Every column but the audio: what `samples.parquet` of a run holds."""


def arrow_schema(sample_rate: int = SAMPLE_RATE) -> "pyarrow.Schema":
    """The Arrow schema of a corpus's Parquet files, with the features that `datasets` reads from its metadata.

    Written out here, since importing `datasets` takes longer than writing a small corpus; a test holds it to what
    `datasets` itself would write.
    """
    import pyarrow

    audio = pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})
    types = {column: pyarrow.float64() if column in _NUMBERS else pyarrow.string() for column in COLUMNS}
    features: dict[str, Any] = {
        column: {"dtype": "float64" if column in _NUMBERS else "string", "_type": "Value"} for column in COLUMNS
    }
    features["audio"] = {"sampling_rate": sample_rate, "_type": "Audio"}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    return pyarrow.schema(types | {"audio": audio}, metadata=metadata)


def to_row(sample: Sample) -> dict[str, Any]:
    """A sample as the table stores it: audio embedded as `{"bytes", "path"}`."""
    row = sample.model_dump(mode="json", exclude={"audio"})
    row["audio"] = None if sample.audio is None else {"bytes": sample.audio, "path": f"{sample.id}.flac"}
    return {column: row[column] for column in COLUMNS}


def shard_name(split: Modality, label: Label, number: int, count: int) -> str:
    """Path of a shard inside the corpus."""
    return f"data/{split}/{label}-{number:05d}-of-{count:05d}.parquet"


class Corpus:
    """A finished corpus on disk.

    Raises:
        CorpusError: the folder holds none, or an unfinished one.
    """

    def __init__(self, folder: Path) -> None:
        if not (folder / "manifest.json").is_file():
            raise CorpusError(
                f"{folder}: no finished corpus here (no manifest.json); build one with: demur build --out {folder}"
            )
        try:
            self.manifest: dict[str, Any] = read_json(folder / "manifest.json")
            self.sha256: str = self.manifest["content_sha256"]
            sizes = {str(name): int(entry["bytes"]) for name, entry in self.manifest["files"].items()}
        except (InputError, KeyError, TypeError, AttributeError) as error:
            raise CorpusError(f"{folder}/manifest.json: not a corpus manifest ({error})") from None
        for name, size in sizes.items():
            if not (folder / name).is_file() or (folder / name).stat().st_size != size:
                raise CorpusError(f"{folder / name}: missing or damaged; build the corpus again with --overwrite")
        self.folder = folder
        self._files = list(sizes)

    def __repr__(self) -> str:
        return f"Corpus({str(self.folder)!r}, {self.sha256[:12]})"

    def rows(self, split: Modality, columns: Sequence[str] = COLUMNS) -> Iterator[dict[str, Any]]:
        """The rows of a split as dicts, file by file; with `audio` among the columns its bytes are loaded."""
        import pyarrow
        import pyarrow.parquet

        for name in self._files:
            if not name.startswith(f"data/{split}/"):
                continue
            try:
                with pyarrow.parquet.ParquetFile(self.folder / name) as file:
                    for batch in file.iter_batches(batch_size=READ_ROWS, columns=list(columns)):
                        yield from batch.to_pylist()
            except (OSError, pyarrow.ArrowException) as error:
                raise CorpusError(f"{self.folder / name}: cannot be read ({error})") from None

    def samples(self, split: Modality) -> Iterator[Sample]:
        """The samples of a split, audio bytes included."""
        for row in self.rows(split):
            yield Sample(**{**row, "audio": row["audio"] and row["audio"]["bytes"]})
