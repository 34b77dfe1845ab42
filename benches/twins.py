"""The twins of three examples in PyTorch: the same model, data, optimizer and number of steps. The order of samples and the first
values are each one's own, so losses are near and not equal.

    python benches/twins.py gpt_char [--assets FOLDER] [--steps N]     # needs torch and transformers
    python benches/twins.py mnist_cnn [--assets FOLDER] [--epochs N]
    python benches/twins.py resnet20 [--assets FOLDER] [--epochs N] [--seeds N]     # after benches/pictures.py

Prints what `dlc train` reports of `examples/gpt_char.dl`, `examples/mnist_cnn.dl` and `examples/resnet20.dl`.
"""

import argparse
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

ROOT = Path(__file__).resolve().parent.parent


def optimizer(model, no_decay, lr, kind=torch.optim.AdamW, **settings):
    groups = {True: [], False: []}
    for name, weight in model.named_parameters():
        groups[no_decay(name)].append(weight)
    decay = settings.pop("weight_decay")
    return kind(
        [{"params": groups[False], "weight_decay": decay}, {"params": groups[True], "weight_decay": 0}], lr=lr, **settings
    )


def schedule(step, steps, floor):
    return min((step + 1) / 100, 1) * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * step / steps)))


def gpt_char(assets, steps):
    from transformers import GPT2Config, GPT2LMHeadModel

    text = (assets / "shakespeare/all_gut.txt").read_text()
    alphabet = {c: i for i, c in enumerate(sorted(set(text)))}
    ids = torch.tensor([alphabet[c] for c in text])
    length, held_out = 64, 500 * 64 + 1
    train = ids[: round(0.9 * len(ids))]
    valid = ids[len(train) : len(train) + held_out]
    config = GPT2Config(
        vocab_size=84, n_positions=64, n_embd=128, n_layer=4, n_head=4, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0
    )
    model = GPT2LMHeadModel(config)
    tune = optimizer(model, lambda n: n.endswith(".bias") or ".ln_" in n, 1e-3, betas=(0.9, 0.99), weight_decay=0.1)

    def loss_of(ids, starts):
        x = torch.stack([ids[s : s + length] for s in starts])
        y = torch.stack([ids[s + 1 : s + length + 1] for s in starts])
        return F.cross_entropy(model(x).logits.flatten(0, 1), y.flatten())

    order = torch.randperm((len(train) - 1 - length) // length + 1)
    total = 0.0
    for step in range(steps):
        for group in tune.param_groups:
            group["lr"] = 1e-3 * schedule(step, steps, 0.1)
        loss = loss_of(train, order[16 * step : 16 * step + 16] * length)
        tune.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        tune.step()
        total += loss.item()
        if (step + 1) % 100 == 0:
            print(f"step {step + 1}/{steps}  loss {total / 100:.4f}", flush=True)
            total = 0.0
    model.eval()
    with torch.no_grad():
        print(f"held out: loss {loss_of(valid, range(0, 500 * length, length)).item():.4f}")


class Cnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(16, 32, 3, padding=1)
        self.fc1, self.fc2 = nn.Linear(32 * 7 * 7, 128), nn.Linear(128, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc2(F.dropout(F.relu(self.fc1(x.flatten(1))), 0.3, self.training))


class BasicBlock(nn.Module):
    def __init__(self, before, width, stride, drop):
        super().__init__()
        self.drop = drop
        self.conv1, self.bn1 = nn.Conv2d(before, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        self.downsample = None
        if stride != 1 or before != width:
            self.downsample = nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.training and self.drop > 0:
            keep = (torch.rand(len(y), 1, 1, 1) < 1 - self.drop).float()
            y = y * keep / (1 - self.drop)
        return F.relu((x if self.downsample is None else self.downsample(x)) + y)


class ResNet20(nn.Module):
    def __init__(self, classes=10, depth_drop=0.2):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        blocks, before = [], 16
        for s, width in enumerate((16, 32, 64)):
            for b in range(3):
                blocks.append(BasicBlock(before, width, 2 if s > 0 and b == 0 else 1, depth_drop * (3 * s + b) / 8))
                before = width
        self.layers, self.fc = nn.Sequential(*blocks), nn.Linear(64, classes)
        for name, weight in self.named_parameters():
            if "conv" in name:
                nn.init.kaiming_normal_(weight, mode="fan_out")

    def forward(self, x):
        x = self.layers(F.relu(self.bn1(self.conv1(x))))
        return self.fc(x.mean((-2, -1)))


def digits(assets, name):
    images = torch.frombuffer(bytearray((assets / f"mnist/{name}-images-idx3-ubyte").read_bytes()), dtype=torch.uint8)[16:]
    labels = torch.frombuffer(bytearray((assets / f"mnist/{name}-labels-idx1-ubyte").read_bytes()), dtype=torch.uint8)[8:]
    return ((images.reshape(-1, 1, 28, 28).float() / 255 - 0.1307) / 0.3081), labels.long()


def fit(model, tune, train, held_out, batch, epochs, rate, said="", change=lambda x: x):
    """Trains on rows in random order, each `change`d, at the rate of a step of all steps; prints loss and accuracy of each epoch and
    gives the last accuracy."""
    (x, y), (held_x, held_y) = train, held_out
    steps, step = epochs * math.ceil(len(x) / batch), 0
    for epoch in range(epochs):
        model.train()
        total = 0.0
        for rows in torch.randperm(len(x)).split(batch):
            for group in tune.param_groups:
                group["lr"] = rate(step, steps)
            loss = F.cross_entropy(model(change(x[rows])), y[rows])
            tune.zero_grad()
            loss.backward()
            tune.step()
            total += loss.item() * len(rows)
            step += 1
        model.eval()
        with torch.no_grad():
            accuracy = (model(held_x).argmax(1) == held_y).float().mean().item()
        print(f"{said}epoch {epoch + 1}/{epochs}  loss {total / len(x):.4f}  accuracy {accuracy:.4f}", flush=True)
    return accuracy


def mnist_cnn(assets, epochs):
    model = Cnn()
    tune = optimizer(model, lambda n: False, 2e-3, weight_decay=0.01)
    rate = lambda step, steps: 2e-3 * schedule(step, steps, 0)
    fit(model, tune, digits(assets, "train"), digits(assets, "t10k"), 64, epochs, rate)


def records(path):
    rows = torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8).reshape(-1, 3073)
    mean, deviation = torch.tensor([0.4914, 0.4822, 0.4465]), torch.tensor([0.2470, 0.2435, 0.2616])
    images = rows[:, 1:].reshape(-1, 3, 32, 32).float() / 255
    return (images - mean[:, None, None]) / deviation[:, None, None], rows[:, 0].long()


def augmented(x):
    """A crop at a random place after four zeros on each side, and a flip of every other picture; for each by itself."""
    wide = F.pad(x, (4, 4, 4, 4))
    pictures = []
    for picture in wide:
        top, left, flip = torch.randint(0, 9, ()), torch.randint(0, 9, ()), torch.rand(()) < 0.5
        picture = picture[:, top : top + 32, left : left + 32]
        pictures.append(picture.flip(-1) if flip else picture)
    return torch.stack(pictures)


def resnet20(assets, epochs, seed):
    torch.manual_seed(seed)
    train, held_out = [records(assets / f"openclipart32/{n}.bin") for n in ("data_batch_1", "test_batch")]
    model = ResNet20()
    plain = lambda n: "bn" in n or n.endswith(".bias") or "downsample.1" in n
    tune = optimizer(model, plain, 0.1, kind=torch.optim.SGD, momentum=0.9, weight_decay=1e-4)
    rate = lambda step, steps: 0.1 * 0.5 * (1 + math.cos(math.pi * step / steps))
    return fit(model, tune, train, held_out, 128, epochs, rate, f"seed {seed}  ", augmented)


if __name__ == "__main__":
    args = argparse.ArgumentParser()
    args.add_argument("example", choices=["gpt_char", "mnist_cnn", "resnet20"])
    args.add_argument("--assets", type=Path, default=ROOT / "target/assets")
    args.add_argument("--steps", type=int, default=1500)
    args.add_argument("--epochs", type=int, default=4)
    args.add_argument("--seeds", type=int, default=1)
    given = args.parse_args()
    if given.example == "gpt_char":
        gpt_char(given.assets, given.steps)
    elif given.example == "mnist_cnn":
        mnist_cnn(given.assets, given.epochs)
    else:
        found = [resnet20(given.assets, given.epochs, seed) for seed in range(given.seeds)]
        print(f"accuracy {sum(found) / len(found):.4f}, mean of {len(found)}")
