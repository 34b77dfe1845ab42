"""Makes the golden tensors that the tests compare dlc with, by PyTorch in float32 on one thread.

    pip install -r tests/golden/requirements.txt
    python tests/golden/make.py            # writes the files below, the same bytes on every run on one machine
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
             loss, dy is 1.
  optimizers `theta` [n], `grad` [10, n], and `y` [10, n]: theta after each of ten steps, without clipping. In
             `.edges` each column is a history of its own (always tiny, always large): compare column by column.
  schedules  `step` i64 [n] and `y` [n].
Inputs are ordinary numbers, or edges: `.zero` (0, -0, subnormals and other tiny numbers), `.hundred` (about +-100,
where exp overflows or vanishes), `.large` (+-1e4), `.mask` (entries of -inf), `.lowest` (entries of the lowest float).
Infinite entries of a result must be equal. Where a whole reference tensor is 0, the norm of the answer is to be
compared with the case's other tensors. `bce_with_logits.sure` is PyTorch's float64, rounded, and has no gradients: its
float32 has no right digit there.

Left out, since PyTorch has NaN where dlc has a number: softmax of a row that is masked whole (dlc: zeros) and
cross_entropy with every label ignored (dlc: 0). Left out as random: dropout and stochastic_depth.
"""

import gzip
import math
import sys
import zlib
from pathlib import Path

import numpy as np
import safetensors
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

GOLDEN = Path(__file__).resolve().parent
TESTS = GOLDEN.parent
EXAMPLES = TESTS.parent / "examples"
PINNED = dict(line.split("==") for line in (GOLDEN / "requirements.txt").read_text().split("\n") if "==" in line)
CHECK = "--check" in sys.argv[1:]


def main():
    have = {m.__name__: m.__version__.split("+")[0] for m in (np, safetensors, torch)}
    assert have == PINNED, f"pinned are {PINNED}, installed are {have}"
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    digits_golden()
    deep_golden()
    prelude_golden()


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


# ---- models ---------------------------------------------------------------------------------------------------------


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


# ---- the prelude ----------------------------------------------------------------------------------------------------

TENSORS, CASES = {}, {}


def add(name, expression, tensors):
    assert name not in CASES, name
    CASES[name] = expression
    TENSORS.update({f"{name}/{k}": v.detach().clone() for k, v in tensors.items()})


def function(name, expression, f, **inputs):
    """A case of a function or a layer: f takes the inputs in order. `l_weight` is written `l.weight`."""

    def run(dtype):
        own = {k: v.detach().clone() for k, v in inputs.items()}
        own = {k: v.to(dtype).requires_grad_() if v.is_floating_point() else v for k, v in own.items()}
        y = f(*own.values())
        dy = normal(name + "/dy", *y.shape).to(dtype) if y.dim() else torch.ones((), dtype=dtype)
        y.backward(dy)
        named = {k.replace("l_", "l.", 1) if k.startswith("l_") else k: v for k, v in own.items()}
        return named | {"y": y, "dy": dy} | {f"d{k}": v.grad for k, v in named.items() if v.requires_grad}

    result = run(torch.float32)
    for key, tensor in result.items():
        if key.startswith("d"):
            assert tensor.isfinite().all(), f"{name}/{key} is {tensor}"
    assert not result["y"].isnan().any(), name
    if CHECK:
        exact = run(torch.float64)
        far = {k: distance(result[k], exact[k]) for k in result if k.startswith("d") or k == "y"}
        if max(far.values()) > 1e-6:
            print(f"{name}: from float64 by " + ", ".join(f"{k} {v:.1e}" for k, v in far.items() if v > 1e-6))
    add(name, expression, result)


ZERO = [0.0, -0.0, 1e-45, -1e-45, 1e-40, -1e-40, 1e-37, -1e-37, 3e-38, 5e-39]
HUNDRED = [100.0, -100.0, 30.0, -30.0, 87.0, -87.0, 89.0, -89.0, 104.0, -104.0, 0.5]
LARGE = [1e4, -1e4, 9999.0, -9999.0]
EDGES = {"zero": torch.tensor(ZERO), "hundred": torch.tensor(HUNDRED), "large": torch.tensor(LARGE)}


def elementwise(name, expression, f, edges=("zero", "hundred", "large")):
    """A function of one x: on ordinary numbers and at each of the edges."""
    function(name, expression, f, x=2 * normal(name + "/x", 3, 17))
    for edge in edges:
        function(f"{name}.{edge}", expression, f, x=EDGES[edge])


def activations():
    elementwise("relu", "relu(x)", F.relu)
    elementwise("leaky_relu", "leaky_relu(x)", F.leaky_relu)
    elementwise("leaky_relu.alpha", "leaky_relu(x, alpha = 0.2)", lambda x: F.leaky_relu(x, 0.2), edges=())
    elementwise("sigmoid", "sigmoid(x)", torch.sigmoid)
    elementwise("tanh", "tanh(x)", torch.tanh)
    elementwise("silu", "silu(x)", F.silu)
    elementwise("swish", "swish(x)", F.silu)
    elementwise("swish.beta", "swish(x, beta = 1.5)", lambda x: x * torch.sigmoid(1.5 * x))
    elementwise("gelu", "gelu(x)", F.gelu)
    elementwise("gelu_tanh", "gelu_tanh(x)", lambda x: F.gelu(x, approximate="tanh"))
    elementwise("quick_gelu", "quick_gelu(x)", lambda x: x * torch.sigmoid(1.702 * x))

    def swish(x, b):
        return x * torch.sigmoid(b * x)

    x, b = 2 * normal("swish.learnt/x", 3, 17), normal("swish.learnt/b", 17)
    function("swish.learnt", "swish(x, beta = b)", swish, x=x, b=b)

    def glu(a, b):
        return F.glu(torch.cat([a, b], -1), -1)

    function("glu", "glu(a, b)", glu, a=normal("glu/a", 3, 17), b=2 * normal("glu/b", 3, 17))
    for edge, x in EDGES.items():
        function(f"glu.{edge}", "glu(a, b)", glu, a=x.flip(0).roll(1), b=x)


def primitives():
    """The scalar functions whose kernels are polynomials, at the places where a range reduction goes wrong."""
    for f in (torch.exp, torch.expm1, torch.sin, torch.cos, torch.erf):
        elementwise(f.__name__, f"{f.__name__}(x)", f, edges=("zero",))
    for f in (torch.log, torch.log1p, torch.sqrt, torch.rsqrt):
        x = torch.cat([normal(f.__name__, 20).abs() + 0.01, torch.tensor([1e-20, 1.0, 0.999, 1.001, 1e4, 1e20])])
        function(f.__name__, f"{f.__name__}(x)", f, x=x[:20])
        for i, v in enumerate(x[20:]):
            function(f"{f.__name__}.{i}", f"{f.__name__}(x)", f, x=v.reshape(1))
    vanishing = torch.tensor([-80.0, -70.0, -30.0, -10.0, 10.0, 30.0, 70.0, 88.0])
    for i, v in enumerate(vanishing):
        function(f"exp.{i}", "exp(x)", torch.exp, x=v.reshape(1))
    for f in (torch.sin, torch.cos):
        function(f"{f.__name__}.hundred", f"{f.__name__}(x)", f, x=EDGES["hundred"])
        function(f"{f.__name__}.large", f"{f.__name__}(x)", f, x=EDGES["large"])
    for f in (torch.tanh, torch.erf, torch.expm1, torch.log1p):
        function(f"{f.__name__}.small", f"{f.__name__}(x)", f, x=torch.tensor([1e-3, -1e-3, 1e-4, -2e-5, 3e-6, 1e-8]))


def softmaxes():
    inf = math.inf
    for name, f in (("softmax", torch.softmax), ("log_softmax", torch.log_softmax)):
        last = f"{name}[-1](x)"
        function(name, last, lambda x: f(x, -1), x=2 * normal(name, 4, 17))
        function(f"{name}.axis", f"{name}[1](x)", lambda x: f(x, 1), x=normal(name + ".axis", 2, 5, 3))
        function(f"{name}.one", last, lambda x: f(x, -1), x=normal(name + ".one", 3, 1))
        function(f"{name}.zero", last, lambda x: f(x, -1), x=torch.tensor([ZERO, [0.0] * len(ZERO)]))
        function(f"{name}.hundred", last, lambda x: f(x, -1), x=torch.tensor([HUNDRED, [100.0] * 11, [-100.0] * 11]))
        rows = [LARGE, [1e4] * 4, [-1e4] * 4, [-1e4, -1e4, -9999.0, -10001.0]]
        function(f"{name}.large", last, lambda x: f(x, -1), x=torch.tensor(rows))
        rows = [[1.0, -inf, 0.5, -inf], [-inf, -inf, -inf, 2.0], [0.1, 0.2, -1.0, -inf], [-inf, 1e4, -1e4, 0.0]]
        function(f"{name}.mask", last, lambda x: f(x, -1), x=torch.tensor(rows))
    low = torch.finfo(torch.float32).min
    rows = [[1.0, low, 0.5, low], [low, low, low, 2.0], [low, low, low, low]]
    function("softmax.lowest", "softmax[-1](x)", lambda x: torch.softmax(x, -1), x=torch.tensor(rows))


def layers():
    def linear(x, l_weight, l_bias=None):
        return F.linear(x, l_weight, l_bias)

    w, b = normal("linear/w", 13, 9) / 3, normal("linear/b", 13)
    x = normal("linear/x", 5, 9)
    function("linear", "x -> l: Linear(13)", linear, x=x, l_weight=w, l_bias=b)
    function("linear.plain", "x -> l: Linear(13, bias = false)", linear, x=x, l_weight=w)
    function("linear.deep", "x -> l: Linear(13)", linear, x=normal("linear.deep/x", 2, 3, 9), l_weight=w, l_bias=b)
    function("linear.large", "x -> l: Linear(13)", linear, x=1e4 * x, l_weight=w, l_bias=b)
    x = torch.tensor([ZERO[:9], [0.0] * 9])
    function("linear.zero", "x -> l: Linear(13, bias = false)", linear, x=x, l_weight=w)
    x, w, b = normal("linear.wide/x", 17, 70), normal("linear.wide/w", 33, 70) / 8, normal("linear.wide/b", 33)
    function("linear.wide", "x -> l: Linear(33)", linear, x=x, l_weight=w, l_bias=b)
    x, w, b = normal("linear.one/x", 1, 1), normal("linear.one/w", 1, 1), normal("linear.one/b", 1)
    function("linear.one", "x -> l: Linear(1)", linear, x=x, l_weight=w, l_bias=b)

    def norm(eps):
        return lambda x, l_weight, l_bias=None: F.layer_norm(x, x.shape[-1:], l_weight, l_bias, eps)

    expression = "x -> l: LayerNorm"
    w, b = 1 + 0.3 * normal("layer_norm/w", 17), normal("layer_norm/b", 17)
    x, deep = normal("layer_norm/x", 5, 17), normal("layer_norm.deep/x", 2, 3, 17)
    function("layer_norm", expression, norm(1e-5), x=x, l_weight=w, l_bias=b)
    function("layer_norm.plain", "x -> l: LayerNorm(bias = false)", norm(1e-5), x=x, l_weight=w)
    function("layer_norm.eps", "x -> l: LayerNorm(eps = 0.1)", norm(0.1), x=x, l_weight=w, l_bias=b)
    function("layer_norm.deep", expression, norm(1e-5), x=deep + 3, l_weight=w, l_bias=b)
    function("layer_norm.large", expression, norm(1e-5), x=1e4 * x, l_weight=w, l_bias=b)
    function("layer_norm.tiny", expression, norm(1e-5), x=1e-20 * x, l_weight=w, l_bias=b)
    function("layer_norm.subnormal", expression, norm(1e-5), x=1e-39 * x, l_weight=w, l_bias=b)
    # Constant rows, whose mean is exact in any order of summation: the variance is 0 and eps alone is under the root.
    x = torch.tensor([[0.0] * 16, [2.0] * 16, [-8192.0] * 16])
    function("layer_norm.zero", expression, norm(1e-5), x=x, l_weight=w[:16], l_bias=b[:16])


def losses():
    for name, expression, f in (
        ("mse", "mse(a, t)", F.mse_loss),
        ("mae", "mae(a, t)", F.l1_loss),
        ("huber", "huber(a, t)", F.huber_loss),
        ("huber.d", "huber(a, t, d = 0.5)", lambda a, t: F.huber_loss(a, t, delta=0.5)),
    ):
        function(name, expression, f, a=normal(name + "/a", 5, 7), t=normal(name + "/t", 5, 7))
        # Equal entries, where |a - t| has a corner; differences of exactly d; and far apart.
        a, t = torch.tensor([1.0, 2.0, 0.0, 1.5, -0.5, 3.0]), torch.tensor([1.0, 1.0, 0.0, 1.0, -1.0, 4.0])
        function(f"{name}.ties", expression, f, a=a, t=t)
        function(f"{name}.large", expression, f, a=torch.tensor(LARGE), t=torch.tensor([-1e4, 0.5, 1e4, 100.0]))

    bce = lambda z, t: F.binary_cross_entropy_with_logits(z, t)
    t = torch.rand(5, 7, generator=seeded("bce_with_logits/t"))
    expression = "bce_with_logits(z, t)"
    function("bce_with_logits", expression, bce, z=2 * normal("bce_with_logits/z", 5, 7), t=t)
    function("bce_with_logits.zero", expression, bce, z=torch.tensor(ZERO), t=(torch.arange(10) % 2).float())
    function("bce_with_logits.hundred", expression, bce, z=torch.tensor(HUNDRED), t=(torch.arange(11) % 3 == 0).float())
    function("bce_with_logits.large", expression, bce, z=torch.tensor(LARGE), t=torch.tensor([1.0, 1.0, 0.0, 0.5]))
    # Nearly right answers: the loss is about exp(-|z|), which log(1 + exp(-|z|)) loses and log1p keeps.
    z, t = torch.tensor([20.0, -18.0]), torch.tensor([1.0, 0.0])
    add("bce_with_logits.sure", expression, {"z": z, "t": t, "y": bce(z.double(), t.double()).float()})

    entropy = lambda **k: lambda x, label: F.cross_entropy(x.flatten(0, -2), label.flatten(), **k)
    x, label = 2 * normal("cross_entropy/x", 6, 5), torch.tensor([0, 4, 2, 2, 1, 3])
    part = torch.tensor([0, -100, 2, -100, 1, 3])
    plain, smooth = "cross_entropy(x, label)", "cross_entropy(x, label, smoothing = 0.1)"
    function("cross_entropy", plain, entropy(), x=x, label=label)
    function("cross_entropy.ignore", plain, entropy(), x=x, label=part)
    second = "cross_entropy(x, label, ignore = 2)"
    function("cross_entropy.ignore_2", second, entropy(ignore_index=2), x=x, label=label)
    function("cross_entropy.smoothing", smooth, entropy(label_smoothing=0.1), x=x, label=label)
    function("cross_entropy.both", smooth, entropy(label_smoothing=0.1), x=x, label=part)
    function("cross_entropy.deep", plain, entropy(), x=x.reshape(2, 3, 5), label=part.reshape(2, 3))
    hundred, large = torch.tensor([HUNDRED, HUNDRED[::-1]]), torch.tensor([LARGE, LARGE, [1e4] * 4])
    function("cross_entropy.hundred", plain, entropy(), x=hundred, label=torch.tensor([8, 0]))
    function("cross_entropy.large", plain, entropy(), x=large, label=torch.tensor([0, 1, 2]))
    masked = x.masked_fill(torch.tensor([1, 3, 0, 0, 2, 1])[:, None] == torch.arange(5), -math.inf)
    function("cross_entropy.mask", plain, entropy(), x=masked, label=label)

    kl = lambda p, q: F.kl_div(q, p, reduction="batchmean", log_target=True)
    p, q = normal("kl_div/p", 5, 7), normal("kl_div/q", 5, 7)
    function("kl_div", "kl_div(p, q)", kl, p=p.log_softmax(-1), q=q.log_softmax(-1))
    function("kl_div.hundred", "kl_div(p, q)", kl, p=(50 * p).log_softmax(-1), q=(50 * q).log_softmax(-1))

    hinge = lambda z, t: (1 - t * z).clamp(min=0).mean()  # none of these z lies on the corner
    t = torch.tensor([1.0, -1.0, 1.0, 1.0, -1.0, -1.0])
    function("hinge", "hinge(z, t)", hinge, z=2 * normal("hinge/z", 6), t=t)
    function("hinge.large", "hinge(z, t)", hinge, z=torch.tensor([1e4, -1e4, -1e4, 100.0, 1e4, 0.0]), t=t)

    nce = lambda temperature: lambda a, b: F.cross_entropy(a @ b.T / temperature, torch.arange(len(a)))
    a, b = F.normalize(normal("info_nce/a", 6, 9)), F.normalize(normal("info_nce/b", 6, 9))
    function("info_nce", "info_nce(a, b)", nce(0.05), a=a, b=b)
    function("info_nce.temperature", "info_nce(a, b, temperature = 1)", nce(1.0), a=a, b=b)
    function("info_nce.same", "info_nce(a, b, temperature = 0.5)", nce(0.5), a=a, b=a.clone())
    function("info_nce.large", "info_nce(a, b)", nce(0.05), a=20 * a, b=20 * b)


def optimizers():
    def notes_momentum(params, lr):
        """PyTorch's SGD with dampening, its buffer starting from 0 as in the notes, not from the first gradient."""
        optimizer = torch.optim.SGD(params, lr=lr, momentum=0.9, dampening=0.9)
        for p in params:
            optimizer.state[p]["momentum_buffer"] = torch.zeros_like(p)
        return optimizer

    o = torch.optim
    for name, expression, make in (
        ("sgd", "SGD(lr = 0.1)", lambda p: o.SGD(p, lr=0.1)),
        ("momentum", "Momentum(lr = 0.1)", lambda p: notes_momentum(p, lr=0.1)),
        ("adagrad", "AdaGrad(lr = 0.1)", lambda p: o.Adagrad(p, lr=0.1, eps=1e-10)),
        ("rmsprop", "RMSProp(lr = 0.01)", lambda p: o.RMSprop(p, lr=0.01, alpha=0.99, eps=1e-8)),
        ("adam", "Adam(lr = 0.01)", lambda p: o.Adam(p, lr=0.01)),
        (
            "adam.betas",
            "Adam(lr = 0.01, beta1 = 0.8, beta2 = 0.95, eps = 1e-6)",
            lambda p: o.Adam(p, lr=0.01, betas=(0.8, 0.95), eps=1e-6),
        ),
        ("adamw", "AdamW(lr = 0.01)", lambda p: o.AdamW(p, lr=0.01, weight_decay=0.01)),
        ("adamw.decay", "AdamW(lr = 0.01, weight_decay = 0.5)", lambda p: o.AdamW(p, lr=0.01, weight_decay=0.5)),
    ):
        theta, grads = normal(name + "/theta", 37), normal(name + "/grad", 10, 37)
        optimizer_case(name, expression, make, theta, grads)
        # A gradient that is always zero, always tiny, always large, and one that is zero after the first step.
        edges = torch.tensor([0.0, 1e-20, -1e-20, 1e-40, 1e4, -1e4, 100.0, 1.0]).repeat(10, 1)
        edges[1:, -1] = 0
        optimizer_case(name + ".edges", expression, make, normal(name + "/edges", 8), edges)


def optimizer_case(name, expression, make, theta, grads):
    p = theta.clone().requires_grad_()
    optimizer, path = make([p]), []
    for grad in grads:
        p.grad = grad.clone()
        optimizer.step()
        path.append(p.detach().clone())
    y = torch.stack(path)
    assert y.isfinite().all(), name
    add(name, expression, {"theta": theta, "grad": grads, "y": y})


def schedules():
    """PyTorch's schedulers, run from step 0; beyond the last step they are asked to stay where they are."""
    s = torch.optim.lr_scheduler
    for name, expression, last, make in (
        ("warmup", "warmup(step, 5)", 8, lambda o: s.LinearLR(o, 1 / 5, 1.0, 4)),
        ("warmup.one", "warmup(step, 1)", 3, lambda o: s.ConstantLR(o, 1.0, 1)),
        ("linear_decay", "linear_decay(step, 20)", 25, lambda o: s.LinearLR(o, 1.0, 0.0, 20)),
        ("cosine", "cosine(step, 20)", 20, lambda o: s.CosineAnnealingLR(o, 20)),
        ("cosine.floor", "cosine(step, 20, floor = 0.1)", 20, lambda o: s.CosineAnnealingLR(o, 20, eta_min=0.1)),
    ):
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        scheduler, values = make(optimizer), []
        for _ in range(last + 1):
            values.append(scheduler.get_last_lr()[0])
            optimizer.step()
            scheduler.step()
        if name.startswith("cosine"):
            values += [values[-1]] * 5
        add(name, expression, {"step": torch.arange(len(values)), "y": torch.tensor(values)})


def prelude_golden():
    for part in (activations, primitives, softmaxes, layers, losses, optimizers, schedules):
        part()
    cases = "\n".join(f"{name} = {CASES[name]}" for name in sorted(CASES))
    save(GOLDEN / "prelude.safetensors", TENSORS, cases=cases)
    print(f"prelude: {len(CASES)} cases, {len(TENSORS)} tensors")


if __name__ == "__main__":
    main()
