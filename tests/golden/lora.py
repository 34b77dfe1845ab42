"""Makes golden/lora: twins of the trainings in specs/lora.dl, by PEFT on transformers.

    pip install -r tests/golden/requirements.txt -r tests/golden/requirements-models.txt -r tests/golden/requirements-lora.txt
    python tests/golden/lora.py [NAME ..]      # all, or some
    python tests/golden/lora.py --load         # holds what dlc wrote, golden/lora/NAME/ours, against the same numbers

Weights, adapters included, and inputs are made of their names as in models.py, in double precision. A folder has
  golden.safetensors   logits, with the adapter; loss, and grad/NAME for each trained weight; trained/NAME after twenty steps
                       of AdamW on the batch; merged/NAME, what merging makes of each adapted weight before any step
  peft/                the adapter as PEFT saves it
  ours/                the adapter as dlc writes it, which the tests compare with what it writes
"""

import sys

import numpy as np
import peft
import torch
from models import GOLDEN, bert_config, distilbert, fill, first_token, gpt2, llama, logits, masked, plain, segments, each_token, weight, without
from safetensors.numpy import load_file, save_file

import transformers

FOLDER = GOLDEN / "lora"


def bert():
    return transformers.BertForSequenceClassification(bert_config(num_labels=4))


def llama2():
    return llama(num_attention_heads=6, num_key_value_heads=2, rope_theta=500.0)


LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
CASES = {
    "distilbert": (distilbert, masked, first_token, dict(r=4, lora_alpha=8, target_modules=["q_lin", "v_lin", "pre_classifier", "classifier"])),
    "bert": (bert, segments, first_token, dict(r=2, lora_alpha=3, target_modules=["query", "value"], bias="lora_only", modules_to_save=["classifier"])),
    "gpt2": (gpt2, plain, each_token, dict(r=2, lora_alpha=8, target_modules=["c_attn", "mlp.c_fc", "mlp.c_proj"], rank_pattern={r"mlp\.c_fc": 3, r"mlp\.c_proj": 3}, fan_in_fan_out=True)),
    "table": (distilbert, masked, first_token, dict(r=3, lora_alpha=3, target_modules=["word_embeddings", "layer.1.ffn.lin1"])),
    "dora": (distilbert, masked, first_token, dict(r=2, lora_alpha=4, target_modules=["q_lin", "lin2"], use_dora=True)),
    "llama2": (llama2, plain, each_token, dict(r=4, lora_alpha=6, use_rslora=True, target_modules=LINEAR, layers_to_transform=[1])),
}  # fmt: skip


def ours(name):
    """What a parameter of PEFT's is called in a spec, and whether it lies the other way round."""
    name = name.removeprefix("base_model.model.").removeprefix("transformer.").replace(".base_layer.", ".").replace(".modules_to_save.default.", ".")
    for theirs, own in ((".lora_A.default.weight", ".lora.A"), (".lora_B.default.weight", ".lora.B"), (".lora_embedding_A.default", ".lora.A"), (".lora_embedding_B.default", ".lora.B")):
        if name.endswith(theirs):
            return name.removesuffix(theirs) + own, True
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
    return p.detach().T if turned else p.detach()


def begin(parameters, lengths):
    """The first values of an adapter; what is trained beside it begins as it is."""
    with torch.no_grad():
        for own, (p, turned) in parameters.items():
            if turned:
                p.copy_(torch.tensor(weight(own, tuple(p.T.shape))).T)
            elif own in lengths:
                p.copy_(lengths[own] + torch.tensor(weight(own, tuple(p.shape))))


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
                tensors[f"grad/{own}"] = (p.grad.T if turned else p.grad).clone()
        optimizer.step()
    for own, (p, turned) in parameters.items():
        # A spec has a magnitude beyond the lengths of the base's columns.
        tensors[f"trained/{own}"] = spec_shape(p, turned) - lengths.get(own, 0)
    begin(parameters, lengths)
    adapted = {own.removesuffix(".lora.A") for own in parameters if own.endswith(".lora.A")}
    merged = dict(model.merge_and_unload().named_parameters())
    for module in sorted(adapted):
        tensors[f"merged/{module}.weight"] = merged["transformer." * (name == "gpt2") + f"{module}.weight"]
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


if __name__ == "__main__":
    names = [a for a in sys.argv[1:] if not a.startswith("--")] or list(CASES)
    for name in names:
        (load if "--load" in sys.argv else golden)(name)
