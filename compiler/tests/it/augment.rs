//! What training makes of columns: the `augment` section of a data item, and the prelude's functions for it.

use crate::lower::{Named, run};
use crate::support::spec::{Columns, compile, mistakes, shown};
use dlc_compiler::pipeline::{Compiled, Goal};
use dlc_compiler::program::interp::Tensor;
use dlc_plan::{DType, HostState};

/// A model of pictures of two channels, 4 high and 5 wide, with this in place of the `augment` section.
fn spec(augment: &str) -> String {
    format!(
        "model M()(image: [B, 2, 4, 5]) -> y: [B, 3] {{ return image -> [B, C, H, W => B, (C, H, W)] -> fc: Linear(3) }}
data d {{ source = safetensors(\"a\") columns {{ image = f32(pixels) / 2  label = label }} augment {{ {augment} }} batch = 8 }}
train t {{ model = M() data = d loss = cross_entropy(y, label) optimizer = SGD(lr = 0.1) epochs = 1 }}
"
    )
}

fn files() -> Columns {
    Columns(vec![("pixels", DType::U8, vec![2, 4, 5]), ("label", DType::I64, Vec::new())])
}

fn compiled(text: &str) -> Compiled {
    compile(text, Goal::Train { item: None }, &[], &mut files(), &mut |_, _| {})
        .unwrap_or_else(|f| panic!("{}", shown(&f).join("\n")))
}

const ROWS: usize = 60;

/// Pictures whose elements all differ within a sample, none of them 0, from row `first` on.
fn batch(first: usize, rows: usize) -> Named {
    let pixels: Vec<f64> = (0..rows * 40).map(|k| (2 * (k % 40 + 1 + 40 * ((first + k / 40) % 3))) as f64).collect();
    let label = vec![1.0; rows];
    [("pixels".to_string(), Tensor::new([rows, 2, 4, 5], pixels)), ("label".to_string(), Tensor::new([rows], label))]
        .into()
}

fn host(step: u64, first_sample: u64) -> HostState {
    HostState { seed: 7, step, first_sample, ..HostState::default() }
}

fn images(c: &Compiled, entry: &str, host: &HostState, batch: &Named) -> Vec<Vec<f64>> {
    run(c, entry, host, batch)["image"].data.chunks(40).map(<[f64]>::to_vec).collect()
}

/// Where a sample's crop was taken, if it was: rows and columns from those of the sample with a border of 2.
fn place(plain: &[f64], cropped: &[f64]) -> Option<(usize, usize)> {
    let bordered = |c: usize, h: usize, w: usize| match (h.checked_sub(2), w.checked_sub(2)) {
        (Some(h @ 0..4), Some(w @ 0..5)) => plain[c * 20 + h * 5 + w],
        _ => 0.0,
    };
    let is_at =
        |down: usize, right: usize| (0..40).all(|k| cropped[k] == bordered(k / 20, k % 20 / 5 + down, k % 5 + right));
    (0..25).map(|k| (k / 5, k % 5)).find(|(down, right)| is_at(*down, *right))
}

#[test]
fn crops_are_taken_anywhere() {
    let c = compiled(&spec("image = image -> random_crop(4, width = 5, pad = 2)"));
    let plain = images(&c, "columns", &host(0, 0), &batch(0, ROWS));
    let mut places = Vec::new();
    for step in 0..5 {
        let cropped = images(&c, "augment", &host(step, 0), &batch(0, ROWS));
        places.extend(plain.iter().zip(&cropped).map(|(p, c)| place(p, c).expect("it is a crop")));
    }
    for k in 0..5 {
        let (down, right) = (places.iter().filter(|p| p.0 == k).count(), places.iter().filter(|p| p.1 == k).count());
        // A fifth of 300 each, give or take four deviations.
        assert!((32..=88).contains(&down) && (32..=88).contains(&right), "{k}: {down} down, {right} right");
    }
    assert!(places.iter().any(|p| p.0 != p.1), "the two are drawn for themselves");
}

#[test]
fn samples_are_mirrored_by_halves() {
    let c = compiled(&spec("image = image -> random_flip(0.25)"));
    let plain = images(&c, "columns", &host(3, 0), &batch(0, ROWS));
    let mirrored = |p: &[f64]| -> Vec<f64> { p.chunks(5).flat_map(|row| row.iter().rev()).copied().collect() };
    let mut count = 0;
    for (p, a) in plain.iter().zip(images(&c, "augment", &host(3, 0), &batch(0, ROWS))) {
        assert!(a == *p || a == mirrored(p));
        count += usize::from(a == mirrored(p));
    }
    assert!((2..=28).contains(&count), "{count} of {ROWS}");
}

/// What a sample becomes depends on the seed, the step, and its place among those of the step: not on how these are cut into
/// micro-batches, nor on what else is augmented.
#[test]
fn draws_are_a_samples_own() {
    let both = "image = image -> random_crop(4, width = 5, pad = 2) -> random_flip";
    let c = compiled(&spec(both));
    let whole = images(&c, "augment", &host(1, 0), &batch(0, 9));
    let pieces = [images(&c, "augment", &host(1, 0), &batch(0, 4)), images(&c, "augment", &host(1, 4), &batch(4, 5))];
    assert_eq!(whole, pieces.concat());
    assert_ne!(whole, images(&c, "augment", &host(2, 0), &batch(0, 9)));
    assert_ne!(whole, images(&c, "augment", &HostState { seed: 8, ..host(1, 0) }, &batch(0, 9)));
    let more = compiled(&spec(&format!("label = label + i64(rand[0](label) * 0) {both}")));
    assert_eq!(whole, images(&more, "augment", &host(1, 0), &batch(0, 9)));
    let random = |entry: &str| {
        let f = c.program.entry(entry).expect("it is there").function;
        c.program.function(f).nodes.iter().any(|n| matches!(n.op, dlc_compiler::program::Op::Random))
    };
    assert!(random("augment") && !random("columns"));
}

#[test]
fn mistakes_of_augmentation() {
    let of = |augment: &str| mistakes(&spec(augment), &mut files());
    let cases = [
        (
            "image = image -> random_crop(3)",
            "E0509 2:105 `image -> random_crop(3)`: `image` is [B, 2, 4, 5] outside of training, and this makes [B, 2, 3, 3] of it",
        ),
        (
            "imag = image",
            "E0102 2:97 `imag`: `augment` changes columns, and `imag` is none of them | help: did you mean `image`?",
        ),
        ("image = imag", "E0102 2:105 `imag`: nothing is called `imag` | help: did you mean `image`?"),
        (
            "image = image - statistic(mean(image))",
            "E0509 2:113 `statistic(mean(image))`: `statistic` stands in the columns of a `data` item: elsewhere there is no split",
        ),
        (
            "image = image * rand(image)",
            "E0306 2:113 `rand(image)`: `rand` needs the axes along which it draws, and of what: `rand[0](x)`",
        ),
    ];
    for (augment, message) in cases {
        assert_eq!(of(augment), [message], "{augment}");
    }
}
