"""Times one training step of an example by dlc and by PyTorch, in turn, and prints the ratios; of resnet50 a forward pass.

    pip install -r tests/golden/requirements.txt      # and torchvision for resnet50
    python benches/compare.py [--model digits|mnist_cnn|resnet20|resnet50] [--threads N ..] [--batch N ..] [--rounds N]
                              [--steps N] [--no-compile]

Each round runs `cargo bench --bench step` and `benches/pytorch_step.py`, one after the other, so that whatever else the
machine does slows both. A ratio is PyTorch's time over ours: the middle one of the rounds' ratios of medians.
"""

import argparse
import re
import statistics
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINE = re.compile(r"batch\s+(\d+)\s+(\w+)\s+median\s+([\d.]+) us\s+quickest\s+([\d.]+) us")


def main():
    args = arguments()
    # What is built now is not built while something is timed.
    subprocess.run(["cargo", "bench", "--quiet", "--bench", "step", "--no-run"], cwd=ROOT, check=True)
    for threads in args.threads:
        medians, bests = defaultdict(list), {}
        for _ in range(args.rounds):
            for batch, way, median, best in measure(args, threads):
                medians[batch, way].append(median)
                bests[batch, way] = min(best, bests.get((batch, way), best))
        for batch in sorted({batch for batch, _ in medians}):
            report(threads, batch, medians, bests)


def arguments():
    parser = argparse.ArgumentParser(description="Times a training step of an example by dlc and by PyTorch.")
    parser.add_argument("--model", default="digits", help="digits, mnist_cnn, resnet20 or resnet50 (default digits)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="threads of both (default 1 2)")
    parser.add_argument("--batch", type=int, nargs="+", default=[], help="batch sizes (default: that of the example)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of both (default 5)")
    parser.add_argument("--steps", type=int, help="steps of a round (default: as many as take some seconds)")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    return parser.parse_args()


def measure(args, threads):
    """One round of both: batch, way, median and best time in microseconds."""
    common = ["--model", args.model, "--threads", str(threads)]
    common += (["--steps", str(args.steps)] if args.steps else []) + (["--batch", *map(str, args.batch)] if args.batch else [])
    ours = ["cargo", "bench", "--quiet", "--bench", "step", "--", *common]
    theirs = [sys.executable, "benches/pytorch_step.py", *common] + ["--no-compile"] * args.no_compile
    for command in (ours, theirs):
        text = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
        for batch, way, median, best in LINE.findall(text):
            yield int(batch), way, float(median), float(best)


def report(threads, batch, medians, bests):
    ours = medians[batch, "dlc"]
    for way in ("dlc", "eager", "fused", "compiled"):
        theirs = medians.get((batch, way))
        if not theirs:
            continue
        ratio = statistics.median(b / a for a, b in zip(ours, theirs))
        line = f"{threads} thread(s)  batch {batch:4}  {way:8}  median {statistics.median(theirs):7.1f} us"
        print(f"{line}  quickest {bests[batch, way]:7.1f} us  {ratio:5.2f} x dlc", flush=True)


if __name__ == "__main__":
    main()
