"""Tables from files, and one-line errors for the broken ones."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from builders.prompts.files import read_table, read_tables
from demur.errors import InputError
from demur.files import sha256_bytes

ROWS = [{"prompt": "What, then?", "label": "benign"}, {"prompt": 'She said "é"\nand left', "label": "safe"}]


def written(folder: Path, name: str, data: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", 'prompt,label\r\n"What, then?",benign\r\n"She said ""é""\nand left",safe\r\n'),
        ("a.csv", '\ufeffprompt;label\n"What, then?";benign\n\n"She said ""é""\nand left";safe\n'),
        ("a.TSV", 'prompt\tlabel\n"What, then?"\tbenign\n"She said ""é""\nand left"\tsafe'),
        ("a.json", json.dumps(ROWS, indent=1)),
        ("a.json", "\n".join(map(json.dumps, ROWS))),
        ("a.jsonl", "\n\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS)),
    ],
)
def test_every_format_gives_the_same_rows(tmp_path: Path, name: str, data: str) -> None:
    table = read_table(written(tmp_path, name, data))
    assert table.rows == ROWS
    assert table.columns == ("prompt", "label")
    assert (table.name, table.sha256) == (name, sha256_bytes(data.encode()))


def test_parquet_leaves_bytes_unread(tmp_path: Path) -> None:
    audio = [{"bytes": b"fLaC", "path": "x.flac"}] * 2
    pq.write_table(
        pa.Table.from_pylist([row | {"audio": clip} for row, clip in zip(ROWS, audio, strict=True)]),
        tmp_path / "a.parquet",
    )
    table = read_table(tmp_path / "a.parquet")
    assert table.rows == ROWS
    assert table.columns == ("prompt", "label")


def test_plain_text_is_a_prompt_a_line(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, "a.txt", "One.\r\n\r\nTwo?\u2028Still two.\rThree"))
    assert [row["prompt"] for row in table.rows] == ["One.", "Two?\u2028Still two.", "Three"]


def test_json_list_of_texts(tmp_path: Path) -> None:
    assert read_table(written(tmp_path, "a.json", '["One.", "Two?"]')).rows == [{"prompt": "One."}, {"prompt": "Two?"}]


def test_folder_reads_its_tables_by_name(tmp_path: Path) -> None:
    written(tmp_path, "b.csv", "prompt\nB")
    written(tmp_path, "a.jsonl", '{"prompt": "A"}')
    written(tmp_path, "LICENSE.txt", "no prompt")
    assert [table.name for table in read_tables(tmp_path)] == ["a.jsonl", "b.csv"]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.csv", "prompt\ncaf\xe9".encode("latin-1"), "a.csv:2: not UTF-8"),
        ("a.csv", "prompt\nhello".encode("utf-16"), "a.csv:1: not UTF-8"),
        ("a.csv", "", "a.csv: the file is empty"),
        ("a.csv", " \n", "a.csv: the file is empty"),
        ("a.csv", "prompt,label\n", "a.csv: no prompts"),
        ("a.csv", "prompt,label\na,b\n\nc,d,e\n", "a.csv:4: 3 fields where the header has 2"),
        ("a.csv", 'prompt,label\n"a\nb",c\nd\n', "a.csv:4: 1 fields"),
        ("a.csv", 'prompt,label\n"a" b,c\n', "a.csv:2: not valid CSV"),
        ("a.csv", 'prompt\nok\n"never closed', "a.csv:3: not valid CSV"),
        ("a.csv", "prompt,prompt\na,b\n", "a.csv:1: two columns are named 'prompt'"),
        ("a.csv", "prompt\n" + "a" * 200_000 + "\n", "a.csv:2: not valid CSV (field larger"),
        ("a.json", '[{"prompt": "a"},\n oops]', "a.json:2: not valid JSON"),
        ("a.json", "[" * 100_000, "a.json: not valid JSON"),
        ("a.json", "[1]", "a.json: entry 1: neither"),
        ("a.json", "[]", "a.json: no prompts"),
        ("a.json", '{\n"prompt": "a"\n}', "a.json:1: not a line of JSON"),
        ("a.jsonl", '{"prompt": "a"}\n{"prompt"', "a.jsonl:2: not a line of JSON"),
        ("a.jsonl", '{"prompt": "a"}\nnull', "a.jsonl:2: neither an object"),
        ("a.jsonl", "1" * 5000, "a.jsonl:1: not a line of JSON"),
        ("a.parquet", "not parquet", "a.parquet: not a Parquet file"),
        ("a.xlsx", "x", "a.xlsx: unknown kind of file"),
    ],
)
def test_broken_files_end_in_one_line(tmp_path: Path, name: str, data: str | bytes, message: str) -> None:
    with pytest.raises(InputError) as error:
        read_table(written(tmp_path, name, data))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_file_and_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(InputError, match="no prompt files in this folder"):
        read_tables(tmp_path)
