"""What the scripts that make golden tensors share: named random numbers, and how far two tensors are from each other."""

import sys
import zlib
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

GOLDEN = Path(__file__).resolve().parent
CHECK = "--check" in sys.argv[1:]


def seeded(name):
    """A generator of its own for each name, so that a new case changes no other."""
    return torch.Generator().manual_seed(zlib.crc32(name.encode()))


def normal(name, *shape):
    return torch.randn(shape, generator=seeded(name))


def save(path, tensors, **metadata):
    """Writes a file, but for what is in it already, up to the last digits, in which machines differ: so that a new case is all
    that changes. safetensors orders the tensors by name; one metadata entry at most keeps the bytes fixed."""
    assert len(metadata) <= 1
    if not CHECK:
        path.parent.mkdir(parents=True, exist_ok=True)
        old = load_file(path) if path.exists() else {}
        new = {k: v.detach().clone().contiguous() for k, v in tensors.items()}
        save_file({k: old[k] if k in old and same(old[k], v) else v for k, v in new.items()}, path, metadata or None)


def same(a, b):
    """Whether two tensors are the same but for rounding."""
    if a.dtype != b.dtype or a.shape != b.shape or not a.is_floating_point():
        return a.dtype == b.dtype and torch.equal(a, b)
    places = torch.isfinite(b)
    return torch.equal(a[~places], b[~places]) and torch.equal(torch.isfinite(a), places) and distance(a, b) < 3e-6


def distance(a, b):
    """The norm of a - b over the norm of b, over the finite entries; the infinite ones must agree."""
    a, b = a.double(), b.double()
    assert torch.equal(torch.isinf(a), torch.isinf(b)) and torch.equal(a[a.isinf()], b[b.isinf()])
    a, b = a[a.isfinite()], b[b.isfinite()]
    norm = b.norm().item()
    return (a - b).norm().item() / norm if norm > 0 else a.norm().item()
