//! Adapters of weights with groups, grouped convolutions among them: what of the columns is not of a row's group is never
//! computed.

use crate::lora::each_gemm;
use crate::support::spec::{Columns, compile, mistakes, shown};
use dlc_compiler::passes::{self, BEFORE_GRADIENTS};
use dlc_compiler::pipeline::{Compiled, Goal};
use dlc_compiler::program::build::Builder;
use dlc_compiler::program::interp::{Tensor, run_entry};
use dlc_compiler::program::{Affine, Entry, Op, Program, ReduceOp, Role, Ty, Value};
use dlc_plan::{DType, HostState, Plan, Prim, Size};

/// Blocks of one's own: one that reads the wide product twice, and one that scales what the model gives.
const BLOCKS: &str = "
block Gated(rank, scale, p)(x: [.., I], y: [.., O], w: [I, O]) -> [.., O] {
  A: param [I, rank] = normal(1)
  B: param [rank, O] = zeros
  h = (dropout(x, p) @ A) @ B
  return y + h * tanh(scale * h)
}
block Gains(rank, scale, p)(x: [.., I], y: [.., O], w: [I, O]) -> [.., O] {
  gain: param [O] = zeros
  return y * (1 + scale * gain)
}
";

/// Models in which 7 stands for groups alone, and as one factor of all else.
const MODELS: [&str; 6] = [
    "model M()(x: [B, 14, 10, 10]) -> y: [B, 35, 8, 8] { return x -> one: Conv2d(35, 3, groups = 7) }",
    "model M()(x: [B, 14, 10, 10]) -> y: [B, 35, 5, 5] {
  return x -> one: Conv2d(35, 3, groups = 7, stride = 2, padding = 1, bias = false)
}",
    "model M()(x: [B, 7, 20]) -> y: [B, 7, 18] { return x -> one: Conv1d(7, 3, groups = 7) }",
    "model M()(x: [B, 7, 11, 11]) -> y: [B, 7, 11, 11] {
  x = tanh(x)
  return x -> one: Conv2d(7, 3, groups = 7, padding = \"same\", dilation = 2) -> tanh
}",
    "model M()(x: [B, 7, 4]) -> y: [B, 7, 5] {
  one: param [7, 4, 5] = normal(1)
  y[b, e, o] = sum[i](x[b, e, i] * one[e, i, o])
  return y
}",
    "model M()(x: [B, T, 4, 7]) -> y: [B, 5, T, 7] {
  one: param [5, 4, 7] = normal(1)
  y[b, o, t, e] = sum[i](x[b, t, i, e] * one[o, i, e])
  return y
}",
];

fn spec(model: &str, adapter: &str) -> String {
    format!(
        "{BLOCKS}{model}
lora A {{ rank = 2  scale = 3  adapter = {adapter}  dropout = 0.5  freeze \"**\"  target \"one\"  finish = keep }}
train t {{ model = M()  lora = A()  loss = mean(tanh(y) ^ 2)  optimizer = SGD(lr = 0.1)  max_steps = 3 }}"
    )
}

fn compiled(text: &str, goal: Goal) -> Compiled {
    let done = compile(text, goal, &[], &mut Columns(vec![]), &mut |_, _| {});
    done.unwrap_or_else(|f| panic!("{text}\n{}", shown(&f).join("\n")))
}

/// What in a plan has the groups twice: buffers, and products by what they multiply.
fn squares(plan: &Plan) -> Vec<String> {
    let dims = vec![1; plan.dims.len()];
    let mut found = Vec::new();
    for entry in &plan.entries {
        for buffer in &entry.buffers {
            let len = buffer.len.eval(&dims);
            found.extend((len > 0 && len % 49 == 0).then(|| format!("{}: {len} elements", entry.name)));
        }
        each_gemm(&entry.steps, &mut |gemm| {
            let all = gemm.batch.iter().chain([&gemm.m, &gemm.n]).map(|s| s.eval(&dims)).product::<i64>();
            for term in &gemm.terms {
                let count = all * term.k.eval(&dims);
                found.extend((count % 49 == 0).then(|| format!("{}: {} takes {count} steps", entry.name, gemm.note)));
            }
        });
    }
    found
}

#[test]
fn the_adapter_of_a_weight_with_groups_gives_each_row_the_columns_of_its_group_alone() {
    for model in MODELS {
        for adapter in ["LoRA", "DoRA", "BiasedLoRA", "Gated", "Gains"] {
            let text = spec(model, adapter);
            let plan = compiled(&text, Goal::Train { item: None }).plan;
            assert_eq!(squares(&plan), Vec::<String>::new(), "{model} with {adapter}");
        }
        let plan = compiled(&spec(model, "LoRA"), Goal::Adapted { item: None }).plan;
        assert_eq!(squares(&plan), Vec::<String>::new(), "{model} with adapters of any rank");
    }
}

#[test]
fn what_is_counted_would_be_found() {
    // An adapter that adds up all columns needs them all.
    let all = "block All(rank, scale, p)(x: [.., I], y: [.., O], w: [I, O]) -> [.., O] {
  A: param [I, O] = zeros
  return y + cumsum(x @ A)
}";
    let plan = compiled(&(all.to_string() + &spec(MODELS[0], "All")), Goal::Train { item: None }).plan;
    assert!(!squares(&plan).is_empty());
}

#[test]
fn the_adapter_of_a_weight_with_groups_joins_its_product() {
    for model in &MODELS[..4] {
        let plan = compiled(&spec(model, "LoRA"), Goal::Train { item: None }).plan;
        let forward = plan.entries.iter().find(|e| e.name == "forward").expect("it is run");
        let mut terms = Vec::new();
        each_gemm(&forward.steps, &mut |gemm| terms.push(gemm.terms.len()));
        assert_eq!(terms, [1, 2], "{model}");
    }
}

#[test]
fn a_part_of_an_axis_is_no_side_of_a_weight() {
    let text = spec(
        "model M()(x: [B, 7, 4]) -> y: [B, 7, 5] {
  one: param [28, 5] = normal(1)
  parts = one -> [(7, I), O => 7, I, O]
  y[b, e, o] = sum[i](x[b, e, i] * parts[e, i, o])
  return y
}",
        "LoRA",
    );
    let found = mistakes(&text, &mut Columns(vec![]));
    let message = "E0515 18:82 `\"one\"`: what is summed over here is no axis of `one`, but a part of one, which no adapter is for";
    let help = "an `exclude` for it, or a weight with one axis more in place of the axis that is split here";
    assert_eq!(found, [format!("{message} | help: {help}")]);
}

fn ty(shape: &[i64]) -> Ty {
    Ty { dtype: DType::F32, shape: shape.iter().map(|n| Size::from(*n)).collect() }
}

/// What a function of [2, 7, 5] gives, and how many of the values that count have two axes of 7 or more.
fn given(p: &Program) -> (Tensor, usize) {
    let x = (0..2 * 7 * 5).map(|i| ((i * 29) % 31) as f64 / 16.0 - 1.0).collect::<Vec<_>>();
    let host = HostState::default();
    let found = run_entry(p, &p.entries[0], vec![Tensor::new(vec![2, 7, 5], x)], &host).expect("it runs").remove(0);
    let f = p.function(p.entries[0].function);
    let live = f.nodes.iter().zip(f.live()).filter(|(_, live)| *live).map(|(n, _)| n);
    let square = |shape: &[Size]| shape.iter().filter(|s| s.known() >= Some(7)).count() > 1;
    (found, live.flat_map(|n| &n.tys).filter(|ty| square(&ty.shape)).count())
}

/// What is made of x [2, 7, 5] and its products with itself, [2, 7, 7], and whose axes 1 and 2 are then read along one.
type Made = fn(&mut Builder, Value, Value) -> Value;

/// What is made, how much the second axis is ahead, and how far both go.
fn cases() -> [(&'static str, Made, i64, i64); 12] {
    [
        ("a product", |_, _, g| g, 0, 7),
        ("one axis ahead of the other", |_, _, g| g, 2, 5),
        (
            "elementwise",
            |b, _, g| {
                let h = b.map(Prim::Tanh, &[g]);
                b.map(Prim::Mul, &[h, g])
            },
            0,
            7,
        ),
        ("the other way round", |b, _, g| b.permute(g, &[0, 2, 1]), 1, 6),
        (
            "one row for all, or one column",
            |b, x, g| {
                let row = b.slice(x, 2, Size::from(3), 1, Size::one());
                let row = b.split(row, 2, &[]);
                let shape = b.shape(g);
                let (across, down) = (b.broadcast(row, vec![0, 2], &shape), b.broadcast(row, vec![0, 1], &shape));
                let sum = b.map(Prim::Sub, &[across, down]);
                b.map(Prim::Mul, &[sum, g])
            },
            1,
            6,
        ),
        (
            "a part",
            |b, _, g| {
                let part = b.slice(g, 1, Size::one(), 1, Size::from(5));
                b.slice(part, 2, Size::from(2), 1, Size::from(5))
            },
            1,
            4,
        ),
        ("zeros around all that is read", |b, _, g| b.pad(g, 2, Size::from(3), 1, Size::from(11)), 3, 7),
        (
            "sums over a third axis",
            |b, x, _| {
                let shape = [2, 7, 7, 5].map(Size::from);
                let (one, other) = (b.broadcast(x, vec![0, 1, 3], &shape), b.broadcast(x, vec![0, 2, 3], &shape));
                let exp = b.map(Prim::Exp, &[one]);
                let all = b.map(Prim::Mul, &[exp, other]);
                b.reduce(ReduceOp::Max, all, &[3])
            },
            0,
            7,
        ),
        (
            "axes made one and apart again",
            |b, _, g| {
                let flat = b.merge(g, 1, 2);
                let h = b.map(Prim::Exp, &[flat]);
                b.split(h, 1, &[Size::from(7), Size::from(7)])
            },
            0,
            7,
        ),
        // Of these more is read: zeros among what there is, what is put together of parts, and a product's other operand.
        ("zeros among what is read", |b, _, g| b.pad(g, 2, Size::from(3), 1, Size::from(11)), 0, 7),
        ("parts", |b, _, g| b.node(Op::Concat(2), vec![g, g], ty(&[2, 7, 14])), 5, 7),
        (
            "a product of products",
            |b, x, g| {
                let h = b.contract(g, x, &[0, 1, 2], &[0, 2, 3], &[0, 1, 3]);
                b.contract(h, x, &[0, 1, 2], &[0, 3, 2], &[0, 1, 3])
            },
            0,
            7,
        ),
    ]
}

#[test]
fn what_is_read_on_a_diagonal_is_computed_there_alone() {
    let cases = cases();
    for (n, (what, made, ahead, length)) in cases.iter().enumerate() {
        let mut b = Builder::new("f");
        let x = b.param("x", ty(&[2, 7, 5]));
        let g = b.contract(x, x, &[0, 1, 2], &[0, 3, 2], &[0, 1, 3]);
        let v = made(&mut b, x, g);
        let along = |start: i64, axis| Affine { start: start.into(), steps: vec![(axis, 1)] };
        let at = vec![along(0, 0), along(0, 1), along(*ahead, 1)];
        let y = b.affine(v, at, [2, *length].map(Size::from).to_vec());
        let mut p = Program::default();
        let function = p.add(b.finish(vec![y]));
        let (inputs, outputs) = (vec![Role::Named("x".into())], vec![Role::Named("y".into())]);
        p.entries =
            vec![Entry { name: "forward".into(), function, inputs, outputs, guards: Vec::new(), defaults: Vec::new() }];
        let (expected, wide) = given(&p);
        passes::run(&mut p, BEFORE_GRADIENTS, true, &mut |_, _, _| {}).unwrap();
        let (found, left) = given(&p);
        assert_eq!(found.shape, expected.shape, "{what}");
        let off = found.data.iter().zip(&expected.data).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(off < 1e-12, "{what}: {off} off");
        assert!(wide > 0, "{what}");
        assert_eq!(left > 0, n + 3 >= cases.len(), "{what}: {left} of {wide} values have both axes");
    }
}
