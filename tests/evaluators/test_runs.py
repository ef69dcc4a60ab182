"""Reading a run: what is honoured, and what ends in one line."""

from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet
import pytest

from demur.errors import InputError
from demur.files import append_jsonl, write_atomic, write_jsonl
from demur.nouns import Modality, Response
from evaluators.runs import read_run, read_verdicts
from tests.run_folders import make_run, make_samples

SAMPLES = make_samples(2, voices=("a",))


def folder_with(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run", SAMPLES, lambda sample: f"answer to {sample.prompt}")


def line(id_: str, model: str = "tester", text: str = "again") -> dict[str, object]:
    return Response(id=id_, modality=Modality.AUDIO_ONLY, model=model, text=text).model_dump(mode="json")


def test_the_last_line_of_a_sample_counts(tmp_path: Path) -> None:
    folder = folder_with(tmp_path)
    append_jsonl(folder / "responses.jsonl", [line(SAMPLES[0].id)])
    run = read_run(folder)
    assert run.responses[SAMPLES[0].id, Modality.AUDIO_ONLY].text == "again"
    assert len(run.responses) == len(run.keys) == len(SAMPLES)


def test_a_half_written_last_line_is_left_out(tmp_path: Path) -> None:
    folder = folder_with(tmp_path)
    with (folder / "responses.jsonl").open("a") as file:
        file.write('{"id": "cut o')
    assert len(read_run(folder).responses) == len(SAMPLES)


def test_controls_are_not_read(tmp_path: Path) -> None:
    folder = folder_with(tmp_path)
    write_jsonl(folder / "controls.jsonl", [line("silence")])
    assert len(read_run(folder).responses) == len(SAMPLES)


def test_a_run_needs_no_run_json(tmp_path: Path) -> None:
    folder = folder_with(tmp_path)
    (folder / "run.json").unlink()
    assert read_run(folder).info == {}


def no_responses(folder: Path) -> None:
    (folder / "responses.jsonl").unlink()


def empty_responses(folder: Path) -> None:
    (folder / "responses.jsonl").write_text("")


def stray_id(folder: Path) -> None:
    append_jsonl(folder / "responses.jsonl", [line("stray")])


def two_models(folder: Path) -> None:
    append_jsonl(folder / "responses.jsonl", [line(SAMPLES[0].id, model="other")])


def broken_line(folder: Path) -> None:
    with (folder / "responses.jsonl").open("a") as file:
        file.write("{oops}\n")


def wrong_field(folder: Path) -> None:
    append_jsonl(folder / "responses.jsonl", [{"id": "x", "modality": "smell", "model": "m", "text": "t"}])


def no_samples(folder: Path) -> None:
    (folder / "samples.parquet").unlink()


def not_parquet(folder: Path) -> None:
    write_atomic(folder / "samples.parquet", b"PAR1 or not")


def without_column(folder: Path) -> None:
    table = pyarrow.parquet.read_table(folder / "samples.parquet")
    pyarrow.parquet.write_table(table.drop_columns(["voice"]), folder / "samples.parquet")


def unknown_label(folder: Path) -> None:
    table = pyarrow.parquet.read_table(folder / "samples.parquet")
    column = table.column_names.index("label")
    odd = pyarrow.array(["odd"] * len(table), type=table.schema.field("label").type)
    pyarrow.parquet.write_table(table.set_column(column, "label", odd), folder / "samples.parquet")


def twice(folder: Path) -> None:
    table = pyarrow.parquet.read_table(folder / "samples.parquet")
    pyarrow.parquet.write_table(pyarrow.concat_tables([table, table]), folder / "samples.parquet")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (no_responses, "no run here .*demur respond"),
        (empty_responses, "none at all"),
        (stray_id, "stray in audio_only was not asked"),
        (two_models, "2 models .other, tester."),
        (broken_line, "responses.jsonl:19: not valid JSON"),
        (wrong_field, "row 19"),
        (no_samples, "samples.parquet: no such file"),
        (not_parquet, "samples.parquet: cannot be read"),
        (without_column, "voice"),
        (unknown_label, "unknown label 'odd'"),
        (twice, "occurs twice"),
    ],
)
def test_damage_ends_in_one_line(tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
    folder = folder_with(tmp_path)
    damage(folder)
    with pytest.raises(InputError, match=message):
        read_run(folder)


def test_a_verdict_that_is_none(tmp_path: Path) -> None:
    folder = folder_with(tmp_path)
    assert read_verdicts(folder) == []
    write_jsonl(folder / "verdicts.jsonl", [{"id": "x"}])
    with pytest.raises(InputError, match="row 1 is not a verdict"):
        read_verdicts(folder)
