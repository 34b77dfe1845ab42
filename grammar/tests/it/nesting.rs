//! Texts built to exhaust a stack: each gives a clear error, or parses where only a chain is long.

use dlc_grammar::parse::{index, parse};
use dlc_grammar::print::format;

const DEEP: usize = 4_000;

/// Parses in a thread with the 2 MiB of stack that Rust gives to threads; gives the first message and the items.
fn outcome(text: String) -> (Option<(&'static str, String)>, usize) {
    let parse_it = move || {
        let (spec, diagnostics) = parse(&text, 0);
        assert!(index(&text, 0).len() <= 1);
        let first = diagnostics.first().map(|first| (first.code, first.message.clone()));
        assert_eq!(format(&text).is_ok(), first.is_none());
        (first, spec.items.len())
    };
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(parse_it).expect("a thread can be made");
    thread.join().expect("nothing panics")
}

fn nested(open: &str, middle: &str, close: &str) -> String {
    format!("fn f(x) = {}{middle}{}", open.repeat(DEEP), close.repeat(DEEP))
}

#[test]
fn brackets_of_every_kind() {
    for (open, middle, close) in [
        ("(", "x", ")"),
        ("[", "x", "]"),
        ("f(", "x", ")"),
        ("f(a = ", "x", ")"),
        ("x[", "0", "]"),
        ("x[0:", "1", ":2]"),
        ("if a { ", "x", " } else { y }"),
        ("if (", "x", ") { x } else { y }"),
        ("(x -> f(", "x", "))"),
        ("(x -> [(", "x", ") => x])"),
        ("(x -> a{", "i", "}: f)"),
        ("x[(", "x", ")]"),
    ] {
        let (error, items) = outcome(nested(open, middle, close));
        assert_eq!((error, items), (Some(("E0006", "brackets nest more than 64 deep".to_string())), 0), "{open}");
    }
}

#[test]
fn blocks_and_sections() {
    let blocks = format!("fn f(x) {{ {} x = 1 {} }}", "if a { ".repeat(DEEP), "}".repeat(DEEP));
    let repeats = format!("fn f(x) {{ {} x = 1 {} }}", "repeat 2 {".repeat(DEEP), "}".repeat(DEEP));
    let sections = format!("train t {{ {} a = 1 {} }}", "s {".repeat(DEEP), "}".repeat(DEEP));
    let rules = format!("train t {{ {} a = 1 {} }}", "group \"*\" {".repeat(DEEP), "}".repeat(DEEP));
    for text in [blocks, repeats, sections, rules] {
        let (error, items) = outcome(text);
        assert_eq!((error.map(|error| error.0), items), (Some("E0006"), 0));
    }
}

#[test]
fn brackets_never_closed_or_never_opened() {
    for bracket in ["(", "[", "{", "f(", ")", "]", "}", "(]", "([{"] {
        let (error, _) = outcome(format!("fn f(x) = {}", bracket.repeat(DEEP)));
        assert!(matches!(error, Some(("E0004" | "E0006", _))), "{bracket}: {error:?}");
    }
    let (error, _) = outcome("/*".repeat(DEEP));
    assert_eq!(error.map(|error| error.0), Some("E0007"));
    let (error, _) = outcome(format!("{}{} fn f(x) = x", "/*".repeat(DEEP), "*/".repeat(DEEP)));
    assert_eq!(error, Some(("E0006", "comments nest at most 32 deep".to_string())));
}

#[test]
fn chains_that_make_deep_trees() {
    let deep = Some(("E0006", "this expression is more than 256 operations deep".to_string()));
    for (open, middle, close) in [
        ("-", "x", ""),
        ("not ", "x", ""),
        ("x ^ ", "x", ""),
        ("x + ", "x", ""),
        ("", "x", ".t"),
        ("", "f", "(x)"),
        ("", "x", "[0]"),
    ] {
        assert_eq!(outcome(nested(open, middle, close)).0, deep, "{open}{middle}{close}");
    }
    assert_eq!(outcome(format!("fn f(x) = {}x", "x + ".repeat(200))), (None, 1));
}

#[test]
fn deep_brackets_around_long_chains_still_fit_the_stack() {
    let inner = format!("{}x", "-".repeat(60));
    for (open, close, times) in [("(1 + ", ")", 63), ("if (1 < ", ") { x } else { y }", 63), ("(x -> f(", "))", 31)] {
        let text = format!("fn f(x) = {}{inner}{}", open.repeat(times), close.repeat(times));
        assert_eq!(outcome(text), (None, 1), "{open}");
    }
}

#[test]
fn long_lists_and_chains_that_make_flat_trees() {
    let flat = [
        format!("fn f(x) = x{}", " -> f".repeat(DEEP)),
        format!("fn f(x) = [x{}]", ", x".repeat(DEEP)),
        format!("fn f(x) {{ if x {{ y = 1 }} {} }}", "else if x { y = 1 }".repeat(1000)),
        format!("fn f(x) = {} x }}", "if x { 1 } else ".repeat(1000) + "{"),
        format!("fn f(x) {{ {} }}", "x = x ".repeat(DEEP)),
    ];
    for text in flat {
        assert_eq!(outcome(text), (None, 1));
    }
}
