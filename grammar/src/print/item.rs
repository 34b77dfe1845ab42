//! Prints items, types, statements and configuration entries.

use super::layout::{Before, Indent};
use super::{Printer, layout};
use crate::ast::*;
use crate::lex::escape;

use Before::{End, Nothing, Space};

impl Printer<'_> {
    /// Prints an item; gives the `=` of a function that is one.
    pub(super) fn item(&mut self, item: &Item) -> Option<usize> {
        match item {
            Item::Import(import) => self.import(import),
            Item::Const(item) => {
                self.token("const", End);
                self.token(&item.name.text, Space);
                self.token("=", Space);
                self.expr(&item.value, Space);
            }
            Item::Fn(item) => return self.fn_def(item),
            Item::Net(net) => self.net(net),
            Item::Config(config) => {
                self.token(&config.kind.text, End);
                self.token(&config.name.text, Space);
                if config.has_params || !config.params.is_empty() {
                    self.params(["(", ")"], &config.params, Nothing);
                }
                self.entries(&config.entries);
            }
        }
        None
    }

    fn import(&mut self, import: &Import) {
        self.token("import", End);
        let alias = |printer: &mut Self, alias: &Option<Ident>| {
            if let Some(alias) = alias {
                printer.token("as", Space);
                printer.token(&alias.text, Space);
            }
        };
        match &import.what {
            ImportWhat::Names(names) => {
                self.token("{", Space);
                let name = |printer: &mut Self, name: &ImportName, before| {
                    printer.token(&name.name.text, before);
                    alias(printer, &name.alias);
                };
                self.list(names, name, Space);
                self.token("}", Space);
                self.token("from", Space);
                self.string(&import.path, Space);
            }
            ImportWhat::Module(name) => {
                self.string(&import.path, Space);
                alias(self, name);
            }
        }
    }

    fn fn_def(&mut self, item: &Fn) -> Option<usize> {
        self.token("fn", End);
        self.token(&item.name.text, Space);
        self.depth += 2;
        if !item.axes.is_empty() {
            self.params(["[", "]"], &item.axes, Nothing);
        }
        self.params(["(", ")"], &item.params, Nothing);
        self.depth -= 2;
        self.outputs(item.outputs.as_ref());
        self.require(&item.require);
        let equals = self.body(&item.body);
        if let Some(derivative) = &item.derivative {
            self.derivative(derivative, equals.is_some());
        }
        equals
    }

    /// Behind a body of one expression a derivative may stand on a line of its own, a step further in.
    fn derivative(&mut self, derivative: &Derivative, own_line: bool) {
        let before = if own_line { Before::Kept { indent: Indent::Hang(2) } } else { Space };
        let at = self.token("derivative", before);
        self.token("(", Space);
        self.token(&derivative.result.text, Nothing);
        self.token(",", Nothing);
        self.token(&derivative.cotangent.text, Space);
        self.token(")", Nothing);
        let inner = usize::from(own_line && self.tokens[at].trivia.breaks());
        self.level += inner;
        self.stmts(&derivative.body);
        self.level -= inner;
    }

    fn net(&mut self, net: &Net) {
        self.token(net.kind.keyword(), End);
        self.token(&net.name.text, Space);
        self.depth += 2;
        if net.has_config || !net.config.is_empty() {
            self.params(["(", ")"], &net.config, Nothing);
            self.params(["(", ")"], &net.inputs, Before::Soft { depth: 0, indent: Indent::Hang(4), tight: true });
        } else {
            self.params(["(", ")"], &net.inputs, Nothing);
        }
        self.depth -= 2;
        self.outputs(net.outputs.as_ref());
        self.require(&net.require);
        self.body(&net.body);
    }

    fn params(&mut self, brackets: [&str; 2], params: &[Param], before: Before) {
        self.bracketed(brackets, params, Self::param, before);
    }

    fn param(&mut self, param: &Param, before: Before) {
        self.token(&param.name.text, before);
        if let Some(ty) = &param.ty {
            self.token(":", Nothing);
            self.ty(ty, Space);
        }
        if let Some(default) = &param.default {
            self.token("=", Space);
            self.expr(default, Space);
        }
    }

    fn outputs(&mut self, outputs: Option<&Outputs>) {
        let Some(outputs) = outputs else { return };
        self.token("->", Before::Soft { depth: 1, indent: Indent::Hang(4), tight: false });
        if outputs.parens || outputs.list.len() > 1 {
            self.depth += 2;
            self.bracketed(["(", ")"], &outputs.list, Self::output, Space);
            self.depth -= 2;
        } else {
            outputs.list.iter().for_each(|output| self.output(output, Space));
        }
    }

    fn output(&mut self, output: &Output, before: Before) {
        match &output.name {
            Some(name) => {
                self.token(&name.text, before);
                self.token(":", Nothing);
                self.ty(&output.ty, Space);
            }
            None => self.ty(&output.ty, before),
        }
    }

    fn ty(&mut self, ty: &Ty, before: Before) {
        let mut before = before;
        if let Some(dtype) = &ty.dtype {
            self.token(&dtype.text, before);
            before = Nothing;
        }
        if let Some(dims) = &ty.dims {
            self.depth += 1;
            self.bracketed(["[", "]"], dims, Self::dim, before);
            self.depth -= 1;
        }
    }

    fn dim(&mut self, dim: &Dim, before: Before) {
        match dim {
            Dim::Rest(_) => {
                self.token("..", before);
            }
            Dim::Any(_) => {
                self.token("_", before);
            }
            Dim::Expr(expr) => self.operand(expr, before),
        }
    }

    fn require(&mut self, conditions: &[Expr]) {
        if !conditions.is_empty() {
            self.token("require", Before::Soft { depth: 0, indent: Indent::Hang(0), tight: false });
            self.depth += 1;
            self.list(conditions, Self::operand, Space);
            self.depth -= 1;
        }
    }

    /// Prints a body; gives its `=` if it is one expression.
    fn body(&mut self, body: &Body) -> Option<usize> {
        match body {
            Body::Expr(expr) => {
                let equals = self.token("=", Space);
                self.expr(expr, Before::Kept { indent: Indent::Hang(2) });
                Some(equals)
            }
            Body::Block(block) => {
                self.stmts(block);
                None
            }
        }
    }

    /// Prints `{ statements }`; gives the block's number.
    fn stmts(&mut self, block: &Block) -> usize {
        let number = self.blocks.len();
        self.block(&block.stmts, Self::stmt, Space);
        number
    }

    fn stmt(&mut self, stmt: &Stmt) {
        match &stmt.kind {
            StmtKind::Return(values) => {
                self.token("return", End);
                self.list(values, Self::expr, Space);
            }
            StmtKind::Repeat { count, var, index, body } => {
                self.token("repeat", End);
                self.operand(count, Space);
                if let Some(var) = var {
                    self.token("as", Space);
                    self.token(&var.text, Space);
                }
                if let Some(index) = index {
                    self.token(",", Nothing);
                    self.token(&index.text, Space);
                }
                self.stmts(body);
            }
            StmtKind::If { arms, otherwise } => self.if_stmt(arms, otherwise.as_ref()),
            StmtKind::Init { globs, value } => {
                self.token("init", End);
                self.list(globs, Self::string, Space);
                self.given(value);
            }
            StmtKind::Member { label, what } => {
                self.label(label, End);
                match what {
                    Member::Storage(storage) => self.storage(storage),
                    Member::Expr(expr) => self.expr(expr, Space),
                }
            }
            StmtKind::Update { name, value } => {
                self.token(&name.text, End);
                self.token("<-", Space);
                self.expr(value, Space);
            }
            StmtKind::Equation { name, indices, value } => {
                self.token(&name.text, End);
                self.bracketed(["[", "]"], indices, Self::lhs_index, Nothing);
                self.given(value);
            }
            StmtKind::Assign { names, value } => self.assign(names, value),
        }
    }

    fn if_stmt(&mut self, arms: &[StmtArm], otherwise: Option<&Block>) {
        let mut chain = Vec::new();
        for (number, arm) in arms.iter().enumerate() {
            if number > 0 {
                self.token("else", Space);
            }
            self.token("if", if number == 0 { End } else { Space });
            self.operand(&arm.cond, Space);
            chain.push(self.stmts(&arm.body));
        }
        if let Some(otherwise) = otherwise {
            self.token("else", Space);
            chain.push(self.stmts(otherwise));
        }
        self.join_blocks(&chain);
    }

    fn storage(&mut self, storage: &Storage) {
        self.token(storage.kind.keyword(), Space);
        if let Some(ty) = &storage.ty {
            self.ty(ty, Space);
        }
        if let Some(init) = &storage.init {
            self.given(init);
        }
    }

    fn lhs_index(&mut self, index: &LhsIndex, before: Before) {
        match index {
            LhsIndex::Rest(_) => self.token("..", before),
            LhsIndex::Var(name) => self.token(&name.text, before),
        };
    }

    fn assign(&mut self, names: &[Ident], value: &Expr) {
        for (number, name) in names.iter().enumerate() {
            if number > 0 {
                self.token(",", Nothing);
            }
            self.token(&name.text, if number == 0 { End } else { Space });
        }
        self.given(value);
    }

    /// `= value`.
    fn given(&mut self, value: &Expr) {
        self.token("=", Space);
        self.expr(value, Space);
    }

    fn entries(&mut self, entries: &[Entry]) {
        self.block(entries, Self::entry, Space);
    }

    fn entry(&mut self, entry: &Entry) {
        match &entry.kind {
            EntryKind::Attr { names, value } => self.assign(names, value),
            EntryKind::Section { name, entries } => {
                self.token(&name.text, End);
                self.entries(entries);
            }
            EntryKind::Rule(rule) => self.rule(rule),
        }
    }

    fn rule(&mut self, rule: &Rule) {
        self.token(&rule.verb.text, End);
        self.list(&rule.globs, Self::string, Space);
        if let Some(rename) = &rule.rename {
            self.token("=>", Space);
            self.string(rename, Space);
        }
        if let Some(value) = &rule.value {
            self.given(value);
        }
        if let Some(guard) = &rule.guard {
            self.token("if", Space);
            self.operand(guard, Space);
        }
        if let Some(body) = &rule.body {
            self.entries(body);
        }
    }

    pub(super) fn string(&mut self, string: &Str, before: Before) {
        // The author may have written a letter and its escape alike; the source is asked for what stands there.
        let written = self.source.as_ref().and_then(|source| source.text.get(string.span.range()));
        let literal = written.map_or_else(|| escape(&string.value), str::to_string);
        debug_assert!(layout::width(&literal) >= 2, "a string has its quotes");
        self.token(&literal, before);
    }
}
