//! Integers of all types, and truths: what the manual says of them, from the interpreter, from machine code and from emitted
//! Rust, at the edges of their types.
#![expect(clippy::unwrap_used, reason = "a test that unwraps a surprise has failed, as it should")]

use crate::cli::dlc;
use crate::engines::{compiled_as, machine};
use crate::scratch::Scratch;
use dlc::weights::file::TensorFile;
use dlc::{DType, Network, Tensor};
use dlc_compiler::pipeline::Goal;
use dlc_compiler::program::Role;
use dlc_compiler::program::interp::{self, run_entry};
use dlc_plan::HostState;

dlc::model!("tests/specs/integers.dl");

const SPEC: &str = "tests/specs/integers.dl";

const EDGES: [i64; 16] = [
    i64::MAX,
    i64::MIN,
    (1 << 53) + 1,
    -(1 << 53) - 1,
    1 << 31,
    -(1 << 31),
    3_000_000_000,
    -7,
    0,
    1,
    -1,
    10,
    1 << 32,
    i64::MAX - 1,
    i64::MIN + 1,
    100_000,
];

/// Extents of the two axes: single ones, and those around a vector.
const SIZES: [(usize, usize); 6] = [(1, 1), (3, 5), (2, 15), (4, 16), (3, 17), (5, 257)];

/// The outputs of a model as integers, or as the bits of singles: of emitted Rust, after asserting that machine code on 1 and 3
/// threads and the interpreter agree.
fn outputs(model: &str, rust: &mut Network, inputs: &[(&str, &Tensor)]) -> Vec<(String, Vec<i64>)> {
    let c = compiled_as(SPEC, Goal::Run { model: Some(model), training: false }, &[]);
    let shown = |t: &Tensor| -> Vec<i64> {
        match t.dtype() {
            DType::F32 => t.to_f32_vec().iter().map(|x| i64::from(x.to_bits())).collect(),
            _ => t.to_i64_vec().unwrap(),
        }
    };
    let of = |net: &mut Network| -> Vec<(String, Vec<i64>)> {
        net.run("forward", inputs).unwrap().iter().map(|(n, t)| (n.clone(), shown(t))).collect()
    };
    let found = of(rust);
    for threads in [1, 3] {
        assert_eq!(of(&mut machine(&c, 0, threads)), found, "machine code of `{model}` on {threads} threads");
    }
    let entry = c.program.entry("forward").unwrap();
    let given = |role: &Role| {
        let Role::Named(name) = role else { panic!("{role:?}") };
        let t = inputs.iter().find(|(n, _)| n == name).unwrap().1;
        match t.dtype() {
            DType::F32 => {
                interp::Tensor::new(t.shape(), t.to_f32_vec().iter().map(|x| f64::from(*x)).collect::<Vec<_>>())
            }
            _ => interp::Tensor::whole(t.shape(), t.to_i64_vec().unwrap()),
        }
    };
    let args = entry.inputs.iter().map(given).collect();
    let results = run_entry(&c.program, entry, args, &HostState::default()).unwrap();
    let types = c.program.function(entry.function).result_tys();
    for ((t, ty), (name, found)) in results.iter().zip(types).zip(&found) {
        if ty.dtype.is_float() {
            for (x, bits) in t.data.iter().zip(found) {
                let y = f64::from(f32::from_bits(*bits as u32));
                assert!((x - y).abs() <= 1e-6 * x.abs(), "`{name}` of `{model}`: {y} is not the interpreter's {x}");
            }
        } else {
            assert_eq!(&t.integers(), found, "`{name}` of `{model}` by the interpreter");
        }
    }
    found
}

/// Columns of a table of rows.
fn columns(x: &[i64], width: usize) -> Vec<Vec<i64>> {
    (0..width).map(|k| x.iter().skip(k).step_by(width).copied().collect()).collect()
}

fn rows(x: &[i64], width: usize) -> Vec<Vec<i64>> {
    x.chunks(width).map(<[i64]>::to_vec).collect()
}

fn sum(x: &[i64]) -> i64 {
    x.iter().fold(0, |s, n| s.wrapping_add(*n))
}

fn product(x: &[i64]) -> i64 {
    x.iter().fold(1, |s, n| s.wrapping_mul(*n))
}

fn first_greatest(x: &[i64]) -> i64 {
    let most = x.iter().max().unwrap();
    x.iter().position(|n| n == most).unwrap() as i64
}

/// The remainder that the divisor's sign has, by the definition.
fn remainder(a: i64, b: i64) -> i64 {
    let (a, b) = (i128::from(a), i128::from(b));
    if b == 0 {
        return 0;
    }
    let floor = if (a < 0) == (b < 0) { a.abs() / b.abs() } else { -((a.abs() + b.abs() - 1) / b.abs()) };
    (a - b * floor) as i64
}

fn running(x: &[i64], width: usize) -> Vec<i64> {
    let row = |row: &[i64]| (1..=row.len()).map(|n| sum(&row[..n])).collect::<Vec<_>>();
    x.chunks(width).flat_map(row).collect()
}

fn singles(x: impl IntoIterator<Item = f32>) -> Vec<i64> {
    x.into_iter().map(|x| i64::from(x.to_bits())).collect()
}

#[test]
fn integers_of_64_bits_are_exact_and_wrap() {
    for (b, t) in SIZES {
        let x: Vec<i64> = (0..b * t).map(|i| EDGES[i * 7 % 16]).collect();
        let y: Vec<i64> = (0..b * t).map(|i| EDGES[(i * 3 + i / 16) % 16]).collect();
        let [given_x, given_y] = [&x, &y].map(|v| Tensor::from_i64(vec![b, t], v.clone()).unwrap());
        let found = outputs("Whole", &mut Whole::new(0).unwrap(), &[("x", &given_x), ("y", &given_y)]);
        let pairs = |f: &dyn Fn(i64, i64) -> i64| x.iter().zip(&y).map(|(x, y)| f(*x, *y)).collect::<Vec<_>>();
        let sorted = rows(&x, t).into_iter().flat_map(|mut row| {
            row.sort_unstable();
            row
        });
        let mean = |row: &Vec<i64>| sum(&row.iter().map(|n| remainder(*n, 1000)).collect::<Vec<_>>()) as f32 / t as f32;
        let expected: [(&str, Vec<i64>); 22] = [
            ("add", pairs(&i64::wrapping_add)),
            ("mul", pairs(&i64::wrapping_mul)),
            ("rem", pairs(&remainder)),
            ("low", pairs(&|x, _| remainder(x, 8))),
            ("neg", pairs(&|x, _| x.wrapping_neg())),
            ("size", pairs(&|x, _| x.wrapping_abs())),
            ("most", pairs(&i64::max)),
            ("less", pairs(&|x, y| i64::from(x < y))),
            ("same", vec![1; b * t]),
            ("chosen", pairs(&i64::max)),
            ("down", columns(&x, t).iter().map(|c| sum(c)).collect()),
            ("across", rows(&x, t).iter().map(|r| sum(r)).collect()),
            ("all", vec![sum(&x)]),
            ("product", rows(&x, t).iter().map(|r| product(r)).collect()),
            ("running", running(&x, t)),
            ("sorted", sorted.collect()),
            ("at", rows(&x, t).iter().map(|r| first_greatest(r)).collect()),
            ("single", singles(x.iter().map(|n| *n as f32))),
            ("short", pairs(&|x, _| i64::from(x as i32))),
            ("byte", pairs(&|x, _| i64::from(x as u8))),
            ("far", pairs(&|x, _| x.wrapping_add((1 << 53) + 1))),
            ("mean", singles(rows(&x, t).iter().map(mean))),
        ];
        for ((name, found), (expected_name, expected)) in found.iter().zip(expected) {
            assert_eq!(name, expected_name);
            assert_eq!(*found, expected, "`{name}` of {b} rows of {t}");
        }
    }
}

#[test]
fn bytes_wrap_and_are_summed_in_64_bits() {
    for (b, t) in SIZES {
        let u: Vec<i64> = (0..b * t).map(|i| [200, 100, 255, 0, 128, 1, 255][i * 5 % 7]).collect();
        let truths: Vec<bool> = (0..b * t).map(|i| i / t % 3 == 1 || i % t == 2).collect();
        let k: Vec<i32> = (0..b * t).map(|i| [i32::MAX, i32::MIN, -1, 0, 7, -1000][i * 5 % 6]).collect();
        let bytes: Vec<u8> = u.iter().map(|n| *n as u8).collect();
        let given_u = Tensor::from_slice(&[b, t], &bytes).unwrap();
        let given_b = Tensor::from_bool(vec![b, t], truths.clone()).unwrap();
        let given_k = Tensor::from_i32(vec![b, t], k.clone()).unwrap();
        let inputs = [("u", &given_u), ("b", &given_b), ("k", &given_k)];
        let found = outputs("Bytes", &mut Bytes::new(0).unwrap(), &inputs);
        let each = |f: &dyn Fn(u8) -> u8| bytes.iter().map(|n| i64::from(f(*n))).collect::<Vec<_>>();
        let truth: Vec<i64> = truths.iter().map(|b| i64::from(*b)).collect();
        let whole: Vec<i64> = k.iter().map(|k| i64::from(*k)).collect();
        let turned = each(&|n| n.wrapping_sub(128));
        let sorted = rows(&turned, t).into_iter().flat_map(|mut row| {
            row.sort_unstable();
            row
        });
        let expected: [(&str, Vec<i64>); 21] = [
            ("add", each(&|n| n.wrapping_add(n))),
            ("less", singles(turned.iter().map(|n| *n as f32))),
            ("neg", each(&u8::wrapping_neg)),
            ("mul", each(&|n| n.wrapping_mul(n))),
            ("mixed", u.iter().zip(&k).map(|(u, k)| i64::from(k.wrapping_add(*u as i32))).collect()),
            ("down", columns(&u, t).iter().map(|c| sum(c)).collect()),
            ("across", rows(&u, t).iter().map(|r| sum(r)).collect()),
            ("all", vec![sum(&u)]),
            ("product", rows(&u, t).iter().map(|r| product(r)).collect()),
            ("most", columns(&u, t).iter().map(|c| *c.iter().max().unwrap()).collect()),
            ("least", rows(&u, t).iter().map(|r| *r.iter().min().unwrap()).collect()),
            ("top", vec![*u.iter().max().unwrap()]),
            ("mean", singles(columns(&u, t).iter().map(|c| sum(c) as f32 / b as f32))),
            ("at", columns(&u, t).iter().map(|c| first_greatest(c)).collect()),
            ("running", running(&u, t)),
            ("sorted", sorted.collect()),
            ("any", columns(&truth, t).iter().map(|c| *c.iter().max().unwrap()).collect()),
            ("every", rows(&truth, t).iter().map(|r| *r.iter().min().unwrap()).collect()),
            ("some", vec![*truth.iter().max().unwrap()]),
            ("ints", columns(&whole, t).iter().map(|c| sum(c)).collect()),
            ("rest", whole.iter().zip(&u).map(|(k, u)| remainder(*k, u - 100)).collect()),
        ];
        for ((name, found), (expected_name, expected)) in found.iter().zip(expected) {
            assert_eq!(name, expected_name);
            assert_eq!(*found, expected, "`{name}` of {b} rows of {t}");
        }
    }
}

#[test]
fn casts_of_reals_truncate_and_saturate() {
    let x = [
        3e9f32,
        -3e9,
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        1e20,
        2.7,
        -2.7,
        300.0,
        -1.0,
        255.9,
        0.0,
        2147483648.0,
    ];
    let given = Tensor::from_f32(vec![x.len()], x.to_vec()).unwrap();
    let found = outputs("Casts", &mut Casts::new(0).unwrap(), &[("f", &given)]);
    // Rust's own conversions truncate, saturate, and make 0 of what is no number.
    assert_eq!(found[0].1, x.map(|x| x as i64));
    assert_eq!(found[1].1, x.map(|x| i64::from(x as i32)));
    assert_eq!(found[2].1, x.map(|x| i64::from(x as u8)));
    assert_eq!(found[3].1, x.map(|x| i64::from(x != 0.0)));
}

#[test]
fn rows_are_found_by_numbers_beyond_32_bits() {
    let table = Tensor::from_f32(vec![10, 2], (0..20).map(|i| i as f32).collect()).unwrap();
    let (i, j) = (vec![3, 100_000, 65_536, 2, 0], vec![3, 100_000, 65_536, -1, 5]);
    let whole: Vec<i64> = i.iter().enumerate().map(|(n, i)| n as i64 * 3_000_000_000 + i).collect();
    let [i, j] = [i, j].map(|v| Tensor::from_i64(vec![5], v).unwrap());
    let found = outputs("Rows", &mut Rows::new(0).unwrap(), &[("table", &table), ("i", &i), ("j", &j)]);
    // What is outside counts as the nearest row.
    let expected = [9.0, 9.0, 9.0, 0.0, 0.0].into_iter().flat_map(|row| [2.0 * row, 2.0 * row + 1.0]);
    assert_eq!(found[0].1, singles(expected));
    assert_eq!(found[1].1, whole);
}

/// A table says nothing of types: columns that are used as whole numbers alone keep all their digits.
#[test]
fn tables_keep_whole_numbers_whole() {
    let spec = |source: &str, columns: &str, keep: &str| {
        format!(
            "model M()(k: i64[B]) -> y: [B] {{
               w: param [1] = ones
               most: state i64[] = 0
               least: state i64[] = 0
               most <- max(k)
               least <- min(k)
               return f32(k) * w
             }}
             data d {{ source = {source} {keep} columns {{ {columns} }} batch = all }}
             train f {{ model = M() data = d loss = mean(y) optimizer = SGD(lr = 0) max_steps = 1 }}"
        )
    };
    let dir = Scratch::new();
    let rows = ["9007199254740993", "1700000000123", "3000000001", "16777217.0"];
    dir.file("a.csv", "k,t\n".to_owned() + &rows.map(|row| format!("{row},0\n")).concat());
    dir.file("a.tsv", "k\tt\n".to_owned() + &rows.map(|row| format!("{row}\t0\n")).concat());
    dir.file("a.jsonl", rows.map(|row| format!("{{\"k\": {row}, \"t\": 0}}\n")).concat());
    let trained = |source: &str, columns: &str, keep: &str| {
        dir.file("m.dl", spec(source, columns, keep));
        let done = dlc(&dir.path(""), &["train", "m.dl", "--out", "o"]);
        assert_eq!((done.code, done.err.as_str()), (0, ""), "{source} {columns}: {}", done.out);
        let file = TensorFile::open(&dir.path("o/model.safetensors")).expect("it is sound");
        ["most", "least"].map(|name| {
            let state = file.read(name).expect("it is there").expect("it is sound");
            state.view::<i64>().expect("it is of 64 bits")[0]
        })
    };
    for source in ["csv(\"a.csv\")", "tsv(\"a.tsv\")", "jsonl(\"a.jsonl\")"] {
        assert_eq!(trained(source, "k = i64(k)", ""), [9_007_199_254_740_993, 16_777_217], "{source}");
        assert_eq!(trained(source, "k = k -> i64", ""), [9_007_199_254_740_993, 16_777_217], "{source}");
        assert_eq!(trained(source, "k = i64(k % 1000000)", ""), [777_217, 1], "{source}");
        let only = trained(source, "k = i64(k)", "where = i64(k) == 1700000000123");
        assert_eq!(only, [1_700_000_000_123; 2], "{source}");
    }
    // What is no whole number is told with its row, and what mends it is to say how it becomes one.
    dir.file("a.csv", "k,t\n1,0\n1.5,0\n99999999999999999999,0\n");
    dir.file("m.dl", spec("csv(\"a.csv\")", "k = i64(k)", ""));
    let done = dlc(&dir.path(""), &["train", "m.dl", "--out", "o"]);
    assert!(done.code == 2 && done.err.contains("column `k` has `1.5`, expected a whole number"), "{}", done.err);
    assert!(done.err.contains("`99999999999999999999`"), "{}", done.err);
    dir.file("a.csv", "k,t\n1,0\n1.5,0\n");
    assert_eq!(trained("csv(\"a.csv\")", "k = i64(floor(k))", ""), [1, 1]);
}
