"""Times one training step of examples/digits.dl in PyTorch: the same sizes, loss, optimizer, schedule and clipping.

    pip install -r tests/golden/requirements.txt
    python benches/pytorch_step.py [--threads N] [--batch N ..] [--steps N] [--no-compile]

A step is: take the next batch (it is in memory), forward with dropout, backward, clip, set the learning rate,
update. Printed is, for each batch size, the median over the steps and the quickest step, in microseconds, of
  eager    PyTorch as people write it: torch.optim.AdamW as it comes, clip_grad_norm_
  fused    the same with AdamW(fused = True)
  compiled torch.compile of the forward and the loss (its backward with it), AdamW(fused = True)
`compiled` needs a C++ compiler and Python's headers; where torch.compile fails, the line says so.
"""

import argparse
import math
import statistics
import time
import warnings

import torch
import torch.nn.functional as F
from torch import nn

HIDDEN, PIXELS, CLASSES, DROPOUT = (128, 64), 64, 10, 0.1
LR, WARMUP, STEPS = 1e-2, 50, 900


def main():
    args = arguments()
    torch.set_num_threads(args.threads)
    print(f"PyTorch {torch.__version__}, {args.threads} thread(s), {args.steps} steps each")
    for batch in args.batch:
        for way in ("eager", "fused") + (() if args.no_compile else ("compiled",)):
            label = f"batch {batch:4}  {way:8}"
            try:
                times = measure(way, batch, args.steps)
            except Exception as error:
                if way != "compiled":
                    raise
                reason = (str(error).strip() or type(error).__name__).split("\n")[0]
                print(f"{label}  not measured: torch.compile failed: {reason}")
                continue
            print(f"{label}  median {statistics.median(times):7.1f} us  quickest {min(times):7.1f} us", flush=True)


def arguments():
    parser = argparse.ArgumentParser(description="Times a training step of examples/digits.dl in PyTorch.")
    parser.add_argument("--threads", type=int, default=1, help="threads that PyTorch may use (default 1)")
    parser.add_argument("--batch", type=int, nargs="+", default=[32, 256], help="batch sizes (default 32 256)")
    parser.add_argument("--steps", type=int, default=2000, help="steps that are timed (default 2000)")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    return parser.parse_args()


def mlp():
    stack, width = [], PIXELS
    for hidden in HIDDEN:
        stack += [nn.Linear(width, hidden), nn.GELU(), nn.Dropout(DROPOUT)]
        width = hidden
    return nn.Sequential(*stack, nn.Linear(width, CLASSES))


def rate(step):
    """The schedule of the spec; it starts again after a run's 900 steps."""
    step %= STEPS
    return LR * min((step + 1) / WARMUP, 1) * 0.5 * (1 + math.cos(math.pi * step / STEPS))


def measure(way, batch, steps, warm=100):
    """The microseconds that each of `steps` steps took, after `warm` steps that are not counted."""
    torch.manual_seed(0)
    model = mlp()
    decayed = [p for p in model.parameters() if p.dim() == 2]
    biases = [p for p in model.parameters() if p.dim() == 1]
    groups = [{"params": decayed, "weight_decay": 0.01}, {"params": biases, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LR, fused=True if way != "eager" else None)

    def objective(x, label):
        return F.cross_entropy(model(x), label, label_smoothing=0.1)

    if way == "compiled":
        objective = torch.compile(objective)
    pixels = torch.randint(0, 17, (16, batch, PIXELS)).float() / 16
    labels = torch.randint(0, CLASSES, (16, batch))
    times = []
    for step in range(warm + steps):
        start = time.perf_counter()
        for group in optimizer.param_groups:
            group["lr"] = rate(step)
        optimizer.zero_grad(set_to_none=True)
        objective(pixels[step % 16], labels[step % 16]).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        times.append((time.perf_counter() - start) * 1e6)
    return times[warm:]


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    main()
