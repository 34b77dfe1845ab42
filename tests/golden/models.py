"""Makes golden/models/*.safetensors: small twins of the trainings in specs/models.dl, by transformers, torchvision and PyTorch.

    pip install -r tests/golden/requirements.txt -r tests/golden/requirements-models.txt
    python tests/golden/models.py [NAME ..]            # all, or some
    python tests/golden/models.py --pretrained FILE    # of the real EfficientNet-lite0

Weights and inputs are not stored: both sides make them of their names by `numbers` below. A twin runs in double precision, and
each file has, for the sizes n = 0, 1, 2 of a family:
  n/NAME         each output of the model outside of training, by its name in the spec;
  n/loss         the training's loss, in training (with all dropout at 0);
  n/norm/NAME    the norm of each gradient, and n/sketch/NAME, sixteen sums of its elements under the signs of `signs`: the
                 mean square of sixteen such sums of a difference is close to its squared norm.
  grad/NAME      the whole gradients of the size that the metadata calls `whole`.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
import transformers
from safetensors.numpy import save_file

GOLDEN = Path(__file__).resolve().parent
VERSIONS = dict(line.split("==") for line in (GOLDEN / "requirements-models.txt").read_text().split("\n") if "==" in line)
WHOLE = 1


def hashes(name, count):
    """`count` words of 64 bits that belong to a name: FNV-1a of the name, plus a place, through splitmix64's mixer."""
    h = 0xCBF29CE484222325
    for byte in name.encode():
        h = (h ^ byte) * 0x100000001B3 % 2**64
    with np.errstate(over="ignore"):
        z = np.uint64(h) + np.arange(count, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def numbers(name, shape):
    """Numbers from -1 to 1 in single precision, exact multiples of 2^-23."""
    high = hashes(name, int(np.prod(shape, dtype=np.int64))) >> np.uint64(40)
    return (high.astype(np.float32) * np.float32(2**-23) - np.float32(1)).reshape(shape)


def weight(name, shape):
    """What a weight is, by its name and shape: scales and variances near 1, shifts near 0, the rest at the spread of 1 / sqrt(fan in)."""
    u = numbers(name, shape)
    if len(shape) > 1:
        return u * np.float32((3 * shape[0] / np.prod(shape)) ** 0.5)
    if name.split(".")[-1] in ("weight", "gamma", "running_var"):
        return u * np.float32(0.25) + np.float32(1)
    return u * np.float32(0.25)


def signs(name, count):
    """Sixteen rows of signs."""
    bits = hashes(name, count)
    return np.stack([1.0 - 2.0 * ((bits >> np.uint64(k)) & np.uint64(1)).astype(np.float64) for k in range(16)])


@dataclass
class Family:
    """A twin: how it is made, what its weights are called in the spec, what goes in and what comes out."""

    make: Callable
    inputs: Callable
    outputs: Callable
    loss: Callable
    rename: Callable = lambda name: name
    sizes: tuple = ((1, 1), (3, 9), (2, 37))


def fill(module, rename):
    """Gives the weights their numbers, and says what the parameters are called."""
    module.double()
    names, filled = {}, set()
    with torch.no_grad():
        for theirs, tensor in module.state_dict().items():
            name = rename(theirs)
            if name is not None and tensor.data_ptr() not in filled and tensor.is_floating_point():
                filled.add(tensor.data_ptr())
                tensor.copy_(torch.tensor(weight(name, tuple(tensor.shape))))
                names[theirs] = name
    return {names[k]: p for k, p in module.named_parameters() if k in names}


def golden(name, family):
    module = family.make()
    parameters = fill(module, family.rename)
    tensors = {}
    for n, size in enumerate(family.sizes):
        inputs = family.inputs(*size)
        module.eval()
        with torch.no_grad():
            for output, value in family.outputs(module, **inputs).items():
                tensors[f"{n}/{output}"] = value
        module.train()
        module.zero_grad()
        loss = family.loss(family.outputs(module, **inputs), **inputs)
        loss.backward()
        tensors[f"{n}/loss"] = loss
        for weight, p in parameters.items():
            grad = torch.zeros_like(p) if p.grad is None else p.grad
            if n == WHOLE:
                tensors[f"grad/{weight}"] = grad.clone()
            flat = grad.numpy().reshape(-1)
            tensors[f"{n}/norm/{weight}"] = torch.tensor(np.linalg.norm(flat))
            tensors[f"{n}/sketch/{weight}"] = torch.tensor(signs(weight, flat.size) @ flat)
        if module_state(module):
            fill(module, family.rename)
    path = GOLDEN / "models" / f"{name}.safetensors"
    path.parent.mkdir(exist_ok=True)
    save_file({k: v.detach().float().numpy() for k, v in tensors.items()}, path)
    total = sum(p.numel() for p in parameters.values())
    print(f"{name}: {total} weights, {path.stat().st_size} bytes, losses", *(f"{tensors[f'{n}/loss'].item():.4f}" for n in range(3)))


def module_state(module):
    """Whether a pass in training changes what the next one starts from."""
    return any(name.endswith("running_mean") for name, _ in module.named_buffers())


# Text. Ids and answers are those of specs/models.dl; rows of a mask get shorter by three tokens each.

V = 53


def ids(b, t):
    return torch.tensor((hashes("ids", b * t) >> np.uint64(33)).astype(np.int64) % V).reshape(b, t)


def mask(b, t):
    return torch.tensor([[int(j < max(t - 3 * i, 1)) for j in range(t)] for i in range(b)])


def answer(ids, count):
    return (ids * 7 + 3) % count


def plain(b, t):
    return {"input_ids": ids(b, t)}


def masked(b, t):
    return {"input_ids": ids(b, t), "attention_mask": mask(b, t)}


def segments(b, t):
    return masked(b, t) | {"token_type_ids": (torch.arange(t) >= t // 2).long().expand(b, t)}


def logits(module, **inputs):
    return {"logits": module(**inputs).logits}


def each_token(out, input_ids, **_):
    return F.cross_entropy(out["logits"].reshape(-1, V), answer(input_ids, V).reshape(-1))


def masked_tokens(out, input_ids, attention_mask, **_):
    labels = torch.where(attention_mask != 0, answer(input_ids, V), -100)
    return F.cross_entropy(out["logits"].reshape(-1, V), labels.reshape(-1))


def first_token(out, input_ids, **_):
    return F.cross_entropy(out["logits"], answer(input_ids[:, 0], 4))


def without(*prefixes):
    """Names without a prefix that checkpoints do not have."""

    def rename(name):
        for prefix in prefixes:
            name = name.removeprefix(prefix)
        return name

    return rename


def gpt2():
    c = transformers.GPT2Config(
        vocab_size=V, n_positions=40, n_embd=24, n_layer=2, n_head=3, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0
    )
    return transformers.GPT2LMHeadModel(c)


def llama(**more):
    c = transformers.LlamaConfig(
        vocab_size=V,
        max_position_embeddings=40,
        hidden_size=24,
        num_hidden_layers=2,
        intermediate_size=40,
        rms_norm_eps=1e-5,
        **more,
    )
    return transformers.LlamaForCausalLM(c)


class Pairs(torch.nn.Module):
    """A Llama whose rotations turn adjacent pairs: the rows of queries and keys go to where transformers expects halves."""

    def __init__(self, heads):
        super().__init__()
        self.inner = llama(num_attention_heads=heads, num_key_value_heads=heads, rope_theta=500.0, tie_word_embeddings=True)
        self.heads = heads

    def forward(self, input_ids):
        given = dict(self.inner.named_parameters())
        for name, p in list(given.items()):
            if name.endswith(("q_proj.weight", "k_proj.weight")):
                half = p.shape[0] // self.heads // 2
                given[name] = p.reshape(self.heads, half, 2, -1).transpose(1, 2).reshape(p.shape)
        return torch.func.functional_call(self.inner, given, (input_ids,))


class Stored(torch.nn.Module):
    """A Llama whose weights are kept as glassllm keeps them: [in, out], under other names, turning adjacent pairs."""

    def __init__(self):
        super().__init__()
        self.inner = llama(num_attention_heads=6, num_key_value_heads=2, rope_theta=10000.0, tie_word_embeddings=True)
        self.kept = torch.nn.ParameterDict()
        for name, p in self.inner.named_parameters():
            shape = p.shape if p.dim() == 1 or "embed" in name else p.T.shape
            self.kept[name.replace(".", "/")] = torch.nn.Parameter(torch.zeros(shape))

    def forward(self, input_ids):
        given = {}
        for name, p in self.kept.items():
            p = p if p.dim() == 1 or "embed" in name else p.T
            if "q_proj" in name or "k_proj" in name:
                p = p.reshape(-1, 2, 2, 24).transpose(1, 2).reshape(p.shape)
            given[name.replace("/", ".")] = p
        return torch.func.functional_call(self.inner, given, (input_ids,))


def glass_names(name):
    parts = {
        "model/embed_tokens/weight": "E", "model/norm/weight": "norm_f.gamma", "model/layers/": "blocks.",
        "/input_layernorm/weight": ".norm1.gamma", "/post_attention_layernorm/weight": ".norm2.gamma",
        "/self_attn/q_proj/weight": ".attn.W_Q", "/self_attn/k_proj/weight": ".attn.W_K",
        "/self_attn/v_proj/weight": ".attn.W_V", "/self_attn/o_proj/weight": ".attn.W_O",
        "/mlp/gate_proj/weight": ".ffn.W1", "/mlp/up_proj/weight": ".ffn.W3", "/mlp/down_proj/weight": ".ffn.W2",
        "kept.": "",
    }  # fmt: skip
    for theirs, ours in parts.items():
        name = name.replace(theirs, ours)
    return None if name.startswith("inner.") else name


def bert_config(**more):
    return transformers.BertConfig(
        vocab_size=V,
        max_position_embeddings=40,
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=48,
        hidden_dropout_prob=0,
        attention_probs_dropout_prob=0,
        **more,
    )


def distilbert():
    c = transformers.DistilBertConfig(
        vocab_size=V,
        max_position_embeddings=40,
        dim=24,
        n_layers=2,
        n_heads=3,
        hidden_dim=48,
        dropout=0,
        attention_dropout=0,
        seq_classif_dropout=0,
        num_labels=4,
    )
    return transformers.DistilBertForSequenceClassification(c)


def embeddings(module, attention_mask, **inputs):
    """As sentence-transformers has it: the mean over the tokens, at length 1."""
    hidden = module(attention_mask=attention_mask, **inputs).last_hidden_state
    m = attention_mask[:, :, None].to(hidden.dtype)
    return {"embedding": F.normalize((hidden * m).sum(1) / m.sum(1).clamp(min=1e-9)), "hidden": hidden}


def contrast(out, **_):
    """Each embedding against the first tokens of all."""
    other = out["hidden"][:, 0]
    return F.cross_entropy(out["embedding"] @ other.T / 0.5, torch.arange(len(other)))


class Banded(torch.nn.Module):
    """A GPT-2 whose odd layers see the last tokens only."""

    def __init__(self, band):
        super().__init__()
        self.inner = gpt2().transformer
        self.band = band

    def forward(self, input_ids):
        t = input_ids.shape[1]
        x = self.inner.wte(input_ids) + self.inner.wpe(torch.arange(t))
        i, j = torch.arange(t)[:, None], torch.arange(t)
        for n, block in enumerate(self.inner.h):
            seen = (j <= i) & (j > i - (self.band if n % 2 else t))
            x = block(x, attention_mask=torch.where(seen, 0.0, -torch.inf).to(x.dtype)[None, None])
            x = x[0] if isinstance(x, tuple) else x
        return self.inner.ln_f(x) @ self.inner.wte.weight.T


class PalmNorm(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.gamma = torch.nn.Parameter(torch.zeros(24))
        self.register_buffer("beta", torch.zeros(24))

    def forward(self, x):
        return F.layer_norm(x, (24,), self.gamma, self.beta)


class PalmBlock(torch.nn.Module):
    """Chowdhery et al. 2022, section 2: y = x + MLP(norm(x)) + Attention(norm(x)), with one head of keys and values."""

    HEADS, WIDTH, INNER = 3, 8, 96

    def __init__(self):
        super().__init__()
        self.norm = PalmNorm()
        self.fused_attn_ff_proj = torch.nn.Linear(24, self.HEADS * self.WIDTH + 2 * self.WIDTH + 2 * self.INNER, bias=False)
        self.attn_out = torch.nn.Linear(self.HEADS * self.WIDTH, 24, bias=False)
        self.ff_out = torch.nn.Sequential(torch.nn.Identity(), torch.nn.Identity(), torch.nn.Linear(self.INNER, 24, bias=False))

    def turned(self, x):
        angle = torch.outer(torch.arange(x.shape[-2]), 10000.0 ** (-torch.arange(0, self.WIDTH, 2, dtype=torch.float64) / self.WIDTH))
        cos, sin = angle.cos().repeat(1, 2), angle.sin().repeat(1, 2)
        a, b = x.chunk(2, dim=-1)
        return x * cos + torch.cat((-b, a), dim=-1) * sin

    def forward(self, x):
        sizes = (self.HEADS * self.WIDTH, self.WIDTH, self.WIDTH, self.INNER, self.INNER)
        q, k, v, up, gate = self.fused_attn_ff_proj(self.norm(x)).split(sizes, dim=-1)
        b, t, _ = x.shape
        q = self.turned(q.reshape(b, t, self.HEADS, self.WIDTH).transpose(1, 2))
        k, v = self.turned(k[:, None]).expand_as(q), v[:, None].expand_as(q)
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, t, -1)
        return x + self.attn_out(a) + self.ff_out(F.silu(gate) * up)


class Palm(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.token_emb = torch.nn.Embedding(V, 24)
        self.layers = torch.nn.ModuleList(torch.nn.ModuleDict({"fn": PalmBlock()}) for _ in range(2))
        self.norm = PalmNorm()

    def forward(self, tokens):
        x = self.token_emb(tokens)
        for layer in self.layers:
            x = layer["fn"](x)
        return self.norm(x) @ self.token_emb.weight.T


class GatedCnn(torch.nn.Module):
    """Dauphin et al. 2017: h = (X * W + b) times sigmoid(X * V + c), in residual blocks, each with a layer norm before it."""

    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Embedding(V, 24)
        layer = lambda: torch.nn.ModuleDict(
            {"norm": torch.nn.LayerNorm(24), "glu": torch.nn.ModuleDict({"conv": torch.nn.Conv1d(24, 48, 4)})}
        )
        self.layers = torch.nn.ModuleList(layer() for _ in range(2))
        self.norm = torch.nn.LayerNorm(24)
        self.head = torch.nn.Linear(24, V)

    def forward(self, tokens):
        x = self.embed(tokens)
        for layer in self.layers:
            h = layer["glu"]["conv"](F.pad(layer["norm"](x).transpose(1, 2), (3, 0)))
            x = x + F.glu(h, dim=1).transpose(1, 2)
        return self.head(self.norm(x))


def clip():
    c = transformers.CLIPTextConfig(
        vocab_size=V,
        max_position_embeddings=40,
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=48,
        projection_dim=16,
        eos_token_id=2,  # the pooling of the published checkpoints: at the largest id
    )
    return transformers.CLIPTextModelWithProjection(c)


# Pictures. The label of one is the channel whose top left corner is the brightest.


def picture(size):
    def inputs(b, _):
        return {"image": torch.tensor(numbers("image", (b, 3, *size(_)))).double()}

    return inputs


def brightest(out, image, **_):
    return F.cross_entropy(out["logits"], image[:, :, 0, 0].argmax(1))


def vit():
    c = transformers.ViTConfig(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=48, image_size=12, patch_size=4, num_labels=7
    )
    return transformers.ViTForImageClassification(c)


def vit_names(name):
    """The names of the published checkpoints, which transformers 5 reads under others."""
    layer = {
        "vit.layers.": "vit.encoder.layer.",
        "attention.q_proj": "attention.attention.query",
        "attention.k_proj": "attention.attention.key",
        "attention.v_proj": "attention.attention.value",
        "attention.o_proj": "attention.output.dense",
        "mlp.fc1": "intermediate.dense",
        "mlp.fc2": "output.dense",
    }
    for theirs, ours in layer.items():
        name = name.replace(theirs, ours)
    return name


class ResNet(torchvision.models.ResNet):
    """torchvision's, narrow."""

    def __init__(self, block, depths, widths, stem, pool, classes):
        torch.nn.Module.__init__(self)
        self._norm_layer = torch.nn.BatchNorm2d
        self.inplanes, self.dilation, self.groups, self.base_width = widths[0], 1, 1, 64
        self.conv1 = stem(widths[0])
        self.bn1, self.relu = torch.nn.BatchNorm2d(widths[0]), torch.nn.ReLU()
        self.maxpool, self.layer4 = pool, torch.nn.Identity()
        for i, (depth, width) in enumerate(zip(depths, widths)):
            setattr(self, f"layer{i + 1}", self._make_layer(block, width, depth, stride=1 if i == 0 else 2))
        self.avgpool = torch.nn.AdaptiveAvgPool2d(1)
        self.fc = torch.nn.Linear(widths[-1] * block.expansion, classes)


def resnet20():
    stem = lambda width: torch.nn.Conv2d(3, width, 3, 1, 1, bias=False)
    return ResNet(torchvision.models.resnet.BasicBlock, [2, 2, 2], [4, 6, 8], stem, torch.nn.Identity(), 7)


def resnet50():
    stem = lambda width: torch.nn.Conv2d(3, width, 7, 2, 3, bias=False)
    return ResNet(torchvision.models.resnet.Bottleneck, [1, 2, 1], [2, 4, 8], stem, torch.nn.MaxPool2d(3, 2, 1), 7)


class SameConv(torch.nn.Conv2d):
    """TensorFlow's "SAME": n / stride places, rounded up, the odd zero at the end."""

    def forward(self, x):
        total = [max((-(-n // s) - 1) * s + k - n, 0) for n, s, k in zip(x.shape[2:], self.stride, self.kernel_size)]
        high, wide = total
        return super().forward(F.pad(x, (wide // 2, wide - wide // 2, high // 2, high - high // 2)))


def same(i, o, k, stride=1, groups=1):
    return SameConv(i, o, k, stride, groups=groups, bias=False)


def lite_norm(c):
    return torch.nn.BatchNorm2d(c, eps=1e-3, momentum=0.01)


class LiteBlock(torch.nn.Module):
    def __init__(self, i, o, k, stride, expand):
        super().__init__()
        inner = i * expand
        if expand != 1:
            self._expand_conv, self._bn0 = same(i, inner, 1), lite_norm(inner)
        self._depthwise_conv, self._bn1 = same(inner, inner, k, stride, inner), lite_norm(inner)
        self._project_conv, self._bn2 = same(inner, o, 1), lite_norm(o)
        self.residual = stride == 1 and i == o

    def forward(self, x):
        y = F.relu6(self._bn0(self._expand_conv(x))) if hasattr(self, "_expand_conv") else x
        y = self._bn2(self._project_conv(F.relu6(self._bn1(self._depthwise_conv(y)))))
        return x + y if self.residual else y


class Lite(torch.nn.Module):
    """EfficientNet-lite: Tan and Le 2019 without squeezing, ReLU6, a stem and a head of their own width."""

    def __init__(self, stem, head, widths, depths, kernels, strides, classes):
        super().__init__()
        self._conv_stem, self._bn0 = same(3, stem, 3, 2), lite_norm(stem)
        blocks, i = [], stem
        for s, (o, depth) in enumerate(zip(widths, depths)):
            for b in range(depth):
                blocks.append(LiteBlock(i, o, kernels[s], strides[s] if b == 0 else 1, 1 if s == 0 else 6))
                i = o
        self._blocks = torch.nn.ModuleList(blocks)
        self._conv_head, self._bn1 = same(i, head, 1), lite_norm(head)
        self._fc = torch.nn.Linear(head, classes)

    def forward(self, x):
        x = F.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        return self._fc(F.relu6(self._bn1(self._conv_head(x))).mean((2, 3)))


def efficientnet_lite0():
    return Lite(4, 16, [4, 5, 5, 6], [1, 2, 1, 1], [3, 3, 5, 3], [1, 2, 2, 2], 7)


class Perceptron(torch.nn.Module):
    def __init__(self):
        super().__init__()
        linear, relu = torch.nn.Linear, torch.nn.ReLU
        self.layers = torch.nn.Sequential(linear(30, 24), relu(), linear(24, 16), relu(), linear(16, 12), relu(), linear(12, 7))

    def forward(self, x):
        return self.layers(x)


class DigitCnn(torch.nn.Module):
    """Three times convolution, ReLU and pooling; two linear layers."""

    def __init__(self):
        super().__init__()
        conv, relu, pool = lambda i, o: torch.nn.Conv2d(i, o, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2)
        self.conv_layers = torch.nn.Sequential(conv(1, 4), relu, pool, conv(4, 6), relu, pool, conv(6, 8), relu, pool)
        self.fc_layers = torch.nn.Sequential(torch.nn.Linear(72, 12), relu, torch.nn.Linear(12, 10))

    def forward(self, image):
        return self.fc_layers(self.conv_layers(image[:, None]).flatten(1))


def plainly(module, **inputs):
    """Of a module that gives logits themselves."""
    return {"logits": module(*inputs.values())}


def tokens(b, t):
    return {"tokens": ids(b, t)}


def each_of(out, tokens):
    return each_token(out, tokens)


def rows(b, _):
    return {"x": torch.tensor(numbers("x", (b, 30))).double()}


def largest(out, x):
    return F.cross_entropy(out["logits"], x[:, :7].argmax(1))


def digits(b, _):
    return {"image": torch.tensor(numbers("image", (b, 28, 28))).double()}


def first_column(out, image):
    return F.cross_entropy(out["logits"], image[:, :10, 0].argmax(1))


PICTURES = ((1, 0), (3, 0), (2, 0))

FAMILIES = {
    "gpt2": Family(gpt2, plain, logits, each_token, without("transformer.")),
    "llama2": Family(
        lambda: llama(num_attention_heads=6, num_key_value_heads=2, rope_theta=500.0), plain, logits, each_token
    ),
    "llama2_tied": Family(lambda: Pairs(3), plain, logits, each_token, without("inner.")),
    "bert": Family(lambda: transformers.BertForSequenceClassification(bert_config(num_labels=4)), segments, logits, first_token),
    "bert_mlm": Family(lambda: transformers.BertForMaskedLM(bert_config()), segments, logits, masked_tokens),
    "minilm": Family(
        lambda: transformers.BertModel(bert_config(), add_pooling_layer=False), segments, embeddings, contrast
    ),
    "distilbert": Family(distilbert, masked, logits, first_token),
    "gpt3": Family(lambda: Banded(4), plain, plainly, each_token, without("inner.")),
    "glassllm": Family(Stored, plain, logits, each_token, glass_names),
    "palm": Family(Palm, tokens, plainly, each_of),
    "gated_cnn": Family(GatedCnn, tokens, plainly, each_of),
    "clip_text": Family(
        clip, plain, lambda m, **i: {"text_embeds": m(**i).text_embeds}, lambda out, **_: (out["text_embeds"] ** 2).mean()
    ),
    "mlp": Family(Perceptron, rows, plainly, largest, sizes=PICTURES),
    "digit_cnn": Family(DigitCnn, digits, plainly, first_column, sizes=PICTURES),
    "vit": Family(vit, picture(lambda _: (12, 12)), lambda m, image: logits(m, pixel_values=image), brightest, vit_names, PICTURES),
    "resnet20": Family(resnet20, picture(lambda _: (32, 32)), plainly, brightest, sizes=PICTURES),
    "resnet50": Family(resnet50, picture(lambda n: (40 + 3 * n, 49 - n)), plainly, brightest, sizes=((2, 1), (3, 2), (2, 5))),
    "efficientnet_lite0": Family(efficientnet_lite0, picture(lambda _: (32, 32)), plainly, brightest, sizes=PICTURES),
}


def stripes(path):
    """What the real EfficientNet-lite0 makes of coloured stripes: golden/pretrained/efficientnet_lite0.json."""
    module = Lite(32, 1280, [16, 24, 40, 80, 112, 192, 320], [1, 2, 2, 3, 3, 4, 1], [3, 3, 5, 3, 5, 5, 3], [1, 2, 2, 2, 1, 2, 1], 1000)
    module.load_state_dict(torch.load(path, weights_only=True))
    i = torch.arange(224 * 224 * 3)
    pixels = ((i % 3 * 90 + i // 672 * 3 + i % 672 // 3 * 5) % 256).reshape(224, 224, 3).permute(2, 0, 1)
    with torch.no_grad():
        out = module.eval().double()(((pixels - 127.0) / 128.0)[None].double())[0]
    made = GOLDEN / "pretrained" / "efficientnet_lite0.json"
    made.write_text(json.dumps({"stripes": [round(x, 5) for x in out.tolist()]}) + "\n")


def main():
    if sys.argv[1:2] == ["--pretrained"]:
        return stripes(sys.argv[2])
    have = {m.__name__: m.__version__.split("+")[0] for m in (torchvision, transformers)}
    assert have == VERSIONS, f"pinned are {VERSIONS}, installed are {have}"
    torch.manual_seed(0)
    torch.set_num_threads(1)
    for name in sys.argv[1:] or FAMILIES:
        golden(name, FAMILIES[name])


if __name__ == "__main__":
    main()
