//! Every item of the prelude as emitted Rust, value and gradient, at the edges: zeros of both signs, subnormals, numbers far from 1,
//! rows that are masked whole, infinities and what is no number. `tests/specs/items.dl` has the items; emitted Rust gives the bits of
//! machine code for them, and PyTorch's numbers where an item goes element by element. (Machine code is held to PyTorch's numbers of
//! all items in the compiler's tests.)
#![expect(clippy::unwrap_used, reason = "a test that unwraps a surprise has failed, as it should")]

use crate::engines::{compiled_as, items, machine, unreached};
use dlc::weights::file::TensorFile;
use dlc::{Network, Tensor};
use dlc_compiler::pipeline::Goal;
use dlc_plan::plan::Store;
use std::path::Path;

dlc::model!("tests/specs/items.dl");

const SPEC: &str = "tests/specs/items.dl";

/// What is tried, each list over and over along a tensor. The edges are those of `tests/golden/prelude.py`, and what PyTorch has no
/// finite number for.
const FILLS: [(&str, &[f32]); 6] = [
    ("ordinary", &[0.3, -1.9, 0.7, 1.1, -0.2, 2.4, 0.9, -0.8, 0.1, 1.7, -1.3]),
    ("zero", &[0.0, -0.0, 1e-45, -1e-45, 1e-40, -1e-40, 1e-37, -1e-37, 3e-38, 5e-39, 1.0]),
    ("hundred", &[100.0, -100.0, 30.0, -30.0, 87.0, -87.0, 89.0, -89.0, 104.0, -104.0, 0.5]),
    ("large", &[1e4, -1e4, 9999.0, -9999.0, -10001.0]),
    ("masked", &[1.0, f32::NEG_INFINITY, 0.5, f32::NEG_INFINITY, -1e4, 2.0, f32::NEG_INFINITY]),
    ("beyond", &[f32::INFINITY, 3e38, f32::NAN, -3e38, f32::NEG_INFINITY, 1.0, f32::MIN]),
];

/// The machines whose bits are compared: emitted Rust first.
fn machines() -> Vec<Network> {
    let c = compiled_as(SPEC, Goal::Train { item: None }, &[]);
    let jit = [1, 3].map(|threads| machine(&c, 0, threads));
    std::iter::once(emitted()).chain(jit).collect()
}

/// The emitted Rust.
fn emitted() -> Network {
    Training::new(0).unwrap().0
}

/// Whether a parameter is one of those that an item takes, and not a layer's own weight or a cotangent.
fn is_taken(name: &str) -> bool {
    matches!(name.rsplit('.').next(), Some("x" | "a" | "b" | "c" | "q" | "k" | "v"))
}

/// Gives a parameter numbers, in all machines.
fn set(machines: &mut [Network], name: &str, shape: &[usize], numbers: Vec<f32>) {
    let tensor = Tensor::from_f32(shape.to_vec(), numbers).unwrap();
    for machine in machines {
        machine.engine_mut().stores_mut().set_weight(name, &tensor).unwrap();
    }
}

/// The parameters and their shapes.
fn parameters(machine: &Network) -> Vec<(String, Vec<usize>)> {
    let weights = machine.engine().plan().weights.iter().filter(|w| w.store == Store::Trained);
    weights.map(|w| (w.name.clone(), w.shape.clone())).collect()
}

/// The gradients of all parameters, after all machines have given the same bits; what is no number has many.
fn gradients(machines: &mut [Network], what: &str) -> Vec<(String, Vec<f32>)> {
    let label = Tensor::from_i64(vec![6], vec![0, 3, 4, 1, 2, 2]).unwrap();
    let seen = [[1.0; 5], [0.0; 5], [1.0, 0.0, 0.0, 1.0, 1.0]].concat();
    let mask = Tensor::from_f32(vec![3, 5], seen).unwrap();
    let mut given: Vec<Vec<(String, Vec<f32>)>> = Vec::new();
    for machine in machines {
        let found = machine.run("grad", &[("label", &label), ("mask", &mask)]).unwrap();
        given.push(found.into_iter().map(|(name, t)| (name, t.to_f32_vec())).collect());
    }
    let bits = |v: &f32| if v.is_nan() { None } else { Some(v.to_bits()) };
    for other in &given[1..] {
        assert_eq!(other.len(), given[0].len(), "{what}");
        for ((name, rust), (_, jit)) in given[0].iter().zip(other) {
            let same = rust.len() == jit.len() && rust.iter().zip(jit).all(|(a, b)| bits(a) == bits(b));
            assert!(same, "{what}: the bits of {name} differ: {rust:?} and {jit:?}");
        }
    }
    given.swap_remove(0)
}

#[test]
fn every_item_gives_the_same_bits_at_the_edges() {
    let mut machines = machines();
    let parameters = parameters(&machines[0]);
    for (fill, list) in FILLS {
        for (n, (name, shape)) in parameters.iter().enumerate() {
            let from = if is_taken(name) { list } else { FILLS[0].1 };
            let numbers = (0..shape.iter().product()).map(|i| from[(i + n) % from.len()]).collect();
            set(&mut machines, name, shape, numbers);
        }
        let found = gradients(&mut machines, fill);
        let given = found.iter().filter(|(name, _)| name != "loss");
        let all: Vec<f32> = given.flat_map(|(_, numbers)| numbers.clone()).collect();
        let finite = all.iter().filter(|v| v.is_finite()).count();
        // Logarithms and roots have no value for half of the numbers; all else is finite where it can be.
        let least = if matches!(fill, "masked" | "beyond") { all.len() / 8 } else { all.len() * 7 / 8 };
        assert!(finite >= least, "{fill}: {finite} of {} are finite", all.len());
        if fill == "ordinary" {
            let masked = found.iter().find(|(name, _)| name == "attends.0.given.by").unwrap();
            assert!(masked.1[48..96].iter().all(|v| *v == 0.0), "a row that sees nothing is 0: {:?}", masked.1);
        }
    }
}

/// Every activation, norm, layer, loss, convolution, pooling and attention is in the spec of this file, but for the table of an
/// embedding, whose rows are gathered and not computed (`engines` has it).
#[test]
fn every_item_with_a_gradient_is_tried() {
    let files = ["activations", "attention", "convolution", "layers", "losses", "norms"];
    let items = items(|file| files.contains(&file));
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(SPEC)).unwrap();
    assert_eq!(unreached(&items, vec![text]), ["Embedding"]);
}

/// The names in the list of the spec that makes parameters of this name.
fn listed(of: &str) -> Vec<String> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(SPEC)).unwrap();
    let loops = text.split("repeat [").skip(1);
    let found = loops.filter_map(|text| text.split_once(']')).find(|(_, after)| after.contains(of)).unwrap().0;
    found.split(',').map(|name| name.trim().to_string()).collect()
}

/// A case of PyTorch's for an item.
struct Case {
    name: String,
    /// Where its parameters are.
    at: String,
    /// Which ones.
    takes: &'static [&'static str],
}

/// PyTorch's cases of the items that go element by element, in turns: no two of a turn are of one item.
fn cases(golden: &TensorFile) -> Vec<Vec<Case>> {
    let mut turns: Vec<Vec<Case>> = Vec::new();
    let lines = golden.about()["cases"].clone();
    for (of, takes) in [("one", &["x"][..]), ("two", &["a", "b"])] {
        for (i, item) in listed(&format!(" {of}.{{i}}:")).into_iter().enumerate() {
            let expression = format!("{item}({})", takes.join(", "));
            let named = lines.lines().filter_map(|line| line.split_once(" = ")).filter(|(_, text)| *text == expression);
            for (turn, (name, _)) in named.enumerate() {
                if turns.len() == turn {
                    turns.push(Vec::new());
                }
                turns[turn].push(Case { name: name.to_string(), at: format!("{of}.{i}"), takes });
            }
        }
    }
    turns
}

/// How far numbers are from those of PyTorch, where that is further than `bound`.
fn off(found: &[f32], expected: &[f32], bound: f64) -> Option<f64> {
    let (mut far, mut size) = (0.0, 0.0);
    for (a, b) in found.iter().zip(expected) {
        if a.is_finite() && b.is_finite() {
            far += f64::from(a - b).powi(2);
            size += f64::from(*b).powi(2);
        } else if a != b {
            return Some(f64::INFINITY);
        }
    }
    let (far, size) = (far.sqrt(), size.sqrt());
    (far > bound * size && far >= 1e-30).then_some(far / size)
}

#[test]
fn emitted_items_have_pytorchs_numbers_at_the_edges() {
    let golden =
        TensorFile::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/prelude.safetensors")).unwrap();
    let mut rust = [emitted()];
    let parameters = parameters(&rust[0]);
    let (mut count, mut wrong) = (0, Vec::new());
    for turn in cases(&golden) {
        let of = |case: &Case, name: &str| golden.read(&format!("{}/{name}", case.name)).unwrap().unwrap().to_f32_vec();
        for case in &turn {
            for name in case.takes.iter().chain(&["by"]) {
                let path = format!("{}.{name}", case.at);
                let shape = &parameters.iter().find(|(known, _)| *known == path).unwrap().1;
                let mut numbers = of(case, if *name == "by" { "dy" } else { name });
                assert!(numbers.len() <= shape.iter().product());
                numbers.resize(shape.iter().product(), 0.5);
                set(&mut rust, &path, shape, numbers);
            }
        }
        let found = gradients(&mut rust, "a turn");
        for case in &turn {
            let taken = case.takes.iter().map(|name| (*name, format!("d{name}"), 1e-4));
            for (name, expected, bound) in taken.chain([("by", "y".to_string(), 1e-5)]) {
                let path = format!("{}.{name}", case.at);
                let numbers = &found.iter().find(|(known, _)| *known == path).unwrap().1;
                let expected = of(case, &expected);
                let far = off(&numbers[..expected.len()], &expected, bound);
                wrong.extend(far.map(|far| format!("{}: {name} is {far:e} off", case.name)));
            }
            count += 1;
        }
    }
    assert!(count > 150, "{count} cases");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
