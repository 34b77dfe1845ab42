"""Makes the small files of tensors that the readers of weights are tested with, and what is in them.

    pip install -r tests/golden/requirements.txt gguf==0.19.0
    python tests/golden/weights.py                 # writes golden/weights/*: the same bytes on every run, but for old.pth and
                                                   # beside_old.pth, which hold addresses of memory
    python tests/golden/weights.py --real FOLDER   # writes golden/weights/real.txt, from the files of examples/fetch in FOLDER

Each file `F` in golden/weights holds tensors `N`, and `expected.safetensors` has each under the name `F/N`, as PyTorch, NumPy
or gguf read it. Those whose elements safetensors has no name for are there as f32.

real.txt has a line for each tensor of the real files: the CRC-32 of its elements (of quantised ones as gguf turns them into
f32), its type, its shape, and its name; a line that begins with `#` names the file.
"""

import argparse
import collections
import datetime
import decimal
import io
import json
import sys
import types
import zipfile
import zlib
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf.quants import dequantize, quantize
from safetensors.torch import load_file, save_file

from common import GOLDEN, normal

OUT = GOLDEN / "weights"
EXPECTED = {}


def expect(file, tensors):
    for name, tensor in tensors.items():
        if isinstance(tensor, np.ndarray):
            tensor = torch.from_numpy(np.ascontiguousarray(tensor.astype(tensor.dtype.newbyteorder("="))).reshape(tensor.shape))
        EXPECTED[f"{file}/{name}"] = tensor.detach().clone().contiguous()


def tensors():
    """One tensor of each type, and the shapes that are easily forgotten."""
    return {
        "fc.weight": normal("weights/fc", 3, 4),
        "f16": normal("weights/f16", 5).half(),
        "f64": normal("weights/f64", 2, 3).double() * 1.1,
        "i64": torch.tensor([1 << 40, -1, 0]),
        "i32": torch.tensor([[7, -7], [1, 2]], dtype=torch.int32),
        "i16": torch.tensor([300, -300], dtype=torch.int16),
        "i8": torch.tensor([-128, 127], dtype=torch.int8),
        "u8": torch.tensor([0, 255, 7], dtype=torch.uint8),
        "bool": torch.tensor([True, False, True]),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 4),
    }


def zip_at_a_fixed_time(path, data):
    """Writes an archive again with the date that has no meaning."""
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(path, "w") as new:
        for info in old.infolist():
            fixed = zipfile.ZipInfo(info.filename)
            fixed.compress_type = info.compress_type
            new.writestr(fixed, old.read(info))


def npz():
    arrays = {name: tensor.numpy() for name, tensor in tensors().items()}
    arrays["columns"] = np.asfortranarray(normal("weights/columns", 2, 3, 4).numpy())
    arrays["high_first"] = normal("weights/high", 2, 3).numpy().astype(">f4")
    arrays["u32"] = np.array([1 << 31], dtype=np.uint32)
    for name, write in (("stored.npz", np.savez), ("packed.npz", np.savez_compressed)):
        out = io.BytesIO()
        write(out, **arrays, note=np.array("a note, ünïcode"))
        zip_at_a_fixed_time(OUT / name, out.getvalue())
        expect(name, {name: value for name, value in arrays.items()})


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(2, 2)


class Call:
    def __reduce__(self):
        import os

        return os.system, ("touch called",)


def pth():
    large = normal("weights/large", 6, 4)
    state = tensors() | {
        "bf16": normal("weights/bf16", 2, 3).bfloat16(),
        "turned": large.t(),
        "rows": large[2:4],
        "every_other": large[::2, 1],
        "tied": large,
        "part": large.view(2, 3, 4).permute(2, 0, 1)[1:3],
        "parameter": torch.nn.Parameter(normal("weights/parameter", 2)),
    }
    torch.save(state, OUT / "new.pth")
    expect("new.pth", state)
    torch.save(state, OUT / "old.pth", _use_new_zipfile_serialization=False)
    expect("old.pth", state)
    net = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    with torch.no_grad():
        for name, weight in net.named_parameters():
            weight.copy_(normal(f"weights/net/{name}", *weight.shape))
    optimizer = torch.optim.AdamW(net.parameters())
    net(normal("weights/x", 5, 3)).sum().backward()
    optimizer.step()
    checkpoint = {"epoch": 3, "loss": 0.25, "state_dict": net.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(checkpoint, OUT / "nested.pth")
    expect("nested.pth", net.state_dict())
    checkpoints()
    whole = Net()
    with torch.no_grad():
        for weight in whole.parameters():
            weight.zero_()
    torch.save(whole, OUT / "module.pth")
    torch.save({"fc.weight": torch.zeros(2), "payload": Call()}, OUT / "call.pth")


class Settings:
    def __init__(self):
        self.lr = 0.1


def checkpoints():
    """Weights beside other tensors, and beside what says nothing of tensors."""
    weights = {"a.weight": normal("weights/a", 3, 2), "a.bias": normal("weights/b", 3)}
    # A set of one, since the order of more is not the same on every run.
    beside = {
        "args": argparse.Namespace(lr=0.1, out=Path("runs/1")),
        "settings": Settings(),
        "counts": collections.Counter("ab"),
        "lists": collections.defaultdict(list, a=[1]),
        "last": collections.deque([1, 2], maxlen=3),
        "when": datetime.datetime(2020, 1, 2, 3, tzinfo=datetime.timezone.utc),
        "took": datetime.timedelta(seconds=5),
        "price": decimal.Decimal("0.1"),
        "plain": types.SimpleNamespace(a=1),
        "number": np.float64(0.3),
        "whole": np.int64(7),
        "array": np.arange(3.0),
        "random": np.random.RandomState(0).get_state(),
        "set": {1},
        "frozen": frozenset({"a"}),
        "complex": 1 + 2j,
        "range": range(3),
        "slice": slice(1, None),
        "bytes": b"abc",
        "size": torch.Size([2]),
        "device": torch.device("cpu"),
        "dtype": torch.float16,
        "layout": torch.strided,
        "function": torch.relu,
    }
    loss = {"loss": torch.tensor(0.4), "best": torch.tensor(0.2), "rng_state": torch.arange(7, dtype=torch.uint8)}
    for protocol in (2, 4, 5):
        file = f"beside{protocol}.pth"
        torch.save({"epoch": 3} | loss | beside | {"model_state_dict": weights}, OUT / file, pickle_protocol=protocol)
        expect(file, weights)
    torch.save({"epoch": 3} | loss | beside | {"model_state_dict": weights}, OUT / "beside_old.pth", _use_new_zipfile_serialization=False)
    expect("beside_old.pth", weights)
    # A key that no one else has; a tensor has attributes, so has a parameter.
    marked, parameter = normal("weights/c", 2), torch.nn.Parameter(normal("weights/d", 2))
    marked.mark, parameter.mark = "x", "y"
    views = {
        "repeated": normal("weights/e", 3).expand(2, 3),
        "one": torch.tensor(2.5).expand(4, 1, 2),
        "negative": torch._neg_view(normal("weights/f", 2, 3)),
        "negative_half": torch._neg_view(normal("weights/g", 5).half()),
        "negative_i32": torch._neg_view(torch.tensor([0, 1, -256, 65536], dtype=torch.int32)),
        "imaginary": torch.complex(normal("weights/h", 3), normal("weights/i", 3)).conj().imag,
        "marked": marked,
        "parameter": parameter,
    }
    torch.save(loss | {"mine": collections.defaultdict(dict, views)}, OUT / "views.pth")
    expect("views.pth", {name: tensor.resolve_neg() for name, tensor in views.items()})


def adapter():
    """An adapter as PEFT wrote it before it wrote safetensors."""
    names = {"A": "base_model.model.fc.lora_A.weight", "B": "base_model.model.fc.lora_B.weight"}
    shapes = {"A": (2, 3), "B": (4, 2)}
    tensors = {names[n]: normal(f"weights/adapter/{n}", *shapes[n]) for n in names}
    folder = OUT / "adapter"
    folder.mkdir(exist_ok=True)
    torch.save(tensors, folder / "adapter_model.bin")
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["fc"], "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(config) + "\n")
    expect("adapter", tensors)


def shards():
    all_tensors = tensors() | {"bf16": normal("weights/bf16", 2, 3).bfloat16()}
    names = sorted(all_tensors)
    folder = OUT / "sharded"
    folder.mkdir(exist_ok=True)
    where = {}
    for i, part in enumerate((names[::2], names[1::2])):
        file = f"model-0000{i + 1}-of-00002.safetensors"
        save_file({name: all_tensors[name] for name in part}, folder / file, {"format": "pt"})
        where |= {name: file for name in part}
    index = {"metadata": {"total_size": 1}, "weight_map": dict(sorted(where.items()))}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")
    expect("sharded", all_tensors)


def gguf_file():
    path = OUT / "quantized.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_block_count(1)
    writer.add_array("tokenizer.ggml.tokens", ["a", "b"])
    expected = {}
    kinds = gguf.GGMLQuantizationType
    for kind in (kinds.F32, kinds.F16, kinds.BF16, kinds.Q4_0, kinds.Q4_1, kinds.Q5_0, kinds.Q5_1, kinds.Q8_0):
        numbers = normal(f"weights/{kind.name}", 2, 64).numpy()
        data = quantize(numbers, kind)
        writer.add_tensor(kind.name, data, raw_dtype=kind)
        if kind == kinds.F16:
            expected[kind.name] = data
        elif kind == kinds.BF16:
            expected[kind.name] = torch.from_numpy(data.view(np.int16).copy()).view(torch.bfloat16).reshape(2, 64)
        else:
            expected[kind.name] = dequantize(data, kind).astype(np.float32)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    expect("quantized.gguf", expected)


def line(name, kind, shape, data):
    return f"{zlib.crc32(data):08x} {kind} {json.dumps(list(map(int, shape)))} {name}"


def torch_line(name, tensor):
    kind = {"float32": "f32", "int64": "i64"}[str(tensor.dtype).removeprefix("torch.")]
    return line(name, kind, tensor.shape, tensor.contiguous().numpy().tobytes())


def real(folder):
    lines = []
    for file in ("digit-recognizer-cnn/handwriting_model.pth", "efficientnet-lite0/efficientnet-lite0-57934424.pth"):
        state = torch.load(folder / file, weights_only=True)
        lines += [f"# {file}"] + sorted((torch_line(*item) for item in state.items()), key=lambda l: l.split()[-1])
    file = "all-MiniLM-L6-v2/model.safetensors"
    lines += [f"# {file}"] + [torch_line(*item) for item in sorted(load_file(folder / file).items())]
    for file in ("glassllm/en.npz", "glassllm/pt.npz"):
        with np.load(folder / file) as arrays:
            kinds = {"<f2": "f16", "<f4": "f32"}
            numbers = {name: arrays[name] for name in arrays.files if arrays[name].dtype.kind == "f"}
            lines += [f"# {file}"]
            lines += [line(n, kinds[a.dtype.str], a.shape, a.tobytes()) for n, a in sorted(numbers.items())]
    file = "smollm2-135m-gguf/SmolLM2-135M-Instruct.Q4_1.gguf"
    lines += [f"# {file}"]
    for tensor in sorted(gguf.GGUFReader(folder / file).tensors, key=lambda tensor: tensor.name):
        numbers = dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        lines.append(line(tensor.name, tensor.tensor_type.name.replace("F32", "f32"), tensor.shape[::-1], numbers.tobytes()))
    (OUT / "real.txt").write_text("\n".join(lines) + "\n")


def main():
    OUT.mkdir(exist_ok=True)
    if "--real" in sys.argv:
        return real(Path(sys.argv[sys.argv.index("--real") + 1]))
    npz()
    pth()
    adapter()
    shards()
    gguf_file()
    save_file(EXPECTED, OUT / "expected.safetensors")


if __name__ == "__main__":
    main()
