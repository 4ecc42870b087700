"""Where the base computes and in which type of numbers, decided once at the door."""

import torch

from adapterhub.bases.processor import has_native_bfloat16
from adapterhub.errors import InvalidConfig


def device_of(name: str) -> torch.device:
    """Return the device that `auto`, `cpu`, `cuda` or `cuda:1` means here. Raises InvalidConfig."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InvalidConfig(f"device is {name!r}, expected auto, cpu or cuda.", hint="Leave it at auto.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InvalidConfig(f"device is {name!r}, but torch finds no GPU here.", hint="Use device cpu or auto.")
    return device


def dtype_of(name: str, device: torch.device) -> torch.dtype:
    """Return the type that `auto`, `float32` or `bfloat16` means on a device."""
    if name == "auto":
        return torch.bfloat16 if has_native_bfloat16(device) else torch.float32
    dtype: torch.dtype = getattr(torch, name)
    return dtype
