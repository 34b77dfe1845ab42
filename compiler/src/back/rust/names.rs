//! Names of a spec as names of Rust. Takes what the spec calls something; gives an identifier that Rust takes, whatever its
//! edition.

/// What Rust keeps for itself, in any edition, and takes with `r#` before it.
const KEYWORDS: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "do", "dyn", "else", "enum",
    "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod", "move",
    "mut", "override", "priv", "pub", "ref", "return", "static", "struct", "trait", "true", "try", "type", "typeof",
    "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];
/// What Rust takes in no form.
const NEVER: &[&str] = &["self", "Self", "super", "crate", "_"];

/// A name as an identifier: a keyword is taken raw, and what cannot be raw, or is no identifier, is mended by `_`.
pub fn ident(name: &str) -> String {
    let letter = |c: char| if c.is_alphanumeric() || c == '_' { c } else { '_' };
    let mut plain: String = name.chars().map(letter).collect();
    if plain.is_empty() || plain.starts_with(|c: char| c.is_numeric()) {
        plain.insert(0, '_');
    }
    match plain.as_str() {
        name if NEVER.contains(&name) => format!("{name}_"),
        name if KEYWORDS.contains(&name) => format!("r#{name}"),
        _ => plain,
    }
}

/// Names as identifiers, all of them different: the later of two that became the same gets a `_` more.
pub fn idents<'n>(names: impl IntoIterator<Item = &'n str>) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for name in names {
        let mut own = ident(name);
        while all.contains(&own) {
            own.push('_');
        }
        all.push(own);
    }
    all
}

/// The name of an item's struct: `fit` is `Fit`, `sst2_lora` is `Sst2Lora`, `Mlp` stays.
pub fn type_name(item: &str) -> String {
    let upper = |word: &str| {
        let mut chars = word.chars();
        chars.next().map_or(String::new(), |c| c.to_uppercase().collect::<String>() + chars.as_str())
    };
    ident(&item.split('_').map(upper).collect::<String>())
}

/// The name of an item's private module.
pub fn module_name(item: &str) -> String {
    ident(&format!("dlc_{item}"))
}

/// The first two items, by their places, whose structs have the same name.
pub fn clash<'n>(items: impl IntoIterator<Item = &'n str>) -> Option<(usize, usize)> {
    let types: Vec<String> = items.into_iter().map(type_name).collect();
    let first = |(i, name): (usize, &String)| types[..i].iter().position(|known| known == name).map(|first| (first, i));
    types.iter().enumerate().find_map(first)
}
