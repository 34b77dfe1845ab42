//! `--set path=value`. Takes a spec's tree and settings such as `fit.lr=1e-3`, `fit.epochs=3`, `digits.split.train=0.9` or
//! `fit.optimizer.lr=0.1`; changes the tree before anything is checked, so that what is set goes through the checks of what
//! is written. A path is an item, then a parameter of it, an entry, an entry of a section, or an argument of a call that
//! an entry is.

use super::schema::{self, Form, Key};
use dlc_grammar::ast::{Arg, Config, Entry, EntryKind, Expr, ExprKind, Ident, Item, Param, Spec};
use dlc_grammar::node::{Node, without_spans};
use dlc_grammar::parse::parse;
use dlc_grammar::{Diagnostic, Sources, Span, nearest};

/// Applies settings in order.
pub fn apply(spec: &mut Spec, sets: &[(String, String)], sources: &mut Sources, errors: &mut Vec<Diagnostic>) {
    for (path, value) in sets {
        let file = sources.add("--set", format!("{path}={value}"));
        let Some(value) = expression(value, file, path.len() + 1, errors) else { continue };
        match place(spec, &words(path, file)) {
            Ok(place) => place.put(value),
            Err(error) => errors.push(error),
        }
    }
}

/// The text of a spec with settings written into it; its comments stay. None where a setting or the text is wrong, or the
/// text would not say the same as the tree.
pub fn written(text: &str, sets: &[(String, String)]) -> Option<String> {
    let mut done = text.to_string();
    for (path, value) in sets {
        let (mut spec, errors) = parse(&done, 0);
        if errors.iter().any(Diagnostic::is_error) {
            return None;
        }
        let parsed = expression(value, 1, 0, &mut Vec::new())?;
        // What surrounds the value, such as a comment, does not come along.
        let value = value.get(parsed.span.range())?;
        let (range, new) = place(&mut spec, &words(path, 1)).ok()?.edit(value);
        let own_line = done[..range.start].trim_end_matches(' ').ends_with('\n');
        done.replace_range(range, if own_line { new.trim_start() } else { &new });
    }
    let (mut wanted, mut errors) = parse(text, 0);
    apply(&mut wanted, sets, &mut Sources::new(), &mut errors);
    let (found, more) = parse(&done, 0);
    let fine = errors.is_empty() && more.is_empty() && without_spans(wanted) == without_spans(found);
    fine.then_some(done)
}

/// The words of a path, each with its place.
fn words(path: &str, file: u16) -> Vec<Ident> {
    let mut at = 0;
    let word = |text: &str| {
        let span = Span::new(file, at, at + text.len());
        at += text.len() + 1;
        Ident { text: text.to_string(), span }
    };
    path.split('.').map(word).collect()
}

/// The text as an expression, with places as if it stood at `at`.
fn expression(text: &str, file: u16, at: usize, errors: &mut Vec<Diagnostic>) -> Option<Expr> {
    const BEFORE: &str = "const x = ";
    let (mut spec, mut found) = parse(&format!("{BEFORE}{text}"), file);
    let moved = |span: &mut Span| {
        let place = |n: u32| (n as usize + at).saturating_sub(BEFORE.len()).max(at);
        *span = Span::new(file, place(span.start), place(span.end));
    };
    for d in &mut found {
        d.labels.iter_mut().for_each(|label| moved(&mut label.span));
        d.edits.clear();
    }
    spec.each_span(&mut { moved });
    let one = spec.items.len() == 1;
    if found.is_empty() && !one {
        let place = Span::new(file, at, at + text.len());
        found.push(Diagnostic::error("E0009", place, "this is not one value"));
    }
    let bad = !found.is_empty();
    errors.append(&mut found);
    match spec.items.pop() {
        Some(Item::Const(constant)) if !bad => Some(constant.value),
        Some(_) | None => None,
    }
}

/// Where a value goes in the tree.
enum Place<'a> {
    /// The default of a parameter.
    Default(&'a mut Param),
    /// In the place of another.
    Value(&'a mut Expr),
    /// A further entry of an item or section that ends with a bracket at the place.
    Entry(&'a mut Vec<Entry>, Ident, usize),
    /// A further argument of a call, or of a name that becomes one.
    Argument(&'a mut Expr, Ident),
}

impl Place<'_> {
    /// Changes the tree.
    fn put(self, value: Expr) {
        match self {
            Place::Default(param) => param.default = Some(value),
            Place::Value(old) => *old = value,
            Place::Entry(entries, name, _) => {
                let span = name.span;
                entries.push(Entry { kind: EntryKind::Attr { names: vec![name], value }, span });
            }
            Place::Argument(call, name) => {
                let arg = Arg { span: name.span, name: Some(name), value };
                match &mut call.kind {
                    ExprKind::Call { args, .. } => args.push(arg),
                    _ => {
                        let callee = Box::new(call.clone());
                        call.kind = ExprKind::Call { callee, args: vec![arg] };
                    }
                }
            }
        }
    }

    /// The same in the text: which bytes become what.
    fn edit(self, value: &str) -> (std::ops::Range<usize>, String) {
        let at = |n: usize| n..n;
        match self {
            Place::Default(Param { default: Some(old), .. }) | Place::Value(old) => {
                (old.span.range(), value.to_string())
            }
            Place::Default(param) => (at(param.span.range().end), format!(" = {value}")),
            Place::Entry(_, name, bracket) => (at(bracket), format!("\n{} = {value}\n", name.text)),
            Place::Argument(call, name) => match &call.kind {
                ExprKind::Call { args, .. } => match args.last() {
                    Some(last) => (at(last.span.range().end), format!(", {} = {value}", name.text)),
                    None => (at(call.span.range().end - 1), format!("{} = {value}", name.text)),
                },
                _ => (at(call.span.range().end), format!("({} = {value})", name.text)),
            },
        }
    }
}

type Found<'a> = Result<Place<'a>, Diagnostic>;

/// The place that a path names.
fn place<'a>(spec: &'a mut Spec, path: &[Ident]) -> Found<'a> {
    let [item, rest @ ..] = path else { return Err(Diagnostic::global("E0513", "`--set` without a path")) };
    let names: Vec<String> = spec.items.iter().filter_map(|i| i.name()).map(|n| n.text.clone()).collect();
    let found = spec.items.iter_mut().find(|i| i.name().is_some_and(|n| n.text == item.text));
    match (found, rest) {
        (Some(Item::Const(constant)), []) => Ok(Place::Value(&mut constant.value)),
        (_, []) => {
            let d = Diagnostic::error("E0513", item.span, format!("`{}` is no parameter of an item", item.text));
            Err(d.help("`--set ITEM.PARAMETER=VALUE`, such as `--set fit.lr=1e-3`"))
        }
        (None, _) => {
            let near = nearest(&item.text, names.iter().map(String::as_str));
            let d = Diagnostic::error("E0513", whole(path), format!("no item is called `{}`", item.text));
            Err(d.did_you_mean(near))
        }
        (Some(Item::Net(net)), _) => param(&mut net.config, path),
        (Some(Item::Fn(f)), _) => param(&mut f.params, path),
        (Some(Item::Config(config)), _) => of_config(config, path),
        (Some(Item::Const(_) | Item::Import(_)), _) => {
            Err(Diagnostic::error("E0513", whole(path), format!("`{}` has no parameters", item.text)))
        }
    }
}

fn whole(path: &[Ident]) -> Span {
    let (first, last) = (&path[0].span, &path[path.len() - 1].span);
    Span::new(first.file, first.range().start, last.range().end)
}

/// What the last word of a path, or the one at `depth`, is not.
fn nothing(path: &[Ident], depth: usize, what: &str, known: &[&str]) -> Diagnostic {
    let owner: Vec<&str> = path[..depth].iter().map(|word| word.text.as_str()).collect();
    let wanted = &path[depth].text;
    let d = Diagnostic::error("E0513", whole(path), format!("`{}` has no {what} `{wanted}`", owner.join(".")));
    match nearest(wanted, known.iter().copied()) {
        None if !known.is_empty() => d.help(format!("there is {}", known.join(", "))),
        near => d.did_you_mean(near),
    }
}

/// A parameter.
fn param<'a>(params: &'a mut [Param], path: &[Ident]) -> Found<'a> {
    let known: Vec<String> = params.iter().map(|p| p.name.text.clone()).collect();
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    if let [_, _, third, ..] = path {
        let d = Diagnostic::error("E0513", whole(path), format!("nothing has the name `{}` here", third.text));
        return Err(d.help("a parameter is set as a whole: `--set ITEM.PARAMETER=VALUE`"));
    }
    match params.iter_mut().find(|p| p.name.text == path[1].text) {
        Some(found) => Ok(Place::Default(found)),
        None => Err(nothing(path, 1, "parameter", &known)),
    }
}

/// A parameter or an entry of a configuration item.
fn of_config<'a>(config: &'a mut Config, path: &[Ident]) -> Found<'a> {
    if config.params.iter().any(|p| p.name.text == path[1].text) {
        return param(&mut config.params, path);
    }
    let keys: &'static [Key] = match config.kind.text.as_str() {
        "train" => &schema::TRAIN,
        "data" => &schema::DATA,
        "weights" => &schema::WEIGHTS,
        "lora" => &schema::LORA,
        _ => &[],
    };
    let params: Vec<String> = config.params.iter().map(|p| p.name.text.clone()).collect();
    entry(&mut config.entries, keys, &params, path, 1, config.span.range().end - 1)
}

/// The entry that the word at `depth` of a path names, among some that end with a bracket.
fn entry<'a>(
    entries: &'a mut Vec<Entry>,
    keys: &'static [Key],
    params: &[String],
    path: &[Ident],
    depth: usize,
    bracket: usize,
) -> Found<'a> {
    let (name, rest) = (&path[depth], &path[depth + 1..]);
    let is = |entry: &Entry| match &entry.kind {
        EntryKind::Attr { names, .. } => matches!(names.as_slice(), [one] if one.text == name.text),
        EntryKind::Section { name: own, .. } => own.text == name.text,
        EntryKind::Rule(_) => false,
    };
    let Some(at) = entries.iter().position(is) else {
        let value = |key: &&Key| key.form == Form::Value;
        if rest.is_empty() && keys.iter().filter(value).any(|key| key.name == name.text) {
            return Ok(Place::Entry(entries, name.clone(), bracket));
        }
        let own: Vec<String> = entries.iter().flat_map(attr_names).collect();
        let mut known: Vec<&str> = params.iter().chain(&own).map(String::as_str).collect();
        known.extend(keys.iter().filter(value).map(|key| key.name).filter(|key| !own.iter().any(|own| own == key)));
        return Err(nothing(path, depth, if depth == 1 { "parameter or entry" } else { "entry" }, &known));
    };
    let Entry { kind, span } = &mut entries[at];
    match (kind, rest) {
        (EntryKind::Attr { value, .. }, []) => Ok(Place::Value(value)),
        (EntryKind::Attr { value, .. }, [name]) => argument(value, name, path),
        (EntryKind::Section { name, entries }, [_, ..]) => {
            let keys: &'static [Key] = match name.text.as_str() {
                "split" => &schema::SPLIT,
                "stop" => &schema::STOP,
                _ => &[],
            };
            entry(entries, keys, &[], path, depth + 1, span.range().end - 1)
        }
        (EntryKind::Attr { .. } | EntryKind::Section { .. } | EntryKind::Rule(_), _) => {
            let d = Diagnostic::error("E0513", whole(path), format!("`{}` is no single value", path[depth].text));
            Err(d.help("a path goes on to a value: `digits.split.train`, `fit.optimizer.lr`"))
        }
    }
}

fn attr_names(entry: &Entry) -> Vec<String> {
    match &entry.kind {
        EntryKind::Attr { names, .. } => names.iter().map(|name| name.text.clone()).collect(),
        EntryKind::Section { name, .. } => vec![name.text.clone()],
        EntryKind::Rule(_) => Vec::new(),
    }
}

/// A named argument of a value that is a call, or may become one; whether there is such a parameter is seen when it is called.
fn argument<'a>(value: &'a mut Expr, name: &Ident, path: &[Ident]) -> Found<'a> {
    let given = match &value.kind {
        ExprKind::Call { args, .. } => {
            args.iter().position(|arg| arg.name.as_ref().is_some_and(|own| own.text == name.text))
        }
        ExprKind::Name(_) => None,
        _ => {
            let owner = &path[path.len() - 2].text;
            let message = format!("`{owner}` is a value without settings of its own");
            return Err(Diagnostic::error("E0513", whole(path), message));
        }
    };
    let Some(at) = given else { return Ok(Place::Argument(value, name.clone())) };
    let ExprKind::Call { args, .. } = &mut value.kind else { unreachable!("only a call has arguments") };
    Ok(Place::Value(&mut args[at].value))
}
