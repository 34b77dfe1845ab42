//! Properties that hold for any text, for comments anywhere, and for any tree.

use dlc_grammar::ast::*;
use dlc_grammar::parse::{index, parse, parse_item};
use dlc_grammar::print::{format, print_spec};
use dlc_grammar::tree::tree;
use dlc_grammar::{Span, without_spans};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// Everything that takes a text takes this one, and every place it speaks of is in it.
fn survives(text: &str) {
    let (_, diagnostics) = parse(text, 0);
    for diagnostic in &diagnostics {
        for span in
            diagnostic.labels.iter().map(|label| label.span).chain(diagnostic.edits.iter().map(|edit| edit.span))
        {
            assert!(text.get(span.range()).is_some(), "{diagnostic:?} is about a place in the text");
        }
    }
    for head in index(text, 0) {
        let (item, diagnostics) = parse_item(text, &head);
        assert!(item.is_some() || !diagnostics.is_empty(), "{head:?} is an item or has a mistake");
    }
    match format(text) {
        Ok(once) => assert_eq!(format(&once), Ok(once.clone()), "formatting again changes nothing"),
        Err(errors) => assert_eq!(errors, diagnostics, "only what does not parse is not formatted"),
    }
}

const WORDS: &str = "fn model block optimizer train data const import from as require derivative return repeat if \
    else init param state x f D i64 not and or none true keep 1 0.5 1e 12_0 \"a.*\" \"x.dl\" \" ' # #[doc=\"d\"] \
    // /* */ /// //! ( ) [ ] { } ( ) [ ] { } , : ; . .. -> => <- = == != < <= > >= + - * / % @ ^ \\ ! é × \n \n \n";

/// Words of the language in any order, with and without spaces between them.
fn soup() -> BoxedStrategy<String> {
    let words: Vec<&str> = WORDS.split(' ').collect();
    vec((select(words), select(vec!["", " ", " "])), 0..60)
        .prop_map(|words| words.into_iter().map(|(word, space)| format!("{word}{space}")).collect())
        .boxed()
}

/// A spec with some of its bytes lost, doubled or moved.
fn damaged() -> BoxedStrategy<String> {
    let specs: Vec<String> = crate::specs::specs().into_iter().map(|(_, text)| text).collect();
    (select(specs), any::<prop::sample::Index>(), 0_usize..40, any::<prop::sample::Index>())
        .prop_map(|(text, from, length, to)| {
            let from = text.floor_char_boundary(from.index(text.len()));
            let to = text.floor_char_boundary(to.index(text.len()));
            let end = text.ceil_char_boundary(from + length);
            let taken = text.get(from..end).unwrap_or("").to_string();
            let mut text = text;
            text.insert_str(to, &taken);
            let cut = text.floor_char_boundary((to + length * 7).min(text.len()));
            text.replace_range(cut..text.ceil_char_boundary((cut + length / 2).min(text.len())), "");
            text
        })
        .boxed()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        survives(&text);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..200)) {
        survives(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn no_order_of_words_makes_it_panic(text in soup()) {
        survives(&text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_damage_to_a_spec_makes_it_panic(text in damaged()) {
        survives(&text);
    }

    #[test]
    fn comments_anywhere_are_kept_in_order(
        number in any::<prop::sample::Index>(),
        places in vec((any::<prop::sample::Index>(), 0_usize..5), 1..12),
    ) {
        let specs = crate::specs::specs();
        let text = &specs[number.index(specs.len())].1;
        let gaps = gaps(text);
        let mut places: Vec<(usize, usize)> = places.iter().map(|(at, kind)| (gaps[at.index(gaps.len())], *kind)).collect();
        places.sort_unstable();
        let mut commented = text.clone();
        for (number, (at, kind)) in places.iter().enumerate().rev() {
            let comment = match kind {
                0 => format!(" /* c{number} */ "),
                1 => format!(" // c{number}\n"),
                2 => format!("\n\n\n// c{number}\n"),
                3 => format!("\n/* c{number}\n  over lines */\n\n\n"),
                _ => format!("        /// c{number}\n"),
            };
            commented.insert_str(*at, &comment);
        }
        let formatted = format(&commented).map_err(|errors| TestCaseError::fail(format!("{errors:?}\n{commented}")))?;
        prop_assert_eq!(format(&formatted), Ok(formatted.clone()));
        prop_assert_eq!(tree(&parse(&formatted, 0).0), tree(&parse(text, 0).0));
        let mut rest = formatted.as_str();
        for number in 0..places.len() {
            let comment = format!(" c{number}");
            let at = rest.find(&comment);
            prop_assert!(at.is_some(), "{comment} is lost or out of order in\n{formatted}");
            rest = &rest[at.unwrap_or(0) + comment.len()..];
        }
    }

    #[test]
    fn any_spacing_is_set_right(
        number in any::<prop::sample::Index>(),
        spec in spec(),
        spaces in vec(select(vec![" ", " ", " ", " ", "\n", "  \n ", "\n\n\n\t"]), 1..200),
    ) {
        let mut texts: Vec<String> = crate::specs::specs().into_iter().map(|(_, text)| text).collect();
        let text = if spec.items.is_empty() { texts.swap_remove(number.index(texts.len())) } else { print_spec(&spec) };
        let mut spaced = text.clone();
        for (number, at) in gaps(&text).into_iter().enumerate().skip(1).rev() {
            // The line end behind a comment stays.
            if !text[..at].rsplit('\n').next().unwrap_or("").contains("//") {
                spaced.replace_range(at..=at, spaces[number % spaces.len()]);
            }
        }
        let formatted = format(&spaced).map_err(|errors| TestCaseError::fail(format!("{errors:?}\n{spaced}")))?;
        let again = format(&formatted).unwrap_or_default();
        let first = again.lines().zip(formatted.lines()).find(|(a, b)| a != b);
        prop_assert!(again == formatted, "{:?} in\n{}", first, spaced);
        prop_assert_eq!(tree(&parse(&formatted, 0).0), tree(&parse(&text, 0).0));
    }

    #[test]
    fn a_random_tree_prints_to_a_text_that_parses_to_it(spec in spec()) {
        let printed = print_spec(&spec);
        let (again, diagnostics) = parse(&printed, 0);
        prop_assert_eq!(&diagnostics, &[], "{}", printed);
        prop_assert_eq!(tree(&again), tree(&spec), "{}", printed);
        prop_assert_eq!(format(&printed), Ok(printed.clone()));
        let twice = print_spec(&again);
        prop_assert_eq!(&twice, &printed);
        prop_assert_eq!(without_spans(parse(&twice, 0).0), without_spans(again));
    }
}

/// Where a comment may be put in: at white space that is in no string and no comment.
fn gaps(text: &str) -> Vec<usize> {
    let mut gaps = vec![0];
    let (mut string, mut line, mut depth) = (false, false, 0);
    let bytes = text.as_bytes();
    for at in 0..bytes.len() {
        match (bytes[at], bytes.get(at + 1)) {
            (b'\n', _) => line = false,
            _ if line => {}
            (b'"', _) if depth == 0 && (at == 0 || bytes[at - 1] != b'\\') => string = !string,
            _ if string => {}
            (b'/', Some(b'/')) if depth == 0 => line = true,
            (b'/', Some(b'*')) => depth += 1,
            (b'*', Some(b'/')) => depth -= 1,
            _ => {}
        }
        if bytes[at].is_ascii_whitespace() && !string && !line && depth == 0 {
            gaps.push(at);
        }
    }
    gaps
}

const AT: Span = Span { file: 0, start: 0, end: 0 };

fn ident() -> BoxedStrategy<Ident> {
    select(vec!["x", "y", "D", "a_long_name_of_some_value", "model", "data", "init", "fn"])
        .prop_map(|text| Ident { text: text.to_string(), span: AT })
        .boxed()
}

fn string() -> BoxedStrategy<Str> {
    select(vec!["**.bias", "a \"b\" \\ \n", "", "é"])
        .prop_map(|value| Str { value: value.to_string(), span: AT })
        .boxed()
}

fn of(kind: ExprKind) -> Expr {
    Expr { kind, parens: None, span: AT }
}

fn leaf() -> BoxedStrategy<Expr> {
    let number = select(vec![("12", 12.0, true), ("0.5", 0.5, false), ("1e-4", 1e-4, false)]);
    prop_oneof![
        number.prop_map(|(text, value, is_int)| of(ExprKind::Number(Number { text: text.to_string(), value, is_int }))),
        string().prop_map(|string| of(ExprKind::Str(string))),
        any::<bool>().prop_map(|value| of(ExprKind::Bool(value))),
        Just(of(ExprKind::None)),
        ident().prop_map(|name| of(ExprKind::Name(name.text))),
        ident().prop_map(|name| of(ExprKind::Name(name.text))),
    ]
    .boxed()
}

fn expr() -> BoxedStrategy<Expr> {
    leaf()
        .prop_recursive(5, 40, 4, |inner| {
            let boxed = || inner.clone().prop_map(Box::new);
            let arm = (inner.clone(), inner.clone()).prop_map(|(cond, value)| ExprArm { cond, value });
            let arg =
                (prop::option::of(ident()), inner.clone()).prop_map(|(name, value)| Arg { name, value, span: AT });
            prop_oneof![
                vec(inner.clone(), 0..3).prop_map(|items| of(ExprKind::List(items))),
                vec(inner.clone(), 2..4).prop_map(|items| of(ExprKind::Tuple(items))),
                (select(vec![UnaryOp::Neg, UnaryOp::Not]), boxed())
                    .prop_map(|(op, operand)| of(ExprKind::Unary { op, operand })),
                (select(BinaryOp::ALL.to_vec()), boxed(), boxed()).prop_map(|(op, left, right)| of(ExprKind::Binary {
                    op,
                    op_span: AT,
                    left,
                    right
                })),
                (select(BinaryOp::ALL.to_vec()), boxed(), boxed()).prop_map(|(op, left, right)| of(ExprKind::Binary {
                    op,
                    op_span: AT,
                    left,
                    right
                })),
                (vec(arm, 1..3), boxed()).prop_map(|(arms, otherwise)| of(ExprKind::If { arms, otherwise })),
                (boxed(), vec(arg, 0..4)).prop_map(|(callee, args)| of(ExprKind::Call { callee, args })),
                (boxed(), vec(index_item(inner.clone()), 0..3))
                    .prop_map(|(base, items)| of(ExprKind::Index { base, items })),
                (boxed(), ident()).prop_map(|(base, name)| of(ExprKind::Field { base, name })),
                (boxed(), vec(stage(inner.clone()), 1..4))
                    .prop_map(|(input, stages)| of(ExprKind::Pipe { input, stages })),
            ]
        })
        .boxed()
}

fn index_item(inner: BoxedStrategy<Expr>) -> BoxedStrategy<Index> {
    let part = || prop::option::of(inner.clone());
    prop_oneof![
        Just(Index::Rest(AT)),
        (part(), part(), part()).prop_map(|(lo, hi, by)| Index::Slice { lo, hi, by, span: AT }),
        inner.clone().prop_map(Index::At),
    ]
    .boxed()
}

fn label(inner: BoxedStrategy<Expr>) -> BoxedStrategy<Label> {
    let segment = (ident(), prop::option::of(inner)).prop_map(|(text, hole)| {
        let parts = std::iter::once(Part::Text(text)).chain(hole.map(Part::Hole)).collect();
        Segment { parts, span: AT }
    });
    vec(segment, 1..3).prop_map(|segments| Label { segments, span: AT }).boxed()
}

fn stage(inner: BoxedStrategy<Expr>) -> BoxedStrategy<Stage> {
    let name = || ident().prop_map(|name| Axis::Expr(of(ExprKind::Name(name.text))));
    let axis = prop_oneof![Just(Axis::Rest(AT)), name(), vec(name(), 1..3).prop_map(|axes| Axis::Group(axes, AT))];
    let rearrange = (vec(axis.clone(), 0..3), vec(axis, 0..3))
        .prop_map(|(left, right)| StageKind::Rearrange(Rearrange { left, right, span: AT }));
    let what = prop_oneof![rearrange, inner.clone().prop_map(StageKind::Expr)];
    (prop::option::of(label(inner)), what).prop_map(|(label, what)| Stage { label, what, span: AT }).boxed()
}

fn stmt() -> BoxedStrategy<Stmt> {
    let at = |kind| Stmt { kind, span: AT };
    let leaf = prop_oneof![
        vec(expr(), 1..3).prop_map(StmtKind::Return),
        (vec(string(), 1..3), expr()).prop_map(|(globs, value)| StmtKind::Init { globs, value }),
        (label(expr()), expr()).prop_map(|(label, value)| StmtKind::Member { label, what: Member::Expr(value) }),
        (label(expr()), storage()).prop_map(|(label, what)| StmtKind::Member { label, what: Member::Storage(what) }),
        (ident(), expr()).prop_map(|(name, value)| StmtKind::Update { name, value }),
        (ident(), vec(ident().prop_map(LhsIndex::Var), 0..3), expr())
            .prop_map(|(name, indices, value)| StmtKind::Equation { name, indices, value }),
        (vec(ident(), 1..3), expr()).prop_map(|(names, value)| StmtKind::Assign { names, value }),
    ];
    leaf.prop_map(at)
        .prop_recursive(3, 12, 3, move |inner| {
            let block = vec(inner, 0..3).prop_map(|stmts| Block { stmts, span: AT });
            let arm = (expr(), block.clone()).prop_map(|(cond, body)| StmtArm { cond, body });
            let names = prop_oneof![
                Just((None, None)),
                ident().prop_map(|var| (Some(var), None)),
                (ident(), ident()).prop_map(|(var, index)| (Some(var), Some(index))),
            ];
            prop_oneof![
                (vec(arm, 1..3), prop::option::of(block.clone()))
                    .prop_map(move |(arms, otherwise)| at(StmtKind::If { arms, otherwise })),
                (expr(), names, block).prop_map(move |(count, (var, index), body)| at(StmtKind::Repeat {
                    count,
                    var,
                    index,
                    body
                })),
            ]
        })
        .boxed()
}

fn ty() -> BoxedStrategy<Ty> {
    let dim = prop_oneof![Just(Dim::Rest(AT)), Just(Dim::Any(AT)), expr().prop_map(Dim::Expr)];
    (prop::option::of(ident()), vec(dim, 0..3))
        .prop_map(|(dtype, dims)| Ty { dtype, dims: Some(dims), span: AT })
        .boxed()
}

fn storage() -> BoxedStrategy<Storage> {
    let kind = select(vec![StorageKind::Param, StorageKind::State]);
    (kind, ty(), prop::option::of(expr()))
        .prop_map(|(kind, ty, init)| Storage { kind, ty: Some(ty), init, span: AT })
        .boxed()
}

fn param() -> BoxedStrategy<Param> {
    (ident(), prop::option::of(ty()), prop::option::of(expr()))
        .prop_map(|(name, ty, default)| Param { name, ty, default, span: AT })
        .boxed()
}

fn entry() -> BoxedStrategy<Entry> {
    let at = |kind| Entry { kind, span: AT };
    let attr = (vec(ident(), 1..3), expr()).prop_map(|(names, value)| EntryKind::Attr { names, value });
    attr.prop_map(at)
        .prop_recursive(3, 12, 3, move |inner| {
            let entries = vec(inner, 0..3);
            let other = prop_oneof![
                string().prop_map(|rename| (Some(rename), None)),
                expr().prop_map(|value| (None, Some(value))),
                Just((None, None)),
            ];
            let rule =
                (ident(), vec(string(), 1..3), other, prop::option::of(expr()), prop::option::of(entries.clone()));
            prop_oneof![
                (ident(), entries).prop_map(move |(name, entries)| at(EntryKind::Section { name, entries })),
                rule.prop_map(move |(verb, globs, (rename, value), guard, body)| {
                    at(EntryKind::Rule(Rule { verb, globs, rename, value, guard, body }))
                }),
            ]
        })
        .boxed()
}

fn docs() -> BoxedStrategy<Option<Docs>> {
    prop::option::of(select(vec!["One line.", "Two\n\nlines", " indented"]))
        .prop_map(|text| text.map(|text| Docs { text: text.to_string(), span: AT }))
        .boxed()
}

fn item() -> BoxedStrategy<Item> {
    let block = || vec(stmt(), 0..4).prop_map(|stmts| Block { stmts, span: AT });
    let body = || prop_oneof![expr().prop_map(Body::Expr), block().prop_map(Body::Block)];
    let output = (prop::option::of(ident()), ty());
    let outputs = prop::option::of(vec(output, 1..3)).prop_map(|list| {
        let several = list.as_ref().is_some_and(|list| list.len() > 1);
        let named = |(number, (name, ty)): (usize, (Option<Ident>, Ty))| {
            let made_up = Ident { text: format!("out{number}"), span: AT };
            Output { name: if several { Some(name.unwrap_or(made_up)) } else { name }, ty }
        };
        list.map(|list| Outputs { list: list.into_iter().enumerate().map(named).collect(), parens: several, span: AT })
    });
    let head = (docs(), ident(), vec(param(), 0..3), vec(param(), 0..3), outputs, vec(expr(), 0..3));
    let derivative = (ident(), ident(), block()).prop_map(|(result, cotangent, body)| Derivative {
        result,
        cotangent,
        body,
        span: AT,
    });
    let function = (head.clone(), body(), prop::option::of(derivative)).prop_map(
        |((docs, name, axes, params, outputs, require), body, derivative)| {
            Item::Fn(Fn { docs, name, axes, params, outputs, require, body, derivative, span: AT })
        },
    );
    let kind = select(vec![NetKind::Block, NetKind::Model, NetKind::Optimizer]);
    let net = (kind, head, body(), any::<bool>()).prop_map(
        |(kind, (docs, name, config, inputs, outputs, require), body, has)| {
            let has_config = has || !config.is_empty();
            Item::Net(Net {
                docs,
                kind,
                keyword: AT,
                name,
                config,
                has_config,
                inputs,
                outputs,
                require,
                body,
                span: AT,
            })
        },
    );
    let kind = select(vec!["data", "weights", "lora", "train", "generate"])
        .prop_map(|kind| Ident { text: kind.to_string(), span: AT });
    let config = (docs(), kind, ident(), vec(param(), 0..3), vec(entry(), 0..4)).prop_map(
        |(docs, kind, name, params, entries)| {
            let has_params = !params.is_empty();
            Item::Config(Config { docs, kind, name, params, has_params, entries, span: AT })
        },
    );
    let names = vec((ident(), prop::option::of(ident())), 1..3).prop_map(|names| {
        ImportWhat::Names(names.into_iter().map(|(name, alias)| ImportName { name, alias }).collect())
    });
    let what = prop_oneof![names, prop::option::of(ident()).prop_map(ImportWhat::Module)];
    let import =
        (docs(), what, string()).prop_map(|(docs, what, path)| Item::Import(Import { docs, what, path, span: AT }));
    let constant =
        (docs(), ident(), expr()).prop_map(|(docs, name, value)| Item::Const(Const { docs, name, value, span: AT }));
    prop_oneof![function, net, config, import, constant].boxed()
}

fn spec() -> BoxedStrategy<Spec> {
    (docs(), vec(item(), 0..4)).prop_map(|(docs, items)| Spec { docs, items, span: AT }).boxed()
}
