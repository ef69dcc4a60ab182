"""Run folders for tests, as `demur respond` writes them, without the audio that none of their readers looks at."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow
import pyarrow.parquet

from demur.corpus import TABLE_COLUMNS, arrow_schema
from demur.files import sha256_bytes, write_json, write_jsonl
from demur.nouns import Label, Modality, Response, Sample, prompt_id

VOICES = ("a", "b", "c")
Say = Callable[[Sample], str | None]
"""What a model answers to a sample; None for an error."""


def make_samples(
    prompts: int = 12,
    voices: Sequence[str] = VOICES,
    modalities: Sequence[Modality] = tuple(Modality),
    labels: Sequence[Label] = tuple(Label),
) -> list[Sample]:
    """So many prompts of each label in some modalities, each spoken by all voices; two categories, two engines."""
    return [
        _sample(label, number, voice, modality)
        for modality in modalities
        for label in labels
        for number in range(prompts)
        for voice in (voices if modality.has_audio else [None])
    ]


def _sample(label: Label, number: int, voice: str | None, modality: Modality) -> Sample:
    text = f"{label} prompt {number}"
    id_ = prompt_id(text)
    twin = label is not Label.BENIGN
    return Sample(
        id=f"{id_}-{voice}" if voice else id_,
        prompt_id=id_,
        pair_id=f"pair{number}" if twin else None,
        audio=None,
        input_text=text if voice is None else "",
        prompt=text,
        label=label,
        category=f"c{number % 2}",
        kind="homonyms" if label is Label.BORDERLINE else None,
        partition=None,
        source="test",
        license="CC0-1.0",
        language="en",
        modality=modality,
        engine=voice and ("tone" if voice != "c" else "buzz"),
        voice=voice,
        speaker_gender=voice and "unknown",
        accent=voice and "en-US",
        condition=voice and "clean",
        duration_s=1.0 if voice else None,
        loudness_lufs=-23.0 if voice else None,
        transcript=None,
        wer=0.25 if voice else None,
        audio_sha256=sha256_bytes(f"{id_}{voice}".encode()) if voice else None,
    )


def make_run(
    folder: Path, samples: Sequence[Sample], say: Say, model: str = "tester", *, corpus_sha256: str = "c" * 64
) -> Path:
    """A finished run of a model over some samples."""
    schema = arrow_schema()
    table = pyarrow.Table.from_pylist(
        [sample.model_dump(mode="json", exclude={"audio"}) for sample in samples],
        schema=pyarrow.schema([schema.field(column) for column in TABLE_COLUMNS]),
    )
    folder.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(table, folder / "samples.parquet")
    write_json(
        folder / "run.json",
        {
            "model": {"name": model, "settings": {"temperature": 0}},
            "corpus": {"name": "tones", "content_sha256": corpus_sha256},
            "settings": {"seed": 0},
            "finished": True,
        },
    )
    return answer(folder, samples, say, model)


def answer(folder: Path, samples: Sequence[Sample], say: Say, model: str = "tester") -> Path:
    """Write a run's responses anew."""
    said = [(sample, say(sample)) for sample in samples]
    write_jsonl(
        folder / "responses.jsonl",
        (
            Response(
                id=sample.id, modality=sample.modality, model=model, text=text, error="broken" if text is None else None
            ).model_dump(mode="json")
            for sample, text in said
        ),
    )
    return folder
