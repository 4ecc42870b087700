"""A seeded two-layer BERT with a tokenizer of letters and a few words, and tiny rows in every file format."""

import csv
import gzip
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Rows = list[dict[str, Any]]

MAX_POSITIONS = 64
TOPICS = {"card": ("card", "visa", "pin"), "loan": ("loan", "rate", "house"), "travel": ("trip", "hotel", "plane"),
          "food": ("soup", "bread", "apple"), "sport": ("ball", "team", "goal")}
FILLERS = ("the", "my", "where", "is", "new", "please", "about", "what")
PEOPLE, PLACES = ("anna", "ben", "carla"), ("rome", "oslo", "lima")
_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


def write_tiny_base(folder: Path, *, seed: int = 0, n_layers: int = 2) -> Path:
    """Save a tiny BERT base (safetensors, tokenizer.json) and return its folder."""
    import torch
    from transformers import BertConfig, BertModel

    tokenizer = tiny_tokenizer()
    config = BertConfig(vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=n_layers, num_attention_heads=4,
                        intermediate_size=48, max_position_embeddings=MAX_POSITIONS, pad_token_id=0,
                        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, initializer_range=0.3)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = BertModel(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_tokenizer() -> Any:
    """Return a WordPiece tokenizer that knows a few words, and every letter as a subword."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = [*FILLERS, *(word for topic in TOPICS.values() for word in topic), *PEOPLE, *PLACES]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words, *_CHARACTERS, *(f"##{c}" for c in _CHARACTERS),
              *".,!?'-"]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocab=vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
                                   sep_token="[SEP]", mask_token="[MASK]", model_max_length=MAX_POSITIONS)


def intent_rows(n_labels: int = 3, n_each: int = 14) -> Rows:
    """Return texts of `n_labels` topics, told apart by one word each."""
    return [{"text": f"{FILLERS[i % 8]} {words[i % 3]} {FILLERS[(i // 3) % 8]}{' please' * (i % 4)}", "label": label}
            for i in range(n_each) for label, words in list(TOPICS.items())[:n_labels]]


def entity_rows(count: int = 40) -> Rows:
    """Return tagged sentences with people and places."""
    return [{"tokens": [FILLERS[i % 8], PEOPLE[i % 3], "is", "new", PLACES[(i // 3) % 3], "rome", "."],
             "tags": ["O", "B-PER", "O", "O", "B-LOC", "I-LOC", "O"]} for i in range(count)]


def pair_rows(count: int = 40) -> Rows:
    """Return questions with their answers; every answer's text is its own."""
    words = [word for topic in TOPICS.values() for word in topic]
    return [{"query": f"where is {words[i % 15]} {words[i // 15]}", "answer": f"{words[i % 15]} about {words[i // 15]}"}
            for i in range(count)]


def answer_rows(count: int = 60) -> Rows:
    """Return questions where somebody is, each with a context of several sentences that says it, as SQuAD does."""
    rows: Rows = []
    for i in range(count):
        person, place = PEOPLE[i % 3], PLACES[(i // 3) % 3]
        around = [f"{FILLERS[(i + k) % 8]} {word} is new ." for k, word in enumerate(("card", "loan", "soup", "team"))]
        context = " ".join([*around[:i % 5], f"{person} is in {place} .", *around[i % 5:]])
        rows.append({"question": f"where is {person}", "context": context,
                     "answers": {"text": [place], "answer_start": [context.index(place)]}})
    return rows


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """Write rows in the format that the file's name says: csv, tsv, json, jsonl, each also .gz, parquet."""
    kind = path.name.removesuffix(".gz").rpartition(".")[2].lower()
    if kind == "parquet":
        import pyarrow as pa
        from pyarrow import parquet

        parquet.write_table(pa.Table.from_pylist(list(rows)), path)
        return path
    text = {"csv": _delimited, "tsv": _delimited, "json": _json, "jsonl": _json_lines}[kind](rows, kind)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def _delimited(rows: Sequence[dict[str, Any]], kind: str) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]), delimiter="\t" if kind == "tsv" else ",", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: json.dumps(value) if isinstance(value, list) else value for name, value in row.items()})
    return buffer.getvalue()


def _json(rows: Sequence[dict[str, Any]], _: str) -> str:
    return json.dumps(list(rows), ensure_ascii=False)


def _json_lines(rows: Sequence[dict[str, Any]], _: str) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
