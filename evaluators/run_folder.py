"""A run's folder while it is being made: what it was asked to be, what is answered, whether it is finished.

`run.json` holds

    model       name, settings
    corpus      name (of its folder), content_sha256
    settings    modalities, limit, seed, training_overlap, batches (size and window; null where they change no answer)
    versions    of what answered
    responses   asked, answered, errors: counts, written at the end
    left_out    which of the model's settings its server refused, so that it was asked without
    fits_memory the fewest samples that were answered together, where memory did not hold a whole batch; else absent
    controls    how many prompts were asked with other audio, or null
    finished    true once every sample is answered; written last

The first three make the run what it is: one folder never mixes two of them.
"""

import contextlib
import os
import platform
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from demur.corpus import READ_ROWS, TABLE_COLUMNS, Corpus, arrow_schema
from demur.errors import InputError
from demur.files import append_jsonl, read_json, read_jsonl, write_json
from demur.models import Model
from demur.nouns import Modality, Response
from evaluators.batches import Row, batched

if TYPE_CHECKING:
    import pyarrow

Key = tuple[str, Modality]
"""What names a row of a run: the sample's id and the modality."""
IDENTITY = ("model", "corpus", "settings")
MADE_FROM_RESPONSES = ("controls.jsonl", "verdicts.jsonl", "results.json")
"""What goes with the responses, for it tells of them."""
FILES = ("responses.jsonl", *MADE_FROM_RESPONSES, "samples.parquet", "run.json")
REPLACED = ".replaced"
"""Where a run lies that is being overwritten, until the new one has an answer."""
_PACKAGES = ("demur", "numpy", "openai", "faster-whisper", "ctranslate2", "torch", "transformers", "peft")


class RunFolder:
    """The files of one run; made by `open_run`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.responses_file = folder / "responses.jsonl"
        self.samples_file = folder / "samples.parquet"
        self.controls_file = folder / "controls.jsonl"
        self.info_file = folder / "run.json"

    @property
    def info(self) -> dict[str, Any]:
        """`run.json`; empty where there is none yet.

        Raises:
            InputError: it is damaged.
        """
        if not self.info_file.is_file():
            return {}
        info = read_json(self.info_file)
        if not isinstance(info, dict) or not all(isinstance(info.get(part), dict) for part in IDENTITY):
            raise InputError(f"{self.info_file}: not the record of a run; choose another --out")
        return info

    def update(self, **values: Any) -> None:
        """Write some values of `run.json` anew."""
        write_json(self.info_file, {**self.info, **values})

    def note_memory(self, together: int | None) -> None:
        """Keep the fewest samples that were answered together, where memory did not hold a whole batch."""
        if together is not None and together < self.info.get("fits_memory", together + 1):
            self.update(fits_memory=together)

    def clear(self) -> None:
        """Take the whole run away; what a kill leaves of it is an unfinished run, never a mixed one."""
        self.update(finished=False)
        for name in FILES:
            (self.folder / name).unlink(missing_ok=True)

    def set_aside(self) -> None:
        """Lay the whole run aside, `run.json` last; `settle` says what becomes of it."""
        aside = self.folder / REPLACED
        aside.mkdir(exist_ok=True)
        for name in FILES:
            with contextlib.suppress(FileNotFoundError):
                os.replace(self.folder / name, aside / name)

    def settle(self) -> None:
        """Take a run that was set aside away, or bring it back where the new one has no answer; at any kill too."""
        aside = self.folder / REPLACED
        if not aside.is_dir():
            return
        if (aside / "run.json").is_file():  # it was set aside as a whole
            if any(self.answered().values()):
                shutil.rmtree(aside)
                return
            for name in FILES:
                (self.folder / name).unlink(missing_ok=True)
        for name in reversed(FILES):
            with contextlib.suppress(FileNotFoundError):
                os.replace(aside / name, self.folder / name)
        aside.rmdir()

    def append(self, responses: Iterable[Response]) -> None:
        """Add the responses of one batch."""
        append_jsonl(self.responses_file, (response.model_dump(mode="json") for response in responses))

    def answered(self) -> dict[Key, bool]:
        """Whether the last line of each (id, modality) is an answer; False where it is an error."""
        if not self.responses_file.is_file():
            return {}
        return {(line.id, line.modality): line.error is None for line in read_responses(self.responses_file)}

    def first_error(self) -> str:
        """The error of the first sample that has no answer, or nothing."""
        last = {(line.id, line.modality): line for line in read_responses(self.responses_file)}
        return next((f"{line.id} in {line.modality}: {line.error}" for line in last.values() if line.error), "")

    def count_samples(self) -> int:
        """Rows asked.

        Raises:
            InputError: `samples.parquet` is damaged.
        """
        with self._open_samples() as file:
            return int(file.metadata.num_rows)

    def write_samples(self, corpus: Corpus, modalities: Sequence[Modality], chosen: frozenset[str] | None) -> None:
        """`samples.parquet`: every column but the audio of the rows asked, whole or not at all."""
        import pyarrow.parquet

        schema = _table_schema()
        temporary = self.folder / ".samples.parquet.tmp"
        with pyarrow.parquet.ParquetWriter(temporary, schema) as writer:
            for rows in batched(asked_rows(corpus, modalities, TABLE_COLUMNS, chosen), 100 * READ_ROWS):
                writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))
        os.replace(temporary, self.samples_file)

    def samples(self, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        """The rows asked, a few at a time in memory.

        Raises:
            InputError: `samples.parquet` is damaged.
        """
        with self._open_samples() as file:
            for batch in file.iter_batches(batch_size=100 * READ_ROWS, columns=list(columns)):
                yield from batch.to_pylist()

    @contextmanager
    def _open_samples(self) -> Iterator["pyarrow.parquet.ParquetFile"]:
        import pyarrow.parquet

        try:
            with pyarrow.parquet.ParquetFile(self.samples_file) as file:
                lacking = set(TABLE_COLUMNS) - set(file.schema_arrow.names)
                if lacking:
                    raise InputError(f"{self.samples_file}: no column {min(lacking)!r}; --overwrite the run")
                yield file
        except (pyarrow.ArrowException, OSError) as error:
            raise InputError(f"{self.samples_file}: damaged ({error}); --overwrite the run") from None


def key_of(row: Row) -> Key:
    """The name of a row."""
    return row["id"], Modality(row["modality"])


def asked_rows(
    corpus: Corpus, modalities: Sequence[Modality], columns: Sequence[str], chosen: frozenset[str] | None
) -> Iterator[dict[str, Any]]:
    """Rows of some splits whose prompt is among the chosen ones (None: all)."""
    for modality in modalities:
        for row in corpus.rows(modality, columns):
            if chosen is None or row["prompt_id"] in chosen:
                yield row


def read_responses(path: Path) -> Iterator[Response]:
    """The lines of a `responses.jsonl`, in order.

    Raises:
        InputError: a line is not a response.
    """
    for number, row in enumerate(read_jsonl(path), 1):
        try:
            yield Response.model_validate(row)
        except ValidationError as error:
            raise InputError(f"{path}: row {number} is not a response ({error.errors()[0]['msg']})") from None


def open_run(folder: Path, identity: dict[str, Any], *, overwrite: bool) -> RunFolder:
    """The run in a folder, made if it is new, and anew where nothing was answered. The caller holds the folder's lock.

    Raises:
        InputError: the folder holds another run, or something that is no run.
    """
    run = RunFolder(folder)
    run.settle()
    there = run.info
    if not there and any(not path.name.startswith(".") for path in folder.iterdir()):
        raise InputError(f"{folder}: holds files but no run (no run.json); choose an empty or a new folder")
    if there and overwrite:
        run.set_aside()
    elif there:
        differences = list(_differences(_compared(there), _compared(identity)))
        if not differences:
            return run
        kept = (run.responses_file.name, run.controls_file.name, *MADE_FROM_RESPONSES)
        if there.get("finished") or any((folder / name).exists() for name in kept):
            shown = "; ".join(differences[:3]) + ("; …" if len(differences) > 3 else "")
            raise InputError(
                f"{folder}: this run was made otherwise ({shown}); choose another --out, or --overwrite it"
            )
        run.clear()
    write_json(run.info_file, {**identity, "versions": versions(), "finished": False})
    return run


def _compared(info: dict[str, Any]) -> dict[str, Any]:
    """What makes a run what it is; a corpus may be moved."""
    return {**{part: info[part] for part in IDENTITY}, "corpus": info["corpus"].get("content_sha256")}


def _differences(there: Any, now: Any, where: str = "") -> Iterator[str]:
    if isinstance(there, dict) and isinstance(now, dict):
        for key in sorted({*there, *now}):
            yield from _differences(there.get(key), now.get(key), f"{where}.{key}" if where else key)
    elif there != now:
        yield f"{where}: {there!r} there, {now!r} now"


def describe_model(model: Model) -> dict[str, Any]:
    """A model as `run.json` records it."""
    return {"name": model.name, "settings": dict(model.settings)}


def describe_corpus(corpus: Corpus) -> dict[str, Any]:
    """A corpus as `run.json` records it: its folder's name, not where that stands."""
    return {"name": corpus.folder.resolve().name, "content_sha256": corpus.sha256}


def versions() -> dict[str, str]:
    """Of Python, the processor type, and of the packages that may have answered and are installed."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for package in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def _table_schema() -> "pyarrow.Schema":
    import pyarrow

    schema = arrow_schema()
    return pyarrow.schema([schema.field(column) for column in TABLE_COLUMNS])
