"""The cases of equations.safetensors: tensor equations. Each case is a whole model, `model M()(inputs) { .. }`, in the metadata;
make.py says what the tensors are."""

import torch
import torch.nn.functional as F

from common import GOLDEN, normal, save


def golden():
    tensors, cases = {}, []

    def case(name, inputs, body, f, **integers):
        """`f` gives the result from the inputs; an input is its type in the language, and its shape."""
        given = {}
        for key, (ty, shape) in inputs.items():
            if ty.startswith("i64"):
                t = integers[key]
            else:
                t = normal(f"equations/{name}/{key}", *shape).requires_grad_()
            given[key] = (ty, t)
        y = f(*[t for _, t in given.values()])
        dy = normal(f"equations/{name}/dy", *y.shape)
        y.backward(dy)
        for key, (ty, t) in given.items():
            tensors[f"{name}/{key}"] = t
            if t.requires_grad:
                tensors[f"{name}/d{key}"] = t.grad
        tensors[f"{name}/y"] = y
        tensors[f"{name}/dy"] = dy
        params = ", ".join(f"{key}: {ty}" for key, (ty, _) in given.items())
        cases.append(f"{name} = model M()({params}) {{ {body} return y }}")

    x4 = {"x": ("[B, C, H, W]", (2, 4, 7, 6))}
    case("matmul", {"x": ("[B, C]", (3, 5)), "w": ("[6, C]", (6, 5))}, "y[b, o] = sum[c](x[b, c] * w[o, c])", F.linear)
    case("batched", {"x": ("[B, T, K]", (2, 5, 3)), "w": ("[B, S, K]", (2, 4, 3))},
         "y[b, i, j] = sum[c](x[b, i, c] * w[b, j, c]) * 0.5", lambda x, w: x @ w.mT * 0.5)
    for name, shape, index, options in [
        ("conv1d", (5, 3, 3), "l + i", {}),
        ("conv1d.stride", (5, 3, 4), "2 * l + i", {"stride": 2}),
        ("conv1d.dilated", (5, 3, 3), "l + 2 * i", {"dilation": 2}),
    ]:
        case(name, {"x": ("[B, 3, L]", (2, 3, 11)), "w": (f"{list(shape)}", shape)},
             f"y[b, o, l] = sum[c, i](x[b, c, {index}] * w[o, c, i])", lambda x, w, o=options: F.conv1d(x, w, **o))
    for name, size, h, options in [
        ("conv2d", (3, 2), "{} + {}", {}),
        ("conv2d.one", (1, 1), "{} + {}", {}),
        ("conv2d.stride", (3, 3), "2 * {} + {}", {"stride": 2}),
        ("conv2d.dilated", (2, 3), "{} + 2 * {}", {"dilation": 2}),
        ("conv2d.both", (3, 2), "3 * {} + 2 * {}", {"stride": 3, "dilation": 2}),
    ]:
        shape = (5, 4, *size)
        case(name, {"x": ("[B, 4, H, W]", (2, 4, 7, 6)), "k": (f"{list(shape)}", shape)},
             f"y[b, o, h, w] = sum[c, i, j](x[b, c, {h.format('h', 'i')}, {h.format('w', 'j')}] * k[o, c, i, j])",
             lambda x, k, o=options: F.conv2d(x, k, **o))
    case("conv2d.padding", {"x": ("[B, 2, H, W]", (2, 2, 5, 6)), "k": ("[3, 2, 3, 3]", (3, 2, 3, 3))},
         "p = x -> pad[2, 3](1, 1) y[b, o, h, w] = sum[c, i, j](p[b, c, 2 * h + i, 2 * w + j] * k[o, c, i, j])",
         lambda x, k: F.conv2d(x, k, stride=2, padding=1))
    case("conv2d.groups", {"x": ("[B, 4, H, W]", (2, 4, 5, 6)), "k": ("[6, 2, 3, 3]", (6, 2, 3, 3))},
         "g = x -> [B, (2, C), H, W => B, 2, C, H, W] v = k -> [(2, O), C, I, J => 2, O, C, I, J] "
         "z[b, g, o, h, w] = sum[c, i, j](g[b, g, c, h + i, w + j] * v[g, o, c, i, j]) "
         "y = z -> [B, G, O, P, Q => B, (G, O), P, Q]", lambda x, k: F.conv2d(x, k, groups=2))
    case("depthwise", {"x": ("[B, 4, L]", (2, 4, 9)), "k": ("[4, 3]", (4, 3))},
         "y[b, c, l] = sum[i](x[b, c, l + i] * k[c, i])", lambda x, k: F.conv1d(x, k[:, None], groups=4))
    case("max_pool", x4, "y[b, c, h, w] = max[i < 2, j < 3](x[b, c, 2 * h + i, 3 * w + j])",
         lambda x: F.max_pool2d(x, (2, 3)))
    case("max_pool.overlap", x4, "y[b, c, h, w] = max[i < 3, j < 3](x[b, c, 2 * h + i, w + j])",
         lambda x: F.max_pool2d(x, 3, stride=(2, 1)))
    case("avg_pool", x4, "y[b, c, h, w] = mean[i < 3, j < 2](x[b, c, 2 * h + i, 2 * w + j])",
         lambda x: F.avg_pool2d(x, (3, 2), stride=2))
    case("diagonal", {"x": ("[B, 4, 4]", (2, 4, 4))}, "y[b, i] = x[b, i, i]", lambda x: x.diagonal(dim1=1, dim2=2))
    case("trace", {"x": ("[B, 4, 4]", (2, 4, 4))}, "y[b] = sum[i](x[b, i, i])",
         lambda x: x.diagonal(dim1=1, dim2=2).sum(-1))
    case("skew", {"x": ("[4, 7]", (4, 7))}, "y[i, j] = x[i, i + j]",
         lambda x: torch.stack([x[i, i:i + 4] for i in range(4)]))
    case("reverse", {"x": ("[3, 5]", (3, 5))}, "y[b, i] = x[b, 4 - i]", lambda x: x.flip(1))
    eot = torch.tensor([4, 0, 2])
    case("gather", {"x": ("[B, T, D]", (3, 5, 4)), "eot": ("i64[B]", (3,))}, "y[b, d] = x[b, eot[b], d]",
         lambda x, e: x[torch.arange(3), e], eot=eot)
    case("gather.two", {"x": ("[B, T, S]", (3, 5, 4)), "i": ("i64[N]", ()), "j": ("i64[N]", ())},
         "y[b, n] = x[b, i[n], j[n]]", lambda x, i, j: x[:, i, j],
         i=torch.tensor([4, 0, 4, 2, 2, 4]), j=torch.tensor([1, 3, 1, 0, 2, 1]))
    ids = torch.tensor([[1, 0, 6], [6, 6, 2]])
    case("embedding", {"w": ("[7, D]", (7, 4)), "ids": ("i64[B, T]", ())}, "y[b, t, d] = w[ids[b, t], d]",
         lambda w, ids: w[ids], ids=ids)
    case("causal", {"x": ("[B, T, T]", (2, 4, 4))},
         "s = x s[b, i, j] = where(j <= i, s[b, i, j], -1e4) y = s -> softmax",
         lambda x: x.masked_fill(torch.ones(4, 4).triu(1).bool(), -1e4).softmax(-1))
    case("attention", {"q": ("[B, H, T, K]", (2, 2, 4, 3)), "k": ("[B, H, S, K]", (2, 2, 5, 3)),
                       "v": ("[B, H, S, K]", (2, 2, 5, 3))},
         "s[b, h, i, j] = sum[c](q[b, h, i, c] * k[b, h, j, c]) * K ^ -0.5 a = softmax(s) "
         "y[b, h, i, c] = sum[j](a[b, h, i, j] * v[b, h, j, c])", F.scaled_dot_product_attention)
    case("three", {"x": ("[B, I]", (3, 4)), "w": ("[I, J]", (4, 5)), "z": ("[B, J]", (3, 5))},
         "y[b] = sum[i, j](x[b, i] * w[i, j] * z[b, j])", lambda x, w, z: torch.einsum("bi,ij,bj->b", x, w, z))
    case("outer", {"x": ("[I]", (4,)), "z": ("[J]", (5,))}, "y[j, i] = 2 * x[i] * z[j] + i",
         lambda x, z: 2 * z[:, None] * x + torch.arange(4))
    case("lone", {"x": ("[B, I]", (3, 4)), "z": ("[B, J]", (3, 5))}, "y[b] = sum[i, j](x[b, i] * z[b, j]) + sum[i](x[b, i])",
         lambda x, z: x.sum(1) * z.sum(1) + x.sum(1))
    case("rest", {"x": ("[B, C, H, W]", (3, 2, 4, 5)), "w": ("[C]", (2,))},
         "m[c] = mean[b, ..](x[b, c, ..]) v[c] = mean[b, ..]((x[b, c, ..] - m[c]) ^ 2) "
         "y[b, c, ..] = (x[b, c, ..] - m[c]) * rsqrt(v[c] + 0.01) * w[c]",
         lambda x, w: F.batch_norm(x, None, None, w, None, True, 0.1, 0.01))
    case("inner", {"x": ("[B, C, T]", (3, 2, 4)), "w": ("[C, T]", (2, 4))}, "y[b, c] = sum[..](x[b, c, ..] * w[c, ..])",
         lambda x, w: (x * w).sum(-1))
    case("functions", {"x": ("[B, I]", (3, 4)), "w": ("[I]", (4,))},
         "y[i, b] = sigmoid(x[b, i] + w[i]) * (x[b, i] -> gelu) / 2", lambda x, w: (torch.sigmoid(x + w) * F.gelu(x) / 2).T)
    case("softmax", {"x": ("[B, T, I]", (3, 2, 4)), "w": ("[T]", (2,))}, "y[t, b, ..] = softmax(x[b, t, ..] * w[t])",
         lambda x, w: (x * w[:, None]).softmax(-1).transpose(0, 1))
    case("slices", {"x": ("[B, 9]", (3, 9))}, "y = x[:, 1:8:3] + x[:, 2:8:2]", lambda x: x[:, 1:8:3] + x[:, 2:8:2])
    save(GOLDEN / "equations.safetensors", tensors, cases="\n".join(cases))
