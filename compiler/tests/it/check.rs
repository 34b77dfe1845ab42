//! Specs are checked: functions, weights, and messages of wrong ones.

pub mod cases;
mod examples;
mod hostile;
mod language;
mod mistakes;
mod prelude;

use dlc_compiler::check::{Checker, ItemRef, ModelFn, NoFiles};
use dlc_compiler::program::verify::verify;
use dlc_compiler::program::{Program, print};
use dlc_grammar::Span;
use dlc_grammar::ast::NetKind;
use dlc_grammar::diagnostic::tidy;
use dlc_grammar::render::render;

/// A text, checked: every model of it, in both modes.
struct Checked {
    checker: Checker,
    models: Vec<ModelFn>,
}

fn check(text: &str) -> Checked {
    let mut checker = Checker::new();
    let module = checker.load("spec.dl", text, &mut NoFiles);
    let items: Vec<_> = checker.modules.own(module).to_vec();
    let mut models = Vec::new();
    for (_, item) in items {
        let ItemRef::Net(net) = item else { continue };
        if net.ast.kind != NetKind::Model {
            continue;
        }
        let Some(ctor) = checker.configured(&net, Vec::new(), Span::default()) else { continue };
        for training in [true, false] {
            models.extend(checker.model(&ctor, training));
        }
    }
    tidy(&mut checker.diagnostics);
    Checked { checker, models }
}

/// The messages about a text, as a terminal shows them.
fn messages(text: &str) -> String {
    let checked = check(text);
    render(&checked.checker.diagnostics, checked.checker.sources(), false)
}

fn program(text: &str) -> Program {
    let checked = check(text);
    program_of(checked.checker)
}

/// The program of a checked text, verified.
fn program_of(checker: Checker) -> Program {
    let shown = render(&checker.diagnostics, checker.sources(), false);
    assert!(checker.diagnostics.is_empty(), "{shown}");
    if let Err(e) = verify(&checker.program) {
        panic!("{e:?}\n{}", print::program(&checker.program));
    }
    checker.program
}

#[test]
fn a_stack_of_layers_is_one_loop() {
    let text = include_str!("../../../tests/specs/deep.dl");
    let functions = |text: &str| program(text).functions.len();
    assert_eq!(functions(text), functions(&text.replace("L = 4", "L = 64")));
}

#[test]
fn a_name_that_is_nothing_is_an_error() {
    let said = messages("model M(D = 8)(x: [B, D]) { return x -> gleu }");
    assert!(said.contains("no function or layer `gleu`") && said.contains("did you mean `gelu`?"), "{said}");
}

#[test]
fn wrong_specs_are_refused_with_a_reason() {
    let cases = include_str!("../cases/wrong.txt");
    let mut shown = String::new();
    for case in cases.split("==== ").filter(|case| !case.is_empty()) {
        let (title, text) = case.split_once('\n').unwrap();
        let checked = check(text);
        let said = render(&checked.checker.diagnostics, checked.checker.sources(), false);
        assert!(checked.checker.failed(), "{title} was accepted");
        shown.push_str(&format!("==== {title}\n{said}\n"));
    }
    insta::assert_snapshot!(shown);
}
