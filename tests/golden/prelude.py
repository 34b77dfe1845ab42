"""The cases of golden/prelude.safetensors: each item of the prelude on ordinary inputs and at its edges. make.py, which
runs this, says what the tensors are called."""

import math
import re
import textwrap

import torch
import torch.nn.functional as F

from common import CHECK, GOLDEN, distance, normal, save, seeded


TENSORS, CASES = {}, {}


def add(name, expression, tensors):
    assert name not in CASES, name
    CASES[name] = expression
    TENSORS.update({f"{name}/{k}": v.detach().clone() for k, v in tensors.items()})


def function(name, expression, f, exact=False, after=None, fixed=(), **inputs):
    """A case of a function or a layer: f takes the inputs in order. `l_weight` is written `l.weight`. `exact` is for what
    PyTorch loses digits of in float32: its float64, rounded. `after` are states of the layer after a call in training; `fixed` inputs
    have no gradient."""

    def run(dtype):
        own = {k: v.detach().clone() for k, v in inputs.items()}
        learnt = lambda k, v: v.is_floating_point() and "_running_" not in k and k not in fixed
        own = {k: v.to(dtype) if v.is_floating_point() else v for k, v in own.items()}
        own = {k: v.requires_grad_() if learnt(k, v) else v for k, v in own.items()}
        y = f(*own.values())
        dy = normal(name + "/dy", *y.shape).to(dtype) if y.dim() else torch.ones((), dtype=dtype)
        y.backward(dy)
        named = {k.replace("l_", "l.", 1) if k.startswith("l_") else k: v for k, v in own.items()}
        return named | {"y": y, "dy": dy} | {f"d{k}": v.grad for k, v in named.items() if v.requires_grad}

    result = run(torch.float64 if exact else torch.float32)
    if exact:
        result = {k: v.float() if v.is_floating_point() else v for k, v in result.items()}
    for key, tensor in result.items():
        if key.startswith("d"):
            assert tensor.isfinite().all(), f"{name}/{key} is {tensor}"
    assert not result["y"].isnan().any(), name
    if CHECK:
        precise = run(torch.float64)
        far = {k: distance(result[k], precise[k]) for k in result if k.startswith("d") or k == "y"}
        if max(far.values()) > 1e-6:
            print(f"{name}: from float64 by " + ", ".join(f"{k} {v:.1e}" for k, v in far.items() if v > 1e-6))
    add(name, expression, result | {f"next.{k}": v for k, v in (after or {}).items()})


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
    corners = torch.tensor([0.0, -0.0, 3.0, -3.0, 6.0, 2.999, -2.999, 6.001, 1e4, -1e4])
    for name, f in (
        ("relu", F.relu),
        ("relu6", F.relu6),
        ("leaky_relu", F.leaky_relu),
        ("elu", F.elu),
        ("selu", F.selu),
        ("celu", F.celu),
        ("sigmoid", torch.sigmoid),
        ("hard_sigmoid", F.hardsigmoid),
        ("tanh", torch.tanh),
        ("softplus", F.softplus),
        ("silu", F.silu),
        ("swish", F.silu),
        ("hard_swish", F.hardswish),
        ("mish", F.mish),
        ("gelu", F.gelu),
        ("gelu_tanh", lambda x: F.gelu(x, approximate="tanh")),
        ("quick_gelu", lambda x: x * torch.sigmoid(1.702 * x)),
    ):
        elementwise(name, f"{name}(x)", f)
        function(f"{name}.none", f"{name}(x)", f, x=torch.zeros(2, 0))
    # Far down, PyTorch's float32 has few digits or none; one number alone.
    root = math.sqrt(2 / math.pi)
    for x in (-3.0, -4.0, -5.5, -9.0):
        normal_tail = lambda x: x * torch.special.erfc(-x / math.sqrt(2)) / 2
        tag = f"{-x:g}".replace(".", "_")
        function(f"gelu.{tag}", "gelu(x)", normal_tail, exact=True, x=torch.tensor([x]))
        logistic = lambda x: x * torch.sigmoid(2 * root * (x + 0.044715 * x**3))
        function(f"gelu_tanh.{tag}", "gelu_tanh(x)", logistic, exact=True, x=torch.tensor([x]))
    for name, f in (("relu6", F.relu6), ("hard_sigmoid", F.hardsigmoid), ("hard_swish", F.hardswish)):
        function(f"{name}.corners", f"{name}(x)", f, x=corners)
    elementwise("softsign", "softsign(x)", F.softsign, edges=("zero", "hundred"))
    function("softsign.large", "softsign(x)", F.softsign, exact=True, x=EDGES["large"])
    for name, expression, f in (
        ("leaky_relu.alpha", "leaky_relu(x, alpha = 0.2)", lambda x: F.leaky_relu(x, 0.2)),
        ("elu.alpha", "elu(x, alpha = 0.3)", lambda x: F.elu(x, 0.3)),
        ("celu.alpha", "celu(x, alpha = 0.3)", lambda x: F.celu(x, 0.3)),
        ("softplus.beta", "softplus(x, beta = 3)", lambda x: F.softplus(x, 3)),
        ("swish.beta", "swish(x, beta = 1.5)", lambda x: x * torch.sigmoid(1.5 * x)),
    ):
        elementwise(name, expression, f, edges=())
    # One number alone: the gradient of exp(x) - 1 where exp(x) is far below 1.
    for name, f in (("elu", F.elu), ("celu", F.celu), ("selu", F.selu)):
        function(f"{name}.vanishing", f"{name}(x)", f, exact=True, x=torch.tensor([-30.0]))
    function("softplus_1", "softplus_1(x)", F.softplus, x=torch.tensor([0.0, 1.0, -1.0]))

    def swish(x, b):
        return x * torch.sigmoid(b * x)

    x, b = 2 * normal("swish.learnt/x", 3, 17), normal("swish.learnt/b", 17)
    function("swish.learnt", "swish(x, beta = b)", swish, x=x, b=b)

    for name, f in (
        ("glu", lambda a, b: F.glu(torch.cat([a, b], -1), -1)),
        ("reglu", lambda a, b: a * F.relu(b)),
        ("geglu", lambda a, b: a * F.gelu(b)),
        ("swiglu", lambda a, b: a * F.silu(b)),
    ):
        function(name, f"{name}(a, b)", f, a=normal(f"{name}/a", 3, 17), b=2 * normal(f"{name}/b", 3, 17))
        for edge, x in EDGES.items():
            function(f"{name}.{edge}", f"{name}(a, b)", f, a=x.flip(0).roll(1), b=x)
    a, b = normal("swiglu.beta/a", 3, 17), normal("swiglu.beta/b", 3, 17)
    function("swiglu.beta", "swiglu(a, b, beta = 1.5)", lambda a, b: a * b * torch.sigmoid(1.5 * b), a=a, b=b)


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
        function(f"{name}.none", last, lambda x: f(x, -1), x=torch.zeros(0, 5))
        function(f"{name}.nothing", last, lambda x: f(x, -1), x=torch.zeros(3, 0))
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
    function("linear.none", "x -> l: Linear(4)", linear, x=torch.zeros(2, 0, 3), l_weight=w[:4, :3], l_bias=b[:4])
    function("linear.nothing", "x -> l: Linear(4)", linear, x=torch.zeros(2, 0), l_weight=w[:4, :0], l_bias=b[:4])
    function("prelu", "x -> l: PReLU", F.prelu, x=normal("prelu/x", 5, 7), l_weight=torch.tensor([0.25]))
    x, w = normal("prelu.channels/x", 2, 3, 4), normal("prelu.channels/w", 3)
    function("prelu.channels", "x -> l: PReLU(3)", F.prelu, x=x, l_weight=w)
    for edge, x in EDGES.items():
        function(f"prelu.{edge}", "x -> l: PReLU", F.prelu, x=x, l_weight=torch.tensor([0.25]))

    def swiglu(beta):
        def gated(x, v, c, w, b, u=None, d=None):
            z = F.linear(x, w, b)
            y = z * torch.sigmoid(beta * z) * F.linear(x, v, c)
            return y if u is None else F.linear(y, u, d)

        return gated

    g = lambda part, *shape: normal(f"swiglu_layer/{part}", *shape)
    up = {"l_up_proj.weight": g("v", 6, 5), "l_up_proj.bias": g("c", 6)}
    gate = {"l_gate_proj.weight": g("w", 6, 5), "l_gate_proj.bias": g("b", 6)}
    down = {"l_down_proj.weight": g("u", 5, 6), "l_down_proj.bias": g("d", 5)}
    full = "x -> l: SwiGLU(6, beta = 1.5, bias = true"
    function("SwiGLU", full + ")", swiglu(1.5), x=g("x", 3, 5), **up, **gate, **down)
    function("SwiGLU.gate", full + ", down = false)", swiglu(1.5), x=g("x", 3, 5), **up, **gate)
    plain = lambda x, v, w, u: swiglu(1.0)(x, v, None, w, None, u)
    weights = {k: t for k, t in (up | gate | down).items() if k.endswith("weight")}
    function("SwiGLU.plain", "x -> l: SwiGLU(6)", plain, x=g("x", 3, 5), **weights)
    x, w, b = normal("linear.one/x", 1, 1), normal("linear.one/w", 1, 1), normal("linear.one/b", 1)
    function("linear.one", "x -> l: Linear(1)", linear, x=x, l_weight=w, l_bias=b)
    convolutions()


def convolutions():
    """Convolutions and pooling, on small images."""
    x1, x2 = normal("conv1d/x", 2, 4, 9), normal("conv2d/x", 2, 4, 6, 7)
    def conv(name, expression, f, x, shape, bias=True, **options):
        w = normal(name + "/w", *shape)
        b = {"l_bias": normal(name + "/b", shape[0])} if bias else {}
        function(name, f"x -> l: {expression}", lambda x, w, b=None: f(x, w, b, **options), x=x, l_weight=w, **b)

    conv("conv1d", "Conv1d(6, 3)", F.conv1d, x1, (6, 4, 3))
    conv("conv1d.stride", "Conv1d(6, 3, stride = 2, padding = 1, bias = false)", F.conv1d, x1, (6, 4, 3), False, stride=2, padding=1)
    conv("conv1d.groups", "Conv1d(6, 3, dilation = 2, groups = 2)", F.conv1d, x1, (6, 2, 3), dilation=2, groups=2)
    conv("conv1d.same", 'Conv1d(3, 4, padding = "same")', F.conv1d, x1, (3, 4, 4), padding="same")
    conv("conv2d", "Conv2d(5, 3)", F.conv2d, x2, (5, 4, 3, 3))
    conv("conv2d.stride", "Conv2d(5, 3, stride = 2, padding = 1, bias = false)", F.conv2d, x2, (5, 4, 3, 3), False, stride=2, padding=1)
    conv("conv2d.dilated", "Conv2d(5, 2, dilation = 2, kw = 3)", F.conv2d, x2, (5, 4, 2, 3), dilation=2)
    conv("conv2d.groups", "Conv2d(6, 3, padding = 1, groups = 2)", F.conv2d, x2, (6, 2, 3, 3), padding=1, groups=2)
    conv("conv2d.depthwise", "Conv2d(4, 3, groups = 4)", F.conv2d, x2, (4, 1, 3, 3), groups=4)
    conv("conv2d.same", 'Conv2d(3, 2, padding = "same", dilation = 3)', F.conv2d, x2, (3, 4, 2, 2), padding="same", dilation=3)
    w, b = normal("conv2d.same.stride/w", 4, 1, 3, 3), normal("conv2d.same.stride/b", 4)
    # 6 rows need one zero for three places, 7 columns two for four.
    strided = lambda x, w, b: F.conv2d(F.pad(x, (1, 1, 0, 1)), w, b, stride=2, groups=4)
    function("conv2d.same.stride", 'x -> l: Conv2d(4, 3, stride = 2, padding = "same", groups = 4)', strided, x=x2, l_weight=w, l_bias=b)
    function("max_pool", "max_pool(x)", lambda x: F.max_pool2d(x, 2), x=x2)
    # Equal elements: the first gets the gradient.
    ties = torch.tensor([[1, 1, 0, 2], [1, 1, 2, 2], [0, 0, 0, 0], [0, -0.0, 3, 0], [5, 5, 5, 5]]).expand(2, 1, 5, 4).clone()
    function("max_pool.ties", "max_pool(x, 2, stride = 1)", lambda x: F.max_pool2d(x, 2, 1), x=ties)
    function("max.ties", "max[-1](x)", lambda x: x.max(-1).values, x=ties)
    function("min.ties", "min[2](x)", lambda x: x.min(2).values, x=ties)
    function("max_pool.overlap", "max_pool(x, 3, stride = 2, padding = 1)", lambda x: F.max_pool2d(x, 3, 2, 1), x=x2)
    function("avg_pool", "avg_pool(x, 3)", lambda x: F.avg_pool2d(x, 3), x=x2)
    function("avg_pool.overlap", "avg_pool(x, 3, stride = 2, padding = 1)", lambda x: F.avg_pool2d(x, 3, 2, 1), x=x2)
    function("adaptive_avg_pool", "adaptive_avg_pool(x, 3, 7)", lambda x: F.adaptive_avg_pool2d(x, (3, 7)), x=x2)
    odd = normal("adaptive_avg_pool.odd/x", 2, 2, 7, 5)
    for case, h, w in (("odd", 3, 2), ("more", 9, 5), ("one", 1, 4)):
        call, parts = f"adaptive_avg_pool(x, {h}, {w})", (h, w)
        function(f"adaptive_avg_pool.{case}", call, lambda x, parts=parts: F.adaptive_avg_pool2d(x, parts), x=odd)
    function("global_avg_pool", "global_avg_pool(x)", lambda x: F.adaptive_avg_pool2d(x, 1)[:, :, 0, 0], x=x2)


def norms():
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

    function("layer_norm.none", expression, norm(1e-5), x=torch.zeros(0, 17), l_weight=w[:16].repeat(2)[:17], l_bias=b)

    def rms(eps):
        return lambda x, l_weight: F.rms_norm(x, x.shape[-1:], l_weight, eps)

    w = 1 + 0.3 * normal("rms_norm/w", 17)
    function("rms_norm", "x -> l: RMSNorm", rms(1e-6), x=normal("rms_norm/x", 2, 3, 17), l_weight=w)
    function("rms_norm.eps", "x -> l: RMSNorm(0.25)", rms(0.25), x=normal("rms_norm/x", 5, 17), l_weight=w)
    function("rms_norm.large", "x -> l: RMSNorm", rms(1e-6), x=1e4 * normal("rms_norm/x", 5, 17), l_weight=w)
    function("rms_norm.tiny", "x -> l: RMSNorm", rms(1e-6), x=1e-39 * normal("rms_norm/x", 5, 17), l_weight=w)
    function("rms_norm.zero", "x -> l: RMSNorm", rms(1e-6), x=torch.zeros(2, 17), l_weight=w)

    half = lambda x, w: F.rms_norm(x.bfloat16().float(), x.shape[-1:], w, 1e-6)
    x = 30 * normal("rms_norm.bf16/x", 5, 17)
    function("rms_norm.bf16", "bf16(x) -> l: RMSNorm", half, fixed=("x",), x=x, l_weight=w)

    spatial = {"batch": (6, 3), "1": (4, 3, 5), "2": (2, 3, 3, 4), "3": (2, 3, 2, 2, 3)}
    for axes, shape in spatial.items():
        batch_norm(f"batch_norm.{axes}", "x -> l: BatchNorm", shape)
    batch_norm("batch_norm.m", "x -> l: BatchNorm(eps = 0.1, m = 0.3)", (4, 3, 5), eps=0.1, m=0.3)
    batch_norm("batch_norm.large", "x -> l: BatchNorm", (4, 3, 5), scale=1e4)
    batch_norm("batch_norm.constant", "x -> l: BatchNorm", (4, 3, 5), scale=0.0)
    for axis, shape in {"batch": (0, 3, 5), "1": (2, 3, 0)}.items():
        batch_norm(f"batch_norm.none_{axis}", "x -> l: BatchNorm", shape)

    w, b = 1 + 0.3 * normal("group_norm/w", 6), normal("group_norm/b", 6)
    group = lambda groups, eps=1e-5: lambda x, w, b: F.group_norm(x, groups, w, b, eps)
    affine = {"l_weight": w, "l_bias": b}
    function("group_norm", "x -> l: GroupNorm(2)", group(2), x=normal("group_norm/x", 3, 6, 2, 3) + 1, **affine)
    function("group_norm.flat", "x -> l: GroupNorm(3)", group(3), x=normal("group_norm.flat/x", 5, 6), **affine)
    function("group_norm.each", "x -> l: GroupNorm(6)", group(6), x=normal("group_norm.each/x", 2, 6, 5), **affine)
    function("group_norm.one", "x -> l: GroupNorm(1, 0.1)", group(1, 0.1), x=normal("group_norm.one/x", 2, 6, 5), **affine)
    function("group_norm.large", "x -> l: GroupNorm(2)", group(2), x=1e4 * normal("group_norm/x", 3, 6, 2), **affine)
    function("group_norm.none", "x -> l: GroupNorm(2)", group(2), x=torch.zeros(0, 6, 2), **affine)

    instance = lambda x, w=None, b=None: F.instance_norm(x, weight=w, bias=b)
    tracked = "x -> l: InstanceNorm(affine = true, track = true)"
    for axes, shape in list(spatial.items())[1:]:
        function(f"instance_norm.{axes}", "x -> l: InstanceNorm", instance, x=normal("instance_norm/x", *shape) + 1)
        batch_norm(f"instance_norm.track_{axes}", tracked, shape, instance=True)
    batch_norm("instance_norm.track_none", tracked, (2, 3, 0), instance=True)
    affine = {"l_weight": 1 + 0.3 * normal("instance_norm/w", 3), "l_bias": normal("instance_norm/b", 3)}
    x = normal("instance_norm.affine/x", 2, 3, 7)
    function("instance_norm.affine", "x -> l: InstanceNorm(affine = true)", instance, x=x, **affine)
    function("instance_norm.large", "x -> l: InstanceNorm", instance, x=1e4 * x)


def batch_norm(name, expression, shape, eps=1e-5, m=0.1, scale=1.0, instance=False):
    """In training, with what it makes of the running statistics; and in evaluation."""
    x = scale * normal(f"{name}/x", *shape) + 0.5
    w, b = 1 + 0.3 * normal(f"{name}/w", 3), normal(f"{name}/b", 3)
    mean, var = normal(f"{name}/mean", 3), 0.5 + normal(f"{name}/var", 3).abs()
    n = torch.nn
    if instance:
        kind = {3: n.InstanceNorm1d, 4: n.InstanceNorm2d, 5: n.InstanceNorm3d}
        layer = kind[len(shape)](3, eps, m, affine=True, track_running_stats=True)
    else:
        kind = {2: n.BatchNorm1d, 3: n.BatchNorm1d, 4: n.BatchNorm2d, 5: n.BatchNorm3d}
        layer = kind[len(shape)](3, eps, m)
    layer.running_mean, layer.running_var, layer.num_batches_tracked = mean.clone(), var.clone(), torch.tensor(4)
    layer(x)
    given = {"l_weight": w, "l_bias": b, "l_running_mean": mean, "l_running_var": var}
    state = {"l_num_batches_tracked": torch.tensor(4)}
    kept = ["running_mean", "running_var"] + ([] if instance else ["num_batches_tracked"])
    after = {f"l.{k}": getattr(layer, k) for k in kept}
    assert not instance or layer.num_batches_tracked == 4

    def run(training):
        def f(x, w, b, mean, var, n=None):
            if instance:
                return F.instance_norm(x, mean.clone(), var.clone(), w, b, training, m, eps)
            return F.batch_norm(x, mean.clone(), var.clone(), w, b, training, m, eps)

        return f

    function(name, expression, run(True), x=x, after=after, **given, **state)
    function(f"{name}_eval", expression, run(False), x=x, **given, **state)


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

    more_losses()
    losses_of_nothing()

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


def losses_of_nothing():
    """Losses of rows without elements, where that is a number. Other means over nothing are NaN, in PyTorch as here."""
    none = torch.zeros(6, 0)
    kl = lambda p, q: F.kl_div(q, p, reduction="batchmean", log_target=True)
    smooth = lambda p, t: (1 - 1 / (p.sum(1) + t.sum(1) + 1)).mean()
    nce = lambda a, b: F.cross_entropy(a @ b.T, torch.arange(len(a)))
    cosine = lambda a, b: F.cosine_embedding_loss(a, b, torch.ones(6, dtype=a.dtype))
    function("kl_div.none", "kl_div(a, b)", kl, a=none, b=none)
    function("dice.none", "dice(a, b)", smooth, a=none, b=none)
    function("info_nce.none", "info_nce(a, b, 1)", nce, a=none, b=none)
    function("cosine_embedding.none", "cosine_embedding(a, b, 1)", cosine, a=none, b=none)
    function("distance.none", "distance(a, b)", F.pairwise_distance, a=none, b=none)
    function("triplet.none", "triplet(a, b, c)", F.triplet_margin_loss, a=none, b=none, c=none)
    swap = lambda a, b, c: F.triplet_margin_loss(a, b, c, swap=True)
    function("triplet.none_swap", "triplet(a, b, c, swap = true)", swap, a=none, b=none, c=none)


def more_losses():
    """Losses of distances, of probabilities, of counts, and the other ways of cross entropy."""
    far = {"a": torch.tensor(LARGE), "t": torch.tensor([-1e4, 0.5, 1e4, 100.0])}
    ties = {"a": torch.tensor([1.0, 2.0, 0.0, 1.5, -0.5]), "t": torch.tensor([1.0, 1.0, 0.0, 1.0, -1.0])}
    zero = {"a": torch.tensor(ZERO), "t": torch.zeros(10)}
    smooth = lambda beta: lambda a, t: F.smooth_l1_loss(a, t, beta=beta)
    log_cosh = lambda a, t: (F.softplus(-2 * (a - t).abs()) + (a - t).abs() - math.log(2)).mean()
    for name, expression, f, exact in (
        ("smooth_l1", "smooth_l1(a, t)", smooth(1.0), False),
        ("smooth_l1.beta", "smooth_l1(a, t, beta = 0.5)", smooth(0.5), False),
        ("smooth_l1.sharp", "smooth_l1(a, t, beta = 0)", smooth(0.0), False),
        ("log_cosh", "log_cosh(a, t)", log_cosh, True),
    ):
        function(name, expression, f, exact, a=2 * normal(name + "/a", 5, 7), t=normal(name + "/t", 5, 7))
        for edge, inputs in (("ties", ties), ("large", far), ("zero", zero)):
            function(f"{name}.{edge}", expression, f, exact, **inputs)
    x = torch.tensor([1e-3, -1e-2, 0.1, 0.999, 1.001, -20.0, 100.0, 0.0])
    function("ln_cosh", "ln_cosh(x)", lambda x: x.cosh().log(), True, x=x)
    for i, v in enumerate([1e-4, 3e-2]):
        small = lambda x: torch.log1p(2 * torch.sinh(x / 2) ** 2)
        function(f"ln_cosh.{i}", "ln_cosh(x)", small, True, x=torch.tensor([v]))

    p, t = torch.rand(5, 7, generator=seeded("bce/p")), torch.rand(5, 7, generator=seeded("bce/t"))
    function("bce", "bce(p, t)", F.binary_cross_entropy, p=p, t=t)
    ones = lambda p: F.binary_cross_entropy(p, torch.ones_like(p))
    function("bce.number", "bce(p, 1)", ones, p=torch.tensor([0.1, 0.9]))
    p = torch.tensor([0.0, 1.0, 0.0, 1.0, 1e-40, 1e-7, 1 - 1e-7, 0.5])
    t = torch.tensor([0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.5])
    function("bce.sure", "bce(p, t)", F.binary_cross_entropy, fixed=("t",), p=p[:2], t=t[:2])
    function("bce.wrong", "bce(p, t)", F.binary_cross_entropy, fixed=("t",), p=p[2:4], t=t[2:4])
    function("bce.near", "bce(p, t)", F.binary_cross_entropy, fixed=("t",), p=p[4:], t=t[4:])
    each = lambda p, t: F.binary_cross_entropy(p, t, reduction="none")
    function("bce_each", "bce_each(p, t)", each, p=p[5:], t=t[5:])
    logits, t = 2 * normal("bce_with_logits.weight/z", 5, 7), torch.rand(5, 7, generator=seeded("bce_with_logits/t"))
    weighted = lambda z, t, w: F.binary_cross_entropy_with_logits(z, t, pos_weight=w)
    w = 0.5 + normal("bce_with_logits.weight/w", 7).abs()
    function("bce_with_logits.weight", "bce_with_logits(z, t, pos_weight = w)", weighted, fixed=("w",), z=logits, t=t, w=w)
    three = lambda z, t: F.binary_cross_entropy_with_logits(z, t, pos_weight=torch.tensor(3.0, dtype=z.dtype))
    for edge in EDGES:
        z = EDGES[edge]
        t = (torch.arange(len(z)) % 2).float()
        function(f"bce_with_logits.weight_{edge}", "bce_with_logits(z, t, pos_weight = 3)", three, z=z, t=t)

    def focal(gamma, alpha):
        def f(z, t):
            p = torch.sigmoid(z)
            entropy = F.binary_cross_entropy_with_logits(z, t, reduction="none")
            return ((alpha * t + (1 - alpha) * (1 - t)) * (p * (1 - t) + (1 - p) * t) ** gamma * entropy).mean()

        return f

    t = (torch.arange(35) % 3 == 0).float().reshape(5, 7)
    function("focal", "focal(z, t)", focal(2, 0.25), True, fixed=("t",), z=logits, t=t)
    function("focal.plain", "focal(z, t, gamma = 0, alpha = 0.5)", focal(0, 0.5), True, fixed=("t",), z=logits, t=t)
    function("focal.gamma", "focal(z, t, gamma = 1.5)", focal(1.5, 0.25), True, fixed=("t",), z=logits, t=t)
    for edge, z in EDGES.items():
        t = (torch.arange(len(z)) % 2).float()
        function(f"focal.{edge}", "focal(z, t)", focal(2, 0.25), True, fixed=("t",), z=z, t=t)

    def dice(smooth):
        total = lambda x: x.flatten(1).sum(1)
        return lambda p, t: (1 - (2 * total(p * t) + smooth) / (total(p) + total(t) + smooth)).mean()

    p, t = torch.rand(3, 4, 5, generator=seeded("dice/p")), (torch.rand(3, 4, 5, generator=seeded("dice/t")) > 0.5).float()
    function("dice", "dice(p, t)", dice(1), p=p, t=t)
    function("dice.smooth", "dice(p, t, smooth = 0.1)", dice(0.1), p=p, t=t)
    function("dice.nothing", "dice(p, t)", dice(1), p=torch.zeros(2, 5), t=torch.zeros(2, 5))

    x, label = 2 * normal("multi_margin/x", 6, 5), torch.tensor([0, 4, 2, 2, 1, 3])
    w = 0.5 + normal("multi_margin/w", 5).abs()
    margin = lambda **k: lambda x, label, w=None: F.multi_margin_loss(x, label, weight=w, **k)
    function("multi_margin", "multi_margin(x, label)", margin(), x=x, label=label)
    function("multi_margin.square", "multi_margin(x, label, p = 2)", margin(p=2), x=x, label=label)
    both = "multi_margin(x, label, margin = 0.3, weight = w)"
    function("multi_margin.weight", both, margin(margin=0.3), fixed=("w",), x=x, label=label, w=w)
    large = torch.tensor([LARGE, LARGE, [1e4] * 4])
    function("multi_margin.large", "multi_margin(x, label)", margin(), x=large, label=torch.tensor([0, 1, 2]))

    a, p, n = (normal(f"triplet/{k}", 6, 5) for k in "apn")
    triplet = lambda **k: lambda a, p, n: F.triplet_margin_loss(a, p, n, **k)
    function("triplet", "triplet(a, p, n)", triplet(), a=a, p=p, n=n)
    function("triplet.margin", "triplet(a, p, n, margin = 0.2)", triplet(margin=0.2), a=a, p=p, n=n)
    function("triplet.swap", "triplet(a, p, n, swap = true)", triplet(swap=True), a=a, p=p, n=n)
    function("triplet.norm", "triplet(a, p, n, norm = 3)", triplet(p=3), a=a, p=p, n=n)
    function("triplet.same", "triplet(a, p, n)", triplet(), a=a, p=a, n=a)
    function("triplet.large", "triplet(a, p, n, margin = 100000)", triplet(margin=1e5), a=1e4 * a, p=1e4 * p, n=1e4 * n)
    distance_of = lambda **k: lambda a, b: F.pairwise_distance(a, b, **k)
    function("distance", "distance(a, b)", distance_of(), a=a, b=n)
    function("distance.norm", "distance(a, b, norm = 1)", distance_of(p=1), a=a, b=n)
    function("distance.same", "distance(a, b, eps = 0)", distance_of(eps=0), a=a, b=a)

    t = torch.tensor([1.0, -1.0, 1.0, -1.0, -1.0, 1.0])
    cosine = lambda **k: lambda a, b, t: F.cosine_embedding_loss(a, b, t, **k)
    function("cosine_embedding", "cosine_embedding(a, b, t)", cosine(), fixed=("t",), a=a, b=n, t=t)
    expression = "cosine_embedding(a, b, t, margin = 0.3)"
    function("cosine_embedding.margin", expression, cosine(margin=0.3), fixed=("t",), a=a, b=a + 0.3 * n, t=t)
    for edge, scale in (("large", 1e4), ("tiny", 1e-10), ("zero", 0.0)):
        inputs = {"a": scale * a, "b": scale * n, "t": t}
        function(f"cosine_embedding.{edge}", "cosine_embedding(a, b, t)", cosine(), fixed=("t",), **inputs)

    m, t = normal("poisson_nll/m", 5, 7), torch.poisson(3 * torch.ones(5, 7), generator=seeded("poisson_nll/t"))
    poisson = lambda **k: lambda m, t: F.poisson_nll_loss(m, t, **k)
    function("poisson_nll", "poisson_nll(m, t)", poisson(), m=m, t=t)
    function("poisson_nll.full", "poisson_nll(m, t, full = true)", poisson(full=True), fixed=("t",), m=m, t=t)
    rate = "poisson_nll(m, t, log_input = false)"
    function("poisson_nll.rate", rate, poisson(log_input=False), m=m.abs(), t=t)
    function("poisson_nll.none", rate, poisson(log_input=False), fixed=("t",), m=torch.zeros(4), t=torch.zeros(4))

    t, var = normal("gaussian_nll/t", 5, 7), normal("gaussian_nll/var", 5, 7).abs()
    gaussian = lambda **k: lambda m, t, var: F.gaussian_nll_loss(m, t, var, **k)
    function("gaussian_nll", "gaussian_nll(m, t, var)", gaussian(), m=m, t=t, var=var)
    function("gaussian_nll.full", "gaussian_nll(m, t, var, full = true)", gaussian(full=True), m=m, t=t, var=var)
    var = torch.tensor([0.0, 1e-7, 1e-40, 1.0])
    function("gaussian_nll.small", "gaussian_nll(m, t, var)", gaussian(), m=torch.tensor(LARGE), t=torch.zeros(4), var=var)
    clamped = lambda x: x + (x.clamp(min=0.5) - x).detach()
    function("at_least", "at_least(x, 0.5)", clamped, x=normal("at_least/x", 9))

    part, w = torch.tensor([0, -100, 2, -100, 1, 3]), 0.5 + normal("nll/w", 5).abs()
    nll = lambda **k: lambda x, label, w=None: F.nll_loss(x, label, weight=w, **k)
    logp = x.log_softmax(-1)
    function("nll", "nll(x, label)", nll(), x=logp, label=label)
    function("nll.ignore", "nll(x, label)", nll(), x=logp, label=part)
    function("nll.weight", "nll(x, label, weight = w)", nll(), fixed=("w",), x=logp, label=part, w=w)
    function("nll.ignore_2", "nll(x, label, ignore = 2)", nll(ignore_index=2), x=logp, label=label)

    entropy = lambda **k: lambda x, label, w=None: F.cross_entropy(x, label, weight=w, **k)
    weight = "cross_entropy(x, label, weight = w)"
    function("cross_entropy.weight", weight, entropy(), fixed=("w",), x=x, label=part, w=w)
    small = {"x": x, "label": label, "w": 0.01 * w}
    function("cross_entropy.small_weight", weight, entropy(), fixed=("w",), **small)
    expression = "cross_entropy(x, label, weight = w, smoothing = 0.1)"
    smoothed = entropy(label_smoothing=0.1)
    function("cross_entropy.weight_smoothing", expression, smoothed, fixed=("w",), x=x, label=part, w=w)
    t = normal("soft_cross_entropy/t", 6, 5).softmax(-1)
    soft = lambda **k: lambda x, t, w=None: F.cross_entropy(x, t, weight=w, **k)
    function("soft_cross_entropy", "soft_cross_entropy(x, t)", soft(), x=x, t=t)
    smoothed = "soft_cross_entropy(x, t, smoothing = 0.1)"
    function("soft_cross_entropy.smoothing", smoothed, soft(label_smoothing=0.1), x=x, t=t)
    weighted = "soft_cross_entropy(x, t, weight = w)"
    function("soft_cross_entropy.weight", weighted, soft(), fixed=("w",), x=x, t=t, w=w)
    hundred = torch.tensor([HUNDRED, HUNDRED[::-1]])
    t = F.one_hot(torch.tensor([8, 0]), 11).float()
    function("soft_cross_entropy.hundred", "soft_cross_entropy(x, t)", soft(), x=hundred, t=t)


class Lion(torch.optim.Optimizer):
    """Algorithm 2 of its paper; PyTorch has none."""

    def __init__(self, params, lr, betas=(0.9, 0.99), weight_decay=0.0):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                one, two = group["betas"]
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.sub_(group["lr"] * (one * m + (1 - one) * p.grad).sign())
                m.mul_(two).add_(p.grad, alpha=1 - two)


class Lamb(torch.optim.Optimizer):
    """Algorithm 2 of its paper with AdamW's moments, in float64; PyTorch has none."""

    def __init__(self, params, lr, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.01, most=math.inf):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "most": most})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                state, grad = self.state[p], p.grad.double()
                t = state["t"] = state.get("t", 0) + 1
                theta = state.setdefault("theta", p.double())
                m, v = (state.setdefault(name, torch.zeros_like(theta)) for name in ("m", "v"))
                (one, two), decay = group["betas"], group["weight_decay"]
                m.mul_(one).add_(grad, alpha=1 - one)
                v.mul_(two).addcmul_(grad, grad, value=1 - two)
                r = m / (1 - one**t) / ((v / (1 - two**t)).sqrt() + group["eps"]) + decay * theta
                old, new = min(theta.norm().item(), group["most"]), r.norm().item()
                theta.sub_(group["lr"] * (old / new if min(old, new) > 0 else 1) * r)
                p.copy_(theta)


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
        ("sgd.momentum", "SGD(lr = 0.1, momentum = 0.9)", lambda p: o.SGD(p, lr=0.1, momentum=0.9)),
        (
            "sgd.dampening",
            "SGD(lr = 0.1, momentum = 0.8, dampening = 0.5, weight_decay = 0.1)",
            lambda p: o.SGD(p, lr=0.1, momentum=0.8, dampening=0.5, weight_decay=0.1),
        ),
        (
            "sgd.nesterov",
            "SGD(lr = 0.1, momentum = 0.9, nesterov = true)",
            lambda p: o.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
        ),
        ("momentum", "Momentum(lr = 0.1)", lambda p: notes_momentum(p, lr=0.1)),
        ("adagrad", "AdaGrad(lr = 0.1)", lambda p: o.Adagrad(p, lr=0.1, eps=1e-10)),
        (
            "adagrad.all",
            "AdaGrad(lr = 0.1, eps = 1e-6, lr_decay = 0.1, weight_decay = 0.1, initial = 0.5)",
            lambda p: o.Adagrad(p, 0.1, lr_decay=0.1, weight_decay=0.1, initial_accumulator_value=0.5, eps=1e-6),
        ),
        ("rmsprop", "RMSProp(lr = 0.01)", lambda p: o.RMSprop(p, lr=0.01, alpha=0.99, eps=1e-8)),
        ("rmsprop.centered", "RMSProp(lr = 0.01, centered = true)", lambda p: o.RMSprop(p, lr=0.01, centered=True)),
        (
            "rmsprop.all",
            "RMSProp(lr = 0.01, rho = 0.9, centered = true, momentum = 0.8, weight_decay = 0.1)",
            lambda p: o.RMSprop(p, lr=0.01, alpha=0.9, centered=True, momentum=0.8, weight_decay=0.1),
        ),
        ("adadelta", "Adadelta()", lambda p: o.Adadelta(p)),
        (
            "adadelta.all",
            "Adadelta(lr = 0.5, rho = 0.8, eps = 1e-5, weight_decay = 0.1)",
            lambda p: o.Adadelta(p, lr=0.5, rho=0.8, eps=1e-5, weight_decay=0.1),
        ),
        ("adam", "Adam(lr = 0.01)", lambda p: o.Adam(p, lr=0.01)),
        (
            "adam.betas",
            "Adam(lr = 0.01, beta1 = 0.8, beta2 = 0.95, eps = 1e-6)",
            lambda p: o.Adam(p, lr=0.01, betas=(0.8, 0.95), eps=1e-6),
        ),
        (
            "adam.amsgrad",
            "Adam(lr = 0.01, beta2 = 0.9, amsgrad = true, weight_decay = 0.1)",
            lambda p: o.Adam(p, lr=0.01, betas=(0.9, 0.9), amsgrad=True, weight_decay=0.1),
        ),
        ("adamw", "AdamW(lr = 0.01)", lambda p: o.AdamW(p, lr=0.01, weight_decay=0.01)),
        ("adamw.decay", "AdamW(lr = 0.01, weight_decay = 0.5)", lambda p: o.AdamW(p, lr=0.01, weight_decay=0.5)),
        ("nadam", "NAdam(lr = 0.01)", lambda p: o.NAdam(p, lr=0.01)),
        (
            "nadam.all",
            "NAdam(lr = 0.01, beta1 = 0.8, beta2 = 0.95, weight_decay = 0.1, decay = 0.05)",
            lambda p: o.NAdam(p, lr=0.01, betas=(0.8, 0.95), weight_decay=0.1, momentum_decay=0.05),
        ),
        ("radam", "RAdam(lr = 0.01)", lambda p: o.RAdam(p, lr=0.01)),
        (
            "radam.all",
            "RAdam(lr = 0.01, beta1 = 0.8, beta2 = 0.95, weight_decay = 0.1)",
            lambda p: o.RAdam(p, lr=0.01, betas=(0.8, 0.95), weight_decay=0.1),
        ),
        ("lion", "Lion(lr = 0.01)", lambda p: Lion(p, lr=0.01)),
        (
            "lion.all",
            "Lion(lr = 0.01, beta1 = 0.8, beta2 = 0.95, weight_decay = 0.5)",
            lambda p: Lion(p, lr=0.01, betas=(0.8, 0.95), weight_decay=0.5),
        ),
        ("lamb", "LAMB(lr = 0.01)", lambda p: Lamb(p, lr=0.01)),
        ("adafactor", "Adafactor()", lambda p: o.Adafactor(p)),
    ):
        theta, grads = normal(name + "/theta", 11), normal(name + "/grad", 20, 11)
        optimizer_case(name, expression, lambda p, make=make: make([p]), theta, grads)
        # A gradient that is always zero, always tiny, always large, and one that is zero after the first step.
        edges = torch.tensor([0.0, 1e-20, -1e-20, 1e-40, 1e4, -1e4, 100.0, 1.0]).repeat(20, 1)
        edges[1:, -1] = 0
        optimizer_case(name + ".edges", expression, lambda p, make=make: make([p]), normal(name + "/edges", 8), edges)
    for name, expression, kind, given, other in (
        ("sgd", "SGD(lr = 0.1, momentum = 0.9)", o.SGD, {"lr": 0.1, "momentum": 0.9}, {"momentum": 0.5}),
        ("adagrad", "AdaGrad(lr = 0.1)", o.Adagrad, {"lr": 0.1}, {"lr_decay": 0.1}),
        ("rmsprop", "RMSProp(lr = 0.01)", o.RMSprop, {"lr": 0.01}, {"eps": 0.1}),
        ("adadelta", "Adadelta(lr = 0.5)", o.Adadelta, {"lr": 0.5}, {"rho": 0.8}),
        ("adam", "Adam(lr = 0.01)", o.Adam, {"lr": 0.01}, {"eps": 0.1}),
        ("adamw", "AdamW(lr = 0.01)", o.AdamW, {"lr": 0.01}, {"eps": 0.1}),
        ("nadam", "NAdam(lr = 0.01)", o.NAdam, {"lr": 0.01}, {"eps": 0.1}),
        ("radam", "RAdam(lr = 0.01)", o.RAdam, {"lr": 0.01}, {"eps": 0.1}),
        ("lion", "Lion(lr = 0.01)", Lion, {"lr": 0.01}, {}),
        ("lamb", "LAMB(lr = 0.01)", Lamb, {"lr": 0.01}, {"eps": 0.1}),
        ("adafactor", "Adafactor()", o.Adafactor, {}, {"eps2": 0.1}),
    ):
        # Row 0 of theta is a weight of its own, row 1 another, which a group speaks of.
        theta, grads = normal(f"{name}.group/theta", 2, 9), normal(f"{name}.group/grad", 20, 2, 9)
        own = {"lr": 0.05, "weight_decay": 0.3} | other
        settings = " ".join(f"{k} = {v}" for k, v in own.items())
        # PyTorch's Adafactor has both in one setting.
        if "eps2" in own:
            own["eps"] = (None, own.pop("eps2"))

        def make(p, kind=kind, given=given, own=own):
            return kind([{"params": [p[0]]}, {"params": [p[1]]} | own], **given)

        optimizer_case(f"{name}.group", f'{expression} group "b" {{ {settings} }}', make, theta, grads)


def optimizer_case(name, expression, make, theta, grads):
    """`make` takes theta, or, where it has rows, a weight for each row."""
    rows = [r.clone().requires_grad_() for r in (theta if theta.dim() == 2 else theta[None])]
    optimizer, path = make(rows if theta.dim() == 2 else rows[0]), []
    for grad in grads:
        for p, g in zip(rows, grad if theta.dim() == 2 else grad[None]):
            p.grad = g.clone()
        optimizer.step()
        path.append(torch.stack([p.detach().clone() for p in rows]).reshape(theta.shape))
    y = torch.stack(path)
    assert y.isfinite().all(), name
    add(name, expression, {"theta": theta, "grad": grads, "y": y})


def whole_weights():
    """golden/optimizers.safetensors: optimizers that look at weights as a whole, on weights of different shapes."""
    shapes = {"vector": (7,), "number": (), "matrix": (5, 3), "kernel": (3, 2, 2, 3), "zero": (2, 2)}
    shapes |= {f"layers.{i}": (4, 6) for i in range(3)}
    o, tensors, cases = torch.optim, {}, []
    for name, expression, make in (
        ("lamb", "LAMB(lr = 0.01)", lambda a, b: Lamb(a, lr=0.01)),
        (
            "lamb.all",
            'LAMB(lr = 0.1, beta1 = 0.8, beta2 = 0.95, eps = 1e-4, weight_decay = 0.1, most = 2) group "layers.1", "vector" { lr = 0.02 }',
            lambda a, b: Lamb([{"params": a}, {"params": b, "lr": 0.02}], 0.1, (0.8, 0.95), 1e-4, 0.1, 2),
        ),
        ("adafactor", "Adafactor()", lambda a, b: o.Adafactor(a)),
        (
            "adafactor.all",
            "Adafactor(lr = 0.3, decay = 0.5, eps1 = 1e-3, eps2 = 0.1, bound = 1.2, weight_decay = 0.1)"
            ' group "layers.1", "vector" { lr = 0.02  weight_decay = 0 }',
            lambda a, b: o.Adafactor(
                [{"params": a}, {"params": b, "lr": 0.02, "weight_decay": 0}], 0.3, -0.5, (1e-3, 0.1), 1.2, 0.1
            ),
        ),
    ):
        theta = {w: normal(f"{name}/{w}", *shape) for w, shape in shapes.items()}
        theta["zero"] = torch.zeros(2, 2)
        grads = {w: normal(f"{name}/{w}/grad", 20, *shape) for w, shape in shapes.items()}
        params = {w: t.clone().requires_grad_() for w, t in theta.items()}
        apart = ["layers.1", "vector"] if "group" in expression else []
        optimizer = make([p for w, p in params.items() if w not in apart], [params[w] for w in apart])
        path = {w: [] for w in shapes}
        for step in range(20):
            for w, p in params.items():
                p.grad = grads[w][step].clone()
            optimizer.step()
            for w, p in params.items():
                path[w].append(p.detach().clone())
        for w in shapes:
            y = torch.stack(path[w])
            assert y.isfinite().all(), name
            tensors |= {f"{name}/{w}/theta": theta[w], f"{name}/{w}/grad": grads[w], f"{name}/{w}/y": y}
        cases.append(f"{name} = {expression}")
    save(GOLDEN / "optimizers.safetensors", tensors, cases="\n".join(cases))


def schedules():
    """PyTorch's schedulers, run from step 0; where they go on beyond the last step, they are asked to stay where they are.
    Where transformers has the schedule and PyTorch has not, its formula."""
    s = torch.optim.lr_scheduler
    for name, expression, last, make in (
        ("constant", "constant(step, 5, 0.3)", 8, lambda o: s.ConstantLR(o, 0.3, 5)),
        ("step_decay", "step_decay(step, 3, 0.5)", 12, lambda o: s.StepLR(o, 3, 0.5)),
        ("multi_step", "multi_step(step, [3, 4, 9])", 12, lambda o: s.MultiStepLR(o, [3, 4, 9])),
        ("exponential", "exponential(step, 0.9)", 12, lambda o: s.ExponentialLR(o, 0.9)),
        ("ramp", "ramp(step, 5)", 8, lambda o: s.LinearLR(o)),
        ("ramp.down", "ramp(step, 7, start = 0.8, end = 0.1)", 10, lambda o: s.LinearLR(o, 0.8, 0.1, 7)),
        ("polynomial", "polynomial(step, 10)", 12, lambda o: s.PolynomialLR(o, 10)),
        ("polynomial.square", "polynomial(step, 10, power = 2)", 12, lambda o: s.PolynomialLR(o, 10, 2)),
        ("warmup", "warmup(step, 5)", 8, lambda o: s.LinearLR(o, 1 / 5, 1.0, 4)),
        ("warmup.one", "warmup(step, 1)", 3, lambda o: s.ConstantLR(o, 1.0, 1)),
        ("linear_decay", "linear_decay(step, 20)", 25, lambda o: s.LinearLR(o, 1.0, 0.0, 20)),
        ("cosine", "cosine(step, 20)", 20, lambda o: s.CosineAnnealingLR(o, 20)),
        ("cosine.floor", "cosine(step, 20, floor = 0.1)", 20, lambda o: s.CosineAnnealingLR(o, 20, eta_min=0.1)),
        ("cosine_restarts", "cosine_restarts(step, 5)", 17, lambda o: s.CosineAnnealingWarmRestarts(o, 5)),
        (
            "cosine_restarts.growing",
            "cosine_restarts(step, 2, grow = 3, floor = 0.1)",
            60,
            lambda o: s.CosineAnnealingWarmRestarts(o, 2, 3, eta_min=0.1),
        ),
        ("one_cycle", "one_cycle(step, 20)", 19, lambda o: s.OneCycleLR(o, 1.0, total_steps=20)),
        (
            "one_cycle.all",
            "one_cycle(step, 20, rise = 0.4, start = 0.1, end = 0.001)",
            19,
            lambda o: s.OneCycleLR(o, 1.0, total_steps=20, pct_start=0.4, div_factor=10, final_div_factor=100),
        ),
        ("inverse_sqrt", "inverse_sqrt(step - 1, 5)", 30, lambda o: s.LambdaLR(o, inverse_sqrt(5))),
        ("wsd", "wsd(step, 20, 5, 6)", 24, lambda o: s.LambdaLR(o, wsd(5, 9, 6, "linear", 0.0))),
        (
            "wsd.cosine",
            "wsd(step, 20, 5, 6, floor = 0.1, shape = \"cosine\")",
            24,
            lambda o: s.LambdaLR(o, wsd(5, 9, 6, "cosine", 0.1)),
        ),
        (
            "wsd.sqrt",
            "wsd(step, 20, 5, 6, shape = \"1-sqrt\")",
            24,
            lambda o: s.LambdaLR(o, wsd(5, 9, 6, "1-sqrt", 0.0)),
        ),
    ):
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        scheduler, values = make(optimizer), []
        for _ in range(last + 1):
            values.append(scheduler.get_last_lr()[0])
            optimizer.step()
            scheduler.step()
        if name in ("cosine", "cosine.floor"):
            values += [values[-1]] * 5
        add(name, expression, {"step": torch.arange(len(values)), "y": torch.tensor(values)})


def inverse_sqrt(warm):
    """transformers' `get_inverse_sqrt_schedule`, whose time scale is the warm-up."""
    return lambda step: step / warm if step < warm else 1 / math.sqrt(step / warm)


def wsd(warm, stable, decay, shape, floor):
    """transformers' `get_wsd_schedule` with a linear warm-up; that one begins with 0, which ours leaves out."""
    falling = {
        "linear": lambda x: 1 - x,
        "cosine": lambda x: 0.5 * (1 + math.cos(math.pi * x)),
        "1-sqrt": lambda x: 1 - math.sqrt(x),
    }[shape]

    def at(step):
        if step < warm:
            return (step + 1) / warm
        return floor + (1 - floor) * falling(min(max(0, step - warm - stable) / decay, 1))

    return at


def emitted():
    """Puts the functions of one tensor that go element by element into the list of specs/items.dl, from which emitted Rust is tried."""
    path = GOLDEN.parent / "specs/items.dl"
    plain = {}
    for case, expression in CASES.items():
        call = re.fullmatch(r"(\w+)\(x\)", expression)
        if call and TENSORS[f"{case}/x"].shape == TENSORS[f"{case}/y"].shape:
            plain[call[1]] = True
    names = textwrap.fill("  repeat [" + ", ".join(plain), 116, subsequent_indent=" " * 10)
    text, count = re.subn(r"(make\.py: .*\n)[^]]*", lambda found: found[1] + names, path.read_text())
    assert count == 1
    if not CHECK:
        path.write_text(text)


def golden():
    for part in (activations, primitives, softmaxes, layers, norms, losses, optimizers, schedules):
        part()
    cases = "\n".join(f"{name} = {CASES[name]}" for name in sorted(CASES))
    save(GOLDEN / "prelude.safetensors", TENSORS, cases=cases)
    print(f"prelude: {len(CASES)} cases, {len(TENSORS)} tensors")
    whole_weights()
    emitted()
