//! The formatter: what it changes, and what it must keep.

use dlc_grammar::parse::parse;
use dlc_grammar::print::{format, print_spec};
use dlc_grammar::tree::tree;
use dlc_grammar::without_spans;

fn formatted(text: &str) -> String {
    let once = format(text).unwrap_or_else(|errors| panic!("{errors:?}\n{text}"));
    assert_eq!(format(&once).as_ref(), Ok(&once), "formatting again changes nothing");
    assert_eq!(without_spans(parse(&once, 0).0), without_spans(parse(text, 0).0), "the tree is the same");
    once
}

#[test]
fn the_specs_are_in_the_style_already() {
    for (name, text) in crate::specs::specs() {
        let formatted = formatted(&text);
        if name != "edge.dl" {
            assert_eq!(formatted, text, "{name}");
        }
    }
}

/// Editors of Windows put a byte order mark in front of a text; in the one style there is none.
#[test]
fn a_byte_order_mark_is_dropped() {
    for text in ["//! A file.\n\n// A note.\nfn f(x) = x\n", "/// Kept.\nfn f(x) = x\n", "fn f(x) = x\n", ""] {
        assert_eq!(formatted(&format!("\u{FEFF}{text}")), text);
    }
    let inside = format("fn f(x) = \u{FEFF}x\n").expect_err("it is no part of the language elsewhere");
    assert_eq!(inside[0].code, "E0008");
    assert_eq!(format("\u{FEFF}\u{FEFF}fn f(x) = x\n").expect_err("one is enough")[0].code, "E0008");
}

#[test]
fn a_bit_of_everything() {
    let (_, text) = crate::specs::specs().into_iter().find(|(name, _)| name == "edge.dl").expect("the spec exists");
    insta::assert_snapshot!(formatted(&text));
}

#[test]
fn a_tree_alone_prints_and_parses_to_itself() {
    for (name, text) in crate::specs::specs() {
        let (spec, _) = parse(&text, 0);
        let printed = print_spec(&spec);
        let (again, diagnostics) = parse(&printed, 0);
        assert_eq!(diagnostics, [], "{name}");
        assert_eq!(without_spans(again), without_spans(spec), "{name}");
        assert_eq!(formatted(&printed), printed, "{name}");
    }
}

#[test]
fn long_lines_break_where_the_style_says() {
    insta::assert_snapshot!(formatted(LONG));
}

const LONG: &str = r#"
model ClipText(V = 49408, P = 77, D = 512, L = 12, H = 8, F = 2048, E = 512)(input_ids: i64[B, T]) -> text_embeds: [B, E] require T <= P, D % H == 0 { return x }
fn attention(q: [B, H, T, K], k: [B, G, S, K], v: [B, G, S, K], mask = none, causal = false, scale = K ^ -0.5, p = 0) -> [B, H, T, K] { return q }
fn long(x) = first_of_many(x) + second_of_many(x) * third_of_many(x, with = 1, several = 2, named = 3, arguments = 4) - fourth_of_many(x)
block B(C)(x: [B, I]) {
  y = x -> conv1: Conv2d(C, 3, stride = stride, padding = 1, bias = false) -> bn1: BatchNorm -> relu -> conv2: Conv2d(C, 3, padding = 1, bias = false) -> bn2: BatchNorm -> stochastic_depth(p_drop)
  if a_long_condition_here > another_long_value_there { x = some_function_with_a_long_name(x) } else { x = another_function(x) }
  return some_function(nested_function(first_argument_of_it, second_argument_of_it), another(third_argument_of_it, fourth_argument_of_it))
}
import { Alpha, Beta, Gamma, Delta, Epsilon, Zeta, Eta, Theta, Iota, Kappa, Lambda, Mu, Nu, Xi, Omicron, Pi, Rho } from "greek.dl"
"#;

/// A long list goes on at a comma, not within what stands between two; a line that its author broke stays broken.
#[test]
fn long_lists_go_on_at_commas() {
    let names: Vec<String> = (0..20).map(|n| format!("x + {}", "9".repeat(n + 1))).collect();
    let text = formatted(&format!("fn f(x) {{\n  k = [{}]\n  l = [1, 2,\n    3]\n  return k\n}}\n", names.join(", ")));
    let broken: Vec<&str> = text.lines().filter(|line| line.trim_start().starts_with(['+', ','])).collect();
    assert!(broken.is_empty() && text.lines().all(|line| line.len() <= 120), "{text}");
    assert!(text.contains("  l = [1, 2,\n       3]\n"), "{text}");
}

#[test]
fn comments_stay_where_they_are() {
    insta::assert_snapshot!(formatted(COMMENTS));
}

const COMMENTS: &str = r#"

// at the top


//! about the file

// before f
/// documents f
fn f(x) = x;   // behind f
fn longer(x, y) = x
  // inside longer
  + y /* in line */ * 2
block B(a, /* config */ b = 2, // behind b
    c = 3)(x) { // behind the brace


  // first in the block
  y = x   // behind y
  zz = [1, // one
     2,
     // before three
     3, // three, and a comma that goes
  ]
  /* alone
       on two lines */
  if a { /* in braces */ y = 1 }


  w: param [2] = /* odd */ zeros;      // moved here
  v = 1                                // and here
  return (x) -> f // first stage
    -> /* odd */ g

  // last in the block
}
train t { }
train u { // only this
}
train v { a = 1  b = 2 } // behind v
// at the end
"#;

#[test]
fn spaces_blank_lines_and_separators_are_set_right() {
    let text = "fn f( x,y )=x+y*-2;;\t;\n\n\n\nfn g(x){x=x->a . b:L( 1 )->[B,T=>T,B] ;return((x))}\nconst c=[ 1,2, ]\n";
    let wanted =
        "fn f(x, y) = x + y * -2\n\nfn g(x) { x = x -> a.b: L(1) -> [B, T => T, B]  return (x) }\nconst c = [1, 2]\n";
    assert_eq!(formatted(text), wanted);
    assert_eq!(formatted(""), "");
    assert_eq!(formatted("\n\n  \n"), "");
    assert_eq!(formatted("// only\r\n\r\n\r\n// this"), "// only\n\n// this\n");
}

#[test]
fn neighbouring_functions_share_a_column() {
    let text = "fn a(x) = x\nfn bcd(x, y) = x\n  derivative (y, dy) { return dy, dy }\nfn e(x) = x\n\nfn f(x) = x\n";
    let wanted =
        "fn a(x)      = x\nfn bcd(x, y) = x\n  derivative (y, dy) { return dy, dy }\nfn e(x)      = x\n\nfn f(x) = x\n";
    assert_eq!(formatted(text), wanted);
}

#[test]
fn a_text_that_does_not_parse_is_left_alone() {
    let errors = format("fn f(x) = \nfn g(x) = )").expect_err("two mistakes");
    assert_eq!(errors.iter().map(|error| error.code).collect::<Vec<_>>(), ["E0005", "E0004"]);
}

#[test]
fn trees_without_spans_differ_only_in_what_they_say() {
    let tree_of = |text| tree(&parse(text, 0).0);
    assert_eq!(tree_of("const a = (1 + 2) * 3"), tree_of("const a=((1+2)*3)"));
    assert_ne!(tree_of("const a = (1 + 2) * 3"), tree_of("const a = 1 + 2 * 3"));
}
