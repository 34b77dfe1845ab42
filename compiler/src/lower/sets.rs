//! `--set path=value`. Takes a spec's tree and settings such as `fit.lr=1e-3`; replaces the default of the parameter `lr` of
//! the item `fit`, or the value of a constant, before anything is checked.

use dlc_grammar::ast::{Const, Expr, Item, Param, Spec};
use dlc_grammar::node::Node;
use dlc_grammar::parse::parse;
use dlc_grammar::{Diagnostic, Sources, Span, nearest};

/// Applies settings in order.
pub fn apply(spec: &mut Spec, sets: &[(String, String)], sources: &mut Sources, errors: &mut Vec<Diagnostic>) {
    for (path, value) in sets {
        let file = sources.add("--set", format!("{path}={value}"));
        let place = Span::new(file, 0, path.len());
        let Some(value) = expression(value, file, path.len() + 1, errors) else { continue };
        match slot(spec, path) {
            Ok(slot) => *slot = Some(value),
            Err(error) => errors.push(error(place)),
        }
    }
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
        Some(Item::Const(Const { value, .. })) if !bad => Some(value),
        Some(_) | None => None,
    }
}

type Mistake = Box<dyn FnOnce(Span) -> Diagnostic>;

/// The place of a default value in the tree.
fn slot<'a>(spec: &'a mut Spec, path: &str) -> Result<&'a mut Option<Expr>, Mistake> {
    let (item, param) = match path.split_once('.') {
        Some((item, param)) => (item.to_string(), param.to_string()),
        None => {
            let message = format!("`{path}` is no parameter of an item");
            let help = "`--set ITEM.PARAMETER=VALUE`, such as `--set fit.lr=1e-3`";
            return Err(Box::new(move |place| Diagnostic::error("E0513", place, message).help(help)));
        }
    };
    let names: Vec<String> = spec.items.iter().filter_map(|i| i.name()).map(|n| n.text.clone()).collect();
    let Some(found) = spec.items.iter_mut().find(|i| i.name().is_some_and(|n| n.text == item)) else {
        return Err(Box::new(move |place| {
            let near = nearest(&item, names.iter().map(String::as_str));
            Diagnostic::error("E0513", place, format!("no item is called `{item}`")).did_you_mean(near)
        }));
    };
    let params: &mut Vec<Param> = match found {
        Item::Net(net) => &mut net.config,
        Item::Config(config) => &mut config.params,
        Item::Fn(f) => &mut f.params,
        Item::Const(_) | Item::Import(_) => {
            let message = format!("`{item}` has no parameters");
            return Err(Box::new(move |place| Diagnostic::error("E0513", place, message)));
        }
    };
    let known: Vec<String> = params.iter().map(|p| p.name.text.clone()).collect();
    match params.iter_mut().find(|p| p.name.text == param) {
        Some(found) => Ok(&mut found.default),
        None => Err(Box::new(move |place| {
            let near = nearest(&param, known.iter().map(String::as_str));
            let d = Diagnostic::error("E0513", place, format!("`{item}` has no parameter `{param}`"));
            match near {
                None if !known.is_empty() => d.help(format!("its parameters are {}", known.join(", "))),
                near => d.did_you_mean(near),
            }
        })),
    }
}
