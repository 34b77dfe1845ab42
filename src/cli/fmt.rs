//! `dlc fmt`: rewrites specs in the one style, or tells which are not in it.

use super::fail::{Fail, Outcome, print};
use crate::error::Error;
use crate::files::write_whole;
use clap::ArgMatches;
use dlc_grammar::Sources;
use dlc_grammar::print::format;
use std::fmt::Write;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Formats every file, and goes on after one that has mistakes.
pub fn main(args: &ArgMatches, json: bool) -> Outcome {
    let only_check = args.get_flag("check");
    let (mut worst, mut report) = (0, String::new());
    for path in args.get_many::<PathBuf>("FILE").into_iter().flatten() {
        match file(path, only_check) {
            Ok(true) if only_check => {
                writeln!(report, "{} is not formatted", path.display()).expect("memory can be written");
                worst = worst.max(1);
            }
            Ok(_) => {}
            Err(Fail::Unheard) => return Err(Fail::Unheard),
            Err(fail) => {
                fail.tell(json);
                worst = worst.max(fail.exit_code());
            }
        }
    }
    print(&report)?;
    if worst > 0 { Err(Fail::Said(worst)) } else { Ok(()) }
}

/// Formats a file; gives whether it was, or would be, changed.
fn file(path: &Path, only_check: bool) -> Result<bool, Fail> {
    let standard = path.as_os_str() == "-";
    let text = if standard { read_standard()? } else { super::spec::read(path)? };
    let name = if standard { "<standard input>".to_owned() } else { path.display().to_string() };
    let formatted =
        format(&text).map_err(|diagnostics| Fail::Spec(diagnostics, Sources::single(name, text.as_str())))?;
    let changed = formatted != text;
    if standard && !only_check {
        print(&formatted)?;
    } else if changed && !only_check {
        write_whole(path, |out| out.write_all(formatted.as_bytes()))?;
    }
    Ok(changed)
}

fn read_standard() -> Result<String, Fail> {
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes).map_err(|error| Error::reading("standard input".as_ref(), &error))?;
    super::spec::text_of(bytes, "standard input".as_ref())
}
