"""Times one training step of an example in PyTorch, or one forward pass of ResNet-50: the same sizes, loss, optimizer, schedule
and clipping as `benches/step.rs`.

    pip install -r tests/golden/requirements.txt
    python benches/pytorch_step.py [--model NAME] [--threads N] [--batch N ..] [--steps N] [--no-compile]

A step is: take the next batch (it is in memory), forward with dropout, backward, clip, set the learning rate,
update. Printed is, for each batch size, the median over the steps and the quickest step, in microseconds, of
  eager    PyTorch as people write it: the optimizer as it comes, clip_grad_norm_
  fused    the same with a fused optimizer
  compiled torch.compile of the forward and the loss (its backward with it), and a fused optimizer
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
from twins import Cnn, optimizer, ResNet20

HIDDEN, PIXELS, CLASSES, DROPOUT = (128, 64), 64, 10, 0.1
STEPS = 900
# Batch sizes and steps, as in `benches/step.rs`.
CASES = {"digits": ([32, 256], 2000), "mnist_cnn": ([64], 60), "resnet20": ([128], 6), "resnet50": ([1], 20)}


def main():
    args = arguments()
    batches, steps = CASES[args.model]
    batches, steps = args.batch or batches, args.steps or steps
    torch.set_num_threads(args.threads)
    print(f"PyTorch {torch.__version__}, {args.model}, {args.threads} thread(s), {steps} steps each")
    for batch in batches:
        ways = ("eager", "fused") if args.model != "resnet50" else ("eager",)
        for way in ways + (() if args.no_compile else ("compiled",)):
            label = f"batch {batch:4}  {way:8}"
            try:
                times = measure(args.model, way, batch, steps)
            except Exception as error:
                if way != "compiled":
                    raise
                reason = (str(error).strip() or type(error).__name__).split("\n")[0]
                print(f"{label}  not measured: torch.compile failed: {reason}")
                continue
            print(f"{label}  median {statistics.median(times):7.1f} us  quickest {min(times):7.1f} us", flush=True)


def arguments():
    parser = argparse.ArgumentParser(description="Times a step of an example in PyTorch.")
    parser.add_argument("--model", choices=CASES, default="digits", help="the example (default digits)")
    parser.add_argument("--threads", type=int, default=1, help="threads that PyTorch may use (default 1)")
    parser.add_argument("--batch", type=int, nargs="+", help="batch sizes (default: that of the example)")
    parser.add_argument("--steps", type=int, help="steps that are timed (default: as many as take some seconds)")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    return parser.parse_args()


def mlp():
    stack, width = [], PIXELS
    for hidden in HIDDEN:
        stack += [nn.Linear(width, hidden), nn.GELU(), nn.Dropout(DROPOUT)]
        width = hidden
    return nn.Sequential(*stack, nn.Linear(width, CLASSES))


def rate(step, warm):
    """The schedule of the specs; it starts again after a run's 900 steps."""
    step %= STEPS
    return min((step + 1) / warm, 1) * 0.5 * (1 + math.cos(math.pi * step / STEPS))


def training(name, way):
    """A step of training: takes its number and the batch."""
    fused = True if way != "eager" else None
    if name == "digits":
        model, lr, warm = mlp(), 1e-2, 50
        tune = optimizer(model, lambda n: n.endswith(".bias"), lr, weight_decay=0.01, fused=fused)
    elif name == "mnist_cnn":
        model, lr, warm = Cnn(), 2e-3, 100
        tune = optimizer(model, lambda n: False, lr, weight_decay=0.01, fused=fused)
    else:
        model, lr, warm = ResNet20(), 0.1, 1
        tune = optimizer(model, lambda n: "bn" in n or n.endswith(".bias") or "downsample.1" in n, lr,
                         kind=torch.optim.SGD, momentum=0.9, weight_decay=1e-4, fused=fused)
    smoothing = 0.1 if name == "digits" else 0.0

    def objective(x, label):
        return F.cross_entropy(model(x), label, label_smoothing=smoothing)

    if way == "compiled":
        objective = torch.compile(objective)

    def step(number, x, label):
        for group in tune.param_groups:
            group["lr"] = lr * rate(number, warm)
        tune.zero_grad(set_to_none=True)
        objective(x, label).backward()
        if name == "digits":
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        tune.step()

    return step


def forward(way):
    """A forward pass, as in evaluation."""
    from torchvision.models import resnet50

    model = resnet50().eval()
    run = torch.compile(model) if way == "compiled" else model

    def step(_number, x, _label):
        with torch.no_grad():
            run(x)

    return step


def measure(name, way, batch, steps):
    """The microseconds that each of `steps` steps took, after some that are not counted."""
    torch.manual_seed(0)
    sample = {"digits": [PIXELS], "mnist_cnn": [1, 28, 28], "resnet20": [3, 32, 32], "resnet50": [3, 224, 224]}[name]
    count = min(16, steps)
    pixels = torch.randint(0, 17, [count, batch, *sample]).float() / 16
    labels = torch.randint(0, CLASSES, (count, batch))
    step = forward(way) if name == "resnet50" else training(name, way)
    warm, times = min(max(steps // 20, 1), 100), []
    for number in range(warm + steps):
        start = time.perf_counter()
        step(number, pixels[number % count], labels[number % count])
        times.append((time.perf_counter() - start) * 1e6)
    return times[warm:]


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    main()
