//! `dlc convert`: weights of any format as safetensors, or a list of them; or an adapter's folder as a `lora` item.

use super::args::{required_path, text_of};
use super::fail::{Outcome, print};
use crate::weights::convert::{convert, table};
use crate::weights::file::TensorFile;
use clap::ArgMatches;
use dlc_runtime::tensor::DType;
use std::path::PathBuf;

/// Converts, lists, or prints an item.
pub fn main(args: &ArgMatches, _json: bool) -> Outcome {
    if args.get_flag("lora") {
        let folder = required_path(args, "IN");
        let prefix = text_of(args, "prefix").unwrap_or_default();
        return print(&crate::adapters::item::item(folder, prefix, &folder.display().to_string())?);
    }
    let file = TensorFile::open(required_path(args, "IN"))?;
    let Some(out) = args.get_one::<PathBuf>("OUT") else { return print(&table(&file)) };
    let dtype = text_of(args, "dtype").and_then(dlc_plan::DType::parse).map(DType::from);
    let warnings = convert(&file, out, dtype)?;
    file.notes().iter().for_each(|note| eprintln!("{note}"));
    warnings.iter().for_each(|text| eprintln!("warning: {text}"));
    print(&format!("wrote {} tensors to {}\n", file.names().count(), out.display()))
}
