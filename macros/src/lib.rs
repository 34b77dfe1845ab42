//! `model!`: tokens in, tokens out.
//!
//! Takes the text of a spec, or the name of its file relative to the crate's folder; gives a struct for each `model` and
//! `train` item. What is wrong with the text is underlined where it stands.

mod text;

use dlc_compiler::emit;
use dlc_compiler::pipeline::Findings;
use dlc_grammar::{Diagnostic, Sources};
use proc_macro::{Group, Ident, Literal, Punct, Spacing, Span, TokenStream, TokenTree};
use std::path::PathBuf;
use text::Text;

/// Compiles a spec, given as text or as the name of a file beside `Cargo.toml`, into a struct for each of its models and
/// trainings.
///
/// ```ignore
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

fn folder() -> PathBuf {
    PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default())
}

fn inline(input: TokenStream) -> TokenStream {
    let text = Text::new(input);
    match emit::items_of_text(&text.text, &folder()) {
        Ok(items) => finish(&items.text, &items.files),
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
    let span = place.map_or_else(Span::call_site, |p| text.span(p));
    error(&emit::message(d, sources, place.is_none()), span)
}

fn file(name: &Literal) -> TokenStream {
    let path = name.to_string();
    let Some(path) = path.strip_prefix('"').and_then(|p| p.strip_suffix('"')) else {
        return error("`model!` takes a spec, or the name of its file in double quotes", name.span());
    };
    match emit::items_of_file(&folder().join(path)) {
        Ok(items) => finish(&items.text, &items.files),
        Err(wrong) => errors(&wrong).map(|d| error(&emit::message(d, &wrong.sources, true), name.span())).collect(),
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
        Err(e) => error(&format!("what dlc emitted is not Rust ({e}): this is a bug in dlc"), Span::call_site()),
    }
}

/// `::core::compile_error! { "message" }` at a span.
fn error(message: &str, span: Span) -> TokenStream {
    let mut literal = Literal::string(message);
    literal.set_span(span);
    let mut group = Group::new(proc_macro::Delimiter::Brace, TokenTree::Literal(literal).into());
    group.set_span(span);
    let colons = |tokens: &mut Vec<TokenTree>| {
        for spacing in [Spacing::Joint, Spacing::Alone] {
            let mut p = Punct::new(':', spacing);
            p.set_span(span);
            tokens.push(TokenTree::Punct(p));
        }
    };
    let mut tokens = Vec::new();
    colons(&mut tokens);
    tokens.push(TokenTree::Ident(Ident::new("core", span)));
    colons(&mut tokens);
    tokens.push(TokenTree::Ident(Ident::new("compile_error", span)));
    let mut bang = Punct::new('!', Spacing::Alone);
    bang.set_span(span);
    tokens.extend([TokenTree::Punct(bang), TokenTree::Group(group)]);
    tokens.into_iter().collect()
}
