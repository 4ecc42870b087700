"""What is learned of a text, and that losses and scores are those that stock transformers computes."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from language_models import EOS, TWO_PART, byte_tokenizer, stock_lm, write_language_model

from adapterhub.errors import DataError
from adapterhub.tasks.batch import collate
from adapterhub.tasks.generation import GenerationTask
from adapterhub.tasks.one_pass import outputs_of
from adapterhub.tasks.packing import joined, pack
from adapterhub.tasks.task import IGNORED, Example, TokenSequence
from adapterhub.tasks.text2text_generation import Text2TextGeneration
from adapterhub.tasks.text_generation import TextGeneration, learned_whole

CAUSAL, TWO_PARTS = TextGeneration(), Text2TextGeneration()
FAMILIES = ("llama", "gpt2", "qwen2", "t5", "bart")
ROWS = [{"prompt": "name: Anna", "completion": " she is Anna"}, {"prompt": "b", "completion": " ben"},
        {"prompt": "the longest of all prompts", "completion": "."}]
TOKENIZER = byte_tokenizer()


@pytest.fixture(scope="module")
def model_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """Return a family's tiny model, made once."""
    made: dict[str, Any] = {}

    def find(family: str) -> Any:
        if family not in made:
            made[family] = stock_lm(write_language_model(tmp_path_factory.mktemp(family) / family, family), None)
        return made[family]
    return find


def task_of(family: str) -> GenerationTask:
    return TWO_PARTS if family in TWO_PART else CAUSAL


def encoded(family: str, rows: list[dict[str, str]] = ROWS, max_length: int = 64) -> list[Example]:
    return task_of(family).encode(rows, byte_tokenizer(adds_eos=family in TWO_PART), [], max_length)


def told(sequence: TokenSequence) -> str:
    """Return what is learned of a sequence as text, a dot for what is not."""
    return "".join("." if label == IGNORED else "$" if label == EOS else TOKENIZER.decode([label])
                   for label in sequence.labels)


def sequence_of(row: dict[str, Any], max_length: int = 64) -> TokenSequence:
    return CAUSAL.encode([row], TOKENIZER, [], max_length)[0].sequences[0]


def test_completion_alone_is_learned_and_the_prompt_is_read_as_it_is_served() -> None:
    sequence = sequence_of({"prompt": "ab", "completion": " cd"})
    assert told(sequence) == ".. cd$"
    served = CAUSAL.encode_prompt({"prompt": "ab"}, TOKENIZER)
    assert sequence.input_ids[:len(served)] == served
    assert [*sequence.input_ids[1:], EOS] == [*served[1:], *sequence.labels[2:]]


def test_whole_text_is_learned_where_that_is_asked_for() -> None:
    example = CAUSAL.encode([{"prompt": "ab", "completion": " cd"}], TOKENIZER, [], 64)[0]
    assert told(learned_whole(example).sequences[0]) == "ab cd$"


def test_long_text_falls_into_stretches_in_which_each_token_is_learned_once() -> None:
    example = CAUSAL.encode([{"text": "abcdefghij"}], TOKENIZER, [], 4)[0]
    assert [told(sequence) for sequence in example.sequences] == ["abcd", "efgh", "ij$"]
    assert not example.is_truncated
    assert [told(lesson.sequences[0]) for lesson in CAUSAL.lessons([example])] == ["abcd", "efgh", "ij$"]


@pytest.mark.parametrize(("prompt", "completion", "learned", "is_cut"), [
    ("ab", "cdef", "..cdef$", False), ("abc", "defghij", "...defgh", True), ("abcdefghij", "kl", ".....kl$", True),
    ("abcdefghij", "klmnopqr", "....klmn", True)])
def test_row_that_is_too_long_keeps_the_prompt_s_end_and_the_completion_s_beginning(
        prompt: str, completion: str, learned: str, is_cut: bool) -> None:
    example = CAUSAL.encode([{"prompt": prompt, "completion": completion}], TOKENIZER, [], 8)[0]
    assert told(example.sequences[0]) == learned
    assert example.is_truncated == is_cut


def test_row_without_a_token_to_learn_is_refused() -> None:
    bare = byte_tokenizer()
    bare.eos_token = None
    with pytest.raises(DataError, match="no token to learn"):
        CAUSAL.encode([{"prompt": "ab", "completion": ""}], bare, [], 8)


def test_encoder_decoder_learns_the_completion_with_its_end_and_cuts_both_sides() -> None:
    bare = byte_tokenizer()  # it begins a text and ends none, so the end is put behind it
    whole, cut = TWO_PARTS.encode([{"prompt": "ab", "completion": "cd"}, {"prompt": "a", "completion": "cdefgh"}],
                                  bare, [], 5)
    assert whole.sequences[0].labels == [*bare("cd").input_ids, EOS]
    assert (whole.is_truncated, cut.is_truncated, len(cut.sequences[0].labels)) == (False, True, 5)


@pytest.mark.parametrize("family", FAMILIES)
def test_loss_is_that_of_stock_transformers(family: str, model_of: Callable[[str], Any]) -> None:
    model, task, examples = model_of(family), task_of(family), encoded(family)
    inputs = collate([example.sequences[0] for example in examples], 0)
    given = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    labels = inputs["labels"]
    if family not in TWO_PART:  # transformers shifts them itself
        labels = torch.cat([torch.full((len(labels), 1), IGNORED), labels], dim=1)
        given = {name: torch.nn.functional.pad(value, (0, 1)) for name, value in given.items()}
    with torch.inference_mode():
        expected = model(**given, labels=labels).loss
        outputs = outputs_of(model, task, inputs)
    assert float(task.loss([outputs], examples)) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_computed_for_labelled_tokens_alone(family: str, model_of: Callable[[str], Any]) -> None:
    model, examples = model_of(family), encoded(family)
    seen: list[tuple[int, ...]] = []
    handle = model.get_output_embeddings().register_forward_hook(lambda _, __, logits: seen.append(logits.shape))
    with torch.inference_mode():
        outputs_of(model, task_of(family), collate([example.sequences[0] for example in examples], 0))
    handle.remove()
    assert seen == [(1, sum(example.sequences[0].n_labels for example in examples), len(TOKENIZER))]
    assert not model.get_output_embeddings()._forward_pre_hooks


@pytest.mark.parametrize("family", ["llama", "t5"])
def test_parts_by_their_weights_make_the_whole_loss(family: str, model_of: Callable[[str], Any]) -> None:
    model, task, examples = model_of(family), task_of(family), encoded(family)

    def loss_of(part: list[Example]) -> float:
        with torch.inference_mode():
            outputs = outputs_of(model, task, collate([example.sequences[0] for example in part], 0))
        return float(task.loss([outputs], part))
    parts = [examples[:1], examples[1:]]
    weights = [task.loss_weight(part) for part in parts]
    assert task.can_split(examples)
    mean = sum(weight * loss_of(part) for weight, part in zip(weights, parts, strict=True)) / sum(weights)
    assert mean == pytest.approx(loss_of(examples), rel=1e-5)


def test_gradient_reaches_every_layer_through_the_chosen_tokens(model_of: Callable[[str], Any]) -> None:
    model, examples = model_of("llama"), encoded("llama")
    model.requires_grad_(requires_grad=True)
    CAUSAL.loss([outputs_of(model, CAUSAL, collate([example.sequences[0] for example in examples], 0))],
                examples).backward()
    assert all(value.grad is not None and value.grad.abs().sum() > 0 for name, value in model.named_parameters()
               if "layers" in name)
    model.zero_grad()


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen2"])
def test_packed_texts_are_blind_to_each_other(family: str, model_of: Callable[[str], Any]) -> None:
    model, examples = model_of(family), encoded(family)
    lengths = [len(example.sequences[0].input_ids) for example in examples]
    other = joined([examples[1], examples[1]])  # shorter: it is padded beside the long one
    with torch.inference_mode():
        alone = [outputs_of(model, CAUSAL, collate(example.sequences, 0))[0] for example in examples]
        packed = outputs_of(model, CAUSAL, collate([joined(examples).sequences[0], other.sequences[0]], 0))
    for own, found in zip(alone, packed[0].split(lengths), strict=True):
        assert (own - found).abs().max() < 1e-5
    assert (packed[1, lengths[1]:2 * lengths[1]] - alone[1]).abs().max() < 1e-5


def test_packs_lose_no_token_and_leave_little_room() -> None:
    texts = [{"text": "x" * n} for n in (3, 9, 14, 5, 6, 2, 11, 7)]
    examples = CAUSAL.encode(texts, TOKENIZER, [], 16)
    packs = pack(examples, 16)
    assert len(packs) == 5  # 65 tokens
    assert CAUSAL.loss_weight(packs) == CAUSAL.loss_weight(examples)
    assert all(len(one.sequences[0].input_ids) <= 16 for one in packs)
    assert pack(examples, 16) == packs
    lengths = sorted(len(example.sequences[0].input_ids) for example in examples)
    starts = [place for one in packs for place in one.sequences[0].position_ids]
    assert starts.count(0) == len(examples)
    assert sorted(starts) == sorted(place for length in lengths for place in range(length))


def test_tokenizer_without_padding_changes_nothing(model_of: Callable[[str], Any]) -> None:
    bare = byte_tokenizer()
    bare.pad_token = None
    examples = CAUSAL.encode(ROWS, bare, [], 64)
    assert examples == encoded("llama")
    sequences = [example.sequences[0] for example in examples]
    with torch.inference_mode():
        zero, other = (outputs_of(model_of("llama"), CAUSAL, collate(sequences, pad)) for pad in (0, EOS))
    assert torch.equal(zero, other)


def test_figures_are_those_computed_by_hand() -> None:
    labelled = [TokenSequence(input_ids=[5, 6], token_type_ids=[0, 0], labels=[IGNORED, 7]),
                TokenSequence(input_ids=[5, 6], token_type_ids=[0, 0], labels=[8, 9])]
    outputs = [torch.tensor([[0.0, 0.0], [-1.0, 0.0]]), torch.tensor([[-2.0, -0.5], [-6.0, -3.0]])]
    found = CAUSAL.evaluate([outputs], [Example(sequences=labelled)], [])
    assert found.metrics["loss"] == pytest.approx(3.0)
    assert found.metrics["perplexity"] == pytest.approx(20.0855, rel=1e-5)
    assert found.metrics["token_accuracy"] == pytest.approx(1 / 3)
    assert CAUSAL.decode(outputs, Example(sequences=labelled), []) == {"log_probability": -9.0, "n_tokens": 3}
