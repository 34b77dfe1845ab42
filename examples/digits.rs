//! The digits, through `model!`: trains, saves, loads, and reads ten digits.

dlc::model!("examples/digits.dl");

fn main() -> dlc::Result<()> {
    let mut training = Fit::new(42)?;
    let outcome = training.train("examples", &mut ())?;
    for (name, value) in &outcome.metrics {
        println!("{name} {value:.4}");
    }
    let file = std::env::temp_dir().join("digits.safetensors");
    training.save(&file)?;

    let mut net = Mlp::load(&file)?;
    let blank = dlc::Tensor::from_f32(vec![10, 64], vec![0.0; 640])?;
    let logits = net.run(&blank)?;
    println!("logits {:?}", logits.shape());
    Ok(())
}
