"""Makes the golden tensors that the tests compare dlc with, by PyTorch in float32 on one thread.

    pip install -r tests/golden/requirements.txt
    python tests/golden/make.py            # writes the files below; what is in them already stays, up to last digits
    python tests/golden/make.py --check    # writes nothing; prints how far PyTorch's float32 is from its float64

Every file is a safetensors file. Written are:

specs/deep.safetensors      the data of specs/deep.dl: x [256, 8], label i64 [256].

golden/MODEL/*.safetensors  for each MODEL of digits (examples/digits.dl), deep4 and deep64 (specs/deep.dl), with p = 0:
  weights    the initial weights, under their checkpoint names: what `--weights` takes.
  batch      one batch, the model's input and the label: what `dlc run --in` and `dlc grad --in` take.
  outputs    the model's output for it, by its name: what `dlc run --out` writes.
  grads      `loss`, and the gradient of each weight under the weight's name: what `dlc grad --out` writes.
  steps      ten batches stacked along a new first axis (the first one is `batch`); for each step its learning rate
             `lr`, its `loss` before the update, and `norm`, the norm of all gradients before clipping; `steps`,
             i64 [1], the number of steps that the spec's whole run has and its schedule sees.
  trained    the weights after these ten steps, with the spec's optimizer, schedule, groups and clipping.
golden/digits/sizes         the initial digits model on other batch sizes: pixels [257, 64], label, logits; then for the
             first n rows, n = 1, 15, 16, 17, 257, `n/loss` and the gradients `n/head.weight` and `n/NAME.bias`. (A
             batch of none is missing: PyTorch's mean over nothing is NaN, and dlc's cross_entropy says 0.)
The metadata entry `model` of these files is the call that made the model, such as `Deep(L = 64, F = 20, p = 0)`.

golden/prelude.safetensors  the prelude, item by item, and the scalar primitives whose kernels are polynomials. Tensors
  are called `CASE/TENSOR`; a CASE is an item's name in snake case, or that, a dot and what is special about the case:
  `gelu`, `gelu.large`, `cross_entropy.ignore`, `exp.3` (one number alone: no other hides its error). The metadata
  entry `cases` has one line a case, `CASE = EXPRESSION`: the expression in the language, over the case's inputs. A case
  is one of three kinds:
  functions  one tensor for each input, by the name it has in the expression, floats or i64; `l.weight` and `l.bias` are
             the weights of the layer that the expression labels `l`. `y` is the result. `dy` is a cotangent: the
             gradients are those of sum(y * dy), and `dNAME` belongs to the input NAME (`dx`, `da`, `dl.weight`). For a
             loss, dy is 1. `next.l.running_mean` is what a call in training makes of the state `l.running_mean`.
  optimizers `theta` [n], `grad` [20, n], and `y` [20, n]: theta after each of twenty steps, without clipping. In `.edges`
             each column is a history of its own (always tiny, always large): compare column by column. In `.group`
             they are [2, n], [20, 2, n]: row 0 is a weight `a`, row 1 a weight `b`, of which the expression's group speaks.
  schedules  `step` i64 [n] and `y` [n].
Inputs are ordinary numbers, or edges: `.zero` (0, -0, subnormals and other tiny numbers), `.hundred` (about +-100,
where exp overflows or vanishes), `.large` (+-1e4), `.mask` (entries of -inf), `.lowest` (entries of the lowest float).
Infinite entries of a result must be equal. Where a whole reference tensor is 0, the norm of the answer is to be
compared with the case's other tensors. `bce_with_logits.sure` is PyTorch's float64, rounded, and has no gradients: its
float32 has no right digit there.

golden/optimizers.safetensors  optimizers that look at weights as a whole, for weights of several shapes at once: for each CASE
  and weight `CASE/WEIGHT/theta`, `CASE/WEIGHT/grad` [20, ..] and `CASE/WEIGHT/y` [20, ..], theta after each of twenty steps.
  The metadata entry `cases` has one line a case: the optimizer, and perhaps a group.
golden/regression.safetensors  rows `x` [40, 8] and targets `t` [40], and for `ridge` (l2 = 0.1), `lasso` (l1 = 0.2) and
  `elastic` (l1 = 0.2, l2 = 0.2) scikit-learn's `w` [8] and `b` [1], by the loss mean((x w + b - t)^2) / 2, b unpenalized.
golden/equations.safetensors  tensor equations. Tensors are called as in prelude.safetensors; the metadata entry `cases` has
  one line a case, `CASE = MODEL`: the whole model, whose inputs are the case's.

specs/items.dl  its list of functions of one tensor that go element by element: those of the cases.
../docs/catalogue.md  its tables: what `dlc doc` prints, which cargo builds and runs for it.

golden/weights holds files of tensors in every format, made by weights.py beside this one.

Left out, since PyTorch has NaN where dlc has a number: softmax of a row that is masked whole (dlc: zeros) and
cross_entropy with every label ignored (dlc: 0). Left out as random: dropout and stochastic_depth.
"""

import gzip
import math
import subprocess

import numpy as np
import safetensors
import sklearn
import torch
import torch.nn.functional as F
from sklearn import linear_model
from torch import nn

import equations
import prelude
from common import CHECK, GOLDEN, distance, normal, save, seeded

TESTS = GOLDEN.parent
EXAMPLES = TESTS.parent / "examples"
PINNED = dict(line.split("==") for line in (GOLDEN / "requirements.txt").read_text().split("\n") if "==" in line)


def main():
    have = {m.__name__: m.__version__.split("+")[0] for m in (np, safetensors, torch)} | {"scikit-learn": sklearn.__version__}
    assert have == PINNED, f"pinned are {PINNED}, installed are {have}"
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    digits_golden()
    deep_golden()
    prelude.golden()
    regression_golden()
    equations.golden()
    catalogue()


def catalogue():
    """Writes what `dlc doc` prints below the introduction of the manual's catalogue."""
    path = TESTS.parent / "docs/catalogue.md"
    text = path.read_text()
    command = ["cargo", "run", "--quiet", "--bin", "dlc", "--", "doc"]
    tables = subprocess.run(command, cwd=TESTS.parent, check=True, stdout=subprocess.PIPE, text=True).stdout
    if not CHECK:
        path.write_text(text[: text.index("\n## ")] + tables)


class Mlp(nn.Module):
    """The twin of `Mlp` in examples/digits.dl with p = 0."""

    def __init__(self, hidden=(128, 64), inputs=64, classes=10):
        super().__init__()
        self.depth = len(hidden)
        for i, width in enumerate(hidden):
            self.add_module(f"fc{i + 1}", nn.Linear(inputs, width))
            inputs = width
        self.head = nn.Linear(inputs, classes)

    def forward(self, x):
        for i in range(self.depth):
            x = F.gelu(self.get_submodule(f"fc{i + 1}")(x))
        return self.head(x)


class Residual(nn.Module):
    """The twin of `Residual` in specs/deep.dl with p = 0."""

    def __init__(self, width, inner):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, inner)
        self.down = nn.Linear(inner, width)

    def forward(self, x):
        return x + self.down(F.gelu(self.up(self.norm(x))))


class Deep(nn.Module):
    """The twin of `Deep` in specs/deep.dl with p = 0."""

    def __init__(self, L=4, I=8, D=16, F=32, C=3):
        super().__init__()
        self.stem = nn.Linear(I, D)
        self.layers = nn.Sequential(*(Residual(D, F) for _ in range(L)))
        self.norm = nn.LayerNorm(D)
        self.head = nn.Linear(D, C)

    def forward(self, x):
        return self.head(self.norm(self.layers(self.stem(x))))


def initial(model, name):
    """Draws the weights: Linear as PyTorch and the prelude do, LayerNorm near 1 and 0, so that its weights matter."""
    g = seeded(name)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Linear):
                bound = module.in_features**-0.5
                module.weight.uniform_(-bound, bound, generator=g)
                module.bias.uniform_(-bound, bound, generator=g)
            elif isinstance(module, nn.LayerNorm):
                module.weight.normal_(1, 0.1, generator=g)
                module.bias.normal_(0, 0.1, generator=g)
    return model


def gradients(model, item, x, label):
    """The output, and the loss with the gradient of each weight, by name."""
    model.zero_grad()
    out = model(x)
    loss = F.cross_entropy(out, label, label_smoothing=item["smoothing"])
    loss.backward()
    return out, {"loss": loss} | {name: p.grad for name, p in model.named_parameters()}


def train(model, item, x, label):
    """Ten AdamW steps on x[i], label[i]; item is what the spec's train item says. Returns the trace of the run."""
    decayed, plain = [], []
    for name, p in model.named_parameters():
        (plain if item["no_decay"](name) else decayed).append(p)
    groups = [{"params": decayed, "weight_decay": item["weight_decay"]}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=0.0, betas=(0.9, item["beta2"]), eps=1e-8)
    trace = {"lr": [], "loss": [], "norm": []}
    for step in range(len(x)):
        for group in optimizer.param_groups:
            group["lr"] = item["lr"](step)
        _, grads = gradients(model, item, x[step], label[step])
        norm = nn.utils.clip_grad_norm_(model.parameters(), item["clip"])
        optimizer.step()
        trace["lr"].append(item["lr"](step))
        trace["loss"].append(grads["loss"].item())
        trace["norm"].append(norm.item())
    return {k: torch.tensor(v, dtype=torch.float32) for k, v in trace.items()}


def model_golden(name, call, make, input_name, output_name, item, x, label):
    """Writes the six files of a model; x is [10, rows, features]."""
    model = initial(make(), name)
    weights = {k: v.clone() for k, v in model.state_dict().items()}
    out, grads = gradients(model, item, x[0], label[0])
    grads = {k: v.clone() for k, v in grads.items()}
    trace = train(model, item, x, label)
    if CHECK:
        exact = make().double()
        exact.load_state_dict(weights)
        out64, grads64 = gradients(exact, item, x[0].double(), label[0])
        far = max(distance(grads[k], grads64[k]) for k in grads)
        size = sum(v.numel() for v in weights.values())
        print(f"{name}: {size} weights, output {distance(out, out64):.1e}, worst gradient {far:.1e}")
        train(exact, item, x.double(), label)
        far = max(distance(v, exact.state_dict()[k]) for k, v in model.state_dict().items())
        print(f"{name}: worst weight after ten steps {far:.1e}; norms {trace['norm'].numpy().round(3)}")
    folder = GOLDEN / name
    save(folder / "weights.safetensors", weights, model=call)
    save(folder / "batch.safetensors", {input_name: x[0], "label": label[0]}, model=call)
    save(folder / "outputs.safetensors", {output_name: out}, model=call)
    save(folder / "grads.safetensors", grads, model=call)
    steps = {input_name: x, "label": label, "steps": torch.tensor([item["steps"]])}
    save(folder / "steps.safetensors", steps | trace, model=call)
    save(folder / "trained.safetensors", model.state_dict(), model=call)


def digits_golden():
    with gzip.open(EXAMPLES / "data" / "digits.csv.gz") as file:
        rows = np.loadtxt(file, delimiter=",", dtype=np.float32)
    rows = torch.tensor(rows)[torch.randperm(len(rows), generator=seeded("digits/rows"))]
    pixels, label = rows[:, :64] / 16, rows[:, 64].long()
    steps = 45 * 20  # 45 batches of 32 hold four fifths of the 1,797 digits; 20 epochs
    item = {
        "steps": steps,
        "smoothing": 0.1,
        "lr": lambda step: 1e-2 * warmup(step, 50) * cosine(step, steps),
        "beta2": 0.999,
        "weight_decay": 0.01,
        "no_decay": lambda name: name.endswith(".bias"),
        "clip": 1.0,
    }
    x, t = pixels[:320].reshape(10, 32, 64), label[:320].reshape(10, 32)
    model_golden("digits", "Mlp(p = 0)", Mlp, "pixels", "logits", item, x, t)

    model = initial(Mlp(), "digits")
    x, t = pixels[400:657], label[400:657]
    tensors = {"pixels": x, "label": t, "logits": model(x)}
    for n in (1, 15, 16, 17, 257):
        _, grads = gradients(model, item, x[:n], t[:n])
        kept = [k for k in grads if k in ("loss", "head.weight") or k.endswith(".bias")]
        tensors |= {f"{n}/{k}": grads[k].clone() for k in kept}
    save(GOLDEN / "digits" / "sizes.safetensors", tensors, model="Mlp(p = 0)")


def deep_golden():
    x = normal("deep/x", 256, 8)
    teacher = F.gelu(x @ normal("deep/teacher", 8, 6)) @ normal("deep/teacher 2", 6, 3)
    label = (teacher - teacher.mean(0)).argmax(1)
    save(TESTS / "specs" / "deep.safetensors", {"x": x, "label": label})
    item = {
        "steps": 60,
        "smoothing": 0.0,
        "lr": lambda step: 1e-2 * warmup(step, 5) * linear_decay(step, 60),
        "beta2": 0.95,
        "weight_decay": 0.1,
        "no_decay": lambda name: name.endswith(".bias") or "norm" in name.split("."),
        "clip": 0.5,
    }
    order = torch.randperm(256, generator=seeded("deep/rows"))[:160].reshape(10, 16)
    x, label = x[order], label[order]
    model_golden("deep4", "Deep(L = 4, p = 0)", Deep, "x", "y", item, x, label)
    model_golden("deep64", "Deep(L = 64, F = 20, p = 0)", lambda: Deep(L=64, F=20), "x", "y", item, x, label)


def warmup(step, n):
    return min((step + 1) / n, 1)


def linear_decay(step, steps):
    return max(0, 1 - step / steps)


def cosine(step, steps, floor=0):
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(step / steps, 1)))



def regression_golden():
    """Linear regressions with an intercept on 40 rows of 8 features, three of which the target does not depend on."""
    x = normal("regression/x", 40, 8) @ (torch.eye(8) + 0.3 * normal("regression/mix", 8, 8))
    x = (x - x.mean(0)) / x.std(0)
    w = torch.tensor([2.0, -1.5, 1.0, 0.5, -0.3, 0.0, 0.0, 0.0])
    t = x @ w + 0.7 + 0.3 * normal("regression/noise", 40)
    tensors = {"x": x, "t": t}
    own, target = x.double().numpy(), t.double().numpy()
    # Their losses are |t - x w|^2 + alpha |w|^2 for ridge, and |t - x w|^2 / 2n + the penalties for the others.
    for name, model in (
        ("ridge", linear_model.Ridge(alpha=0.1 * len(x), tol=1e-12)),
        ("lasso", linear_model.Lasso(alpha=0.2, tol=1e-12, max_iter=100000)),
        ("elastic", linear_model.ElasticNet(alpha=0.4, l1_ratio=0.5, tol=1e-12, max_iter=100000)),
    ):
        model.fit(own, target)
        tensors |= {f"{name}/w": torch.tensor(model.coef_).float(), f"{name}/b": torch.tensor([model.intercept_]).float()}
    # Ridge has a closed form.
    middle, centre = own.mean(0), own - own.mean(0)
    closed = np.linalg.solve(centre.T @ centre + 0.1 * len(x) * np.eye(8), centre.T @ (target - target.mean()))
    assert np.allclose(closed, tensors["ridge/w"].numpy(), atol=1e-6)
    assert np.isclose(target.mean() - middle @ closed, tensors["ridge/b"].item(), atol=1e-6)
    assert (tensors["lasso/w"] == 0).sum() > 1 and (tensors["elastic/w"] == 0).any()
    save(GOLDEN / "regression.safetensors", tensors)


if __name__ == "__main__":
    main()
