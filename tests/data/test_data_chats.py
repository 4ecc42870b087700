"""Rows that teach writing: prompts and completions, chats, plain texts, and which of them a table holds."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tiny import Rows, write_rows

from adapterhub.data.columns import Columns
from adapterhub.data.read import read_rows
from adapterhub.errors import AdapterHubError

WRITING = Columns(required=("prompt", "completion"), optional=("references",), others=(("messages",), ("text",)))
CHAT = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]


def read(path: Path, given: Mapping[str, str] | None = None) -> Rows:
    return read_rows(path, columns=WRITING, given=given or {})


def refusal(path: Path, given: Mapping[str, str] | None = None) -> str:
    with pytest.raises(AdapterHubError) as caught:
        read(path, given)
    return str(caught.value)


FORMS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "prompts": ({"prompt": " a ", "completion": " b\n"}, {"prompt": " a ", "completion": " b\n"}),
    "instructions": ({"instruction": "a", "output": "b", "text": "a b"}, {"prompt": "a", "completion": "b"}),
    "references": ({"source": "a", "target": "b", "references": ["b", "c"]},
                   {"prompt": "a", "completion": "b", "references": ["b", "c"]}),
    "chats": ({"messages": CHAT, "text": "hi hello"}, {"messages": CHAT}),
    "text alone": ({"text": "once upon a time", "prompt": "a"}, {"text": "once upon a time"}),
}


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_table_is_read_in_the_form_that_its_columns_have(name: str, kind: str, tmp_path: Path) -> None:
    row, expected = FORMS[name]
    assert read(write_rows(tmp_path / f"r.{kind}", [row, row])) == [expected, expected]


def test_given_column_decides_the_form(tmp_path: Path) -> None:
    row = {"prompt": "a", "completion": "b", "text": "whole", "conversations": CHAT}
    path = write_rows(tmp_path / "r.jsonl", [row])
    assert read(path, {"text": "text"}) == [{"text": "whole"}]
    assert read(path, {"messages": "conversations"}) == [{"messages": CHAT}]
    assert "label" in refusal(path, {"label": "text"})


def test_chat_of_share_gpt_and_chat_as_json_are_the_same_chat(tmp_path: Path) -> None:
    share_gpt = [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]
    assert read(write_rows(tmp_path / "r.jsonl", [{"messages": share_gpt}])) == [{"messages": CHAT}]
    assert read(write_rows(tmp_path / "r.csv", [{"messages": json.dumps(CHAT)}])) == [{"messages": CHAT}]


BAD_CHATS: dict[str, tuple[Any, str]] = {
    "no user": ([{"role": "system", "content": "be kind"}, CHAT[1]],
                "row 2 has a chat without a user turn: its roles are system, assistant"),
    "no answer": ([*CHAT, CHAT[0]], "row 2 has a chat that does not end with the assistant's answer"),
    "empty answer": ([CHAT[0], {"role": "assistant", "content": " "}], "row 2 has a chat that ends with an empty"),
    "no content": ([CHAT[0], {"role": "assistant"}], "row 2 has messages [{'role': 'user', 'content': 'hi'}"),
    "a text": ("hello", "row 2 has messages hello, expected a list of role and content"),
    "nothing": (None, "row 2 has no messages"),
}


@pytest.mark.parametrize("name", BAD_CHATS)
def test_bad_chat_is_refused_with_its_row(name: str, tmp_path: Path) -> None:
    messages, told = BAD_CHATS[name]
    assert told in refusal(write_rows(tmp_path / "r.jsonl", [{"messages": CHAT}, {"messages": messages}]))


def test_table_without_any_form_is_told_all_of_them(tmp_path: Path) -> None:
    message = refusal(write_rows(tmp_path / "r.jsonl", [{"body": "a", "headline": "b"}]))
    assert "no column for prompt; it has body, headline" in message
    assert "--column prompt=COLUMN, or give messages, or give text" in message
