"""What the scripts that make golden tensors share: named random numbers, and how far two tensors are from each other."""

import sys
import zlib
from pathlib import Path

import torch
from safetensors.torch import save_file

GOLDEN = Path(__file__).resolve().parent
CHECK = "--check" in sys.argv[1:]


def seeded(name):
    """A generator of its own for each name, so that a new case changes no other."""
    return torch.Generator().manual_seed(zlib.crc32(name.encode()))


def normal(name, *shape):
    return torch.randn(shape, generator=seeded(name))


def save(path, tensors, **metadata):
    """Writes a file. safetensors orders the tensors by name; one metadata entry at most keeps the bytes fixed."""
    assert len(metadata) <= 1
    if not CHECK:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({k: v.detach().clone().contiguous() for k, v in tensors.items()}, path, metadata or None)


def distance(a, b):
    """The norm of a - b over the norm of b, over the finite entries; the infinite ones must agree."""
    a, b = a.double(), b.double()
    assert torch.equal(torch.isinf(a), torch.isinf(b)) and torch.equal(a[a.isinf()], b[b.isinf()])
    a, b = a[a.isfinite()], b[b.isfinite()]
    norm = b.norm().item()
    return (a - b).norm().item() / norm if norm > 0 else a.norm().item()
