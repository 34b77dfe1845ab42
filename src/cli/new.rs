//! `dlc new`: makes a folder with a small spec and data that it can be trained on at once.

use super::args::required_path;
use super::fail::{Fail, Outcome, print};
use crate::files::{make_folder, write_whole};
use clap::ArgMatches;
use std::fmt::Write;

const SPEC: &str = include_str!("template/spec.dl");

/// Makes the folder; one that is there and not empty is left alone.
pub fn main(args: &ArgMatches, _json: bool) -> Outcome {
    let folder = required_path(args, "FOLDER");
    if std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Fail::asked(format!("{} is there already, and not empty", folder.display())));
    }
    make_folder(folder)?;
    let spec = folder.join("spirals.dl");
    write_whole(&folder.join("spirals.csv"), |out| out.write_all(spirals().as_bytes()))?;
    write_whole(&spec, |out| out.write_all(SPEC.as_bytes()))?;
    let shown = spec.display();
    print(&format!("made {shown} and its data; now try\n  dlc check {shown}\n  dlc train {shown}\n"))
}

/// Points of two interleaved spirals, in a fixed order, with a little noise from a fixed generator.
fn spirals() -> String {
    const POINTS: u32 = 300;
    let mut text = String::from("x,y,label\n");
    let (key, high) = dlc_plan::random::key(0, dlc_plan::random::site_hash("spirals", 0));
    let noise = |row, col| 0.06 * (dlc_plan::random::uniform(dlc_plan::random::bits(key, 0, high, row, col)) - 0.5);
    for i in 0..2 * POINTS {
        let (label, along) = (i % 2, (i / 2) as f32 / POINTS as f32);
        let angle = std::f32::consts::PI * (3.0 * along + label as f32);
        let radius = 0.1 + 0.9 * along;
        let (x, y) = (radius * angle.cos() + noise(i, 0), radius * angle.sin() + noise(i, 1));
        writeln!(text, "{x:.4},{y:.4},{label}").expect("memory can be written");
    }
    text
}
