//! Which tensor of a file is which weight of a model. Takes a model's weights, a file and the rules of a `weights` item;
//! gives an assignment, or one error with a table of everything that does not fit: names that are missing, names that
//! are not used, shapes that differ, each with the name or the rule that was likely meant.

use super::element::is_real;
use super::file::{Stored, TensorFile};
use crate::error::{Error, Result, code};
use dlc_plan::glob::{Glob, idle_alternatives, rename};
use dlc_plan::recipe::Weights as Rules;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// How many lines of each kind a table has before it says how many more there are. What differs by a number alone, as the
/// layers of a stack do, is one line.
const MOST_LINES: usize = 40;
/// With more pairs of an absent and an unused name than this, no one looks for names that are near.
const MOST_PAIRS: usize = 10_000_000;
/// How many names a sentence has.
const MOST_NAMES: usize = 12;

/// A weight of a model, as far as a file is concerned.
#[derive(Clone, Debug, PartialEq)]
pub struct Slot {
    /// Its name in a checkpoint.
    pub name: String,
    /// Further names of the same storage.
    pub aliases: Vec<String>,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Whether its elements are real numbers; integers otherwise.
    pub real: bool,
    /// Whether it may be missing, since nothing but its own next value is made of it.
    pub unread: bool,
}

/// Which tensor of a file belongs to which weight.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Assignment {
    /// A weight's number and the name of its tensor in the file.
    pub found: Vec<(usize, String)>,
    /// The numbers of weights that the file does not have, and that may be missing: the rules allow it, or nothing reads them.
    pub missing: Vec<usize>,
    /// What is odd, though it can be used: rules that match nothing.
    pub warnings: Vec<String>,
}

/// Assigns every tensor of a file to a weight. Every weight must be found, and every tensor used, unless a rule says
/// otherwise.
pub fn assign(slots: &[Slot], file: &TensorFile, rules: &Rules) -> Result<Assignment> {
    let mut done = Assignment::default();
    let named = renamed(file, rules, &mut done.warnings)?;
    let mut trouble =
        Trouble { slots, file, named: &named, absent: Vec::new(), misfits: Vec::new(), unused: Vec::new() };
    let may_miss = globs(&rules.missing)?;
    let (mut used, mut unread) = (BTreeSet::new(), Vec::new());
    for (number, slot) in slots.iter().enumerate() {
        let names = || std::iter::once(&slot.name).chain(&slot.aliases);
        used.extend(names().filter(|name| named.contains_key(*name)));
        let mut there = names().filter_map(|name| named.get(name));
        match there.next() {
            Some(first) => {
                trouble.compare(slot, first);
                for other in there {
                    trouble.compare_alias(first, other);
                }
                done.found.push((number, (*first).to_owned()));
            }
            None if may_miss.iter().any(|glob| names().any(|name| glob.covers(name))) => done.missing.push(number),
            None if slot.unread => unread.push(number),
            None => trouble.absent.push(number),
        }
    }
    // What nothing reads is missing with the rest of its module, or not at all.
    let (absent, spare): (Vec<usize>, Vec<usize>) =
        unread.into_iter().partition(|number| trouble.lacks_module(*number));
    trouble.absent.extend(absent);
    trouble.absent.sort_unstable();
    done.missing.extend(spare);
    trouble.unused = named.iter().filter(|(name, _)| !used.contains(name)).map(|(_, file_name)| *file_name).collect();
    trouble.check(&done)?;
    Ok(done)
}

/// The tensors of a file that are not ignored: the name that a model has for each, and the file's.
fn renamed<'f>(file: &'f TensorFile, rules: &Rules, warnings: &mut Vec<String>) -> Result<BTreeMap<String, &'f str>> {
    let ignored = globs(&rules.ignore)?;
    let mut idle: BTreeSet<&str> = rules.ignore.iter().map(String::as_str).collect();
    let mut idle_rules: BTreeSet<usize> = (0..rules.rename.len()).collect();
    let mut named = BTreeMap::new();
    for name in file.names() {
        let covering: Vec<&String> =
            ignored.iter().zip(&rules.ignore).filter(|(glob, _)| glob.covers(name)).map(|(_, text)| text).collect();
        if !covering.is_empty() {
            idle.retain(|text| !covering.iter().any(|covering| covering == text));
            continue;
        }
        let mut new_name = name.to_owned();
        for (number, (from, to)) in rules.rename.iter().enumerate() {
            if let Some(renamed) = rename(name, from, to).map_err(|why| bad_rule(&why))? {
                new_name = renamed;
                idle_rules.remove(&number);
            }
        }
        if let Some(other) = named.insert(new_name.clone(), name) {
            let message = format!("`{other}` and `{name}` of {} would both be `{new_name}`", file.path().display());
            return Err(Error::file(code::WEIGHT_NAMES, message));
        }
    }
    let shown = file.path().display();
    let is_idle = |rule: &str, glob: &str, idle: bool| {
        let hit = |glob: &Glob, name: &str| if rule == "rename" { glob.matches(name) } else { glob.covers(name) };
        let hits = |glob: &Glob| file.names().any(|name| hit(glob, name));
        let told = if idle { vec![String::new()] } else { idle_alternatives(glob, &hits) };
        let line = |alternative: String| {
            let (searched, as_) = match alternative.as_str() {
                "" => (glob, String::new()),
                alternative => (alternative, format!(" as `{alternative}`")),
            };
            let near = near_name(searched, file.names());
            let near = near.map_or_else(String::new, |name| format!("; near it: `{name}`"));
            format!("`{rule} \"{glob}\"` matches nothing in {shown}{as_}{near}")
        };
        told.into_iter().map(line).collect::<Vec<_>>()
    };
    warnings.extend(rules.ignore.iter().flat_map(|glob| is_idle("ignore", glob, idle.contains(glob.as_str()))));
    for (number, (from, _)) in rules.rename.iter().enumerate() {
        warnings.extend(is_idle("rename", from, idle_rules.contains(&number)));
    }
    Ok(named)
}

/// The name that begins and ends most like a glob, if half of it is alike.
fn near_name<'a>(glob: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = glob.replace('*', "");
    let alike = |name: &str| {
        let starts = name.bytes().zip(wanted.bytes()).take_while(|(a, b)| a == b).count();
        let ends = name.bytes().rev().zip(wanted.bytes().rev()).take_while(|(a, b)| a == b).count();
        (starts + ends).min(wanted.len())
    };
    let best = names.max_by_key(|name| (alike(name), std::cmp::Reverse(name.len())))?;
    (!wanted.is_empty() && 2 * alike(best) >= wanted.len()).then_some(best)
}

fn globs(patterns: &[String]) -> Result<Vec<Glob>> {
    patterns.iter().map(|pattern| Glob::new(pattern).map_err(|why| bad_rule(&why))).collect()
}

fn bad_rule(why: &str) -> Error {
    Error::spec(code::WEIGHT_NAMES, why)
}

/// A tensor that has a weight's name and does not fit.
struct Misfit {
    /// The weight.
    name: String,
    message: String,
    help: Option<&'static str>,
}

/// All that does not fit.
struct Trouble<'a> {
    slots: &'a [Slot],
    file: &'a TensorFile,
    /// From the model's name to the file's.
    named: &'a BTreeMap<String, &'a str>,
    /// Weights that are not in the file.
    absent: Vec<usize>,
    /// Tensors that have a weight's name and do not fit.
    misfits: Vec<Misfit>,
    /// Tensors that are no weight, by the file's names.
    unused: Vec<&'a str>,
}

impl Trouble<'_> {
    fn compare(&mut self, slot: &Slot, file_name: &str) {
        let stored = self.stored(file_name);
        let shown = self.file.path().display();
        // PyTorch before 0.4 had no tensors without axes.
        let is_scalar = slot.shape.is_empty() && stored.shape == [1];
        if stored.shape != slot.shape && !is_scalar {
            let message = format!("`{}` is {:?} here and {:?} in {shown}", slot.name, slot.shape, stored.shape);
            let turned = slot.shape.len() == 2 && stored.shape.iter().rev().eq(&slot.shape);
            let help =
                "the file stores it as [in, out], transposed. Declare `weight: param [I, O]` and use `x @ weight`.";
            self.misfits.push(Misfit { name: slot.name.clone(), message, help: turned.then_some(help) });
        } else if stored.elements.read_as().is_none_or(|dtype| is_real(dtype) != slot.real) {
            let own = if slot.real { "real numbers" } else { "integers" };
            let message = format!("`{}` has {own} here and {} in {shown}", slot.name, stored.elements.name());
            self.misfits.push(Misfit { name: slot.name.clone(), message, help: None });
        }
    }

    /// Whether another weight of a weight's module is absent.
    fn lacks_module(&self, number: usize) -> bool {
        let module = |number: usize| self.slots[number].name.rsplit_once('.').map(|(module, _)| module);
        self.absent.iter().any(|absent| module(*absent) == module(number))
    }

    fn compare_alias(&mut self, first: &str, other: &str) {
        let (one, two) = (self.file.read(first), self.file.read(other));
        let same = matches!((one, two), (Some(Ok(one)), Some(Ok(two))) if one == two);
        if !same {
            let shown = self.file.path().display();
            let message = format!("`{first}` and `{other}` are one weight here and differ in {shown}");
            self.misfits.push(Misfit { name: first.to_owned(), message, help: None });
        }
    }

    fn stored(&self, file_name: &str) -> Stored<'_> {
        self.file.get(file_name).expect("the name is one of the file's")
    }

    /// The error, if there is any trouble.
    fn check(&self, done: &Assignment) -> Result<()> {
        let shown = self.file.path().display();
        if done.found.is_empty() && !self.absent.is_empty() {
            let message = format!("0 of {} names found in {shown}", self.slots.len());
            let error = Error::file(code::NO_WEIGHT_FOUND, message);
            return Err(match self.prefix_rule() {
                Some((count, rule)) if count == self.slots.len() => {
                    error.help(format!("all {count} would with `{rule}`"))
                }
                Some((count, rule)) => self.table(error.help(format!("{count} would with `{rule}`"))),
                None => self.table(error),
            });
        }
        if let (false, [Misfit { name, message, help }]) = (self.has_names(), self.misfits.as_slice()) {
            let mut error = Error::file(code::WEIGHT_SHAPE, message.clone());
            error.about = Some(name.clone());
            return Err(help.iter().fold(error, |error, help| error.help(*help)));
        }
        if !self.has_names() && !self.misfits.is_empty() {
            let message = format!("{} weights have another shape in {shown}", self.misfits.len());
            return Err(self.table(Error::file(code::WEIGHT_SHAPE, message)));
        }
        if self.has_names() {
            return Err(self.table(Error::file(code::WEIGHT_NAMES, self.names_message())));
        }
        Ok(())
    }

    fn has_names(&self) -> bool {
        !self.absent.is_empty() || !self.unused.is_empty()
    }

    fn names_message(&self) -> String {
        let mut parts = Vec::new();
        let (absent, unused) = (self.absent.len(), self.unused.len());
        if absent > 0 {
            let are = if absent == 1 { "weight is" } else { "weights are" };
            parts.push(format!("{absent} {are} not in the file: {}", quoted(&self.absent_modules())));
        }
        if unused > 0 {
            let are = if unused == 1 { "tensor of the file is" } else { "tensors of the file are" };
            parts.push(format!("{unused} {are} not in the model"));
        }
        if !self.misfits.is_empty() {
            let have = if self.misfits.len() == 1 { "has" } else { "have" };
            parts.push(format!("{} {have} another shape", self.misfits.len()));
        }
        parts.join("; ")
    }

    /// The error with a table as a note, and what would mend it as help.
    fn table(&self, mut error: Error) -> Error {
        let mut lines = vec![format!("in {}:", self.file.path().display())];
        list(&mut lines, "not in the file", self.absent.iter().map(|&number| self.absent_line(number)));
        list(&mut lines, "not in the model", self.unused.iter().map(|name| (*name).to_owned()));
        list(&mut lines, "does not fit", self.misfits.iter().map(|misfit| misfit.message.clone()));
        error = error.note(lines.join("\n"));
        if error.code == code::WEIGHT_NAMES && !self.absent.is_empty() {
            let modules: Vec<String> =
                self.absent_modules().iter().map(|name| format!("\"{}\"", name.trim_end_matches(".*"))).collect();
            error = error.help(format!("if they are new: `missing {}`", modules.join(", ")));
        }
        if error.code == code::WEIGHT_NAMES && self.absent.is_empty() {
            let names: Vec<String> = self.unused.iter().take(MOST_NAMES).map(|name| format!("\"{name}\"")).collect();
            error = error.help(format!("if the model has no use for them: `ignore {}`", names.join(", ")));
        }
        error
    }

    fn absent_line(&self, number: usize) -> String {
        let slot = &self.slots[number];
        let near = self.near(slot).map_or_else(String::new, |name| format!("; the file has {name}"));
        format!("{} {:?}{near}", slot.name, slot.shape)
    }

    /// The unused tensor of the same shape whose name ends most like a weight's.
    fn near(&self, slot: &Slot) -> Option<&str> {
        if self.absent.len().saturating_mul(self.unused.len()) > MOST_PAIRS {
            return None;
        }
        let alike = |name: &str| {
            let ends = name.bytes().rev().zip(slot.name.bytes().rev()).take_while(|(a, b)| a == b).count();
            let starts = name.bytes().zip(slot.name.bytes()).take_while(|(a, b)| a == b).count();
            ends + starts
        };
        let same_shape = self.unused.iter().filter(|name| self.stored(name).shape == slot.shape);
        let best = same_shape.max_by_key(|name| alike(name))?;
        // Half of the letters: less is chance, since most names end in `.weight` or `.bias`.
        (2 * alike(best) >= slot.name.len()).then_some(best)
    }

    /// The absent weights by module where all of a module is absent: `classifier.*`.
    fn absent_modules(&self) -> Vec<String> {
        let absent: BTreeSet<&str> = self.absent.iter().map(|&number| self.slots[number].name.as_str()).collect();
        let mut shown: Vec<String> = Vec::new();
        for &number in &self.absent {
            let name = self.slots[number].name.as_str();
            if shown.iter().any(|shown| shown.strip_suffix('*').is_some_and(|module| name.starts_with(module))) {
                continue;
            }
            let ends = name.match_indices('.').map(|(at, _)| &name[..=at]);
            let module = ends.into_iter().find(|module| {
                let mut inside = self.slots.iter().filter(|slot| slot.name.starts_with(module));
                inside.all(|slot| absent.contains(slot.name.as_str()))
            });
            let text = module.map_or_else(|| name.to_owned(), |module| format!("{module}*"));
            if !shown.contains(&text) {
                shown.push(text);
            }
        }
        shown
    }

    /// A renaming that only takes a prefix away or adds one, if it makes names fit: how many, and the rule.
    fn prefix_rule(&self) -> Option<(usize, String)> {
        let ours: BTreeSet<&str> = self.slots.iter().map(|slot| slot.name.as_str()).collect();
        let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
        for name in self.named.values() {
            for (at, _) in name.match_indices('.').filter(|(at, _)| ours.contains(&name[at + 1..])) {
                *counts.entry((format!("{}.**", &name[..at]), "**".to_owned())).or_default() += 1;
            }
        }
        for name in &ours {
            for (at, _) in name.match_indices('.').filter(|(at, _)| self.named.contains_key(&name[at + 1..])) {
                *counts.entry(("**".to_owned(), format!("{}.**", &name[..at]))).or_default() += 1;
            }
        }
        let ((from, to), count) = counts.into_iter().max_by_key(|(_, count)| *count)?;
        Some((count, format!("rename \"{from}\" => \"{to}\"")))
    }
}

fn quoted(names: &[String]) -> String {
    let mut shown: Vec<String> = names.iter().take(MOST_NAMES).map(|name| format!("`{name}`")).collect();
    if names.len() > MOST_NAMES {
        shown.push(format!("and {} more", names.len() - MOST_NAMES));
    }
    shown.join(", ")
}

/// Adds the lines of one kind of trouble, so many at most.
fn list(lines: &mut Vec<String>, what: &str, found: impl Iterator<Item = String>) {
    let mut folded: Vec<Folded> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for line in found {
        let one = Folded::new(line);
        match places.get(&one.pattern) {
            Some(&place) => folded[place].numbers.extend(one.numbers),
            None => {
                places.insert(one.pattern.clone(), folded.len());
                folded.push(one);
            }
        }
    }
    let more: usize = folded.iter().skip(MOST_LINES).map(|line| line.numbers.len().max(1)).sum();
    lines.extend(folded.iter().take(MOST_LINES).map(|line| format!("  {what:<17} {}", line.text())));
    if more > 0 {
        lines.push(format!("  {what:<17} and {more} more"));
    }
}

/// Lines that differ in the first number of a name alone.
struct Folded {
    /// The line, with [`HOLE`] in the place of that number, wherever else it is a segment too.
    pattern: String,
    /// The numbers.
    numbers: Vec<u64>,
}

/// What no line has.
const HOLE: char = '\u{0}';

impl Folded {
    fn new(line: String) -> Folded {
        let end = line.find(' ').unwrap_or(line.len());
        let number = line[..end].split('.').find(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
        // Numbers that are written in another way than ours would not come back.
        let number = number.and_then(|part| part.parse::<u64>().ok().filter(|number| number.to_string() == part));
        let Some(number) = number else { return Folded { pattern: line, numbers: Vec::new() } };
        let text = number.to_string();
        let hole = |word: &str| {
            let parts = word.split('.').map(|part| if part == text { HOLE.to_string() } else { part.to_owned() });
            parts.collect::<Vec<_>>().join(".")
        };
        let words: Vec<String> =
            line.split(' ').map(|word| if word.contains(['[', ']']) { word.to_owned() } else { hole(word) }).collect();
        Folded { pattern: words.join(" "), numbers: vec![number] }
    }

    /// `layer.{0..11}.weight`: the numbers from the first to the last, or one after the other.
    fn text(&self) -> String {
        let mut numbers = self.numbers.clone();
        numbers.sort_unstable();
        let shown = match numbers[..] {
            [] => return self.pattern.clone(),
            [one] => one.to_string(),
            [first, .., last] if last - first == numbers.len() as u64 - 1 => format!("{{{first}..{last}}}"),
            _ => format!("{{{}}}", numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(",")),
        };
        self.pattern.replace(HOLE, &shown)
    }
}
