"""The summary counts what became of the clips, and a bad voice stands out."""

from builders.clip import Attempt, Take
from builders.store import ClipHeader
from builders.summary import summarise_clips
from demur.nouns import Label, Prompt

PROMPT = Prompt(text="hello", label=Label.BENIGN, source="test")


def header(number: int, voice: str, wer: float | None, failed: tuple[str, ...] = ()) -> ClipHeader:
    take = Take(
        voice=voice, condition="clean", duration_s=1, loudness_lufs=-23, transcript="", wer=wer, audio_sha256="", size=1
    )
    attempts = tuple(Attempt(voice=who, reason="heard_wrong") for who in failed)
    takes = () if wer is None else (take,)
    return ClipHeader(key=f"{number}", prompt_id=PROMPT.prompt_id, slot=0, takes=takes, failed=attempts)


def summarise(headers: list[ClipHeader], leads: dict[str, str]) -> dict[str, object]:
    return summarise_clips(headers, {PROMPT.prompt_id: PROMPT}, leads)


def test_kept_remade_and_rejected_are_counted_by_voice_engine_and_label() -> None:
    found = summarise(
        [header(0, "a:x", 0.0), header(1, "a:y", 0.5, ("a:x", "a:x")), header(2, "a:x", None, ("a:x",))],
        {"0": "a:x", "1": "a:x", "2": "a:x"},
    )
    by = found["by"]
    assert isinstance(by, dict)
    assert {key: by["voice"]["a:x"][key] for key in ("kept", "remade", "rejected", "failed_takes")} == {
        "kept": 1,
        "remade": 0,
        "rejected": 1,
        "failed_takes": 3,
    }
    assert by["voice"]["a:y"]["remade"] == 1
    assert by["engine"]["a"]["kept"] == by["label"]["benign"]["kept"] == by["condition"]["clean"]["kept"] == 2
    assert found["wer_distribution"] == {
        "0": 1, "<=0.05": 0, "<=0.1": 0, "<=0.2": 0, "<=0.3": 0, "<=0.5": 1, "<=1": 0, ">1": 0,
    }  # fmt: skip


def test_a_voice_that_is_understood_worse_stands_out() -> None:
    headers = [header(n, voice, wer) for n, (voice, wer) in enumerate([("a:x", 0.02), ("a:y", 0.03), ("a:z", 0.2)])]
    assert summarise(headers, {})["voices_that_stand_out"] == ["a:z"]
    assert summarise(headers[:2], {})["voices_that_stand_out"] == []


def test_a_voice_whose_takes_fail_stands_out_even_if_none_was_kept() -> None:
    headers = [header(n, "a:good", 0.0, ("e:bad",)) for n in range(20)]
    assert summarise(headers, {f"{n}": "e:bad" for n in range(20)})["voices_that_stand_out"] == ["e:bad"]
