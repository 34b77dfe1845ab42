//! Specs that are almost valid, and what has to be so for any text: the checker says what is wrong with it, at places that
//! the text has, and never that the mistake is its own.

use super::dice::Dice;
use crate::support::spec::{Columns, compile};
use dlc_compiler::pipeline::{self, Goal, Request};
use dlc_grammar::Diagnostic;

/// What takes a token's place: ends of ranges, other sorts of values, names, brackets.
const OTHERS: [&str; 36] = [
    "0",
    "1",
    "-1",
    "2",
    "7",
    "1000",
    "2147483648",
    "-2147483649",
    "4611686018427387904",
    "1e300",
    "0.5",
    "inf",
    "none",
    "true",
    "\"\"",
    "\"same\"",
    "B",
    "T",
    "x0",
    "ids",
    "w",
    "i",
    "..",
    ":",
    "[",
    "]",
    "(",
    ")",
    ",",
    "->",
    "*",
    "/",
    "%",
    "mean",
    "sort",
    "repeat 3 as i",
];

/// A text with a few edits of its tokens or lines.
pub fn mutated(text: &str, dice: &mut Dice) -> String {
    let mut text = text.to_string();
    for _ in 0..1 + dice.below(3) {
        text = if dice.one_in(4) { lines(&text, dice) } else { tokens(&text, dice) };
    }
    text
}

fn lines(text: &str, dice: &mut Dice) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    let (at, other) = (dice.below(lines.len()), dice.below(lines.len()));
    match dice.below(3) {
        0 => drop(lines.remove(at)),
        1 => lines.insert(at, lines[other]),
        _ => lines.swap(at, other),
    }
    lines.join("\n") + "\n"
}

/// The tokens of a text, spaces among them.
fn cut(text: &str) -> Vec<&str> {
    let sort = |c: char| if c.is_alphanumeric() || "_.\"".contains(c) { 0 } else { c as u32 };
    let mut found = Vec::new();
    let mut start = 0;
    let mut last = None;
    for (at, c) in text.char_indices() {
        if last.is_some_and(|last| last != sort(c)) {
            found.push(&text[start..at]);
            start = at;
        }
        last = Some(sort(c));
    }
    found.push(&text[start..]);
    found
}

fn tokens(text: &str, dice: &mut Dice) -> String {
    let mut found = cut(text);
    let solid: Vec<usize> = (0..found.len()).filter(|k| !found[*k].trim().is_empty()).collect();
    if solid.is_empty() {
        return OTHERS[dice.below(OTHERS.len())].into();
    }
    let (at, other) = (dice.pick(&solid), dice.pick(&solid));
    match dice.below(6) {
        0 => drop(found.remove(at)),
        1 => found.swap(at, other),
        2 => found.insert(at, found[other]),
        3 => found[at] = found[other],
        _ => found[at] = dice.pick(&OTHERS),
    }
    found.concat()
}

/// Paths of settings, some of which are there.
const PATHS: [&str; 20] = [
    "fit.lr",
    "fit.optimizer.lr",
    "fit.optimizer.beta1",
    "fit.optimizer",
    "fit.group",
    "fit.group.lr",
    "fit.freeze",
    "fit.model",
    "fit.model.p",
    "fit.metrics.top",
    "fit.accumulate",
    "fit.seed",
    "fit.loss",
    "Net.hidden",
    "Net.p",
    "Net.act",
    "small.r",
    "small.scale",
    "WIDTH",
    "fit..lr",
];

/// A few settings.
pub fn settings(dice: &mut Dice) -> Vec<(String, String)> {
    let value = |dice: &mut Dice| match dice.below(4) {
        0 => format!("[{}, {}]", dice.pick(&OTHERS), dice.pick(&OTHERS)),
        1 => format!("{} * {}", dice.pick(&OTHERS), dice.pick(&OTHERS)),
        _ => dice.pick(&OTHERS).to_string(),
    };
    (0..1 + dice.below(3)).map(|_| (dice.pick(&PATHS).to_string(), value(dice))).collect()
}

/// The codes of mistakes that are ours.
const OURS: [&str; 3] = ["E0010", "E0704", "E0999"];

/// Checks a text as a training with these settings, and compiles what is sound.
pub fn checked(text: &str, sets: &[(String, String)]) -> Result<(), String> {
    let request = Request { name: "spec.dl", text, sets, goal: Goal::Train { item: None } };
    let found = pipeline::check(&request, &mut Columns(vec![]));
    let sets: Vec<(&str, &str)> = sets.iter().map(|(path, value)| (path.as_str(), value.as_str())).collect();
    let done = compile(text, Goal::Train { item: None }, &sets, &mut Columns(vec![]), &mut |_, _| {});
    let more = match &done {
        Ok(done) => (&done.sources, &done.warnings),
        Err(findings) => (&findings.sources, &findings.diagnostics),
    };
    for (sources, diagnostics) in [(&found.sources, &found.diagnostics), more] {
        if let Some(ours) = diagnostics.iter().find(|d| OURS.contains(&d.code)) {
            return Err(format!("{}: {}", ours.code, ours.message));
        }
        // A place that the text does not have panics here.
        diagnostics
            .iter()
            .filter_map(Diagnostic::span)
            .for_each(|span| assert!(sources.text(span).len() <= text.len()));
    }
    Ok(())
}
