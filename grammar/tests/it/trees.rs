//! Trees as drawn: a whole spec, everything the grammar has, and precedence.

use dlc_grammar::ast::{Item, StmtKind};
use dlc_grammar::parse::parse;
use dlc_grammar::tree::{expr_tree, tree};

fn tree_of(name: &str) -> String {
    let (_, text) = crate::specs::specs().into_iter().find(|(file, _)| file == name).expect("the spec exists");
    let (spec, diagnostics) = parse(&text, 0);
    assert_eq!(diagnostics, []);
    tree(&spec)
}

#[test]
fn digits() {
    insta::assert_snapshot!(tree_of("digits.dl"));
}

#[test]
fn gpt2() {
    insta::assert_snapshot!(tree_of("gpt2.dl"));
}

#[test]
fn a_bit_of_everything() {
    insta::assert_snapshot!(tree_of("edge.dl"));
}

/// The tree of an expression.
pub fn expression(text: &str) -> String {
    let (spec, diagnostics) = parse(&format!("const c = {text}"), 0);
    assert_eq!(diagnostics, [], "{text}");
    match spec.items.as_slice() {
        [Item::Const(item)] => expr_tree(&item.value),
        other => panic!("one constant, not {other:?}"),
    }
}

#[test]
fn operators_bind_as_the_manual_says() {
    for (text, wanted) in [
        ("-x ^ 2", "(- (^ x 2))"),
        ("2 ^ -1 ^ 2", "(^ 2 (- (^ 1 2)))"),
        ("2 ^ 3 ^ 4", "(^ 2 (^ 3 4))"),
        ("not a == b and c", "(and (not (== a b)) c)"),
        ("a - b - c * -d @ e", "(- (- a b) (@ (* c (- d)) e))"),
        ("a or b and c < d + 1", "(or a (and b (< c (+ d 1))))"),
        ("a < b == c", "(== (< a b) c)"),
        ("-a.t[0](b) * c", "(* (- (call (index (. a t) 0) b)) c)"),
        ("(a + b) * c", "(* (+ a b) c)"),
        ("x -> f -> g(y)", "(-> x f (call g y))"),
        ("x + (y -> f)", "(+ x (-> y f))"),
        ("(x -> f, y)", "(tuple (-> x f) y)"),
        ("x[1:, :n, 2:5:2, .., none]", "(index x (slice 1 _ _) (slice _ n _) (slice 2 5 2) .. none)"),
        ("if a { b } else if c { d } else { e }", "(if a b c d e)"),
        (
            "x -> a.{i + 1}b.0: L(1) -> [B, (H, K) => B, H, K]",
            "(-> x (: a.{(+ i 1)}b.0 (call L 1)) (=> (B (H K)) (B H K)))",
        ),
    ] {
        assert_eq!(expression(text), wanted, "{text}");
    }
}

#[test]
fn spans_cover_the_words_and_nothing_else() {
    let text = "fn f(x) {\n  y = (x + 1) * 2  // note\n  return y ;\n}  // end\n";
    let (spec, _) = parse(text, 5);
    let Some(Item::Fn(item)) = spec.items.first() else { panic!("a function") };
    assert_eq!(&text[item.span.range()], "fn f(x) {\n  y = (x + 1) * 2  // note\n  return y ;\n}");
    let dlc_grammar::ast::Body::Block(block) = &item.body else { panic!("a block") };
    let spans: Vec<&str> = block.stmts.iter().map(|stmt| &text[stmt.span.range()]).collect();
    assert_eq!(spans, ["y = (x + 1) * 2", "return y"]);
    let StmtKind::Assign { value, .. } = &block.stmts[0].kind else { panic!("an assignment") };
    assert_eq!((&text[value.span.range()], value.span.file), ("(x + 1) * 2", 5));
    let dlc_grammar::ast::ExprKind::Binary { left, op_span, .. } = &value.kind else { panic!("a product") };
    assert_eq!((&text[left.span.range()], &text[left.outer().range()]), ("x + 1", "(x + 1)"));
    assert_eq!(&text[op_span.range()], "*");
}

#[test]
fn documentation_reaches_items_from_comments_and_attributes() {
    let text = "//! A file.\n/// First,\n/// \"second\".\nfn f(x) = x\n// no\n#[doc = r#\" a \"b\" ] \\\"#] #[doc=\" c\\u{e9}\"] \
                fn g(x) = x fn h(x) = x";
    let (spec, diagnostics) = parse(text, 0);
    assert_eq!(diagnostics, []);
    assert_eq!(spec.docs.as_ref().map(|docs| docs.text.as_str()), Some("A file."));
    let docs: Vec<_> = spec.items.iter().map(|item| item.docs().map(|docs| docs.text.as_str())).collect();
    assert_eq!(docs, [Some("First,\n\"second\"."), Some("a \"b\" ] \\\nc\u{e9}"), None]);
}

#[test]
fn strings_and_numbers_have_their_values() {
    let (spec, _) = parse(r#"const s = "a\n\"\\é\0" const n = 1_000 const e = 2.5E+3"#, 0);
    let values: Vec<_> = spec
        .items
        .iter()
        .filter_map(|item| if let Item::Const(c) = item { Some(&c.value.kind) } else { None })
        .collect();
    use dlc_grammar::ast::ExprKind::{Number, Str};
    let [Str(string), Number(int), Number(real)] = values.as_slice() else { panic!("a string and two numbers") };
    assert_eq!(string.value, "a\n\"\\é\0");
    assert_eq!((int.value, int.is_int, int.text.as_str()), (1000.0, true, "1_000"));
    assert_eq!((real.value, real.is_int), (2500.0, false));
}
