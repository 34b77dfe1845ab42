//! `model!`: tokens in, tokens out.
//!
//! Takes the text of a spec, or the name of its file relative to the crate's folder; gives a struct for each `model` and
//! `train` item. What is wrong with the text is underlined where it stands.

mod text;

use dlc_compiler::emit::{self, Warning};
use dlc_compiler::pipeline::Findings;
use dlc_grammar::{Diagnostic, Sources};
use proc_macro::{Group, Ident, Literal, Punct, Spacing, Span, TokenStream, TokenTree};
use std::path::PathBuf;
use text::Text;

/// Compiles a spec, given as text or as the name of a file beside `Cargo.toml`, into a struct for each of its models and
/// trainings.
///
/// ```text
/// dlc::model!("digits.dl");
///
/// dlc::model! {
///     model Line()(x: [N, 3]) -> y: [N, 1] { return x -> fit: Linear(1) }
/// }
/// ```
#[proc_macro]
pub fn model(input: TokenStream) -> TokenStream {
    let mut tokens = input.clone().into_iter();
    match (tokens.next(), tokens.next()) {
        (Some(TokenTree::Literal(name)), None) => file(&name),
        _ => inline(input),
    }
}

/// The syntax tree of a spec given as tokens, as `dlc compile --emit ast` prints it: a string literal. It is there so that
/// tests can compare what comes out of rustc's tokens with what comes out of the file.
#[doc(hidden)]
#[proc_macro]
pub fn tree(input: TokenStream) -> TokenStream {
    let text = Text::new(input);
    let (spec, wrong) = dlc_grammar::parse::parse(&text.text, emit::MAIN_FILE);
    if wrong.is_empty() {
        return TokenTree::Literal(Literal::string(&dlc_grammar::tree::tree(&spec))).into();
    }
    wrong.iter().map(|d| own(d, &text, &Sources::new())).collect()
}

fn folder() -> PathBuf {
    PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default())
}

fn inline(input: TokenStream) -> TokenStream {
    let text = Text::new(input);
    match emit::items_of_text(&text.text, &folder()) {
        Ok(items) => {
            let here = |w: &Warning| w.span.map_or_else(Span::call_site, |span| text.spans(span)[0]);
            let warnings = items.warnings.iter().map(|w| warning(w.code, &w.at_place, here(w)));
            warnings.chain([finish(&items.text, &items.files)]).collect()
        }
        // Only the macro's own text has tokens to point at; a mistake in an imported file is told with its place.
        Err(wrong) => errors(&wrong).map(|d| own(d, &text, &wrong.sources)).collect(),
    }
}

/// What keeps a spec from being compiled.
fn errors(findings: &Findings) -> impl Iterator<Item = &Diagnostic> {
    findings.diagnostics.iter().filter(|d| d.is_error())
}

fn own(d: &Diagnostic, text: &Text, sources: &Sources) -> TokenStream {
    let place = d.span().filter(|p| p.file == emit::MAIN_FILE);
    let here = || [Span::call_site(), Span::call_site()];
    let spans = place.map_or_else(here, |p| text.spans(p));
    error(&emit::message(d, sources, place.is_none()), spans)
}

fn file(name: &Literal) -> TokenStream {
    let path = name.to_string();
    let Some(path) = path.strip_prefix('"').and_then(|p| p.strip_suffix('"')) else {
        return error("`model!` takes a spec, or the name of its file in double quotes", [name.span(); 2]);
    };
    match emit::items_of_file(&folder().join(path)) {
        Ok(items) => {
            let warnings = items.warnings.iter().map(|w| warning(w.code, &w.text, name.span()));
            warnings.chain([finish(&items.text, &items.files)]).collect()
        }
        Err(wrong) => {
            errors(&wrong).map(|d| error(&emit::message(d, &wrong.sources, true), [name.span(); 2])).collect()
        }
    }
}

/// The items, and a line for each file that was read, so that cargo sees when it is edited.
fn finish(items: &str, files: &[PathBuf]) -> TokenStream {
    let mut all = items.to_string();
    for f in files {
        all.push_str(&format!("const _: &[u8] = include_bytes!({:?});\n", f.display().to_string()));
    }
    match all.parse() {
        Ok(tokens) => tokens,
        Err(e) => error(&format!("what dlc emitted is not Rust ({e}): this is a bug in dlc"), [Span::call_site(); 2]),
    }
}

/// A use of something deprecated, which is the one way to warn that stable Rust has. `allow(deprecated)` on the module, or
/// on the crate, silences it.
fn warning(code: &str, message: &str, span: Span) -> TokenStream {
    let text = format!(
        "const _: () = {{ #[deprecated(note = {message:?})] #[allow(dead_code)] const {code}: () = (); {code} }};"
    );
    text.parse().map_or_else(|_| error(message, [span; 2]), |tokens| spanned(tokens, code, span))
}

/// Tokens, with a span for all identifiers of one name.
fn spanned(tokens: TokenStream, name: &str, span: Span) -> TokenStream {
    let own = |token: TokenTree| match token {
        TokenTree::Group(group) => {
            let mut inner = Group::new(group.delimiter(), spanned(group.stream(), name, span));
            inner.set_span(group.span());
            TokenTree::Group(inner)
        }
        TokenTree::Ident(ident) if ident.to_string() == name => TokenTree::Ident(Ident::new(name, span)),
        other => other,
    };
    tokens.into_iter().map(own).collect()
}

/// `::core::compile_error! { "message" }` from the first of two spans to the last: rustc underlines what lies between.
fn error(message: &str, [first, last]: [Span; 2]) -> TokenStream {
    let mut literal = Literal::string(message);
    literal.set_span(last);
    let mut group = Group::new(proc_macro::Delimiter::Brace, TokenTree::Literal(literal).into());
    group.set_span(last);
    let punct = |letter, spacing, span| {
        let mut punct = Punct::new(letter, spacing);
        punct.set_span(span);
        TokenTree::Punct(punct)
    };
    let colons = || [punct(':', Spacing::Joint, first), punct(':', Spacing::Alone, first)];
    let mut tokens = Vec::from(colons());
    tokens.push(TokenTree::Ident(Ident::new("core", first)));
    tokens.extend(colons());
    tokens.push(TokenTree::Ident(Ident::new("compile_error", first)));
    tokens.extend([punct('!', Spacing::Alone, last), TokenTree::Group(group)]);
    tokens.into_iter().collect()
}
