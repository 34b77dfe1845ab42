//! Parts of tensors at sizes where they are not there: positions from the end, slices, windows, extents. The interpreter and
//! machine code give what NumPy gives, or both refuse the sizes.

use crate::machine::engine;
use crate::support::spec::{Columns, compile, mistakes, shown};
use dlc_compiler::pipeline::{Compiled, Goal};
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
            assert!(message.ends_with(&meant.to_string()), "{message}, and by the interpreter {meant}");
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
