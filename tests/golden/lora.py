"""Makes golden/lora: twins of the trainings in specs/lora.dl, by PEFT on transformers.

    pip install -r tests/golden/requirements.txt -r tests/golden/requirements-models.txt -r tests/golden/requirements-lora.txt
    python tests/golden/lora.py [NAME ..]      # all, or some
    python tests/golden/lora.py --load         # holds what dlc wrote, golden/lora/NAME/ours, against the same numbers
    python tests/golden/lora.py --patterns     # golden/lora/patterns.json, which modules PEFT's patterns match
    python tests/golden/lora.py --tokens       # golden/lora/tokens, with rows of a table of their own

Weights, adapters included, and inputs are made of their names as in models.py, in double precision. A folder has
  golden.safetensors   logits, with the adapter; loss, and grad/NAME for each trained weight; trained/NAME after twenty steps
                       of AdamW on the batch; merged/NAME, what merging makes of each adapted weight before any step
  peft/                the adapter as PEFT saves it
  ours/                the adapter as dlc writes it, which the tests compare with what it writes
"""

import json
import sys
from types import SimpleNamespace

import numpy as np
import peft
import torch
from models import GOLDEN, bert_config, brightest, distilbert, fill, first_token, gpt2, llama, logits, masked, picture, plain, segments, each_token, weight, without
from safetensors.numpy import load_file, save_file

import transformers

FOLDER = GOLDEN / "lora"


def bert():
    return transformers.BertForSequenceClassification(bert_config(num_labels=4))


def llama2():
    return llama(num_attention_heads=6, num_key_value_heads=2, rope_theta=500.0)


class Pictures(torch.nn.Module):
    """Three convolutions, with strides and borders, one over a line, the mean of what they give, and a linear layer."""

    def __init__(self):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.conv2 = torch.nn.Conv2d(8, 12, (3, 2), padding=1)
        self.conv3 = torch.nn.Conv2d(12, 10, 1, bias=False)
        self.line = torch.nn.Conv1d(10, 6, 3, stride=2)
        self.head = torch.nn.Linear(6, 3)

    def forward(self, image):
        x = torch.tanh(self.conv2(torch.tanh(self.conv1(image))))
        x = torch.tanh(self.line(torch.tanh(self.conv3(x)).flatten(2)))
        return SimpleNamespace(logits=self.head(x.mean(2)))


class Groups(torch.nn.Module):
    """Three convolutions and one over a line, all but one of them in groups, and a linear layer."""

    def __init__(self):
        super().__init__()
        self.each = torch.nn.Conv2d(3, 12, 3, stride=2, padding=1, groups=3)
        self.deep = torch.nn.Conv2d(12, 12, (3, 2), padding=1, groups=12)
        self.mix = torch.nn.Conv2d(12, 8, 1)
        self.line = torch.nn.Conv1d(8, 6, 3, stride=2, groups=2)
        self.head = torch.nn.Linear(6, 3)

    def forward(self, image):
        x = torch.tanh(self.deep(torch.tanh(self.each(image))))
        x = torch.tanh(self.line(torch.tanh(self.mix(x)).flatten(2)))
        return SimpleNamespace(logits=self.head(x.mean(2)))


image = picture(lambda _: (11, 13))


def llama_tied():
    return llama(num_attention_heads=6, num_key_value_heads=2, rope_theta=500.0, tie_word_embeddings=True)


LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
CASES = {
    "distilbert": (distilbert, masked, first_token, dict(r=4, lora_alpha=8, target_modules=["q_lin", "v_lin", "pre_classifier", "classifier"])),
    "bert": (bert, segments, first_token, dict(r=2, lora_alpha=3, target_modules=["query", "value"], bias="lora_only", modules_to_save=["classifier"])),
    "gpt2": (gpt2, plain, each_token, dict(r=2, lora_alpha=8, target_modules=["c_attn", "mlp.c_fc", "mlp.c_proj"], rank_pattern={r"mlp\.c_fc": 3, r"mlp\.c_proj": 3}, fan_in_fan_out=True)),
    "table": (distilbert, masked, first_token, dict(r=3, lora_alpha=3, target_modules=["word_embeddings", "layer.1.ffn.lin1"])),
    "dora": (distilbert, masked, first_token, dict(r=2, lora_alpha=4, target_modules=["q_lin", "lin2"], use_dora=True)),
    "table_dora": (distilbert, masked, first_token, dict(r=2, lora_alpha=6, target_modules=["word_embeddings", "layer.0.attention.q_lin"], use_dora=True)),
    "conv": (Pictures, image, brightest, dict(r=2, lora_alpha=6, target_modules=["conv1", "conv2", "conv3", "line", "head"])),
    "conv_dora": (Pictures, image, brightest, dict(r=2, lora_alpha=3, target_modules=["conv1", "conv2", "line"], use_dora=True)),
    "grouped": (Groups, image, brightest, dict(r=2, lora_alpha=6, target_modules=["each", "deep", "mix", "line"], lora_bias=True, rank_pattern={"each": 6, "deep": 24, "line": 4}, alpha_pattern={"each": 18, "deep": 72, "line": 12})),
    "tied": (llama_tied, plain, each_token, dict(r=2, lora_alpha=4, target_modules=["v_proj"], modules_to_save=["embed_tokens"], ensure_weight_tying=True)),
    "biased": (distilbert, masked, first_token, dict(r=2, lora_alpha=3, target_modules=["q_lin", "lin1"], lora_bias=True)),
    "llama2": (llama2, plain, each_token, dict(r=4, lora_alpha=6, use_rslora=True, target_modules=LINEAR, layers_to_transform=[1])),
}  # fmt: skip


def ours(name):
    """What a parameter of PEFT's is called in a spec, and whether it lies the other way round."""
    name = name.removeprefix("base_model.model.").removeprefix("transformer.").replace(".base_layer.", ".").replace(".modules_to_save.default.", ".")
    for theirs, own in ((".lora_A.default.weight", ".lora.A"), (".lora_B.default.weight", ".lora.B"), (".lora_embedding_A.default", ".lora.A"), (".lora_embedding_B.default", ".lora.B")):
        if name.endswith(theirs):
            return name.removesuffix(theirs) + own, True
    if name.endswith(".lora_B.default.bias"):
        return name.removesuffix("_B.default.bias") + ".bias", False
    if name.endswith(".lora_magnitude_vector.default.weight"):
        return name.removesuffix("_magnitude_vector.default.weight") + ".magnitude", False
    return name, False


def made(name):
    make, inputs, loss, settings = CASES[name]
    module = make()
    fill(module, without("transformer."))
    return module, inputs(3, 9), loss, peft.LoraConfig(**settings)


def trained(model):
    """The parameters that are trained, by what a spec calls them."""
    found = {}
    for name, p in model.named_parameters():
        if p.requires_grad:
            own, turned = ours(name)
            found[own] = (p, turned)
    return found


def spec_shape(p, turned):
    """A parameter as a spec has it: windows are one axis, and matrices lie the other way round."""
    return p.flatten(1).T if turned else p.flatten() if p.shape[:1] == (1,) else p


def begin(parameters, lengths):
    """The first values of an adapter; what is trained beside it begins as it is."""
    with torch.no_grad():
        for own, (p, turned) in parameters.items():
            if turned:
                p.copy_(torch.tensor(weight(own, tuple(spec_shape(p, turned).shape))).T.reshape(p.shape))
            elif own.endswith(".lora.bias"):
                p.copy_(torch.tensor(weight(own, tuple(p.shape))))
            elif own in lengths:
                p.copy_(lengths[own] + torch.tensor(weight(own, (p.numel(),))).reshape(p.shape))


def golden(name):
    module, inputs, loss, config = made(name)
    model = peft.get_peft_model(module, config).double()
    parameters = trained(model)
    lengths = {own: p.detach().clone() for own, (p, _) in parameters.items() if own.endswith(".magnitude")}
    begin(parameters, lengths)
    folder = FOLDER / name
    model.float().save_pretrained(folder / "peft")
    (folder / "peft" / "README.md").unlink(missing_ok=True)
    model.double()
    tensors = {}
    optimizer = torch.optim.AdamW([p for p, _ in parameters.values()], lr=1e-3, weight_decay=0 if lengths else 0.01)
    for step in range(20):
        optimizer.zero_grad()
        out = logits(model, **inputs)
        value = loss(out, **inputs)
        value.backward()
        if step == 0:
            tensors["logits"], tensors["loss"] = out["logits"], value
            for own, (p, turned) in parameters.items():
                tensors[f"grad/{own}"] = spec_shape(p.grad, turned).clone()
        optimizer.step()
    for own, (p, turned) in parameters.items():
        # A spec has a magnitude beyond the lengths of the base's columns.
        tensors[f"trained/{own}"] = spec_shape(p - lengths.get(own, 0), turned)
    begin(parameters, lengths)
    adapted = {own.removesuffix(".lora.A") for own in parameters if own.endswith(".lora.A")}
    merged = dict(model.merge_and_unload().named_parameters())
    for module in sorted(adapted):
        if name == "biased":
            tensors[f"merged/{module}.bias"] = merged[f"{module}.bias"]
        tensors[f"merged/{module}.weight"] = merged["transformer." * (name == "gpt2") + f"{module}.weight"]
    path = folder / "golden.safetensors"
    save_file({k: v.detach().float().contiguous().numpy() for k, v in tensors.items()}, path)
    print(f"{name}: loss {value.item():.6f}, {path.stat().st_size} bytes")


def grouped(name):
    """PEFT's adapter of a grouped convolution cannot be merged: ours, W + scale A B, is its, where each group's rows of its A are
    the same and read that group's inputs alone. Such an A cannot be trained there, so training is that of the formula."""
    module, inputs, loss, config = made(name)
    module.double()
    base = {own: p.detach() for own, p in module.named_parameters()}
    scale = config.lora_alpha / config.r
    layers = {target: getattr(module, target) for target in sorted(config.target_modules)}
    parameters = {}
    for target, layer in layers.items():
        rows, inner = layer.weight.shape[0], layer.weight[0].numel()
        for own, shape in (("A", (inner, config.r)), ("B", (config.r, rows)), ("bias", (rows,))):
            parameters[f"{target}.lora.{own}"] = torch.tensor(weight(f"{target}.lora.{own}", shape)).double().requires_grad_()

    def merged():
        found = dict(base)
        for target in layers:
            a, b, bias = (parameters[f"{target}.lora.{own}"] for own in ("A", "B", "bias"))
            found[f"{target}.weight"] = base[f"{target}.weight"] + scale * (a @ b).T.reshape(base[f"{target}.weight"].shape)
            found[f"{target}.bias"] = base[f"{target}.bias"] + scale * bias
        return found

    first = {f"merged/{target}.{own}": merged()[f"{target}.{own}"].detach() for target in layers for own in ("weight", "bias")}
    theirs = peft.get_peft_model(made(name)[0], config).double()
    with torch.no_grad():
        for target, layer in layers.items():
            groups, own = getattr(layer, "groups", 1), theirs.get_submodule(f"base_model.model.{target}")
            a, b, bias = (parameters[f"{target}.lora.{own}"] for own in ("A", "B", "bias"))
            own.lora_A["default"].weight.copy_(torch.block_diag(*[a.T] * groups).reshape(own.lora_A["default"].weight.shape))
            own.lora_B["default"].weight.copy_(b.T.reshape(own.lora_B["default"].weight.shape))
            own.lora_B["default"].bias.copy_(bias)
        of_theirs = logits(theirs, **inputs)["logits"]
    folder = FOLDER / name
    theirs.float().save_pretrained(folder / "peft")
    (folder / "peft" / "README.md").unlink(missing_ok=True)
    tensors = dict(first)
    optimizer = torch.optim.AdamW(parameters.values(), lr=1e-3, weight_decay=0.01)
    for step in range(20):
        optimizer.zero_grad()
        out = logits(lambda **inputs: torch.func.functional_call(module, merged(), (), inputs), **inputs)
        value = loss(out, **inputs)
        value.backward()
        if step == 0:
            assert torch.dist(out["logits"], of_theirs) < 1e-12, "PEFT has the same adapter"
            tensors["logits"], tensors["loss"] = out["logits"], value
            tensors |= {f"grad/{own}": p.grad.clone() for own, p in parameters.items()}
        optimizer.step()
    tensors |= {f"trained/{own}": p for own, p in parameters.items()}
    path = folder / "golden.safetensors"
    save_file({k: v.detach().float().contiguous().numpy() for k, v in tensors.items()}, path)
    print(f"{name}: loss {value.item():.6f}, {path.stat().st_size} bytes")


def load(name):
    """Loads what dlc wrote; prints how far its logits are from ours."""
    module, inputs, _, _ = made(name)
    model = peft.PeftModel.from_pretrained(module.float(), FOLDER / name / "ours").double()
    expected = load_file(FOLDER / name / "golden.safetensors")["logits"]
    with torch.no_grad():
        found = logits(model, **inputs)["logits"].numpy()
    off = np.linalg.norm(found - expected) / np.linalg.norm(expected)
    print(f"{name}: PEFT loads what dlc wrote, logits {off:.1e} off")
    assert off < 1e-5, name


def tokens():
    """GPT-2 with an adapter and rows of its table of their own, which the output shares: its logits, and PEFT's file."""
    module, inputs, _, config = made("gpt2")
    config.trainable_token_indices = [2, 5, 11]
    model = peft.get_peft_model(module, config).double()
    with torch.no_grad():
        for own, (p, turned) in trained(model).items():
            p.copy_(torch.tensor(weight(own, tuple(spec_shape(p, turned).shape))).T.reshape(p.shape) if turned else torch.tensor(weight("rows", tuple(p.shape))))
        out = logits(model, **inputs)["logits"]
    folder = FOLDER / "tokens"
    model.float().save_pretrained(folder / "peft")
    (folder / "peft" / "README.md").unlink(missing_ok=True)
    save_file({"logits": out.float().numpy()}, folder / "golden.safetensors")
    print(f"tokens: {(folder / 'golden.safetensors').stat().st_size} bytes")


# Configurations, and what their patterns are for.
PATTERNS = [
    dict(target_modules=["q_proj", "mlp.up"]),
    dict(target_modules=["proj", "h.0.q_proj"], layers_to_transform=[1]),
    dict(target_modules=r".*\.(q|v)_proj"),
    dict(target_modules=r"(?!.*vision).*(?:q_proj|up)$"),
    dict(target_modules=r"q_proj"),
    dict(target_modules=["q_proj", "v_proj", "up"], exclude_modules=["1.q_proj"]),
    dict(target_modules=["q_proj", "v_proj", "up"], exclude_modules=r".*vision.*|up"),
    dict(target_modules=["q_proj", "v_proj"], layers_to_transform=1),
    dict(target_modules=["q_proj", "v_proj"], layers_to_transform=[0, 2], layers_pattern="layers"),
    dict(target_modules=["q_proj", "v_proj"], layers_to_transform=[0, 3], layers_pattern=["blocks", "h"]),
    dict(target_modules=["q_proj", "v_proj", "up"], modules_to_save=["mlp"]),
    dict(target_modules=["q_proj", "v_proj", "up"], rank_pattern={"q_proj": 3, "h.1.q_proj": 5, "mlp.*": 2}),
    dict(target_modules=["q_proj", "v_proj", "up"], rank_pattern={"h.1.q_proj": 5, "q_proj": 3, "^up": 7}),
    dict(target_modules=["q_proj", "v_proj", "up"], alpha_pattern={r"h\.\d+\.(q|v)_proj": 4, "v_proj": 2, "v": 1}),
    dict(target_modules=["q_proj", "v_proj", "up"], rank_pattern={"z_proj|v_proj": 6, "(?<!vision.)layers.0.q_proj": 9}, use_rslora=True),
]
MODULES = ["up", "q_proj", "h.0.q_proj", "h.1.q_proj", "model.h.1.q_proj", "model.layers.0.q_proj", "model.layers.1.v_proj",
           "vision.layers.0.q_proj", "model.h.3.attn.experts.0.v_proj", "mlp.up", "model.h.0.mlp.up", "model.h.1.mlp.up", "faq_proj"]  # fmt: skip


def patterns():
    """What PEFT makes of names: whether a module is a target, and its rank and scale."""
    from peft.tuners.tuners_utils import _ExcludedModule, check_target_module_exists
    from peft.utils.other import get_pattern_key

    cases = []
    for settings in PATTERNS:
        config = peft.LoraConfig(r=8, lora_alpha=16, **settings)
        found = {}
        for name in MODULES:
            target = check_target_module_exists(config, name)
            rank = config.rank_pattern.get(get_pattern_key(config.rank_pattern.keys(), name), config.r)
            alpha = config.alpha_pattern.get(get_pattern_key(config.alpha_pattern.keys(), name), config.lora_alpha)
            scale = alpha / (rank**0.5 if config.use_rslora else rank)
            found[name] = [bool(target) and not isinstance(target, _ExcludedModule), rank, scale]
        # A text, since the order of its members counts.
        text = json.dumps(dict(peft_type="LORA", r=8, lora_alpha=16, **settings))
        cases.append({"config": text, "modules": found})
    lines = [json.dumps(case) for case in cases]
    (FOLDER / "patterns.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")
    print(f"patterns: {len(cases)} configurations, {len(MODULES)} modules")


if __name__ == "__main__":
    if "--patterns" in sys.argv:
        patterns()
        sys.exit()
    if "--tokens" in sys.argv:
        tokens()
        sys.exit()
    names = [a for a in sys.argv[1:] if not a.startswith("--")] or list(CASES)
    for name in names:
        (load if "--load" in sys.argv else grouped if name == "grouped" else golden)(name)
