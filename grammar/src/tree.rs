//! Shows a syntax tree's structure: what `--emit ast` prints.
//!
//! One line for each item, statement and entry, each as a list in parentheses with its operator first, so that
//! precedence and grouping can be seen. Spans, comments and parentheses that change nothing are left out, so two trees
//! that say the same look the same.

use crate::ast::*;
use crate::lex::escape;

/// The structure of a whole file.
pub fn tree(spec: &Spec) -> String {
    let mut out = String::new();
    for item in &spec.items {
        item_tree(item).write(0, &mut out);
        out.push('\n');
    }
    out
}

/// The structure of one expression, on one line.
pub fn expr_tree(expr: &Expr) -> String {
    let mut out = String::new();
    of_expr(expr).write(0, &mut out);
    out
}

/// A word, or a list of them; a list's `lines` stand on lines of their own.
enum Tree {
    Word(String),
    List { parts: Vec<Tree>, lines: Vec<Tree> },
}

impl Tree {
    fn write(&self, indent: usize, out: &mut String) {
        match self {
            Tree::Word(word) => out.push_str(word),
            Tree::List { parts, lines } => {
                out.push('(');
                for (number, part) in parts.iter().enumerate() {
                    if number > 0 {
                        out.push(' ');
                    }
                    part.write(indent, out);
                }
                for line in lines {
                    out.push('\n');
                    out.extend(std::iter::repeat_n(' ', indent + 2));
                    line.write(indent + 2, out);
                }
                out.push(')');
            }
        }
    }
}

fn word(text: impl Into<String>) -> Tree {
    Tree::Word(text.into())
}

fn list(parts: Vec<Tree>) -> Tree {
    Tree::List { parts, lines: Vec::new() }
}

/// `(head rest..)`
fn headed(head: &str, rest: impl IntoIterator<Item = Tree>) -> Tree {
    list(std::iter::once(word(head)).chain(rest).collect())
}

/// `(head ..)`, or nothing where there is nothing to say.
fn some(head: &str, rest: Vec<Tree>) -> Option<Tree> {
    if rest.is_empty() { None } else { Some(headed(head, rest)) }
}

fn name(ident: &Ident) -> Tree {
    word(&ident.text)
}

fn string(string: &Str) -> Tree {
    word(escape(&string.value))
}

fn strings(strings: &[Str]) -> impl Iterator<Item = Tree> {
    strings.iter().map(string)
}

fn exprs(exprs: &[Expr]) -> Vec<Tree> {
    exprs.iter().map(of_expr).collect()
}

fn item_tree(item: &Item) -> Tree {
    match item {
        Item::Import(item) => import(item),
        Item::Const(item) => headed("const", [name(&item.name), of_expr(&item.value)]),
        Item::Fn(item) => {
            let mut lines: Vec<Tree> = params("axes", &item.axes).into_iter().collect();
            lines.extend(params("params", &item.params));
            lines.extend(head(item.outputs.as_ref(), &item.require));
            lines.extend(body(&item.body));
            lines.extend(item.derivative.as_ref().map(|derivative| Tree::List {
                parts: vec![word("derivative"), name(&derivative.result), name(&derivative.cotangent)],
                lines: stmts(&derivative.body),
            }));
            Tree::List { parts: vec![word("fn"), name(&item.name)], lines }
        }
        Item::Net(item) => {
            let mut lines: Vec<Tree> = params("config", &item.config).into_iter().collect();
            lines.extend(params("inputs", &item.inputs));
            lines.extend(head(item.outputs.as_ref(), &item.require));
            lines.extend(body(&item.body));
            Tree::List { parts: vec![word(item.kind.keyword()), name(&item.name)], lines }
        }
        Item::Config(item) => {
            let mut lines: Vec<Tree> = params("params", &item.params).into_iter().collect();
            lines.extend(entries(&item.entries));
            Tree::List { parts: vec![name(&item.kind), name(&item.name)], lines }
        }
    }
}

fn import(import: &Import) -> Tree {
    let alias = |alias: &Option<Ident>| alias.iter().flat_map(|alias| [word("as"), name(alias)]).collect::<Vec<_>>();
    let what = match &import.what {
        ImportWhat::Names(names) => {
            let one = |import: &ImportName| match &import.alias {
                Some(_) => list(std::iter::once(name(&import.name)).chain(alias(&import.alias)).collect()),
                None => name(&import.name),
            };
            vec![list(names.iter().map(one).collect())]
        }
        ImportWhat::Module(module) => alias(module),
    };
    headed("import", std::iter::once(string(&import.path)).chain(what))
}

fn params(head: &str, params: &[Param]) -> Option<Tree> {
    let param = |param: &Param| {
        let mut parts = vec![name(&param.name)];
        parts.extend(param.ty.iter().flat_map(|of| [word(":"), ty(of)]));
        parts.extend(param.default.iter().flat_map(|default| [word("="), of_expr(default)]));
        list(parts)
    };
    some(head, params.iter().map(param).collect())
}

fn head(outputs: Option<&Outputs>, require: &[Expr]) -> impl Iterator<Item = Tree> {
    let output = |output: &Output| match &output.name {
        Some(of) => list(vec![name(of), word(":"), ty(&output.ty)]),
        None => ty(&output.ty),
    };
    let outputs = outputs.map(|outputs| headed("->", outputs.list.iter().map(output)));
    outputs.into_iter().chain(some("require", exprs(require)))
}

fn ty(ty: &Ty) -> Tree {
    let dtype = ty.dtype.as_ref().map_or("", |dtype| dtype.text.as_str());
    let dim = |dim: &Dim| match dim {
        Dim::Rest(_) => "..".to_string(),
        Dim::Any(_) => "_".to_string(),
        Dim::Expr(expr) => expr_tree(expr),
    };
    let dims = ty.dims.as_ref().map(|dims| format!("[{}]", dims.iter().map(dim).collect::<Vec<_>>().join(" ")));
    word(format!("{dtype}{}", dims.unwrap_or_default()))
}

fn body(body: &Body) -> Vec<Tree> {
    match body {
        Body::Expr(expr) => vec![headed("=", [of_expr(expr)])],
        Body::Block(block) => stmts(block),
    }
}

fn stmts(block: &Block) -> Vec<Tree> {
    block.stmts.iter().map(stmt).collect()
}

fn stmt(stmt: &Stmt) -> Tree {
    match &stmt.kind {
        StmtKind::Return(values) => headed("return", exprs(values)),
        StmtKind::Repeat { count, var, index, body } => {
            let mut parts = vec![word("repeat"), of_expr(count)];
            parts.extend(var.iter().chain(index).map(name));
            Tree::List { parts, lines: stmts(body) }
        }
        StmtKind::If { arms, otherwise } => {
            let arm = |arm: &StmtArm| Tree::List { parts: vec![of_expr(&arm.cond)], lines: stmts(&arm.body) };
            let last = otherwise.as_ref().map(|last| Tree::List { parts: vec![word("else")], lines: stmts(last) });
            Tree::List { parts: vec![word("if")], lines: arms.iter().map(arm).chain(last).collect() }
        }
        StmtKind::Init { globs, value } => headed("init", strings(globs).chain([of_expr(value)])),
        StmtKind::Member { label, what } => {
            let what = match what {
                Member::Storage(storage) => {
                    let mut parts = vec![word(storage.kind.keyword())];
                    parts.extend(storage.ty.as_ref().map(ty));
                    parts.extend(storage.init.as_ref().map(of_expr));
                    list(parts)
                }
                Member::Expr(expr) => of_expr(expr),
            };
            headed(":", [word(label_text(label)), what])
        }
        StmtKind::Update { name: of, value } => headed("<-", [name(of), of_expr(value)]),
        StmtKind::Equation { name: of, indices, value } => {
            let index = |index: &LhsIndex| match index {
                LhsIndex::Rest(_) => word(".."),
                LhsIndex::Var(of) => name(of),
            };
            let left = headed("index", std::iter::once(name(of)).chain(indices.iter().map(index)));
            headed("=", [left, of_expr(value)])
        }
        StmtKind::Assign { names, value } => assign(names, value),
    }
}

fn assign(names: &[Ident], value: &Expr) -> Tree {
    headed("=", names.iter().map(name).chain([of_expr(value)]))
}

fn entries(entries: &[Entry]) -> Vec<Tree> {
    entries.iter().map(entry).collect()
}

fn entry(entry: &Entry) -> Tree {
    match &entry.kind {
        EntryKind::Attr { names, value } => assign(names, value),
        EntryKind::Section { name: of, entries: inner } => Tree::List { parts: vec![name(of)], lines: entries(inner) },
        EntryKind::Rule(rule) => {
            let mut parts = vec![name(&rule.verb)];
            parts.extend(strings(&rule.globs));
            parts.extend(rule.rename.iter().flat_map(|rename| [word("=>"), string(rename)]));
            parts.extend(rule.value.iter().flat_map(|value| [word("="), of_expr(value)]));
            parts.extend(rule.guard.iter().flat_map(|guard| [word("if"), of_expr(guard)]));
            Tree::List { parts, lines: rule.body.as_deref().map_or(Vec::new(), entries) }
        }
    }
}

fn label_text(label: &Label) -> String {
    let part = |part: &Part| match part {
        Part::Text(text) => text.text.clone(),
        Part::Hole(expr) => format!("{{{}}}", expr_tree(expr)),
    };
    let segment = |segment: &Segment| segment.parts.iter().map(part).collect::<String>();
    label.segments.iter().map(segment).collect::<Vec<_>>().join(".")
}

fn of_expr(expr: &Expr) -> Tree {
    match &expr.kind {
        ExprKind::Number(number) => word(&number.text),
        ExprKind::Str(text) => string(text),
        ExprKind::Bool(value) => word(value.to_string()),
        ExprKind::None => word("none"),
        ExprKind::Name(of) => word(of),
        ExprKind::List(items) => headed("list", exprs(items)),
        ExprKind::Tuple(items) => headed("tuple", exprs(items)),
        ExprKind::Unary { op, operand } => headed(op.symbol(), [of_expr(operand)]),
        ExprKind::Binary { op, left, right, .. } => headed(op.symbol(), [of_expr(left), of_expr(right)]),
        ExprKind::If { arms, otherwise } => {
            let arms = arms.iter().flat_map(|arm| [of_expr(&arm.cond), of_expr(&arm.value)]);
            headed("if", arms.chain([of_expr(otherwise)]))
        }
        ExprKind::Call { callee, args } => {
            let arg = |arg: &Arg| match &arg.name {
                Some(of) => list(vec![name(of), word("="), of_expr(&arg.value)]),
                None => of_expr(&arg.value),
            };
            headed("call", std::iter::once(of_expr(callee)).chain(args.iter().map(arg)))
        }
        ExprKind::Index { base, items } => {
            headed("index", std::iter::once(of_expr(base)).chain(items.iter().map(index)))
        }
        ExprKind::Field { base, name: of } => headed(".", [of_expr(base), name(of)]),
        ExprKind::Pipe { input, stages } => {
            headed("->", std::iter::once(of_expr(input)).chain(stages.iter().map(stage)))
        }
    }
}

fn index(index: &Index) -> Tree {
    match index {
        Index::Rest(_) => word(".."),
        Index::Slice { lo, hi, by, .. } => {
            let part = |part: &Option<Expr>| part.as_ref().map_or(word("_"), of_expr);
            headed("slice", [part(lo), part(hi), part(by)])
        }
        Index::At(expr) => of_expr(expr),
    }
}

fn stage(stage: &Stage) -> Tree {
    let what = match &stage.what {
        StageKind::Rearrange(rearrange) => headed("=>", [axes(&rearrange.left), axes(&rearrange.right)]),
        StageKind::Expr(expr) => of_expr(expr),
    };
    match &stage.label {
        Some(label) => headed(":", [word(label_text(label)), what]),
        None => what,
    }
}

fn axes(axes_of: &[Axis]) -> Tree {
    let axis = |axis: &Axis| match axis {
        Axis::Group(inner, _) => axes(inner),
        Axis::Rest(_) => word(".."),
        Axis::Expr(expr) => of_expr(expr),
    };
    list(axes_of.iter().map(axis).collect())
}
