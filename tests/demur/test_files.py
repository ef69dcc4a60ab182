"""Files survive a kill at any moment."""

import multiprocessing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.errors import BusyError, InputError
from demur.files import append_jsonl, folder_lock, read_json, read_jsonl, to_json, write_atomic, write_jsonl

json_rows = st.lists(st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text()), max_size=4)


@given(rows=json_rows, more=json_rows)
def test_rows_come_back(tmp_path_factory: pytest.TempPathFactory, rows: Any, more: Any) -> None:
    path = tmp_path_factory.mktemp("jsonl") / "rows.jsonl"
    append_jsonl(path, rows)
    append_jsonl(path, more)
    assert list(read_jsonl(path)) == rows + more


def test_a_torn_last_line_is_left_out_and_then_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    write_jsonl(path, [{"id": 1}])
    with path.open("a") as file:
        file.write('{"id": 2, "text": "cut o')
    assert list(read_jsonl(path)) == [{"id": 1}]
    append_jsonl(path, [{"id": 3}])
    assert list(read_jsonl(path)) == [{"id": 1}, {"id": 3}]


def test_a_last_line_that_only_lacks_its_newline_counts_and_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"id": 1}\n{"id": 2, "text": "é"}', encoding="utf-8")
    assert list(read_jsonl(path)) == [{"id": 1}, {"id": 2, "text": "é"}]
    append_jsonl(path, [{"id": 3}])
    assert list(read_jsonl(path)) == [{"id": 1}, {"id": 2, "text": "é"}, {"id": 3}]


@given(rows=json_rows, last=st.dictionaries(st.text(), st.integers() | st.text()), data=st.data())
def test_wherever_a_line_is_torn_what_is_read_stays(
    tmp_path_factory: pytest.TempPathFactory, rows: Any, last: Any, data: Any
) -> None:
    path = tmp_path_factory.mktemp("jsonl") / "rows.jsonl"
    line = to_json(last).encode()
    kept = data.draw(st.integers(0, len(line)))
    write_jsonl(path, rows)
    path.write_bytes(path.read_bytes() + line[:kept])
    expected = [*rows, last] if kept == len(line) else rows
    assert list(read_jsonl(path)) == expected
    append_jsonl(path, [{"id": 3}])
    assert list(read_jsonl(path)) == [*expected, {"id": 3}]


def test_a_file_in_another_encoding_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes('{"id": 1}\n{"text": "café"}\n'.encode("latin-1"))
    with pytest.raises(InputError, match=r"rows.jsonl:2: not UTF-8 \(.* at byte 14\)"):
        list(read_jsonl(path))


def test_a_bad_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"id": 1}\n[]\n')
    with pytest.raises(InputError, match=r"rows.jsonl:2: not a JSON object"):
        list(read_jsonl(path))
    path.write_text("nonsense\n")
    with pytest.raises(InputError, match=r"rows.jsonl:1: not valid JSON"):
        list(read_jsonl(path))
    with pytest.raises(InputError, match="no such file"):
        read_json(tmp_path / "absent.json")


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, "old")
    with pytest.raises(TypeError):
        write_atomic(path, None)  # type: ignore[arg-type]
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_same_value_gives_the_same_json() -> None:
    assert to_json({"b": 1, "a": "é"}) == to_json({"a": "é", "b": 1}) == '{"a": "é", "b": 1}'


def hold(folder: Path, connection: Any) -> None:
    with folder_lock(folder):
        connection.send("held")
        connection.recv()


def test_a_folder_is_held_by_one_process_and_freed_when_it_dies(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=hold, args=(tmp_path, theirs))
    process.start()
    assert ours.recv() == "held"
    with pytest.raises(BusyError, match="another demur process"), folder_lock(tmp_path):
        pass
    process.kill()
    process.join()
    with folder_lock(tmp_path):
        pass
