"""Finished clips are whole or absent."""

from pathlib import Path

from builders.clip import Attempt, Clip, ClipPlan, Take
from builders.store import ClipStore


def make_clip() -> Clip:
    plan = ClipPlan(prompt_id="ab" * 8, slot=0, text="hello", voices=("hibari:heart",))
    audio = [b"first\nflac", b"second"]
    takes = [
        Take(
            voice="hibari:heart", condition=f"c{number}", duration_s=1.0, loudness_lufs=-23.0,
            transcript=None, wer=None, audio_sha256="0", size=len(data),
        )
        for number, data in enumerate(audio)
    ]  # fmt: skip
    return Clip(plan, takes, audio, [Attempt(voice="hibari:heart", reason="silent", numbers={"peak": 0.0})])


def test_a_clip_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    store, clip = ClipStore(tmp_path), make_clip()
    store.save(clip)
    header = store.header(clip.plan.key)
    assert header is not None
    assert list(header.takes) == clip.takes
    assert list(header.failed) == clip.failed
    assert list(store.audio(header)) == clip.audio


def test_what_a_crash_left_counts_as_absent(tmp_path: Path) -> None:
    store, clip = ClipStore(tmp_path), make_clip()
    store.save(clip)
    (path,) = tmp_path.rglob("*.clip")
    for rest in (path.read_bytes()[:-1], path.read_bytes()[:20], b""):
        path.write_bytes(rest)
        assert store.header(clip.plan.key) is None
    store.discard(clip.plan.key)
    store.discard(clip.plan.key)
    assert store.header(clip.plan.key) is None
