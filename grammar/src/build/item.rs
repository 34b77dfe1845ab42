//! Trees of items, types, statements and configuration entries.

use super::{Builder, Node, Parts};
use crate::ast::*;
use crate::grammar::Rule;

impl Builder<'_> {
    pub(super) fn item(&mut self, node: Node) -> Item {
        match node.as_rule() {
            Rule::import => Item::Import(self.import(node)),
            Rule::const_def => Item::Const(self.const_def(node)),
            Rule::fn_def => Item::Fn(self.fn_def(node)),
            Rule::net_def => Item::Net(self.net_def(node)),
            other => {
                debug_assert_eq!(other, Rule::config, "the grammar knows five kinds of item");
                Item::Config(self.config(node))
            }
        }
    }

    fn import(&mut self, node: Node) -> Import {
        let span = self.span(&node);
        let mut parts = Parts::of(node);
        parts.eat(Rule::kw_import);
        let names =
            parts.eat(Rule::import_names).map(|names| names.into_inner().map(|name| self.import_name(name)).collect());
        parts.eat(Rule::kw_from);
        let path = self.string(parts.next());
        let what = match names {
            Some(names) => ImportWhat::Names(names),
            None => ImportWhat::Module(self.alias(&mut parts)),
        };
        Import { docs: None, what, path, span }
    }

    fn import_name(&mut self, node: Node) -> ImportName {
        let mut parts = Parts::of(node);
        ImportName { name: self.ident(parts.next()), alias: self.alias(&mut parts) }
    }

    fn alias(&mut self, parts: &mut Parts) -> Option<Ident> {
        parts.eat(Rule::kw_as).map(|_| self.ident(parts.next()))
    }

    fn const_def(&mut self, node: Node) -> Const {
        let span = self.span(&node);
        let mut parts = Parts::of(node);
        parts.eat(Rule::kw_const);
        let name = self.ident(parts.next());
        parts.eat(Rule::eq);
        Const { docs: None, name, value: self.expr(parts.next()), span }
    }

    fn fn_def(&mut self, node: Node) -> Fn {
        let span = self.span(&node);
        let mut parts = Parts::of(node);
        parts.eat(Rule::kw_fn);
        Fn {
            docs: None,
            name: self.ident(parts.next()),
            axes: parts.eat(Rule::axis_params).map_or(Vec::new(), |axes| self.params(axes)),
            params: self.params(parts.next()),
            outputs: self.outputs(&mut parts),
            require: self.require(&mut parts),
            body: self.body(parts.next()),
            derivative: parts.eat(Rule::derivative).map(|derivative| self.derivative(derivative)),
            span,
        }
    }

    fn derivative(&mut self, node: Node) -> Derivative {
        let span = self.span(&node);
        let mut parts = Parts::of(node);
        parts.eat(Rule::kw_derivative);
        Derivative {
            result: self.ident(parts.next()),
            cotangent: self.ident(parts.next()),
            body: self.block(parts.next()),
            span,
        }
    }

    fn net_def(&mut self, node: Node) -> Net {
        let span = self.span(&node);
        let mut parts = Parts::of(node);
        let keyword = parts.next();
        let kind = match keyword.as_str() {
            "block" => NetKind::Block,
            "model" => NetKind::Model,
            _ => NetKind::Optimizer,
        };
        let name = self.ident(parts.next());
        let first = self.params(parts.next());
        let second = parts.eat(Rule::params).map(|inputs| self.params(inputs));
        let has_config = second.is_some();
        let (config, inputs) = match second {
            Some(inputs) => (first, inputs),
            None => (Vec::new(), first),
        };
        Net {
            docs: None,
            kind,
            keyword: self.span(&keyword),
            name,
            config,
            has_config,
            inputs,
            outputs: self.outputs(&mut parts),
            require: self.require(&mut parts),
            body: self.body(parts.next()),
            span,
        }
    }

    fn config(&mut self, node: Node) -> Config {
        let span = self.span(&node);
        let mut parts = Parts::of(node);
        let (kind, name) = (self.ident(parts.next()), self.ident(parts.next()));
        let params = parts.eat(Rule::params).map(|params| self.params(params));
        let has_params = params.is_some();
        Config {
            docs: None,
            kind,
            name,
            params: params.unwrap_or_default(),
            has_params,
            entries: self.entries(parts.next()),
            span,
        }
    }

    fn params(&mut self, node: Node) -> Vec<Param> {
        node.into_inner().map(|param| self.param(param)).collect()
    }

    fn param(&mut self, node: Node) -> Param {
        let span = self.span(&node);
        let mut parts = Parts::of(node);
        Param {
            name: self.ident(parts.next()),
            ty: parts.eat(Rule::ty).map(|ty| self.ty(ty)),
            default: parts.eat(Rule::eq).map(|_| self.expr(parts.next())),
            span,
        }
    }

    fn outputs(&mut self, parts: &mut Parts) -> Option<Outputs> {
        let node = parts.eat(Rule::outputs)?;
        let span = self.span(&node);
        let parens = node.as_str().trim_start_matches("->").trim_start().starts_with('(');
        let list = node.into_inner().map(|output| self.output(output)).collect();
        Some(Outputs { list, parens, span })
    }

    fn output(&mut self, node: Node) -> Output {
        if node.as_rule() == Rule::ty {
            return Output { name: None, ty: self.ty(node) };
        }
        let mut parts = Parts::of(node);
        Output { name: Some(self.ident(parts.next())), ty: self.ty(parts.next()) }
    }

    fn ty(&mut self, node: Node) -> Ty {
        let span = self.span(&node);
        let mut parts = Parts::of(node);
        let dtype = parts.eat(Rule::word).map(|dtype| self.ident(dtype));
        let dims = parts.eat(Rule::shape).map(|shape| shape.into_inner().map(|dim| self.dim(dim)).collect());
        Ty { dtype, dims, span }
    }

    fn dim(&mut self, node: Node) -> Dim {
        let inner = Parts::of(node).next();
        match inner.as_rule() {
            Rule::ellipsis => Dim::Rest(self.span(&inner)),
            Rule::wildcard => Dim::Any(self.span(&inner)),
            _ => Dim::Expr(self.binary(inner)),
        }
    }

    fn require(&mut self, parts: &mut Parts) -> Vec<Expr> {
        let Some(node) = parts.eat(Rule::require) else { return Vec::new() };
        let mut parts = Parts::of(node);
        parts.eat(Rule::kw_require);
        parts.rest().map(|condition| self.binary(condition)).collect()
    }

    fn body(&mut self, node: Node) -> Body {
        let mut parts = Parts::of(node);
        match parts.eat(Rule::stmts) {
            Some(stmts) => Body::Block(self.block(stmts)),
            None => {
                parts.eat(Rule::eq);
                Body::Expr(self.expr(parts.next()))
            }
        }
    }

    fn block(&mut self, node: Node) -> Block {
        let span = self.span(&node);
        self.depth += 1;
        let stmts = node.into_inner().map(|stmt| self.stmt(stmt)).collect();
        self.depth -= 1;
        Block { stmts, span }
    }

    fn stmt(&mut self, node: Node) -> Stmt {
        let (span, rule) = (self.span(&node), node.as_rule());
        let mut parts = Parts::of(node);
        let kind = match rule {
            Rule::return_stmt => {
                parts.eat(Rule::kw_return);
                StmtKind::Return(parts.rest().map(|value| self.expr(value)).collect())
            }
            Rule::repeat_stmt => self.repeat(&mut parts),
            Rule::if_stmt => self.if_stmt(&mut parts),
            Rule::init_stmt => {
                parts.eat(Rule::kw_init);
                let globs = parts.all(Rule::string).into_iter().map(|glob| self.string(glob)).collect();
                parts.eat(Rule::eq);
                StmtKind::Init { globs, value: self.expr(parts.next()) }
            }
            Rule::member => {
                let label = self.label(parts.next());
                let what = match parts.eat(Rule::storage) {
                    Some(storage) => Member::Storage(self.storage(storage)),
                    None => Member::Expr(self.expr(parts.next())),
                };
                StmtKind::Member { label, what }
            }
            Rule::update => {
                let name = self.ident(parts.next());
                StmtKind::Update { name, value: self.expr(parts.next()) }
            }
            Rule::equation => {
                let name = self.ident(parts.next());
                let indices = parts.all(Rule::lhs_ix).into_iter().map(|index| self.lhs_index(index)).collect();
                parts.eat(Rule::eq);
                StmtKind::Equation { name, indices, value: self.expr(parts.next()) }
            }
            other => {
                debug_assert_eq!(other, Rule::assign, "the grammar knows eight kinds of statement");
                let (names, value) = self.assign(parts);
                StmtKind::Assign { names, value }
            }
        };
        Stmt { kind, span }
    }

    fn repeat(&mut self, parts: &mut Parts) -> StmtKind {
        parts.eat(Rule::kw_repeat);
        let count = self.binary(parts.next());
        let var = self.alias(parts);
        let index = parts.eat(Rule::ident).map(|index| self.ident(index));
        StmtKind::Repeat { count, var, index, body: self.block(parts.next()) }
    }

    fn if_stmt(&mut self, parts: &mut Parts) -> StmtKind {
        let mut arms = Vec::new();
        while parts.eat(Rule::kw_if).is_some() {
            arms.push(StmtArm { cond: self.binary(parts.next()), body: self.block(parts.next()) });
            if parts.eat(Rule::kw_else).is_none() {
                return StmtKind::If { arms, otherwise: None };
            }
        }
        StmtKind::If { arms, otherwise: Some(self.block(parts.next())) }
    }

    fn storage(&mut self, node: Node) -> Storage {
        let span = self.span(&node);
        let mut parts = Parts::of(node);
        Storage {
            kind: if parts.next().as_str() == "param" { StorageKind::Param } else { StorageKind::State },
            ty: parts.eat(Rule::ty).map(|ty| self.ty(ty)),
            init: parts.eat(Rule::eq).map(|_| self.expr(parts.next())),
            span,
        }
    }

    fn lhs_index(&mut self, node: Node) -> LhsIndex {
        let inner = Parts::of(node).next();
        match inner.as_rule() {
            Rule::ellipsis => LhsIndex::Rest(self.span(&inner)),
            _ => LhsIndex::Var(self.ident(inner)),
        }
    }

    fn assign(&mut self, mut parts: Parts) -> (Vec<Ident>, Expr) {
        let names = parts.all(Rule::ident).into_iter().map(|name| self.ident(name)).collect();
        parts.eat(Rule::eq);
        (names, self.expr(parts.next()))
    }

    fn entries(&mut self, node: Node) -> Vec<Entry> {
        self.depth += 1;
        let entries = node.into_inner().map(|entry| self.entry(entry)).collect();
        self.depth -= 1;
        entries
    }

    fn entry(&mut self, node: Node) -> Entry {
        let (span, rule) = (self.span(&node), node.as_rule());
        let mut parts = Parts::of(node);
        let kind = match rule {
            Rule::attr => {
                let (names, value) = self.assign(parts);
                EntryKind::Attr { names, value }
            }
            Rule::section => {
                let name = self.ident(parts.next());
                EntryKind::Section { name, entries: self.entries(parts.next()) }
            }
            other => {
                debug_assert_eq!(other, Rule::glob_rule, "the grammar knows three kinds of entry");
                EntryKind::Rule(self.rule(parts))
            }
        };
        Entry { kind, span }
    }

    fn rule(&mut self, mut parts: Parts) -> crate::ast::Rule {
        crate::ast::Rule {
            verb: self.ident(parts.next()),
            globs: parts.all(Rule::string).into_iter().map(|glob| self.string(glob)).collect(),
            rename: parts.eat(Rule::rename).map(|rename| self.string(Parts::of(rename).next())),
            value: parts.eat(Rule::eq).map(|_| self.expr(parts.next())),
            guard: parts.eat(Rule::guard).map(|guard| {
                let mut parts = Parts::of(guard);
                parts.eat(Rule::kw_if);
                self.binary(parts.next())
            }),
            body: parts.eat(Rule::entries).map(|entries| self.entries(entries)),
        }
    }
}
