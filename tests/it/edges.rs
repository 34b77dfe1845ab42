//! Every item of the prelude as emitted Rust, value and gradient, at the edges: zeros of both signs, subnormals, numbers far from 1,
//! rows that are masked whole, infinities and what is no number, odd sizes and axes of nothing. `tests/specs/items.dl` has the items; emitted Rust gives the bits of
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

/// How far the tensors of items reach along the axes that the spec leaves open.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    plain: [usize; 2],
    pair: [usize; 2],
    like: [usize; 2],
    mask: [usize; 2],
}

/// As far as they can.
const WHOLE: Sizes = Sizes { plain: [4, 17], pair: [6, 5], like: [2, 5], mask: [3, 5] };

/// Less: odd numbers, single ones, and nothing along either axis or both. Pictures are as high as the widest window at least, which
/// is refused else.
const LESS: [Sizes; 5] = [
    Sizes { plain: [3, 15], pair: [5, 3], like: [1, 3], mask: [2, 4] },
    Sizes { plain: [1, 1], pair: [1, 1], like: [1, 2], mask: [1, 1] },
    Sizes { plain: [2, 0], pair: [6, 0], like: [0, 2], mask: [3, 0] },
    Sizes { plain: [0, 3], pair: [0, 5], like: [0, 5], mask: [0, 5] },
    Sizes { plain: [0, 0], pair: [0, 0], like: [0, 3], mask: [0, 0] },
];

impl Sizes {
    /// A batch of these sizes. Of the rows of its mask the second is masked whole.
    fn batch(&self) -> [(&'static str, Tensor); 5] {
        let zeros = |shape: &[usize]| Tensor::from_f32(shape.to_vec(), vec![0.0; shape.iter().product()]).unwrap();
        let label = [0, 3, 4, 1, 2, 2][..self.pair[0]].iter().map(|c| c % self.pair[1].max(1) as i64).collect();
        let seen = [[1.0; 5], [0.0; 5], [1.0, 0.0, 0.0, 1.0, 1.0]];
        let seen = seen[..self.mask[0]].iter().flat_map(|row| &row[..self.mask[1]]).copied().collect();
        [
            ("plain", zeros(&self.plain)),
            ("pair", zeros(&self.pair)),
            ("label", Tensor::from_i64(vec![self.pair[0]], label).unwrap()),
            ("like", zeros(&[self.like[0], 6, self.like[1], 7])),
            ("mask", Tensor::from_f32(self.mask.to_vec(), seen).unwrap()),
        ]
    }
}

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
fn gradients(machines: &mut [Network], sizes: Sizes, what: &str) -> Vec<(String, Vec<f32>)> {
    let batch = sizes.batch();
    let batch: Vec<(&str, &Tensor)> = batch.iter().map(|(name, t)| (*name, t)).collect();
    let mut given: Vec<Vec<(String, Vec<f32>)>> = Vec::new();
    for machine in machines {
        let found = machine.run("grad", &batch).unwrap();
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

/// Gives what items take the numbers of a list, and all other parameters ordinary ones.
fn fill_in(machines: &mut [Network], parameters: &[(String, Vec<usize>)], list: &[f32]) {
    for (n, (name, shape)) in parameters.iter().enumerate() {
        let from = if is_taken(name) { list } else { FILLS[0].1 };
        let numbers = (0..shape.iter().product()).map(|i| from[(i + n) % from.len()]).collect();
        set(machines, name, shape, numbers);
    }
}

#[test]
fn every_item_gives_the_same_bits_at_the_edges() {
    let mut machines = machines();
    let parameters = parameters(&machines[0]);
    keep_statistics(&mut machines);
    for (fill, list) in FILLS {
        fill_in(&mut machines, &parameters, list);
        let found = gradients(&mut machines, WHOLE, fill);
        let given = found.iter().filter(|(name, _)| name != "loss");
        let all: Vec<f32> = given.flat_map(|(_, numbers)| numbers.clone()).collect();
        let finite = all.iter().filter(|v| v.is_finite()).count();
        // Logarithms and roots have no value for half of the numbers; all else is finite where it can be.
        let least = if matches!(fill, "masked" | "beyond") { all.len() / 8 } else { all.len() * 7 / 8 };
        assert!(finite >= least, "{fill}: {finite} of {} are finite", all.len());
        if fill == "ordinary" {
            let masked = found.iter().find(|(name, _)| name == "attends.0.by").unwrap();
            assert!(masked.1[48..96].iter().all(|v| *v == 0.0), "a row that sees nothing is 0: {:?}", masked.1);
            goes_by_statistics(&machines[0], &found);
        }
    }
    fill_in(&mut machines, &parameters, FILLS[0].1);
    for sizes in LESS {
        let found = gradients(&mut machines, sizes, &format!("{sizes:?}"));
        if sizes.plain.contains(&0) {
            of_nothing(&found, sizes);
        }
    }
}

/// Gives all running statistics numbers above 0.
fn keep_statistics(machines: &mut [Network]) {
    let plan = machines[0].engine().plan().clone();
    for w in plan.weights.iter().filter(|w| w.store == Store::Frozen) {
        let numbers = (0..w.len()).map(|i| 0.4 + 0.3 * i as f32).collect();
        set(machines, &w.name, &w.shape, numbers);
    }
}

/// What the spec says is evaluated goes by its statistics, so its gradient is a factor for each channel.
fn goes_by_statistics(machine: &Network, found: &[(String, Vec<f32>)]) {
    let weight = |name: &str| machine.engine().stores().weight(name).unwrap().to_f32_vec();
    for layer in ["still.0", "still.1"] {
        let (by, scale) = (weight(&format!("{layer}.given.by")), weight(&format!("{layer}.layer.weight")));
        let var = weight(&format!("{layer}.layer.running_var"));
        let dx = &found.iter().find(|(name, _)| *name == format!("{layer}.x")).unwrap().1;
        assert_eq!(dx.len(), 2 * 6 * 5 * 7);
        for (i, found) in dx.iter().enumerate() {
            let (row, channel) = (i / 7, i / 35 % 6);
            let expected = by[row * 9 + i % 7] * scale[channel] / (var[channel] + 1e-5).sqrt();
            assert!((found - expected).abs() <= 1e-5 * expected.abs(), "{layer}.x: {found} for {expected}");
        }
    }
}

/// Where something that has elements is made of none, which is a number for all but means: there it is PyTorch's.
fn of_nothing(found: &[(String, Vec<f32>)], sizes: Sizes) {
    let means = ["loss", "triple.", "classes.", "pooled.4."];
    let other = found.iter().filter(|(name, _)| !means.iter().any(|mean| name.starts_with(mean)));
    for (name, numbers) in other {
        assert!(numbers.iter().all(|v| v.is_finite()), "{sizes:?}: {name} is {numbers:?}");
    }
    if sizes.pair != [6, 0] {
        return;
    }
    let golden = golden();
    for (of, item, case) in [
        ("loss", "kl_div", "kl_div.none"),
        ("loss", "dice", "dice.none"),
        ("loss", "contrast", "info_nce.none"),
        ("loss", "cosines", "cosine_embedding.none"),
        ("triple", "triplet", "triplet.none"),
        ("triple", "swapped", "triplet.none_swap"),
    ] {
        let i = listed(&format!(" {of}.{{i}}:")).iter().position(|known| known == item).unwrap();
        let value = &found.iter().find(|(name, _)| *name == format!("{of}.{i}.by")).unwrap().1;
        let expected = golden.read(&format!("{case}/y")).unwrap().unwrap().to_f32_vec();
        assert_eq!(off(value, &expected, 1e-5), None, "{item}: {value:?} for {expected:?}");
    }
}

/// Every activation, norm, layer, loss, convolution, pooling and attention is in the spec of this file, but for the table of an
/// embedding, whose rows are gathered and not computed (`engines` has it).
#[test]
fn every_item_with_a_gradient_is_tried() {
    let files = ["activations", "attention", "convolution", "layers", "losses", "norms"];
    let items = items(|file| files.contains(&file));
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(SPEC)).unwrap();
    let help = "`python tests/golden/make.py` lists what goes element by element";
    assert_eq!(unreached(&items, vec![text]), ["Embedding"], "not in {SPEC}: {help}");
}

/// PyTorch's numbers.
fn golden() -> TensorFile {
    TensorFile::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/prelude.safetensors")).unwrap()
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
    let golden = golden();
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
        let found = gradients(&mut rust, WHOLE, "a turn");
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
