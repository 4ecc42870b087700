"""What every run must keep and every adapter must show: the base unmoved, the delta moved."""

import hashlib
from collections.abc import Mapping

import torch

from adapterhub.errors import TrainingError
from adapterhub.training.methods import State, TrainedModel, whole


def frozen_digest(trained: TrainedModel) -> str:
    """Return the SHA-256 over the tensors that training must not move, as 64 hex digits."""
    digest = hashlib.sha256()
    for name, value in trained.model.named_parameters():
        if not value.requires_grad:
            digest.update(name.encode())
            digest.update(whole(value.detach()).cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def require_frozen(trained: TrainedModel, before: str) -> None:
    """Raise TrainingError where a tensor of the base moved since `before` was taken."""
    if frozen_digest(trained) != before:
        raise TrainingError("Training changed tensors of the base, which must stay frozen; nothing was written.",
                            hint="Report this with your configuration.")


def require_whole(start: Mapping[str, torch.Tensor], trained: State) -> None:
    """Raise TrainingError where a trained tensor is missing, or is only one process's slice of it."""
    wanted = {name: tuple(value.shape) for name, value in start.items()}
    found = {name: tuple(value.shape) for name, value in trained.items()}
    if differing := sorted(name for name in {*wanted, *found} if wanted.get(name) != found.get(name)):
        raise TrainingError(f"{len(differing)} trained tensors are not whole, first {differing[0]}: "
                            f"{found.get(differing[0], 'missing')} instead of {wanted.get(differing[0], 'nothing')}.",
                            hint="Gather full tensors: with FSDP, use version 2 and FULL_STATE_DICT.")


def require_moved(start: Mapping[str, torch.Tensor], trained: State) -> None:
    """Raise TrainingError where a B, or with other methods every tensor, is still what it was at the start.

    Gradient checkpointing and wrong targets can leave layers out of the backward pass without a word.
    """
    delta = [name for name in trained if "lora_B" in name] or list(trained)
    still = [name for name in delta if torch.equal(trained[name], start[name])]
    if still and ("lora_B" in still[0] or len(still) == len(delta)):
        raise TrainingError(f"Training did not move {len(still)} of {len(delta)} tensors, first {still[0]}.",
                            hint="Train for more steps, or name other --targets: these layers get no gradient.")
