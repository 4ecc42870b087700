"""Several short texts in one sequence, each blind to the others, so that little of a batch is padding.

Models of transformers see by positions that begin anew that a sequence holds several texts. It knows no model.
"""

from bisect import bisect_left, insort
from collections.abc import Sequence

from adapterhub.tasks.task import Example, TokenSequence


def pack(examples: Sequence[Example], max_length: int) -> list[Example]:
    """Return examples of one sequence each as fewer ones of at most `max_length` tokens.

    The longest first, each where the least room is left that suffices; same examples give the same packs.
    """
    order = sorted(range(len(examples)), key=lambda i: -_length(examples[i]))
    packs: list[list[Example]] = []
    rooms: list[tuple[int, int]] = []  # (tokens left, pack), sorted
    for i in order:
        length = _length(examples[i])
        place = bisect_left(rooms, (length, -1))
        if place == len(rooms):
            room, number = max_length, len(packs)
            packs.append([])
        else:
            room, number = rooms.pop(place)
        packs[number].append(examples[i])
        insort(rooms, (room - length, number))
    return [joined(members) for members in packs]


def joined(examples: Sequence[Example]) -> Example:
    """Return examples of one sequence each as one example, in their order."""
    sequences = [example.sequences[0] for example in examples]
    tokens = [token for sequence in sequences for token in sequence.input_ids]
    return Example(is_truncated=any(example.is_truncated for example in examples), sequences=[TokenSequence(
        input_ids=tokens, token_type_ids=[0] * len(tokens),
        position_ids=[place for sequence in sequences for place in range(len(sequence.input_ids))],
        labels=[label for sequence in sequences for label in sequence.labels])])


def _length(example: Example) -> int:
    return len(example.sequences[0].input_ids)
