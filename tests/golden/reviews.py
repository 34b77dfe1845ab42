"""The fine-tune of examples/reviews.dl by PEFT: the same rows, steps and hyper-parameters, other random numbers.

    pip install -r tests/golden/requirements.txt -r tests/golden/requirements-models.txt -r tests/golden/requirements-lora.txt
    python tests/golden/reviews.py target/assets [--epochs N] [--seed N] [--rows N] [--test N] [--threads N] [--steps]

Prints the trained share, seconds a step and the peak of memory, and the accuracy on the test split, with the adapter and merged;
with --steps, a line when a step is done. `benches/reviews.py` runs it beside dlc.
"""

import argparse
import csv
import resource
import sys
import time
from pathlib import Path

import peft
import torch
import torch.nn.functional as F
from transformers import AutoTokenizer, BertModel

MASK = 0xFFFFFFFF


def philox(x, key):
    """Philox4x32-10, as plan/src/random.rs has it."""
    x, key = list(x), list(key)
    for _ in range(10):
        p0, p1 = x[0] * 0xD2511F53, x[2] * 0xCD9E8D57
        x = [(p1 >> 32) ^ x[1] ^ key[0], p1 & MASK, (p0 >> 32) ^ x[3] ^ key[1], p0 & MASK]
        key = [(key[0] + 0x9E3779B9) & MASK, (key[1] + 0xBB67AE85) & MASK]
    return x


def site_hash(path, ordinal=0):
    h = 0x811C9DC5
    for byte in path.encode() + b"\xff" + ordinal.to_bytes(4, "little"):
        h = (h ^ byte) * 0x01000193 & MASK
    return h


def permutation(count, site):
    """The order in which dlc shares out rows."""
    order = list(range(count))
    key = [0, site_hash(site)]
    for last in range(count - 1, 0, -1):
        block, lane = last // 16 * 4 + last % 4, last % 16
        word = philox([block, 0, 0, 0], key)[lane // 4]
        chosen = word * (last + 1) >> 32
        order[last], order[chosen] = order[chosen], order[last]
    return order


class Reviews(torch.nn.Module):
    def __init__(self, folder):
        super().__init__()
        self.bert = BertModel.from_pretrained(folder, add_pooling_layer=False)
        self.classifier = torch.nn.Linear(384, 2)

    def forward(self, input_ids, attention_mask):
        x = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        m = attention_mask[:, :, None].float()
        return self.classifier((x * m).sum(1) / m.sum(1).clamp(min=1e-9))


def arguments():
    parser = argparse.ArgumentParser(description="The fine-tune of examples/reviews.dl by PEFT.")
    parser.add_argument("assets", type=Path, help="the folder that examples/fetch fills")
    parser.add_argument("--epochs", type=int, default=3, help="(default 3)")
    parser.add_argument("--seed", type=int, default=0, help="(default 0)")
    parser.add_argument("--rows", type=int, default=2000, help="rows to train on (default 2000)")
    parser.add_argument("--test", type=int, default=1000, help="rows of the test split (default 1000)")
    parser.add_argument("--threads", type=int, default=2, help="(default 2)")
    parser.add_argument("--steps", action="store_true", help="print a line when a step is done")
    return parser.parse_args()


def main():
    args = arguments()
    assets, epochs = args.assets, args.epochs
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    path = assets / "sentiment-hutto2014/movieReviewSnippets_GroundTruth.txt"
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    rows = [r for r in rows if abs(float(r["sentiment"])) >= 1]
    order = permutation(len(rows), "split of movies")
    train, test = ([rows[i] for i in part] for part in (order[: args.rows], order[args.rows : args.rows + args.test]))
    tokenizer = AutoTokenizer.from_pretrained(assets / "all-MiniLM-L6-v2")

    def batch(rows):
        ids = tokenizer([r["text"] for r in rows], padding=True, truncation=True, max_length=64, return_tensors="pt")
        return ids["input_ids"], ids["attention_mask"], torch.tensor([int(float(r["sentiment"]) > 0) for r in rows])

    config = peft.LoraConfig(r=8, lora_alpha=16, lora_dropout=0.05, target_modules=["query", "value"], modules_to_save=["classifier"])
    model = peft.get_peft_model(Reviews(assets / "all-MiniLM-L6-v2"), config)
    parameters = [p for p in model.parameters() if p.requires_grad]
    print(f"trained {sum(p.numel() for p in parameters)} of {sum(p.numel() for p in model.parameters())}")
    steps = epochs * -(-len(train) // 32)
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.01)
    began, step = time.time(), 0
    for epoch in range(epochs):
        model.train()
        shuffled = [train[i] for i in torch.randperm(len(train))]
        for at in range(0, len(train), 32):
            ids, mask, label = batch(shuffled[at : at + 32])
            for group in optimizer.param_groups:
                group["lr"] = 1e-3 * min((step + 1) / 20, 1) * (1 - step / steps)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(ids, mask), label)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            step += 1
            if args.steps:
                print(f"step {step}/{steps}", flush=True)
    seconds = (time.time() - began) / step

    def accuracy(model):
        model.eval()
        with torch.no_grad():
            parts = [batch(test[at : at + 100]) for at in range(0, len(test), 100)]
            return sum(int((model(i, m).argmax(-1) == y).sum()) for i, m, y in parts) / len(test)

    found = accuracy(model)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{seconds:.3f} s a step, {peak:.0f} MiB at most")
    print(f"accuracy {found:.4f}, merged {accuracy(model.merge_and_unload()):.4f}")


if __name__ == "__main__":
    main()
