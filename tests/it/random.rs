//! Random specs by two engines: machine code made now, and the Rust that `model!` emitted. `tests/specs/random.dl` has the specs of
//! some seeds, chosen so that few of them have much; `DLC_WRITE=1` writes it anew when the generator says something else.
#![expect(clippy::unwrap_used, reason = "a test that unwraps a surprise has failed, as it should")]

#[expect(dead_code, reason = "some of it is for the compiler's tests alone")]
#[path = "../../compiler/tests/it/fuzzed/dice.rs"]
mod dice;
#[expect(dead_code, reason = "some of it is for the compiler's tests alone")]
#[path = "../../compiler/tests/it/fuzzed/spec.rs"]
mod spec;
#[path = "../../compiler/tests/it/fuzzed/write/mod.rs"]
mod write;

use crate::engines::{compiled_as, machine};
use dice::Dice;
use dlc::{Network, Tensor};
use dlc_compiler::pipeline::Goal;
use dlc_plan::DType;
use spec::{Spec, Value};
use std::collections::HashSet;

mod emitted {
    dlc::model!("tests/specs/random.dl");
}

const PATH: &str = "tests/specs/random.dl";

/// How many specs there are.
const COUNT: usize = 8;

/// Sizes of the batch and of the length.
const SIZES: [[i64; 2]; 9] = [[2, 3], [0, 2], [1, 1], [2, 0], [15, 2], [1, 16], [2, 17], [257, 1], [1, 257]];

/// So many elements a run may compute.
const WORK: i64 = 60_000;

/// The words of a text.
fn words(text: &str) -> HashSet<&str> {
    let word = |c: char| !(c.is_alphanumeric() || c == '_');
    let name = |w: &&str| w.len() > 2 && !w.starts_with('v') && !w.ends_with(|c: char| c.is_ascii_digit());
    text.split(word).filter(name).collect()
}

/// The specs: one after the other the one that has most of what those before it have not.
fn specs() -> Vec<Spec> {
    // What accumulates a loss that is no sum is warned of.
    let short = |s: &Spec| s.stmts.len() <= 12 && s.work([2, 3]) < 4000 && !s.recipe.contains("accumulate");
    let all: Vec<Spec> =
        (0..300).map(|seed| write::spec(&mut Dice::seeded(seed), write::ALLOWED)).filter(short).collect();
    let texts: Vec<String> = all.iter().map(|spec| spec.model("M")).collect();
    let mut seen: HashSet<&str> = HashSet::new();
    let mut chosen = Vec::new();
    for _ in 0..COUNT {
        let new = |n: &usize| words(&texts[*n]).difference(&seen).count();
        // Where two are alike the first is taken.
        let best = (0..all.len()).rev().max_by_key(new).unwrap();
        seen.extend(words(&texts[best]));
        chosen.push(all[best].clone());
    }
    chosen
}

fn text() -> String {
    let mut out = "// Random specs, made by tests/it/random.rs.\n".to_string();
    for (n, spec) in specs().iter().enumerate() {
        out += &format!("\n{}", spec.model(&format!("R{n}")));
        out += &format!(
            "\ntrain t{n} {{\n  model = R{n}()\n  loss = {}\n  optimizer = SGD(lr = 0.1)\n  epochs = 1\n{}}}\n",
            spec.loss(),
            spec.recipe
        );
    }
    out
}

#[test]
fn the_specs_are_those_of_the_generator() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(PATH);
    if std::env::var("DLC_WRITE").is_ok() {
        std::fs::write(&path, text()).unwrap();
    }
    assert!(std::fs::read_to_string(&path).unwrap() == text(), "`DLC_WRITE=1` writes {PATH} anew");
}

fn tensor(v: &Value, sizes: [i64; 2], dice: &mut Dice) -> Tensor {
    let shape: Vec<usize> = v.ty.shape.iter().map(|dim| dim.at(sizes) as usize).collect();
    let len = shape.iter().product::<usize>();
    let mut whole = |below: usize| (0..len).map(|_| dice.below(below) as i64).collect::<Vec<i64>>();
    match v.ty.dtype {
        DType::I64 => Tensor::from_i64(shape, whole(v.most as usize)),
        DType::I32 => Tensor::from_i32(shape, whole(v.most as usize).iter().map(|x| *x as i32).collect()),
        DType::U8 => Tensor::from_slice(&shape, &whole(256).iter().map(|x| *x as u8).collect::<Vec<_>>()),
        DType::Bool => Tensor::from_bool(shape, whole(2).iter().map(|x| *x == 1).collect()),
        _ => Tensor::from_f32(shape, (0..len).map(|_| (dice.real() * v.most) as f32).collect()),
    }
    .unwrap()
}

/// Tensors as bytes, or why there are none.
type Done = Result<Vec<Vec<u8>>, String>;

/// What a network does with a batch: outputs, gradients, the loss of a step; or why it does not, each as bits.
fn done(net: &mut Network, given: &[(&str, &Tensor)]) -> [Done; 3] {
    // Which bits a NaN has is left open.
    let one = |x: f32| if x.is_nan() { f32::NAN } else { x };
    let bytes = |t: &Tensor| match t.as_f32() {
        Ok(reals) => reals.iter().flat_map(|x| one(*x).to_bits().to_le_bytes()).collect(),
        Err(_) => t.bytes().to_vec(),
    };
    let outputs = net.outputs("forward", given).map(|all| all.iter().map(bytes).collect());
    let grads = net.run("grad", given).map(|all| all.iter().map(|(_, t)| bytes(t)).collect());
    // What has no rows may have a mean that is no number, which would become the weights'.
    let none = given.iter().any(|(_, t)| t.elements() == 0);
    let step = if none { Ok(0.0) } else { net.step(given) };
    let loss = step.map(|loss| vec![one(loss).to_bits().to_le_bytes().to_vec()]);
    [outputs, grads, loss].map(|found| found.map_err(|e| e.to_string()))
}

/// Where two results differ.
fn first(a: &Done, b: &Done) -> String {
    let (Ok(a), Ok(b)) = (a, b) else { return format!("{:?} and {:?}", a.as_ref().err(), b.as_ref().err()) };
    let places = a.iter().zip(b).enumerate().filter(|(_, (x, y))| x != y);
    let each = places.map(|(n, (x, y))| {
        let at = (0..x.len().min(y.len())).find(|k| x[*k] != y[*k]).unwrap_or(0) / 4 * 4;
        let bits = |z: &[u8]| z.get(at..at + 4).map(|w| u32::from_le_bytes([w[0], w[1], w[2], w[3]]));
        format!("number {n} at byte {at} of {}: {:x?} and {:x?}", x.len(), bits(x), bits(y))
    });
    each.collect::<Vec<_>>().join("; ")
}

/// Asserts that emitted Rust and machine code on one thread and two give the same bits for a spec, and refuse the same.
fn same(rust: &mut Network, n: usize, spec: &Spec) {
    let item = format!("t{n}");
    let c = compiled_as(PATH, Goal::Train { item: Some(&item) }, &[]);
    let mut jit = [1, 2].map(|threads| machine(&c, 7, threads));
    rust.plan_steps(100);
    jit.iter_mut().for_each(|net| net.plan_steps(100));
    for sizes in SIZES.into_iter().filter(|sizes| spec.work(*sizes) < WORK) {
        let mut dice = Dice::seeded(n as u64);
        let inputs: Vec<&Value> = spec.inputs.iter().map(|id| &spec.values[*id]).collect();
        let tensors: Vec<Tensor> = inputs.iter().map(|v| tensor(v, sizes, &mut dice)).collect();
        let given: Vec<(&str, &Tensor)> = inputs.iter().map(|v| v.name.as_str()).zip(&tensors).collect();
        let expected = done(rust, &given);
        for net in &mut jit {
            let found = done(net, &given);
            for (what, (a, b)) in ["outputs", "gradients", "a step"].iter().zip(expected.iter().zip(&found)) {
                assert!(a == b, "{item}, {sizes:?}: {what}: {}", first(a, b));
            }
        }
    }
}

#[test]
fn random_specs_give_the_same_bits_in_machine_code_and_rust() {
    let specs = specs();
    macro_rules! each {
        ($($n:literal $name:ident),*) => { $(same(&mut emitted::$name::new(7).unwrap(), $n, &specs[$n]);)* };
    }
    each!(0 T0, 1 T1, 2 T2, 3 T3, 4 T4, 5 T5, 6 T6, 7 T7);
    assert_eq!(specs.len(), COUNT);
}
