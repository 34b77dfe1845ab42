//! Globs over weight names. Takes a pattern and names, says which match and what a renaming gives.
//!
//! A pattern is split at its dots. `*` is any part of one segment, `**` any number of segments (none too), `{a,b}` either
//! of the two. A pattern that names a module covers all names under it.

/// A pattern over dotted names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    /// The pattern without braces: every way of choosing one alternative each.
    choices: Vec<Vec<String>>,
}

/// What the wildcards of a pattern stood for in a name, in order.
type Captures = Vec<String>;

/// Alternatives multiply; no one writes more than a handful, and a hostile pattern must not fill the memory.
const MOST_CHOICES: usize = 1024;

impl Glob {
    /// Reads a pattern. An error says what is wrong with it.
    pub fn new(pattern: &str) -> Result<Glob, String> {
        let mut choices = Vec::new();
        for text in choose(pattern)? {
            if text.is_empty() || text.split('.').any(str::is_empty) {
                return Err(format!("`{pattern}` has an empty segment"));
            }
            choices.push(text.split('.').map(str::to_owned).collect());
        }
        Ok(Glob { choices })
    }

    /// Whether it covers a name: it matches the name itself, or a module that the name is under.
    pub fn covers(&self, name: &str) -> bool {
        self.choices.iter().any(|choice| covers(choice, name))
    }

    /// Whether it covers every name there can be.
    pub fn covers_all(&self) -> bool {
        self.choices.iter().any(|choice| choice.iter().all(|segment| segment == "**"))
    }

    /// Whether it matches the whole name.
    pub fn matches(&self, name: &str) -> bool {
        self.captures(&name.split('.').collect::<Vec<_>>()).is_some()
    }

    fn captures(&self, parts: &[&str]) -> Option<Captures> {
        self.choices.iter().find_map(|choice| capture(choice, parts))
    }
}

/// The new name of `name` under a rule, if the rule matches it: what each wildcard of `from` stood for takes the place of
/// the wildcard with the same number in `to`. An error says what is wrong with the rule.
pub fn rename(name: &str, from: &str, to: &str) -> Result<Option<String>, String> {
    let Some(found) = Glob::new(from)?.captures(&name.split('.').collect::<Vec<_>>()) else { return Ok(None) };
    let mut found = found.into_iter();
    let mut segments = Vec::new();
    for segment in to.split('.') {
        let mut text = String::new();
        let mut rest = segment;
        while let Some(at) = rest.find('*') {
            text.push_str(&rest[..at]);
            rest = rest[at..].strip_prefix("**").or_else(|| rest[at..].strip_prefix('*')).expect("a star was found");
            text.push_str(&found.next().ok_or_else(|| format!("`{to}` has more wildcards than `{from}`"))?);
        }
        text.push_str(rest);
        // A `**` that stood for no segment leaves none behind.
        if !text.is_empty() {
            segments.push(text);
        }
    }
    Ok(Some(segments.join(".")))
}

/// Whether one way of choosing matches a name, or a module that it is under.
fn covers(pattern: &[String], name: &str) -> bool {
    // Where in the pattern a match of the segments so far can have come to; going on from `**` may mean going past it.
    let mut at = vec![0];
    for part in name.split('.') {
        let mut next = Vec::new();
        let mut reach = |i: usize| {
            if !next.contains(&i) {
                next.push(i)
            }
        };
        while let Some(i) = at.pop() {
            match pattern.get(i).map(String::as_str) {
                // All of it has matched: this is a name under what it names.
                None => return true,
                Some("**") => {
                    reach(i);
                    at.push(i + 1);
                }
                Some(segment) if is_segment(segment, part) => reach(i + 1),
                Some(_) => {}
            }
        }
        at = next;
    }
    at.iter().any(|i| pattern[*i..].iter().all(|segment| segment == "**"))
}

/// Whether a segment of a pattern matches.
fn is_segment(pattern: &str, text: &str) -> bool {
    if pattern.contains('*') { capture_segment(pattern, text).is_some() } else { pattern == text }
}

/// The captures of one way of choosing, if it matches. A wildcard takes as little as it can.
fn capture(pattern: &[String], parts: &[&str]) -> Option<Captures> {
    // reach[i][j]: whether pattern[i..] matches parts[j..]. Filled from the end, so time is the product of the lengths.
    let (rows, cols) = (pattern.len(), parts.len());
    let mut reach = vec![vec![false; cols + 1]; rows + 1];
    reach[rows][cols] = true;
    for i in (0..rows).rev() {
        for j in (0..=cols).rev() {
            reach[i][j] = match (pattern[i].as_str(), j < cols) {
                ("**", inside) => reach[i + 1][j] || (inside && reach[i][j + 1]),
                (segment, true) => reach[i + 1][j + 1] && is_segment(segment, parts[j]),
                (_, false) => false,
            };
        }
    }
    if !reach[0][0] {
        return None;
    }
    let (mut found, mut j) = (Captures::new(), 0);
    for (i, segment) in pattern.iter().enumerate() {
        if segment == "**" {
            let first = j;
            while !reach[i + 1][j] {
                j += 1;
            }
            found.push(parts[first..j].join("."));
        } else {
            found.extend(capture_segment(segment, parts[j])?);
            j += 1;
        }
    }
    Some(found)
}

/// The captures of a segment's stars, if it matches.
fn capture_segment(pattern: &str, text: &str) -> Option<Captures> {
    let pieces: Vec<&str> = pattern.split('*').collect();
    let (first, last) = (pieces[0], pieces[pieces.len() - 1]);
    if pieces.len() == 1 {
        return (pattern == text).then(Vec::new);
    }
    let middle = text.strip_prefix(first)?.strip_suffix(last)?;
    let (mut found, mut rest) = (Captures::new(), middle);
    for piece in &pieces[1..pieces.len() - 1] {
        let at = rest.find(piece)?;
        found.push(rest[..at].to_owned());
        rest = &rest[at + piece.len()..];
    }
    found.push(rest.to_owned());
    Some(found)
}

/// What a pattern with braces says besides: for each alternative that it has, the pattern with that one alone in its braces.
/// None where there is nothing to choose. Each of these is to match something, or it is a slip.
pub fn alternatives(pattern: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(open) = pattern[from..].find('{').map(|at| from + at) {
        let Some(close) = pattern[open..].find('}').map(|at| open + at) else { break };
        let options: Vec<&str> = pattern[open + 1..close].split(',').map(str::trim).collect();
        if options.len() > 1 {
            found.extend(options.iter().map(|option| format!("{}{option}{}", &pattern[..open], &pattern[close + 1..])));
        }
        from = close + 1;
    }
    found
}

/// Those of [`alternatives`] that hit nothing.
pub fn idle_alternatives(pattern: &str, hits: &dyn Fn(&Glob) -> bool) -> Vec<String> {
    alternatives(pattern).into_iter().filter(|text| !Glob::new(text).is_ok_and(|glob| hits(&glob))).collect()
}

/// Every text that a pattern with braces stands for.
fn choose(pattern: &str) -> Result<Vec<String>, String> {
    let mut done = vec![String::new()];
    let mut rest = pattern;
    while let Some(open) = rest.find(['{', '}']) {
        let inside = &rest[open + 1..];
        let close =
            inside.find(['{', '}']).filter(|&at| inside.as_bytes()[at] == b'}' && rest.as_bytes()[open] == b'{');
        let close = close.ok_or_else(|| format!("the braces of `{pattern}` do not pair up"))?;
        let options: Vec<&str> = inside[..close].split(',').collect();
        if done.len() * options.len() > MOST_CHOICES {
            return Err(format!("`{pattern}` has more than {MOST_CHOICES} alternatives"));
        }
        let before = &rest[..open];
        done = done
            .iter()
            .flat_map(|text| options.iter().map(move |option| format!("{text}{before}{}", option.trim())))
            .collect();
        rest = &inside[close + 1..];
    }
    for text in &mut done {
        text.push_str(rest);
    }
    Ok(done)
}
