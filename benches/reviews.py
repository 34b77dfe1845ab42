"""Runs some steps of the fine-tune of examples/reviews.dl by dlc and by PEFT, in turn, and prints what each trains, the peak of its
memory and the time of a step, with the ratios.

    examples/fetch minilm movies
    pip install -r tests/golden/requirements.txt -r tests/golden/requirements-models.txt -r tests/golden/requirements-lora.txt
    python benches/reviews.py [--threads N] [--rounds N] [--steps N] [--dlc FILE]

Each round trains both from the start, one process after the other, so that whatever else the machine does slows both. A step
is a batch of 32 sentences of at most 64 tokens, from one report of a step to the next; the first steps of a process are not counted.
Memory is the largest resident set of the whole process, as the system has it. A ratio is PEFT's over ours: the middle one of
the rounds' ratios.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BATCH, WARM = 32, 1


def main():
    args = arguments()
    if args.dlc is None:
        # What is built now is not built while something is timed.
        subprocess.run(["cargo", "build", "--release", "--quiet", "--bin", "dlc"], cwd=ROOT, check=True)
        args.dlc = ROOT / "target/release/dlc"
    print(f"{args.steps} steps, {args.threads} thread(s), {args.rounds} round(s)")
    print(f"dlc   {trained(args)}")
    ours, theirs = [], []
    for _ in range(args.rounds):
        ours.append(dlc(args))
        theirs.append(peft(args, show=not theirs))
    report("step", "ms", [o[0] * 1e3 for o in ours], [t[0] * 1e3 for t in theirs])
    report("peak", "MiB", [o[1] for o in ours], [t[1] for t in theirs])


def arguments():
    parser = argparse.ArgumentParser(description="Times the fine-tune of examples/reviews.dl by dlc and by PEFT.")
    parser.add_argument("--threads", type=int, default=2, help="threads of both (default 2)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of both (default 3)")
    parser.add_argument("--steps", type=int, default=20, help="steps of a round (default 20)")
    parser.add_argument("--assets", type=Path, default=ROOT / "target/assets", help="what examples/fetch has got")
    parser.add_argument("--dlc", type=Path, help="the program (default: a release build)")
    return parser.parse_args()


def trained(args):
    """What `dlc check` says of the adapter's share."""
    text = subprocess.run([args.dlc, "check", "examples/reviews.dl"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    return re.search(r"trained are .*", text)[0]


def dlc(args):
    """The median of a step's seconds, and the peak in MiB, of one process."""
    settings = {"movies.split.train": args.steps * BATCH, "movies.split.test": BATCH, "reviews.epochs": 1, "reviews.interval": 1}
    sets = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    with tempfile.TemporaryDirectory() as out:
        command = [args.dlc, "train", "examples/reviews.dl", "--threads", str(args.threads), "--out", out, *sets]
        return measured(command, args.steps)[:2]


def peft(args, show):
    """The same of PEFT."""
    command = [sys.executable, "tests/golden/reviews.py", args.assets, "--epochs", "1", "--steps"]
    command += ["--threads", str(args.threads), "--rows", str(args.steps * BATCH), "--test", str(BATCH)]
    median, peak, text = measured(command, args.steps)
    if show:
        found, of = map(int, re.search(r"trained (\d+) of (\d+)", text).groups())
        print(f"peft  trained are {found:,} of {of:,}, {100 * found / of:.3f} %", flush=True)
    return median, peak


def measured(command, steps):
    """The median of the seconds between the lines in which a process says that a step is done, the peak of its memory in MiB,
    and all that it prints."""
    process = subprocess.Popen(list(map(str, command)), cwd=ROOT, stdout=subprocess.PIPE, text=True)
    lines, done = [], []
    for line in process.stdout:
        lines.append(line)
        if re.search(rf"\bstep \d+/{steps}\b", line):
            done.append(time.perf_counter())
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode or len(done) != steps:
        sys.exit(f"{command[0]} ended with {process.returncode} after {len(done)} steps")
    times = [later - before for before, later in zip(done, done[1:])]
    return statistics.median(times[WARM:]), usage.ru_maxrss / 1024, "".join(lines)


def report(what, unit, ours, theirs):
    ratio = statistics.median(t / o for o, t in zip(ours, theirs))
    mine, other = statistics.median(ours), statistics.median(theirs)
    print(f"{what}  dlc {mine:8.1f} {unit}  peft {other:8.1f} {unit}  {ratio:5.2f} x dlc")


if __name__ == "__main__":
    main()
