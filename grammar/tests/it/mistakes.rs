//! Mistakes of form: what is said about each, and where. `‹ ›` marks the place in the text; it is not part of it.

use dlc_grammar::diagnostic::Diagnostic;
use dlc_grammar::parse::parse;

/// The text without its marks, and the places they mark.
fn unmarked(marked: &str) -> (String, Vec<std::ops::Range<usize>>) {
    let (mut text, mut places) = (String::new(), Vec::new());
    for letter in marked.chars() {
        match (letter, places.last_mut()) {
            ('‹', _) => places.push(text.len()..usize::MAX),
            ('›', Some(place)) => place.end = text.len(),
            _ => text.push(letter),
        }
    }
    (text, places)
}

/// Everything said about a text: code, message and helps of each mistake.
fn said(diagnostic: &Diagnostic) -> String {
    let helps: String = diagnostic.help.iter().map(|help| format!(" | {help}")).collect();
    format!("{} {}{helps}", diagnostic.code, diagnostic.message)
}

/// Checks that exactly `wanted` is said about the marked places, in order.
fn check(marked: &str, wanted: &[&str]) {
    let (text, places) = unmarked(marked);
    let (_, diagnostics) = parse(&text, 2);
    assert_eq!(diagnostics.iter().map(said).collect::<Vec<_>>(), wanted, "{marked}");
    let spans: Vec<_> = diagnostics.iter().filter_map(Diagnostic::span).collect();
    assert!(spans.iter().all(|span| span.file == 2));
    assert_eq!(spans.into_iter().map(|span| span.range()).collect::<Vec<_>>(), places, "{marked}");
}

#[test]
fn letters_that_are_not_of_the_language() {
    check("fn f(x) { y = x ‹#› note\n return y }", &["E0001 `#` does not start a comment | write `// note`"]);
    check("‹#›\nfn f(x) = x", &["E0001 `#` does not start a comment | write `//`"]);
    check("import ‹'x.dl'›", &["E0002 strings take double quotes | write `\"x.dl\"`"]);
    check("const c = ‹'›\n", &["E0002 strings take double quotes"]);
    check(
        "fn f(x) = x ‹×› 2 ‹≤› 3",
        &["E0008 `×` is not part of the language | write `*`", "E0008 `≤` is not part of the language | write `<=`"],
    );
    check(
        "fn f(x) = x ‹&&› ‹!›x",
        &[
            "E0008 `&&` is not part of the language | write `and`",
            "E0008 `!` is not part of the language | write `not`",
        ],
    );
    check(
        "fn ‹größe›(x) = x",
        &["E0008 `größe` is not part of the language | outside strings and comments only ASCII is used"],
    );
    check(
        "fn f(x) = ‹`›x‹`› ‹$› ‹\u{7}›",
        &[
            "E0008 ``` is not part of the language",
            "E0008 ``` is not part of the language",
            "E0008 `$` is not part of the language",
            "E0008 `\\u{7}` is not part of the language",
        ],
    );
}

#[test]
fn strings_comments_and_numbers_that_are_none() {
    let string =
        "E0007 this string is not closed on its line | close it with `\"`; a line end inside a string is `\\n`";
    check("const c = ‹\"›abc\nconst d = \"e\"", &[string]);
    check("fn f(x) = x ‹/*› /* */", &["E0007 this comment is never closed | close it with `*/`; comments nest"]);
    let escapes = r#"E0009 `\d` is not an escape | strings know `\n`, `\t`, `\r`, `\0`, `\\` and `\"`"#;
    check(r#"const c = "a‹\d›""#, &[escapes]);
    let number = |text: &str| {
        format!("E0009 `{text}` is not a number | numbers are written `12`, `1_000`, `0.5`, `1e-4`, without a suffix")
    };
    for text in ["1e", "2f32", "0x1F", "3.5e", "12_a"] {
        check(&format!("const c = ‹{text}›"), &[&number(text)]);
    }
    check("const c = 1 + ‹.5›", &["E0009 `.5` is not a number | write `0.5`"]);
    let large = "E0009 `1e999` is too large | the largest number is about 1.8e308; infinity is `inf`";
    check("const c = ‹1e999›", &[large]);
}

#[test]
fn words_that_begin_no_item() {
    check("‹trian› sst2 { a = 1 }", &["E0003 no item is called `trian` | did you mean `train`?"]);
    check("fn f(x) = x ‹modle› M(x) { return x }", &["E0003 no item is called `modle` | did you mean `model`?"]);
    check("const c = 1 ‹cosnt› d = 2", &["E0003 no item is called `cosnt` | did you mean `const`?"]);
    let items = "items are import, const, fn, block, model, optimizer, data, weights, lora, train, generate";
    let garbage = format!("E0003 no item is called `hello` | {items}");
    check("‹hello› world, this is garbage", &[&garbage]);
    check("fn f(x) = x ‹y›", &[&format!("E0003 no item is called `y` | {items}")]);
    check("‹;›", &[&format!("E0005 expected an item, found `;` | {items}")]);
    check("‹42›", &[&format!("E0005 expected an item, found the number `42` | {items}")]);
}

#[test]
fn brackets_that_do_not_match() {
    let extra = "E0004 this `)` closes nothing | the `(` at 1:16 is already closed";
    check("fn f(x) { x = f(y)‹)› }", &[extra]);
    check("fn f(x) = x ‹}›", &["E0004 this `}` closes nothing"]);
    check("fn f(x) = [x‹)›", &["E0004 this `)` cannot close a `[`"]);
    check("fn f(x) { return sum‹[›c(x) }", &["E0004 this `[` is not closed before the `}`"]);
    check("fn f(x) = g‹(›x", &["E0004 this `(` is never closed"]);
}

#[test]
fn pipes_mixed_with_operators() {
    check(
        "fn f(x) = ‹x + x -> ln: LayerNorm›",
        &["E0101 `+` and `->` need parentheses | `x + (x -> ..)` sends only the right side on, as in a residual \
         | `(x + x) -> ..` sends the whole on"],
    );
    check(
        "fn f(x) = ‹-x -> g›",
        &[
            "E0101 `-` and `->` need parentheses | `-(x -> ..)` applies `-` to the result | `(-x) -> ..` sends the whole on",
        ],
    );
    check(
        "fn f(x) = ‹not x.y -> g›",
        &["E0101 `not` and `->` need parentheses | `not (.. -> ..)` applies `not` to the result \
         | `(not ..) -> ..` sends the whole on"],
    );
    let after = "E0101 `->` and `*` need parentheses | `(.. -> ..) * ..` combines the result of the pipe";
    check("fn f(x) = ‹x -> g * 2 + 1›", &[after]);
    check("fn f(x) = g(‹x -> g * 2›, ‹x -> g * 2›)", &[after, after]);
}

#[test]
fn what_was_expected() {
    for (text, wanted) in [
        ("const D =‹›", "E0005 expected an expression, found the end of the text"),
        ("const D =‹›\nfn f(x) = x", "E0005 expected an expression, found the next item, `fn`"),
        ("const D ‹5›", "E0005 expected `=`, found the number `5`"),
        ("fn f(x) { y = x * ‹}›", "E0005 expected an expression, found `}`"),
        ("model M(x) { return x -> ‹}›", "E0005 expected a function or a layer, found `}`"),
        ("model M(x) { return x -> a: ‹}›", "E0005 expected a function or a layer, found `}`"),
        ("fn f(x) { y = if x { 1 } ‹return› y }", "E0005 expected `else`, found the keyword `return`"),
        ("fn f(x) { x[‹0›] = 3 }", "E0005 expected an index variable, found the number `0`"),
        ("import { A } ‹\"x.dl\"›", "E0005 expected `from`, found a string"),
        ("import ‹A› from \"x.dl\"", "E0005 expected `{` or a string, found `A`"),
        ("model M ‹{› x = 1 }", "E0005 expected `(`, found `{`"),
        ("train t { freeze ‹}›", "E0005 expected `=`, `{` or a string, found `}`"),
        ("train t { group \"a\" ‹\"b\"› { l2 = 0 } }", "E0005 a string cannot stand here"),
        ("fn f(x) { v: state v ‹<-› 1 }", "E0005 expected a statement, found `<-`"),
    ] {
        check(text, &[wanted]);
    }
}

#[test]
fn how_a_slip_is_written_right() {
    let statement = "a statement gives a name a value: `name = ..`, `name: Layer(..)` or `name <- ..`";
    let expected = |found: &str, help: &str| format!("E0005 expected `=`, found {found} | {help}");
    for (text, wanted) in [
        ("fn f(x) { x ‹->› relu }", expected("`->`", statement)),
        ("model M(x) { Linear‹(›3) }", expected("`(`", statement)),
        ("fn f(x) { let ‹y› = 1 }", expected("`y`", "leave out `let`: a value is written `name = ..`")),
        ("fn f(x) { for ‹i› in x { } }", expected("`i`", "a loop is written `repeat n as i { .. }`")),
        ("fn f(x) { x ‹+›= 2 }", expected("`+`", "a value is given with `=` alone: `x = x + 1`")),
        ("fn f(x) { v ‹<› - 3 }", expected("`<`", "write `<-` without a space")),
        ("fn f(x) { v ‹==› 3 }", expected("`==`", "a value is given with `=`; `==` compares")),
    ] {
        check(text, &[&wanted]);
    }
    for (text, wanted) in [
        ("fn f(x) { x = x *‹*› 2 }", "E0005 expected an expression, found `*` | powers are written `^`"),
        (
            "fn f(x) = x -> [B, T ‹->› B]",
            "E0005 `->` cannot stand here | a rearrangement is written `[before => after]`",
        ),
        ("fn f(x) = g(x, a‹:› 3)", "E0005 `:` cannot stand here | an argument is named with `=`"),
        (
            "fn f(x) { ‹(›a, b) = x }",
            "E0005 expected a statement, found `(` | several names are given values as `a, b = ..`",
        ),
        (
            "data d { x = 1‹,› y = 2 }",
            "E0005 `,` cannot stand here | statements and entries stand one after another, without commas",
        ),
        (
            "fn ‹return›(x) = x",
            "E0005 expected a name, found the keyword `return` | `return` is a keyword and cannot be a name",
        ),
    ] {
        check(text, &[wanted]);
    }
    let result = "E0005 expected `->`, `=`, `require` or `{`, found `:` | the type of a result is written `-> type`";
    check("fn f(x)‹:› f32 = x", &[result]);
}

#[test]
fn a_mistake_in_one_item_hides_none_in_another() {
    let text = "fn a(x) = ‹x + x -> f›\nfn b(x) = ‹›\nmodel C(x: [B]) { y = f‹(›x\nconst d = ‹'e'›\n\
                ‹trian› g { lr = 1 }\n/// fine\nfn h(x) = x\ndata i { a = 1 ‹# b› }\n}";
    let (text, places) = unmarked(text);
    let (spec, diagnostics) = parse(&text, 0);
    let codes: Vec<_> = diagnostics.iter().map(|diagnostic| diagnostic.code).collect();
    assert_eq!(codes, ["E0101", "E0005", "E0004", "E0004", "E0002", "E0003", "E0001"], "{diagnostics:#?}");
    assert!(places.len() < codes.len());
    let names: Vec<_> = spec.items.iter().filter_map(|item| item.name()).map(|name| name.text.as_str()).collect();
    assert_eq!(names, ["a", "d", "h", "i"]);
}

#[test]
fn edits_mend_what_they_speak_of() {
    for (text, wanted) in [
        ("import 'x \"y\".dl'", "import \"x \\\"y\\\".dl\""),
        ("fn f(x) = x × 2 # note", "fn f(x) = x * 2 // note"),
        ("const c = .5", "const c = 0.5"),
        ("trian t { a = 1 }", "train t { a = 1 }"),
    ] {
        let (_, diagnostics) = parse(text, 0);
        let mut edits: Vec<_> = diagnostics.iter().flat_map(|diagnostic| &diagnostic.edits).collect();
        edits.sort_by_key(|edit| std::cmp::Reverse(edit.span.start));
        let mut mended = text.to_string();
        edits.iter().for_each(|edit| mended.replace_range(edit.span.range(), &edit.text));
        assert_eq!(mended, wanted);
        assert_eq!(parse(&mended, 0).1, []);
    }
}

#[test]
fn a_text_of_nothing_but_mistakes_is_soon_given_up() {
    assert_eq!(parse(&"$ ".repeat(10_000), 0).1.len(), 100);
    assert_eq!(parse(&"fn f(x) = x ) ".repeat(10_000), 0).1.len(), 100);
    assert_eq!(parse(&"trian t { } ".repeat(10_000), 0).1.len(), 100);
}
