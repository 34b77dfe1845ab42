"""Makes golden/models/*.safetensors: small twins of the trainings in specs/models.dl, by transformers, torchvision and PyTorch.

    pip install -r tests/golden/requirements.txt -r tests/golden/requirements-models.txt
    python tests/golden/models.py [NAME ..]    # all, or some

Weights and inputs are not stored: both sides make them of their names by `numbers` below. A twin runs in double precision, and
each file has, for the sizes n = 0, 1, 2 of a family:
  n/NAME         each output of the model outside of training, by its name in the spec;
  n/loss         the training's loss, in training (with all dropout at 0);
  n/norm/NAME    the norm of each gradient, and n/sketch/NAME, sixteen sums of its elements under the signs of `signs`: the
                 mean square of sixteen such sums of a difference is close to its squared norm.
  grad/NAME      the whole gradients of the size that the metadata calls `whole`.
"""

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
            if tensor.data_ptr() not in filled and tensor.is_floating_point():
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
}


def main():
    have = {m.__name__: m.__version__.split("+")[0] for m in (torchvision, transformers)}
    assert have == VERSIONS, f"pinned are {VERSIONS}, installed are {have}"
    torch.manual_seed(0)
    torch.set_num_threads(1)
    for name in sys.argv[1:] or FAMILIES:
        golden(name, FAMILIES[name])


if __name__ == "__main__":
    main()
