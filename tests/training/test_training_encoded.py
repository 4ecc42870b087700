"""Encoded rows: measured before they are cut, kept under all that decides them, never trusted unchecked."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny import answer_rows, entity_rows, intent_rows, pair_rows

from adapterhub.bases.load import Base
from adapterhub.data.answers import parse_answers
from adapterhub.data.digest import digest_of_rows
from adapterhub.tasks.table import find_task
from adapterhub.tasks.task import Example
from adapterhub.tasks.text_classification import TextClassification
from adapterhub.training import encoded_cache
from adapterhub.training.arranged import Arranged
from adapterhub.training.encode import Encoder, Lessons, lengths_of
from adapterhub.training.encoded_cache import EncodedCache
from adapterhub.training.example_file import ExampleFile, open_writer

MakeEncoder = Callable[..., Encoder]
ROWS: dict[str, list[dict[str, Any]]] = {
    "text-classification": intent_rows(3), "token-classification": entity_rows(20),
    "sentence-similarity": pair_rows(20),
    "question-answering": [{**row, "answers": parse_answers(row["answers"])} for row in answer_rows(20)],
}


@pytest.fixture
def make_encoder(tiny_base: Base, tmp_path: Path) -> MakeEncoder:
    def encoder(task: str = "text-classification", max_length: int = 20, **changes: Any) -> Encoder:
        found = find_task(task)
        made = Encoder(task=found, base=tiny_base, labels=found.labels_of(ROWS[task]), max_length=max_length,
                       cache=EncodedCache(tmp_path / "encoded"))
        return replace(made, **changes)
    return encoder


def plain(examples: Sequence[Example]) -> list[Any]:
    """Return examples as values that do not tell lists and tuples apart."""
    def flat(value: Any) -> Any:
        return [flat(item) for item in value] if isinstance(value, list | tuple) else value
    return [(example.sequences, flat(example.target), dict(example.row), example.is_truncated) for example in examples]


@pytest.mark.parametrize("task", ROWS)
def test_a_file_gives_back_the_examples_of_every_task(task: str, make_encoder: MakeEncoder, tmp_path: Path) -> None:
    examples = make_encoder(task).encode_rows(ROWS[task], 20)
    with open_writer(tmp_path / "examples.arrow") as writer:
        writer.write(examples)
    found = ExampleFile(tmp_path / "examples.arrow")
    assert plain(found) == plain(examples)
    assert plain(found.with_rows(ROWS[task])) == plain(examples)
    assert found.lengths == lengths_of(examples)
    assert plain(found[-3:]) == plain(examples[-3:])


@pytest.mark.parametrize("task", ROWS)
def test_a_second_start_encodes_nothing_and_has_the_same(task: str, make_encoder: MakeEncoder,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    digest = digest_of_rows(ROWS[task])
    first = make_encoder(task).encode(ROWS[task], digest)
    monkeypatch.setattr(Encoder, "encode_rows", lambda *_: pytest.fail("rows were encoded again"))
    second = make_encoder(task).encode(ROWS[task], digest)
    assert plain(second.examples) == plain(first.examples)
    assert second.lengths == first.lengths
    assert list(second.lengths.quantiles) == list(first.lengths.quantiles)


def test_whatever_decides_the_tokens_decides_the_entry(make_encoder: MakeEncoder, tiny_base: Base) -> None:
    rows = ROWS["text-classification"]
    encoder, other = make_encoder(), replace(tiny_base, identity=replace(tiny_base.identity, tokenizer="0" * 64))
    weighted = TextClassification()
    weighted.class_weights = (1.0, 2.0, 3.0)
    encoders = [encoder, replace(encoder, max_length=21), replace(encoder, labels=[*encoder.labels, "x"]),
                replace(encoder, base=other), replace(encoder, task=weighted)]
    for number, one in enumerate(encoders, start=1):
        one.encode(rows, digest_of_rows(rows))
        assert len(list(encoder.cache.folder.iterdir())) == number
    encoder.encode(rows[1:], digest_of_rows(rows[1:]))
    assert len(list(encoder.cache.folder.iterdir())) == len(encoders) + 1


@pytest.mark.parametrize("damage", [
    lambda entry: (entry / "examples.arrow").write_bytes(b"ARROW1"),
    lambda entry: (entry / "examples.arrow").write_bytes((entry / "examples.arrow").read_bytes()[:-40]),
    lambda entry: (entry / "examples.arrow").unlink(),
    lambda entry: (entry / "facts.json").write_text("{}"),
    lambda entry: (entry / "facts.json").unlink(),
])
def test_a_damaged_entry_is_made_anew(damage: Callable[[Path], object], make_encoder: MakeEncoder) -> None:
    rows = ROWS["text-classification"]
    first = make_encoder().encode(rows, digest_of_rows(rows))
    [entry] = make_encoder().cache.folder.iterdir()
    damage(entry)
    assert plain(make_encoder().encode(rows, digest_of_rows(rows)).examples) == plain(first.examples)
    assert make_encoder().cache.find(entry.name) is not None


def test_a_changed_byte_is_found(make_encoder: MakeEncoder) -> None:
    rows = ROWS["text-classification"]
    make_encoder().encode(rows, digest_of_rows(rows))
    [entry] = make_encoder().cache.folder.iterdir()
    data = bytearray((entry / "examples.arrow").read_bytes())
    data[data.index(b"[[[")] ^= 1
    (entry / "examples.arrow").write_bytes(data)
    assert make_encoder().cache.find(entry.name) is None


def test_the_entries_that_were_not_used_for_longest_go_first(make_encoder: MakeEncoder, tmp_path: Path,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoded_cache, "_used_at", lambda place: uses.index(place.name) if place.name in uses else 99)
    uses: list[str] = []
    rows = ROWS["text-classification"]
    for n in (10, 11, 12):
        encoder = make_encoder(cache=EncodedCache(tmp_path / "encoded", limit_bytes=1 << 30))
        encoder.encode(rows[:n], digest_of_rows(rows[:n]))
        uses += sorted({place.name for place in encoder.cache.folder.iterdir()} - set(uses))
    oldest, second, third = (tmp_path / "encoded" / name for name in uses)
    size = sum(file.stat().st_size for file in third.iterdir())
    small = make_encoder(cache=EncodedCache(tmp_path / "encoded", limit_bytes=int(3.5 * size)))
    small.encode(rows[:13], digest_of_rows(rows[:13]))
    assert (oldest.exists(), second.exists(), third.exists()) == (False, True, True)
    assert len(list(small.cache.folder.iterdir())) == 3


def test_what_a_killed_process_left_behind_goes_after_a_day(make_encoder: MakeEncoder) -> None:
    rows, folder = ROWS["text-classification"], make_encoder().cache.folder
    encoder = make_encoder(cache=EncodedCache(folder, limit_bytes=0))
    for name, age_s in ((".old", 2 * 24 * 3600), (".new", 3600)):
        (folder / name).mkdir(parents=True)
        (folder / name / "examples.arrow").write_bytes(b"half")
        os.utime(folder / name, (time.time() - age_s,) * 2)
    encoder.encode(rows, digest_of_rows(rows))
    assert (folder / ".new").exists()
    assert not (folder / ".old").exists()


def test_rows_are_encoded_where_the_cache_cannot_be_written(make_encoder: MakeEncoder, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    encoder = make_encoder(cache=EncodedCache(tmp_path / "file" / "encoded"))
    rows = ROWS["text-classification"]
    assert len(encoder.encode(rows, digest_of_rows(rows)).examples) == len(rows)


def test_lengths_are_those_before_the_cut(make_encoder: MakeEncoder) -> None:
    rows = [{"text": " ".join(["card"] * n), "label": label} for n in (1, 2, 30, 38) for label in ("card", "loan")]
    found = make_encoder(labels=["card", "loan"], max_length=10).encode(rows, digest_of_rows(rows)).lengths
    assert found.quantiles == {"50%": 4, "90%": 40, "95%": 40, "99%": 40, "100%": 40}
    assert (found.n_cut, found.n_tokens, found.n_tokens_cut) == (4, 2 * (3 + 4 + 32 + 40), 2 * (22 + 30))


def test_rows_that_stay_on_the_disk_are_the_lessons_of_those_in_memory(make_encoder: MakeEncoder) -> None:
    encoder, rows = make_encoder("question-answering"), ROWS["question-answering"]
    lessons = encoder.task.lessons(encoder.encode_rows(rows, encoder.max_length))
    made = Lessons(name="lessons", of=encoder.task.lessons)
    found = encoder.encode_to_disk(rows, digest_of_rows(rows), lessons=made).examples
    assert isinstance(found, ExampleFile)
    assert len(found) == len(lessons) > len(rows)
    assert plain(found) == plain(lessons)


def test_arranged_examples_stand_in_their_order_any_number_of_times(make_encoder: MakeEncoder) -> None:
    encoder, rows = make_encoder(), ROWS["text-classification"]
    halves = [rows[:20], rows[20:]]
    files = [encoder.encode_to_disk(half, digest_of_rows(half)).examples for half in halves]
    assert all(isinstance(file, ExampleFile) for file in files)
    whole = encoder.encode_rows(rows, encoder.max_length)
    order = [41, 0, 19, 20, 0]
    assert plain(Arranged(files)) == plain(whole)  # type: ignore[arg-type]  # asserted above
    chosen = Arranged(files, order)  # type: ignore[arg-type]
    assert plain(chosen) == plain([whole[i] for i in order])
    assert chosen.lengths == lengths_of([whole[i] for i in order])


def test_two_processes_that_encode_the_same_rows_do_not_disturb_each_other(make_encoder: MakeEncoder,
                                                                           tmp_path: Path) -> None:
    """Both found nothing and write; the second ends its entry when the first one's is there already."""
    encoder = make_encoder()
    examples = encoder.encode_rows(ROWS["text-classification"], 20)
    one, other = EncodedCache(tmp_path / "both"), EncodedCache(tmp_path / "both")

    def fill(cache: EncodedCache) -> None:
        with cache.write("key") as entry:
            entry.writer.write(examples)
            entry.lengths = encoder.encode(ROWS["text-classification"], "digest").lengths

    fill(one)
    fill(other)  # it asked before the first had written
    assert [path.name for path in (tmp_path / "both").iterdir()] == ["key"]
    found = other.find("key")
    assert found
    assert plain(found.examples) == plain(examples)
