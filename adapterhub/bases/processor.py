"""What the device at hand computes by itself. It knows no models."""

import torch


def has_native_bfloat16(device: torch.device | None = None) -> bool:
    """Say whether a device, by default the one that training would use, computes bfloat16 by itself."""
    is_cuda = torch.cuda.is_available() if device is None else device.type == "cuda"
    if is_cuda:
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
