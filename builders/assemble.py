"""Finished clips to the files of a corpus: its rows, its shards, and the configs that name them."""

import hashlib
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from builders.clip import Take
from builders.engines import Voice
from builders.store import ClipHeader, ClipStore
from demur.corpus import COLUMNS, arrow_schema, shard_name, to_row
from demur.errors import IncompleteError
from demur.files import sha256_bytes, sha256_file, to_json
from demur.nouns import Label, Modality, Prompt, Sample
from demur.seeds import shuffled

SHARD_BYTES = 256 * 2**20
"""Well below 500 MB, the size above which the Hub and its viewer become slow."""
ROW_GROUP_BYTES = 32 * 2**20
ROW_GROUP_ROWS = 1000
MIXING_SHARDS = 8
"""Files hold one label each (the configs need that); with several of them, listed in turn, the default config still
mixes labels as one streams through it."""
MIXING_ROWS = 8
"""Rows that a shard should have before more shards are made for mixing alone."""

SPEECH_COLUMNS = (
    *("engine", "voice", "speaker_gender", "accent", "condition", "duration_s", "loudness_lufs"),
    *("transcript", "wer", "audio_sha256"),
)
"""Columns that say something of the speech; null in `text_only`."""


class Rows:
    """The rows of a corpus to be, computed from prompts and finished clips; no audio is held in memory."""

    def __init__(
        self,
        prompts: Sequence[Prompt],
        headers: Iterable[ClipHeader],
        store: ClipStore,
        voices: Mapping[str, Voice],
        *,
        instruction: str,
        seed: int,
    ) -> None:
        self.clips: dict[str, list[ClipHeader]] = defaultdict(list)
        for header in headers:
            if header.takes:
                self.clips[header.prompt_id].append(header)
        self.prompts = {prompt.prompt_id: prompt for prompt in prompts if prompt.prompt_id in self.clips}
        members: dict[str, int] = defaultdict(int)
        for prompt in self.prompts.values():
            members[prompt.pair_id or ""] += 1
        self.pairs = {pair for pair, count in members.items() if pair and count > 1}
        self.store, self.voices, self.instruction, self.seed = store, voices, instruction, seed

    def labels(self) -> list[Label]:
        """The labels that have rows, harmful first."""
        present = {prompt.label for prompt in self.prompts.values()}
        return [label for label in Label if label in present]

    def size(self, split: Modality, label: Label) -> tuple[int, int]:
        """Rows and bytes of audio."""
        prompts = [prompt for prompt in self.prompts.values() if prompt.label is label]
        if not split.has_audio:
            return len(prompts), 0
        takes = [take for prompt in prompts for clip in self.clips[prompt.prompt_id] for take in clip.takes]
        return len(takes), sum(take.size for take in takes)

    def samples(self, split: Modality, label: Label) -> Iterator[Sample]:
        """The rows of one label in an order drawn by the seed."""
        chosen = [prompt for prompt in self.prompts.values() if prompt.label is label]
        if not split.has_audio:
            for prompt in shuffled(chosen, "rows", self.seed, key=lambda prompt: prompt.prompt_id):
                yield self._sample(prompt, split)
            return
        clips = [clip for prompt in chosen for clip in self.clips[prompt.prompt_id]]
        for clip in shuffled(clips, "rows", self.seed, key=lambda clip: clip.key):
            for take, audio in zip(clip.takes, self.store.audio(clip), strict=True):
                if sha256_bytes(audio) != take.audio_sha256:
                    self.store.discard(clip.key)
                    raise IncompleteError(
                        f"clip {clip.key} was damaged on disk; run the same command again to remake it"
                    )
                yield self._sample(self.prompts[clip.prompt_id], split, take, audio)

    def _sample(self, prompt: Prompt, split: Modality, take: Take | None = None, audio: bytes | None = None) -> Sample:
        given = {Modality.AUDIO_ONLY: "", Modality.TEXT_ONLY: prompt.text, Modality.AUDIO_TEXT: self.instruction}
        in_pair = prompt.pair_id in self.pairs
        about_prompt = prompt.model_dump(exclude={"text"}) | {"pair_id": prompt.pair_id if in_pair else None}
        about_speech = self._about_speech(take) if take else dict.fromkeys(SPEECH_COLUMNS)
        return Sample(
            id=self._clip_id(prompt, take) if take else prompt.prompt_id,
            prompt_id=prompt.prompt_id,
            prompt=prompt.text,
            audio=audio,
            input_text=given[split],
            modality=split,
            **about_prompt,
            **about_speech,
        )

    def _clip_id(self, prompt: Prompt, take: Take) -> str:
        voice = self.voices[take.voice]
        return "-".join([prompt.prompt_id, voice.engine, _slug(voice.name), _slug(take.condition)])

    def _about_speech(self, take: Take) -> dict[str, Any]:
        voice = self.voices[take.voice]
        return {
            "engine": voice.engine,
            "voice": voice.name,
            "speaker_gender": voice.gender,
            "accent": voice.accent,
            **take.model_dump(exclude={"voice", "size"}),
        }


def _slug(text: str) -> str:
    """Safe inside a file name and an id, and different for different texts."""
    safe = re.sub(r"[^A-Za-z0-9.@+_-]", "_", text)
    return safe if safe == text else f"{safe}.{sha256_bytes(text.encode())[:6]}"


def write_shards(rows: Rows, folder: Path, sample_rate: int) -> tuple[dict[str, Any], str]:
    """Write `data/` below `folder`.

    Returns:
        Of every file its rows, bytes and sha256; and the content hash: of all rows in order, audio by its own hash, so
        that it does not depend on how the rows are cut into files.
    """
    files: dict[str, Any] = {}
    content = hashlib.sha256()
    for split in Modality:
        for label in rows.labels():
            count, size = rows.size(split, label)
            shards = max(1, math.ceil(size / SHARD_BYTES), min(MIXING_SHARDS, count // MIXING_ROWS))
            samples = rows.samples(split, label)
            for number in range(shards):
                share = (number + 1) * count // shards - number * count // shards
                name = shard_name(split, label, number, shards)
                _write_shard(folder / name, samples, share, sample_rate, content)
                path = folder / name
                files[name] = {"rows": share, "bytes": path.stat().st_size, "sha256": sha256_file(path)}
    return files, content.hexdigest()


def _write_shard(path: Path, samples: Iterator[Sample], count: int, sample_rate: int, content: Any) -> None:
    import pyarrow
    import pyarrow.parquet

    schema = arrow_schema(sample_rate)
    path.parent.mkdir(parents=True, exist_ok=True)
    # compressing, counting and comparing FLAC bytes would take longer than writing them
    small = [column for column in COLUMNS if column != "audio"]
    compression = {"audio.bytes": "none", "audio.path": "snappy"} | dict.fromkeys(small, "snappy")
    with pyarrow.parquet.ParquetWriter(
        path, schema, compression=compression, use_dictionary=small, write_statistics=small
    ) as writer:
        group: list[dict[str, Any]] = []
        held = 0
        for _ in range(count):
            sample = next(samples)
            content.update(to_json(sample.model_dump(mode="json", exclude={"audio"})).encode() + b"\n")
            group.append(to_row(sample))
            held += len(sample.audio or b"")
            if held >= ROW_GROUP_BYTES or len(group) == ROW_GROUP_ROWS:
                writer.write_table(pyarrow.Table.from_pylist(group, schema))
                group, held = [], 0
        if group:
            writer.write_table(pyarrow.Table.from_pylist(group, schema))


def configs(files: Iterable[str], content_sha256: str) -> list[dict[str, Any]]:
    """The `configs:` of the card: `default` over all files, and one for each label present over its own.

    `datasets` caches a local folder by its base name, config and card; the description, which holds the content hash,
    keeps two corpora in folders of one name from answering for each other.
    """
    paths = sorted(files, key=lambda name: (int(name.split("-")[1]), name))  # shard by shard, the labels in turn
    labels = [label for label in Label if any(f"/{label}-" in name for name in paths)]
    described = f"content_sha256 {content_sha256}"

    def config(name: str, chosen: Sequence[str]) -> dict[str, Any]:
        data_files = [
            {"split": str(split), "path": [path for path in chosen if path.startswith(f"data/{split}/")]}
            for split in Modality
        ]
        return {"config_name": name, "description": described, "data_files": data_files}

    default = {**config("default", paths), "default": True}
    return [default, *(config(str(label), [path for path in paths if f"/{label}-" in path]) for label in labels)]
