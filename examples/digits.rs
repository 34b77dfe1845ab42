//! The digits, through `model!`: trains, saves, loads, and reads the first ten digits of the data.
//!
//! `cargo run --release --example digits`

use dlc::Tensor;
use dlc::data;
use dlc::emitted::{Arg, Source, SourceKind};
use std::path::PathBuf;

dlc::model!("examples/digits.dl");

fn main() -> dlc::Result<()> {
    let examples = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut training = Fit::new(42)?;
    let outcome = training.train(&examples, &mut ())?;
    for (name, value) in &outcome.metrics {
        println!("{name} {value:.4}");
    }
    let file = std::env::temp_dir().join("dlc-digits.safetensors");
    training.save(&file)?;

    let mut net = Mlp::load(&file)?;
    let source = Source {
        kind: SourceKind::Csv,
        paths: vec!["data/digits.csv.gz".into()],
        args: vec![("pixels".into(), Arg::Int(64)), ("label".into(), Arg::Int(1))],
    };
    let digits = data::read(&source, &examples, None)?.select(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9])?;
    let pixels = digits.get("pixels").map_or(Vec::new(), Tensor::to_f32_vec);
    let pixels = Tensor::from_f32(vec![10, 64], pixels.iter().map(|x| x / 16.0).collect())?;
    let logits = net.run(&pixels)?.to_f32_vec();
    let read = logits.chunks(10).map(|row| (0..10).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap_or(0));
    println!("the first ten digits are read as {:?}", read.collect::<Vec<_>>());
    Ok(())
}
