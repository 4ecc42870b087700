"""Chats are learned as the base's own template serves them: every answer of the assistant, and nothing else."""

from typing import Any

import pytest
from language_models import CHAT_TEMPLATE, EOS, byte_tokenizer

from adapterhub.errors import DataError
from adapterhub.tasks.conversations import encode_turns
from adapterhub.tasks.task import IGNORED
from adapterhub.tasks.text_generation import TextGeneration

TASK = TextGeneration()
CHAT = [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "hello"}, {"role": "user", "content": "bye"},
        {"role": "assistant", "content": "so long"}]
THINKS = ("{% for m in messages %}{{ m['role'] }}: {% if loop.last and m['role'] == 'assistant' %}(hm) {% endif %}"
          "{{ m['content'] }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}")
"""Writes what the assistant thought before its last answer only."""
COUNTS = ("{{ messages | length }} messages\n{% for m in messages %}{{ m['content'] }}\n{% endfor %}"
          "{% if add_generation_prompt %}assistant: {% endif %}")
"""Writes another beginning when one more message comes."""


def tokenizer_with(template: str | None) -> Any:
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = template
    return tokenizer


def learned(messages: list[dict[str, str]], template: str) -> str:
    """Return what is learned of a chat, a dot for each token that is not."""
    tokenizer = tokenizer_with(template)
    sequence = TASK.encode([{"messages": messages}], tokenizer, [], 200)[0].sequences[0]
    return "".join("." if label == IGNORED else "$" if label == EOS else tokenizer.decode([label])
                   for label in sequence.labels)


def test_every_answer_is_learned_and_the_last_ends_the_text() -> None:
    found = learned(CHAT, CHAT_TEMPLATE)
    assert found.replace(".", "") == "hello\nso long\n$"
    assert found.endswith(".so long\n$")


def test_prompt_before_the_last_answer_is_what_is_served() -> None:
    tokenizer = tokenizer_with(CHAT_TEMPLATE)
    turns = encode_turns(CHAT, tokenizer)
    assert turns.prompt == TASK.encode_prompt({"messages": CHAT[:-1]}, tokenizer)
    assert tokenizer.decode(turns.completion) == "so long\n"


def test_earlier_answer_that_the_template_writes_anew_is_not_learned() -> None:
    assert learned(CHAT, THINKS).replace(".", "") == "(hm) so long\n$"


def test_turn_that_the_template_ends_gets_no_second_end() -> None:
    assert learned(CHAT, CHAT_TEMPLATE.replace("\n", "</s>\n")).replace(".", "") == "hello$\nso long$\n"


@pytest.mark.parametrize(("template", "told"), [(None, "no chat template"), (COUNTS, "writes a chat anew"),
                                                ("{{ raise_exception('no system') }}", "refuses the messages")])
def test_chat_that_cannot_be_served_as_it_is_learned_is_refused(template: str | None, told: str) -> None:
    with pytest.raises(DataError, match=told):
        encode_turns(CHAT, tokenizer_with(template))
