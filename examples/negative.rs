//! A base, an adapter and a program, through `model!`: loads a network that reads digits, attaches an adapter that has begun
//! to read their negatives, trains it further, merges it, and saves what has become of it as a plain network.
//!
//! `cargo run --release --example negative`

use dlc::data::{self, Columns};
use dlc::emitted::{Arg, Source, SourceKind};
use dlc::{Result, Tensor};
use std::path::{Path, PathBuf};

dlc::model!("examples/digits.dl");
dlc::model!("examples/negative.dl");

/// How many digits a batch has.
const BATCH: u32 = 32;

fn main() -> Result<()> {
    let examples = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples");
    let folder = std::env::temp_dir().join(format!("dlc-negative-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("the system's folder for temporary files can be written");
    let digits = negatives(&examples)?;
    make_files(&examples, &folder, &digits)?;

    let mut net = Negative::load(folder.join("base.safetensors"))?;
    for note in net.load_adapter(folder.join("adapter"))? {
        println!("{note}");
    }
    println!("attached: accuracy {:.4}", accuracy(&net.run(&digits.pixels)?, &digits));
    learn(&mut net, &digits, 300)?;
    let tuned = net.run(&digits.pixels)?;
    println!("trained further: accuracy {:.4}", accuracy(&tuned, &digits));
    net.save_adapter(folder.join("adapter"))?;
    net.merge()?;
    net.save(folder.join("merged.safetensors"))?;

    let plain = Mlp::load(folder.join("merged.safetensors"))?.run(&digits.pixels)?;
    println!("merged: accuracy {:.4}", accuracy(&plain, &digits));
    let apart = plain.to_f32_vec().iter().zip(tuned.to_f32_vec()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    println!("merged, logits differ by less than 0.001: {}", apart < 1e-3);
    std::fs::remove_dir_all(&folder).expect("what was written there is the program's own");
    Ok(())
}

/// Digits, white on black.
struct Digits {
    pixels: Tensor,
    label: Tensor,
}

fn negatives(examples: &Path) -> Result<Digits> {
    let source = Source {
        kind: SourceKind::Csv,
        paths: vec!["data/digits.csv.gz".into()],
        args: vec![("pixels".into(), Arg::Int(64)), ("label".into(), Arg::Int(1))],
    };
    let read = data::read(&source, examples, None)?;
    let column = |name: &str| read.get(name).map_or(Vec::new(), Tensor::to_f32_vec);
    let pixels = column("pixels").iter().map(|dark| 1.0 - dark / 16.0).collect();
    let label: Vec<i64> = column("label").iter().map(|digit| *digit as i64).collect();
    let rows = label.len();
    Ok(Digits { pixels: Tensor::from_f32(vec![rows, 64], pixels)?, label: Tensor::from_i64(vec![rows], label)? })
}

/// What the program begins with: the file of a network that reads digits, and an adapter that has begun to learn.
fn make_files(examples: &Path, folder: &Path, digits: &Digits) -> Result<()> {
    let mut base = Fit::new(42)?;
    base.train(examples, &mut ())?;
    base.save(folder.join("base.safetensors"))?;
    println!("the base: accuracy {:.4}", accuracy(&base.run(&digits.pixels)?, digits));
    let mut first = Negative::load(folder.join("base.safetensors"))?;
    learn(&mut first, digits, 30)?;
    first.save_adapter(folder.join("adapter"))
}

/// Steps of training on one batch after the other.
fn learn(net: &mut Negative, digits: &Digits, steps: u32) -> Result<()> {
    let all = Columns::new(vec![("pixels".into(), digits.pixels.clone()), ("label".into(), digits.label.clone())])?;
    for step in 0..steps {
        let first = step * BATCH % (all.rows() as u32 - BATCH);
        let batch = all.select(&(first..first + BATCH).collect::<Vec<_>>())?.into_named();
        let [(_, pixels), (_, label)] = &batch[..] else { unreachable!("there are two columns") };
        net.step(pixels, label)?;
    }
    Ok(())
}

/// The share of digits that are read right.
fn accuracy(logits: &Tensor, digits: &Digits) -> f64 {
    let logits = logits.to_f32_vec();
    let read = logits.chunks(10).map(|row| (0..10).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap_or(0));
    let right = read.zip(digits.label.to_f32_vec()).filter(|(read, digit)| *read as f32 == *digit).count();
    right as f64 / digits.label.elements().max(1) as f64
}
