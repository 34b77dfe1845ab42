//! Parts of tensors at sizes where they are not there: positions from the end, slices, windows, extents. The interpreter and
//! machine code give what NumPy gives, or both refuse the sizes.

use crate::machine::engine;
use crate::support::spec::{Columns, compile, mistakes, shown};
use dlc_compiler::pipeline::{Compiled, Goal, Request, check};
use dlc_compiler::program::Role;
use dlc_compiler::program::interp::{Tensor, run_entry};
use dlc_plan::{DType, HostState};
use dlc_runtime::Error;
use dlc_runtime::tensor::Tensor as Given;

fn forward(text: &str) -> Compiled {
    let goal = Goal::Run { model: None, training: false };
    compile(text, goal, &[], &mut Columns(Vec::new()), &mut |_, _| {})
        .unwrap_or_else(|f| panic!("{text}\n{}", shown(&f).join("\n")))
}

/// x[b, t] = 100 b + t + 1.
fn input(rows: usize, columns: usize) -> Tensor {
    let element = |i: usize| (100 * (i / columns.max(1)) + i % columns.max(1) + 1) as f64;
    Tensor::new([rows, columns], (0..rows * columns).map(element).collect::<Vec<_>>())
}

/// What a model makes of such an input, by both engines; `None` where both refuse its sizes.
fn both(c: &Compiled, rows: usize, columns: usize) -> Option<Vec<f64>> {
    let (host, x) = (HostState::default(), input(rows, columns));
    let entry = c.program.entry("forward").unwrap();
    let meant = run_entry(&c.program, entry, vec![x.clone()], &host);
    let single = x.data.iter().map(|x| *x as f32).collect();
    let given = Given::from_f32(x.shape, single).unwrap();
    let found = engine(&c.plan, 1).run("forward", &host, &[("x", &given)]);
    match (meant, found) {
        (Ok(meant), Ok(found)) => {
            let found: Vec<f64> = found[0].1.to_f32_vec().iter().map(|x| f64::from(*x)).collect();
            assert_eq!(meant[0].data, found, "[{rows}, {columns}]\n{}", c.plan);
            Some(found)
        }
        (Err(meant), Err(Error::Guard { message })) => {
            assert_eq!(message, meant.to_string());
            None
        }
        (meant, found) => panic!("[{rows}, {columns}]: {meant:?} and {found:?}\n{}", c.plan),
    }
}

/// Where elements of `x[b, ..]` are read: their places along the second axis, if there are such.
type Places = fn(i64) -> Option<Vec<i64>>;

/// The places of a slice, if it lies inside.
fn slice(from: i64, to: i64, by: i64, len: i64) -> Option<Vec<i64>> {
    (0 <= from && from <= to && to <= len).then(|| (from..to).step_by(by as usize).collect())
}

fn at(place: i64, len: i64) -> Option<Vec<i64>> {
    (0..len).contains(&place).then(|| vec![place])
}

const CASES: [(&str, Places); 34] = [
    ("return x[:, -5]", |t| at(t - 5, t)),
    ("return x[:, -1]", |t| at(t - 1, t)),
    ("return x[:, 3]", |t| at(3, t)),
    ("return x[:, -1000000000]", |_| None),
    ("return x[:, T - 3]", |t| at(t - 3, t)),
    ("return x[:, 2 * T - 7]", |t| at(2 * t - 7, t)),
    ("return x[:, floor(T / 2)]", |t| at(t / 2, t)),
    ("return x[:, floor((T - 3) / 2)]", |t| at((t - 3).div_euclid(2), t)),
    ("n = T - 4 return x[:, n]", |t| at(t - 4, t)),
    ("return x[:, -5:-3]", |t| slice(t - 5, t - 3, 1, t)),
    ("return x[:, -2:]", |t| slice(t - 2, t, 1, t)),
    ("return x[:, -4:-1]", |t| slice(t - 4, t - 1, 1, t)),
    ("return x[:, :-3]", |t| slice(0, t - 3, 1, t)),
    ("return x[:, :T - 3]", |t| slice(0, t - 3, 1, t)),
    ("return x[:, 2:T - 3]", |t| slice(2, t - 3, 1, t)),
    ("return x[:, 2:-3]", |t| slice(2, t - 3, 1, t)),
    ("return x[:, -7::2]", |t| slice(t - 7, t, 2, t)),
    ("return x[:, 1:-2:3]", |t| slice(1, t - 2, 3, t)),
    ("return x[:, ::3]", |t| slice(0, t, 3, t)),
    ("return x[:, T - 2:5]", |t| slice(t - 2, 5, 1, t)),
    ("return x[:, 4:]", |t| slice(4, t, 1, t)),
    ("return x[:, 2:2]", |t| slice(2, 2, 1, t)),
    ("return x[:, -1:][:, -1:]", |t| slice(t - 1, t, 1, t)),
    ("return x[:, -4:][:, -3]", |t| at(t - 3, t).filter(|_| t >= 4)),
    ("return x[:, 1:][:, :-1]", |t| slice(1, t - 1, 1, t)),
    ("z[b] = x[b, T - 3] return z", |t| at(t - 3, t)),
    ("z[b] = x[b, -2] return z", |t| at(t - 2, t)),
    ("z[b, i] = x[b, i + 3] return z", |t| slice(3, t, 1, t)),
    ("z[b, i] = x[b, 2 * i + 1] return z", |t| slice(1, t.max(1), 2, t.max(1))),
    ("repeat 2 { x = x[:, 1:-1] } return x", |t| slice(2, t - 2, 1, t)),
    ("repeat 3 as i { x = x[:, i:] } return x", |t| slice(3, t, 1, t)),
    ("return last(x, 3)", |t| slice(t - 3, t, 1, t)),
    ("return last(last(x, 4), 2)", |t| slice(t - 2, t, 1, t).filter(|_| t >= 4)),
    ("return x -> l: Last(2)", |t| slice(t - 2, t, 1, t)),
];

#[test]
fn parts_of_a_tensor_are_there_or_refused_by_both_engines() {
    for (body, places) in CASES {
        let text = format!(
            "fn last(x, n) {{ T = numel(x[0]) return x[:, T - n:] }}
block Last(n)(x: [B, T]) {{ return x[:, -n:] }}
model M()(x: [B, T]) {{ {body} }}"
        );
        let c = forward(&text);
        for columns in 0..9 {
            for rows in [1, 3] {
                let row = |b: usize, p: &[i64]| p.iter().map(|t| (100 * b) as f64 + (*t + 1) as f64).collect();
                let expected =
                    places(columns).map(|p| (0..rows).flat_map(|b| -> Vec<f64> { row(b, &p) }).collect::<Vec<f64>>());
                let found = both(&c, rows, columns as usize);
                assert_eq!(found, expected, "{body} of [{rows}, {columns}]");
            }
        }
    }
}

/// What a result sums to, from the length of the input's rows.
type Sum = fn(f64) -> f64;

/// Other things whose extents depend on the input's: for each the least T with which it runs, and what it sums to.
#[test]
fn extents_are_never_negative() {
    let cases: [(&str, usize, Sum); 8] = [
        ("return pad[0](f32(iota(T - 3)), 1, 2)", 3, |t| (t - 3.0) * (t - 4.0) / 2.0),
        ("return f32(pad[0](iota(T), T - 2, 0))", 2, |t| t * (t - 1.0) / 2.0),
        ("return f32(iota(T)) -> [A => A, T - 2]", 2, |t| (t - 2.0) * t * (t - 1.0) / 2.0),
        ("z[b] = sum[i < T - 4](x[b, 0]) return z", 4, |t| t - 4.0),
        ("v, at = top_k(x[0], T - 1) return f32(at)", 1, |t| (1..t as i64).map(|i| i as f64).sum()),
        ("v, at = top_k(x[0], 3) return v", 3, |t| 3.0 * t - 3.0),
        ("a, b = split[0](x[0], [3, T - 3]) return b", 3, |t| (4..=t as i64).map(|i| i as f64).sum()),
        ("return f32(positions(2, T - 1))", 1, |t| (t - 1.0) * (t - 2.0)),
    ];
    for (body, least, sum) in cases {
        let c = forward(&format!("model M()(x: [B, T]) {{ {body} }}"));
        for columns in 0..9 {
            let found = both(&c, 1, columns).map(|y| y.iter().sum::<f64>());
            let expected = (columns >= least).then(|| sum(columns as f64));
            assert_eq!(found, expected, "{body} of {columns}");
        }
    }
}

/// Whatever reads a part: the model in a loss, a metric, columns, what is asked of the whole split, augmentation, gradients.
#[test]
fn every_entry_of_a_training_refuses_batches_that_are_too_short() {
    let text = |model: &str, loss: &str, columns: &str, rest: &str| {
        format!(
            "model M(N = 2)(x: [B, N]) -> y: [B, N] {{ w: param [N] = ones  y = x * w  {model}  return y }}
data rows {{ source = safetensors(\"rows.safetensors\")  columns {{ {columns} }}  {rest}  batch = 4 }}
train fit {{ model = M() data = rows loss = {loss} optimizer = SGD(lr = 0.1) epochs = 1 }}"
        )
    };
    let cases = [
        ("grad", 3, text("y = y + y[-3]", "sum(y)", "x = x", "")),
        ("accumulate", 3, text("y = y + y[-3]", "sum(y)", "x = x", "")),
        ("forward", 3, text("y = y + y[-3]", "sum(y)", "x = x", "")),
        ("grad", 2, text("", "sum(y[-2:])", "x = x", "")),
        ("accumulate", 5, text("", "sum(y[4])", "x = x", "")),
        ("evaluate", 4, text("", "sum(y) metrics { m = sum(y[-4:]) }", "x = x", "")),
        ("columns", 2, text("", "sum(y)", "x = x - x[-2]", "")),
        ("statistics", 4, text("", "sum(y)", "x = x - statistic(mean[0](x[-4:]))", "")),
        ("augment", 3, text("", "sum(y)", "x = x", "augment { x = x + x[-3] }")),
        ("where", 3, text("", "sum(y)", "x = x", "where = x[:, 0] > x[-3, 0]")),
    ];
    for (entry, least, text) in cases {
        let mut files = Columns(vec![("x", DType::F32, vec![2])]);
        let c = compile(&text, Goal::Train { item: None }, &[], &mut files, &mut |_, _| {})
            .unwrap_or_else(|f| panic!("{text}\n{}", shown(&f).join("\n")));
        for rows in 0..7 {
            let host = HostState::default();
            let e = c.program.entry(entry).unwrap_or_else(|| panic!("no entry {entry}\n{text}"));
            let weight = Tensor::new([2], [1.0, 1.0]);
            let role = |role: &Role| if let Role::Named(_) = role { input(rows, 2) } else { weight.clone() };
            let meant = run_entry(&c.program, e, e.inputs.iter().map(role).collect(), &host);
            assert_eq!(meant.is_ok(), rows >= least, "{entry} of {rows} rows: {meant:?}\n{text}");
            let mut machine = engine(&c.plan, 1);
            machine.run("init", &host, &[]).unwrap();
            let single = input(rows, 2).data.iter().map(|x| *x as f32).collect();
            let given = Given::from_f32(vec![rows, 2], single).unwrap();
            let ports = c.plan.entries.iter().find(|e| e.name == entry).unwrap().inputs.iter();
            let given: Vec<(&str, &Given)> = ports.map(|p| (p.name.as_str(), &given)).collect();
            let found = machine.run(entry, &host, &given);
            match found {
                Ok(_) => assert!(rows >= least, "{entry} of {rows} rows runs\n{text}"),
                Err(Error::Guard { message }) => assert!(rows < least, "{message}\n{text}"),
                Err(other) => panic!("{other}\n{text}"),
            }
        }
    }
}

/// What a stated derivative reads has to be there as well, though nothing else reads it.
#[test]
fn a_stated_derivative_refuses_what_it_cannot_read() {
    let text = "fn odd(x: [B, N]) = x * 2 derivative (y, dy) { return dy + x[-3] }
model M(N = 2)(x: [B, N]) -> y: [B, N] { w: param [N] = ones  return odd(x * w) }
data rows { source = safetensors(\"rows.safetensors\") batch = 4 }
train fit { model = M() data = rows loss = sum(y) optimizer = SGD(lr = 0.1) epochs = 1 }";
    let mut files = Columns(vec![("x", DType::F32, vec![2])]);
    let c = compile(text, Goal::Train { item: None }, &[], &mut files, &mut |_, _| {})
        .unwrap_or_else(|f| panic!("{}", shown(&f).join("\n")));
    let host = HostState::default();
    for rows in 0..6 {
        let mut machine = engine(&c.plan, 1);
        machine.run("init", &host, &[]).unwrap();
        let x = Given::from_f32(vec![rows, 2], vec![1.0; rows * 2]).unwrap();
        match machine.run("grad", &host, &[("x", &x)]) {
            Ok(_) => assert!(rows >= 3, "{rows} rows"),
            Err(Error::Guard { message }) => assert!(rows < 3 && message.contains("needs 0 <= B - 3"), "{message}"),
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn a_part_that_is_never_there_is_a_mistake() {
    let cases = [
        ("x[:, 3:1]", "E0311 1:36 `3:1`: this slice of T begins at 3 and ends at 1"),
        ("x[:, -1:-3]", "E0311 1:36 `-1:-3`: this slice of T begins at T - 1 and ends at T - 3"),
        ("x[:, T]", "E0311 1:36 `T`: T is outside of T"),
        ("x[:, T + 2:]", "E0311 1:36 `T + 2:`: this slice of T begins at T + 2 and ends at T"),
        ("x[:, -T - 1]", "E0311 1:36 `-T - 1`: -T - 1 is outside of T"),
        ("pad[1](x, -T - 1, 0)", "E0303 1:41 `-T - 1`: a size cannot be -T - 1"),
        ("pad[1](x, -1, 0)", "E0303 1:41 `-1`: a size cannot be -1"),
        (
            "x[:, :, none, none, none, none, none, none, none, none, none, none, none, none, none, none, none]",
            "E0311 1:31 `x[:, :, none, none, none, none, none, none, none, none, none, none, none, none, none, none, none]`: a tensor with new axes has at most 16, and this one has 2 already",
        ),
        ("x[:, :, 0]", "E0311 1:31 `x[:, :, 0]`: 3 indices are too many for [B, T]"),
    ];
    for (value, expected) in cases {
        let found = mistakes(&format!("model M()(x: [B, T]) {{ return {value} }}"), &mut Columns(Vec::new()));
        assert_eq!(found, [expected], "{value}");
    }
}

/// What a model makes of a tensor of that shape, by both engines, which agree; the message where both refuse it.
fn of_shape(c: &Compiled, shape: &[usize]) -> Result<(Vec<usize>, Vec<f64>), String> {
    let n: usize = shape.iter().product();
    let x = Tensor::new(shape, (0..n).map(|i| ((i * 7) % 11) as f64 - 4.0).collect::<Vec<_>>());
    let host = HostState::default();
    let entry = c.program.entry("forward").unwrap();
    let mut args = vec![x.clone()];
    args.extend(entry.inputs[1..].iter().map(|role| match role {
        Role::Weight(ids) => {
            let ty = &c.program.weights[ids[0].0 as usize].ty;
            let shape: Vec<usize> = ty.shape.iter().map(|s| s.known().unwrap() as usize).collect();
            let n: usize = shape.iter().product();
            Tensor::new(shape, vec![0.5; n])
        }
        other => panic!("{other:?}"),
    }));
    let single = x.data.iter().map(|x| *x as f32).collect();
    let given = Given::from_f32(x.shape, single).unwrap();
    let mut engine = engine(&c.plan, 1);
    for (store, role) in entry.inputs[1..].iter().enumerate() {
        let Role::Weight(ids) = role else { panic!("{role:?} of {store}") };
        let weight = &c.program.weights[ids[0].0 as usize];
        let n = args[store + 1].data.len();
        if !weight.ty.dtype.is_float() {
            continue;
        }
        let given = Given::from_f32(args[store + 1].shape.clone(), vec![0.5; n]).unwrap();
        engine.stores_mut().set_weight(&weight.name, &given).unwrap();
    }
    let found = engine.run("forward", &host, &[("x", &given)]);
    match (run_entry(&c.program, entry, args, &host), found) {
        (Ok(meant), Ok(found)) => {
            assert_eq!(meant[0].shape, found[0].1.shape(), "{shape:?}");
            for (a, b) in meant[0].data.iter().zip(found[0].1.to_f32_vec()) {
                let b = f64::from(b);
                assert!((a - b).abs() <= 1e-5 * a.abs().max(1.0) || (a.is_nan() && b.is_nan()), "{shape:?}: {a}, {b}");
            }
            Ok((meant[0].shape.clone(), meant[0].data.clone()))
        }
        (Err(meant), Err(Error::Guard { message })) => {
            assert_eq!(message, meant.to_string());
            Err(message)
        }
        (meant, found) => panic!("{shape:?}: {meant:?} and {found:?}"),
    }
}

#[test]
fn a_window_that_is_wider_than_its_axis_is_refused_whatever_the_stride() {
    // How wide the window is, and how many zeros there are at both ends of an axis.
    let cases = [
        ("max_pool(x, 2)", 2, 0, 2),
        ("max_pool(x, 3, 1, 1)", 3, 1, 1),
        ("avg_pool(x, 2, 5)", 2, 0, 5),
        ("avg_pool(x, 3, 2, 1)", 3, 1, 2),
        ("x -> c: Conv2d(1, 3)", 3, 0, 1),
        ("x -> c: Conv2d(1, 2, stride = 4, dilation = 2)", 3, 0, 4),
        ("x -> c: Conv2d(1, 3, padding = 1, stride = 2)", 3, 1, 2),
    ];
    for (value, wide, padding, stride) in cases {
        let c = forward(&format!("model M()(x: [B, 1, H, W]) -> y: [B, 1, _, _] {{ return {value} }}"));
        for (b, h, w) in (0..3).flat_map(|b| (0..5).flat_map(move |h| (0..5).map(move |w| (b, h, w)))) {
            let places = |n: usize| (n + 2 * padding).checked_sub(wide).map(|room| room / stride + 1);
            match (of_shape(&c, &[b, 1, h, w]), places(h), places(w)) {
                (Ok((shape, _)), Some(y), Some(x)) => assert_eq!(shape, [b, 1, y, x], "{value} of {h} x {w}"),
                (Err(said), y, x) if y.is_none() || x.is_none() => assert!(said.contains("requires"), "{said}"),
                (found, ..) => panic!("{value} of {h} x {w}: {found:?}"),
            }
        }
    }
}

#[test]
fn the_greatest_and_the_mean_of_windows_are_those_that_are_counted() {
    let x = |i: usize, j: usize| ((i * 5 + j) * 7 % 11) as f64 - 4.0;
    for (value, mean) in [("max_pool(x, 2)", false), ("avg_pool(x, 2)", true)] {
        let c = forward(&format!("model M()(x: [B, 1, H, W]) -> y: [B, 1, _, _] {{ return {value} }}"));
        let (shape, found) = of_shape(&c, &[1, 1, 3, 5]).unwrap();
        assert_eq!(shape, [1, 1, 1, 2]);
        for (j, found) in found.into_iter().enumerate() {
            let window = [x(0, 2 * j), x(0, 2 * j + 1), x(1, 2 * j), x(1, 2 * j + 1)];
            let most = window.into_iter().fold(f64::NEG_INFINITY, f64::max);
            assert_eq!(found, if mean { window.iter().sum::<f64>() / 4.0 } else { most });
        }
    }
}

#[test]
fn batches_and_pictures_without_elements_are_alike_in_both_engines() {
    let layers = [
        "softmax[-1](x)",
        "log_softmax[1](x)",
        "x -> n: LayerNorm()",
        "x -> n: RMSNorm()",
        "x -> n: BatchNorm()",
        "x -> n: GroupNorm(1)",
        "x -> n: InstanceNorm()",
        "global_avg_pool(x)",
        "adaptive_avg_pool(x, 2)",
        "x -> l: Linear(2)",
    ];
    for value in layers {
        let result = if value.starts_with("global") { "[B, 2]" } else { "[B, 2, _, _]" };
        let c = forward(&format!("model M()(x: [B, 2, H, 2]) -> y: {result} {{ return {value} }}"));
        for (b, h) in [(0, 1), (0, 0), (2, 0), (2, 1), (1, 3)] {
            let (shape, found) = of_shape(&c, &[b, 2, h, 2]).unwrap();
            assert_eq!(shape[0], b, "{value}");
            assert!(h == 0 || found.iter().all(|y| y.is_finite()), "{value} of {b} x {h}: {found:?}");
        }
    }
}

#[test]
fn settings_that_make_no_sense_are_mistakes_where_they_are() {
    let cases = [
        ("avg_pool(x, 0)", "E0307", "avg_pool requires k >= 1, and k = 0"),
        ("max_pool(x, -1)", "E0307", "max_pool requires k >= 1, and k = -1"),
        ("avg_pool(x, 2, 0)", "E0307", "avg_pool requires stride >= 1, and stride = 0"),
        ("max_pool(x, 2, -1)", "E0307", "max_pool requires stride >= 1, and stride = -1"),
        ("max_pool(x, 2, 2, -1)", "E0307", "max_pool requires padding >= 0, and padding = -1"),
        ("max_pool(x, 9, 100)", "E0307", "k <= H + 2 * padding, and k = 9, H = 8, padding = 0"),
        ("adaptive_avg_pool(x, 0)", "E0307", "adaptive_avg_pool requires h >= 1, and h = 0"),
        ("adaptive_avg_pool(x, 2, -1)", "E0307", "adaptive_avg_pool requires w >= 1, and w = -1"),
        ("x -> c: Conv2d(4, 0)", "E0307", "Conv2d requires k >= 1, and k = 0"),
        ("x -> c: Conv2d(0, 3)", "E0307", "Conv2d requires O >= 1, and O = 0"),
        ("x -> c: Conv2d(4, 3, -1)", "E0307", "Conv2d requires stride >= 1, and stride = -1"),
        ("x -> c: Conv2d(4, 3, dilation = 0)", "E0307", "Conv2d requires dilation >= 1, and dilation = 0"),
        ("x -> c: Conv2d(4, 9, stride = 20)", "E0307", "dilation * (k - 1) < H + 2 * padding"),
        ("x -> c: Conv2d(4, 3, groups = 0)", "E0307", "Conv2d requires groups >= 1, and groups = 0"),
        ("x -> l: Linear(0)", "E0307", "Linear requires O >= 1, and O = 0"),
        ("x -> l: Linear(-3)", "E0307", "Linear requires O >= 1, and O = -3"),
        ("x -> l: SwiGLU(0)", "E0307", "SwiGLU requires F >= 1, and F = 0"),
        ("x -> p: PReLU(0)", "E0307", "PReLU requires n >= 1, and n = 0"),
        ("i64(x) -> e: Embedding(0, 3)", "E0307", "Embedding requires V >= 1, and V = 0"),
        ("i64(x) -> e: Embedding(3, -2)", "E0307", "Embedding requires D >= 1, and D = -2"),
        ("x -> g: GroupNorm(0)", "E0307", "GroupNorm requires G >= 1, and G = 0"),
        ("dropout(x, -1)", "E0307", "dropout requires p >= 0, and p = -1"),
        ("random_crop(x, 0)", "E0307", "random_crop requires size >= 1, and size = 0"),
        ("random_crop(x, 4, pad = -1)", "E0307", "random_crop requires pad >= 0, and pad = -1"),
        ("bernoulli[..](x, 1.5)", "E0112", "a probability is from 0 to 1, got 1.5"),
        ("pad[2](x, -1, 0)", "E0303", "a size cannot be -1"),
        ("split[1](x, 0)[0]", "E0303", "`split` makes 1 to 4096 parts, got 0"),
        ("split[1](x, -1)[0]", "E0303", "`split` makes 1 to 4096 parts, got -1"),
        ("top_k[1](x, -1)[0]", "E0303", "a size cannot be -1"),
        ("iota(-1)", "E0303", "a size cannot be -1"),
    ];
    for (value, code, message) in cases {
        let text = format!("model M()(x: [B, 3, 8, 8]) {{\n  return {value}\n}}");
        let goal = Goal::Run { model: None, training: true };
        let request = Request { name: "spec.dl", text: &text, sets: &[], goal };
        let found = shown(&check(&request, &mut Columns(Vec::new())));
        let told = |line: &&String| line.starts_with(&format!("{code} 2:")) && line.contains(message);
        assert!(found.iter().any(|line| told(&line)), "{value}: {found:?}");
        assert!(!found.iter().any(|line| line.contains("a bug in dlc")), "{value}: {found:?}");
    }
}
