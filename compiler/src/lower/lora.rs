//! `lora` items: which weights are adapted, by what, and what is trained besides. Takes an item and, later, the weights of a
//! model; gives the adapter of each weight that it is aimed at, and what files of adapters need to know.
//!
//! Rank and scale are worked out for each target by itself, with `rank` as a name that the scale and first values may use.

use super::item::{self, Reading};
use super::merge::Takers;
use super::schema::{self, Owner};
use super::select;
use super::stored::Stored;
use crate::check::{
    Adapted, Adapter, Checker, Ctor, EntryFn, Given, Init, NetItem, Num, NumVal, Scope, Slot, SlotKind, Val, label_of,
    near_glob,
};
use crate::program::WeightId;
use dlc_grammar::ast::{Entry, Expr, ExprKind, NetKind, Rule, Str};
use dlc_grammar::{Diagnostic, Span};
use dlc_plan::Size;
use dlc_plan::recipe::{self, Finish, Form};
use std::collections::BTreeMap;
use std::rc::Rc;

/// A `lora` item.
pub struct Lora {
    /// The item.
    pub reading: Reading,
    /// What becomes of the adapter after a training.
    pub finish: Finish,
    /// A file of an adapter to begin with.
    pub file: Option<String>,
    /// What files of adapters have before a module's name.
    pub prefix: String,
    /// Whether its base is what an adapter's first values have left of another.
    pub residual: bool,
    /// `freeze` and `unfreeze`, in order, as far as they apply.
    pub rules: Vec<Rule>,
    /// `target` and `exclude`, in order.
    aims: Vec<Aim>,
}

/// A `target` or `exclude`.
struct Aim {
    /// Its globs.
    globs: Vec<Str>,
    /// Whether its `if` holds.
    applies: bool,
    /// What it aims; none for `exclude`.
    with: Option<Settings>,
}

/// What an adapter is made with.
#[derive(Clone)]
struct Settings {
    blocks: Blocks<NetItem>,
    /// The same with rank, scale and dropout.
    made: Blocks<Ctor>,
    rank: u64,
    rank_span: Span,
    scale: f64,
    dropout: f64,
    layers: Option<Vec<u64>>,
    inits: Vec<(Str, Rc<Init>)>,
}

/// What adapts products and, if anything does, tables, and products that read such a table across.
struct Blocks<T> {
    product: Rc<T>,
    table: Option<Rc<T>>,
    tied: Option<Rc<T>>,
}

impl<T> Clone for Blocks<T> {
    fn clone(&self) -> Blocks<T> {
        Blocks { product: self.product.clone(), table: self.table.clone(), tied: self.tied.clone() }
    }
}

/// The item that `lora = Adapter(..)` names.
pub fn named(ck: &mut Checker, e: &Expr, sc: &Scope) -> Option<Lora> {
    let (found, given) = item::config(ck, "lora", e, sc)?;
    let reading = item::read(ck, &found, given, e.span)?;
    read(ck, reading)
}

/// Reads a `lora` item.
pub fn read(ck: &mut Checker, reading: Reading) -> Option<Lora> {
    let item = reading.item.clone();
    let owner = reading.owner(&schema::LORA);
    let found = item::checked(ck, owner, &item.ast.entries);
    let sc = reading.scope.clone();
    let base = Base {
        owner,
        rank: found.value("rank"),
        scale: found.value("scale"),
        dropout: found.value("dropout"),
        layers: found.value("layers"),
        adapter: found.value("adapter"),
        init: found.section("init").map_or(&[][..], |(_, entries)| entries),
    };
    let finish = found.value("finish").map_or(Some(Finish::Merge), |e| finish(ck, e));
    let file = found.value("file").map_or(Some(None), |e| item::text(ck, "file", e, &sc).map(Some));
    let prefix = found.value("prefix").map_or(Some(String::new()), |e| item::text(ck, "prefix", e, &sc));
    let residual = found.value("base").map_or(Some(false), |e| residual(ck, e));
    let mut aims = Vec::new();
    let mut rules = Vec::new();
    let mut fine = true;
    // What is wrong with the item's own settings is told once and not for each target.
    let own = base.settings(ck, &sc, &[])?;
    for (rule, _) in &found.rules {
        let verb = rule.verb.text.as_str();
        let parts = item::no_parts(ck, rule, false, verb == "target");
        let applies = item::applies(ck, rule, &sc);
        let (Some(()), Some(applies)) = (parts, applies) else {
            fine = false;
            continue;
        };
        match verb {
            "target" => match &rule.body {
                None => aims.push(Aim { globs: rule.globs.clone(), applies, with: Some(own.clone()) }),
                Some(body) => match base.settings(ck, &sc, body) {
                    Some(with) => aims.push(Aim { globs: rule.globs.clone(), applies, with: Some(with) }),
                    None => fine = false,
                },
            },
            "exclude" => aims.push(Aim { globs: rule.globs.clone(), applies, with: None }),
            _ if applies => rules.push(Rule { guard: None, ..(*rule).clone() }),
            _ => {}
        }
    }
    if fine && aims.iter().all(|aim| aim.with.is_none()) {
        ck.report(schema::missing(owner, "target"));
        fine = false;
    }
    let (finish, file, prefix, residual) = (finish?, file?, prefix?, residual?);
    fine.then_some(Lora { reading, finish, file, prefix, residual, rules, aims })
}

/// What becomes of an adapter.
fn finish(ck: &mut Checker, e: &Expr) -> Option<Finish> {
    match &e.kind {
        ExprKind::Name(name) if name == "merge" => Some(Finish::Merge),
        ExprKind::Name(name) if name == "keep" => Some(Finish::Keep),
        _ => {
            ck.report(Diagnostic::error("E0507", e.span, "`finish` is merge or keep"));
            None
        }
    }
}

/// Whether a base is what is left of another.
fn residual(ck: &mut Checker, e: &Expr) -> Option<bool> {
    match &e.kind {
        ExprKind::Name(name) if name == "whole" => Some(false),
        ExprKind::Name(name) if name == "residual" => Some(true),
        _ => {
            ck.report(Diagnostic::error("E0507", e.span, "`base` is whole or residual"));
            None
        }
    }
}

/// The settings of an item, which targets may override.
struct Base<'a> {
    owner: Owner<'a>,
    rank: Option<&'a Expr>,
    scale: Option<&'a Expr>,
    dropout: Option<&'a Expr>,
    layers: Option<&'a Expr>,
    adapter: Option<&'a Expr>,
    init: &'a [Entry],
}

impl Base<'_> {
    /// The settings of a target with this body.
    fn settings(&self, ck: &mut Checker, sc: &Scope, body: &[Entry]) -> Option<Settings> {
        let own = Owner { name: "target", span: self.owner.span, keys: &schema::TARGET };
        let own = item::checked(ck, own, body);
        let Some(rank_expr) = own.value("rank").or(self.rank) else {
            ck.report(schema::missing(self.owner, "rank"));
            return None;
        };
        let rank = item::count(ck, "rank", rank_expr, sc, 1)?;
        let inner = item::inner_scope(ck, sc);
        if inner.get("rank").is_none() || own.value("rank").is_some() {
            inner.define("rank", Val::int(rank as i64), rank_expr.span);
        }
        let mut number = |key: &str, default: f64, base: Option<&Expr>| match own.value(key).or(base) {
            None => Some(default),
            Some(e) => known(ck, key, e, &inner),
        };
        let (scale, dropout) = (number("scale", 1.0, self.scale), number("dropout", 0.0, self.dropout));
        let layers = match own.value("layers").or(self.layers) {
            None => Some(None),
            Some(e) => layers(ck, e, &inner).map(Some),
        };
        let (scale, dropout, layers) = (scale?, dropout?, layers?);
        if !(0.0..1.0).contains(&dropout) {
            let span = own.value("dropout").or(self.dropout).map_or(self.owner.span, |e| e.span);
            ck.report(Diagnostic::error("E0507", span, format!("`dropout` is from 0 up to 1, got {dropout}")));
            return None;
        }
        let blocks = blocks(ck, own.value("adapter").or(self.adapter), sc, self.owner.span)?;
        let made = blocks.with(ck, &Size::from(rank as i64), scale, dropout, self.owner.span)?;
        let inits = inits(ck, self.init, &inner)?;
        Some(Settings { blocks, made, rank, rank_span: rank_expr.span, scale, dropout, layers, inits })
    }
}

impl Blocks<NetItem> {
    /// The blocks with their settings.
    fn with(&self, ck: &mut Checker, rank: &Size, scale: f64, dropout: f64, span: Span) -> Option<Blocks<Ctor>> {
        let value =
            |name: &str, n: NumVal| Given { name: Some((name.into(), span)), val: Val::Num(Num::plain(n)), span };
        let mut config = |net: &Rc<NetItem>| {
            let all = [
                value("rank", Num::size(rank)),
                value("scale", NumVal::Float(scale)),
                value("p", NumVal::Float(dropout)),
            ];
            ck.configured(net, all.into(), span)
        };
        let product = config(&self.product)?;
        let mut other = |block: &Option<Rc<NetItem>>| match block {
            Some(block) => config(block).map(Some),
            None => Some(None),
        };
        let (table, tied) = (other(&self.table)?, other(&self.tied)?);
        Some(Blocks { product, table, tied })
    }
}

/// A number that does not change.
fn known(ck: &mut Checker, key: &str, e: &Expr, sc: &Scope) -> Option<f64> {
    match item::number(ck, key, e, sc)? {
        NumVal::Int(n) => Some(n as f64),
        NumVal::Float(x) => Some(x),
        NumVal::Host(_) | NumVal::Size(_) => {
            ck.report(Diagnostic::error("E0507", e.span, format!("`{key}` is one number for the whole training")));
            None
        }
    }
}

/// `layers = [0, 5]`.
fn layers(ck: &mut Checker, e: &Expr, sc: &Scope) -> Option<Vec<u64>> {
    let number = |v: &Val| match v {
        Val::Num(Num { value: NumVal::Int(n), .. }) => u64::try_from(*n).ok(),
        _ => None,
    };
    let v = ck.eval(e, sc);
    let found = match &v {
        Val::List(items) => items.iter().map(number).collect(),
        v => number(v).map(|n| vec![n]),
    };
    if found.is_none() && !v.is_poison() {
        let message = format!("`layers` is a list of numbers, got {}", ck.show(&v));
        ck.report(Diagnostic::error("E0507", e.span, message).help("`layers = [0, 5]`"));
    }
    found
}

/// The blocks that adapt products and tables: those of the name that `adapter` gives, or that the prelude takes.
fn blocks(ck: &mut Checker, e: Option<&Expr>, sc: &Scope, span: Span) -> Option<Blocks<NetItem>> {
    let module = sc.module_number();
    let named = |ck: &mut Checker, name: &str, span: Span| match ck.global(name, span, module) {
        Some(Val::Net(net)) if net.ast.kind == NetKind::Block => Some(net),
        Some(_) | None => None,
    };
    let (name, span) = match e.map(|e| (&e.kind, e.span)) {
        None => (schema::ADAPTER, span),
        Some((ExprKind::Name(name), span)) => (name.as_str(), span),
        Some((_, span)) => {
            ck.report(Diagnostic::error("E0507", span, "`adapter` names a block"));
            return None;
        }
    };
    let Some(product) = named(ck, name, span) else {
        let message = format!("`adapter` names a block, and no block is called `{name}`");
        ck.report(Diagnostic::error("E0508", span, message));
        return None;
    };
    let mut beside = |suffix: &str| named(ck, &format!("{}{suffix}", product.ast.name.text), span);
    let (table, tied) = (beside(ROWS), beside(TIED));
    Some(Blocks { product, table, tied })
}

/// What the block for tables has behind the name of that for products.
const ROWS: &str = "Rows";
/// What the block for products that read a table across has there.
const TIED: &str = "Tied";

/// `init { A = ..  B = .. }`.
fn inits(ck: &mut Checker, entries: &[Entry], sc: &Scope) -> Option<Vec<(Str, Rc<Init>)>> {
    let init = |(names, value): (Vec<dlc_grammar::ast::Ident>, Expr)| {
        let init = Rc::new(Init { value, scope: sc.clone() });
        names.into_iter().map(move |name| (Str { value: name.text, span: name.span }, init.clone())).collect::<Vec<_>>()
    };
    Some(item::definitions(ck, "init", entries)?.into_iter().flat_map(init).collect())
}

/// A weight that is aimed at.
struct Hit {
    /// By which `target`.
    aim: usize,
    /// Where its glob is.
    span: Span,
}

/// Aims a `lora` item at the weights of a model: from here on the checker adapts them. If adapters are to have `any_rank`, it
/// is a size that is known only as they run, and their scale is 1.
pub fn aim(ck: &mut Checker, lora: &Lora, plain: &EntryFn, any_rank: bool) -> Option<()> {
    let EntryFn { slots, aliases, .. } = plain;
    let names: Vec<Vec<String>> = (0..slots.len()).map(|i| names_of(slots, aliases, i)).collect();
    let mut aiming = Aiming { slots, names, hits: BTreeMap::new(), errors: Vec::new() };
    for (n, aim) in lora.aims.iter().enumerate() {
        for text in &aim.globs {
            match &aim.with {
                Some(settings) => aiming.target(n, text, settings, aim.applies),
                None => aiming.exclude(text, aim.applies),
            }
        }
    }
    let Aiming { hits, mut errors, .. } = aiming;
    if errors.is_empty() && hits.is_empty() {
        let at = lora.reading.item.ast.name.span;
        errors.push(Diagnostic::error(
            "E0501",
            at,
            "this adapter has no target left: all are switched off or excluded",
        ));
    }
    let bad = !errors.is_empty();
    item::report_all(ck, errors);
    if bad {
        return None;
    }
    adapters(ck, lora, plain, &hits, any_rank)
}

/// Targets meeting weights.
struct Aiming<'a> {
    slots: &'a [Slot],
    /// The names of each slot.
    names: Vec<Vec<String>>,
    /// What was hit so far, by slot.
    hits: BTreeMap<usize, Hit>,
    errors: Vec<Diagnostic>,
}

impl Aiming<'_> {
    /// The matrices, and what has more axes, among the weights that a glob covers; reports a glob that covers nothing.
    fn wide(&mut self, verb: &str, text: &Str) -> Option<Vec<usize>> {
        let glob = select::read(text, &mut self.errors)?;
        let covers = |i: &usize| self.names[*i].iter().any(|name| glob.covers(name));
        let covered: Vec<usize> = (0..self.slots.len()).filter(covers).collect();
        if covered.is_empty() {
            self.errors.push(nothing(verb, text, &self.names));
            return None;
        }
        let wide = |i: &usize| self.slots[*i].decl.kind == SlotKind::Param && self.slots[*i].decl.ty.rank() >= 2;
        Some(covered.into_iter().filter(wide).collect())
    }

    fn exclude(&mut self, text: &Str, applies: bool) {
        let Some(wide) = self.wide("exclude", text) else { return };
        for i in wide.iter().filter(|_| applies) {
            self.hits.remove(i);
        }
    }

    fn target(&mut self, aim: usize, text: &Str, settings: &Settings, applies: bool) {
        let Some(mut wide) = self.wide("target", text) else { return };
        if wide.is_empty() {
            let d = Diagnostic::error("E0501", text.span, format!("nothing that `{}` covers is a matrix", text.value));
            self.errors.push(d.help("what has one axis, such as a bias or a norm, is trained whole: `unfreeze`"));
            return;
        }
        if let Some(layers) = &settings.layers {
            wide.retain(|i| layer_of(&self.names[*i][0]).is_some_and(|l| layers.contains(&l)));
            if wide.is_empty() {
                let message = format!("none of these layers has what `{}` covers", text.value);
                self.errors.push(Diagnostic::error("E0501", text.span, message));
            }
        }
        for i in wide.into_iter().filter(|_| applies) {
            if let Some(first) = self.hits.get(&i).filter(|first| first.span != text.span) {
                let message = format!("`{}` is the target of two", self.names[i][0]);
                let d = Diagnostic::error("E0515", text.span, message).label(first.span, "and of this one");
                self.errors.push(d.help("a weight has one adapter; `exclude` takes it out of the first"));
                return;
            }
            self.hits.insert(i, Hit { aim, span: text.span });
        }
    }
}

/// Gives the checker the adapters of the weights that were hit. Those that are made alike are one; where ranks are sizes, the
/// weights of a loop's layers share one, since they are one parameter, and all others have their own.
fn adapters(ck: &mut Checker, lora: &Lora, plain: &EntryFn, hits: &BTreeMap<usize, Hit>, any_rank: bool) -> Option<()> {
    type Alike = (Option<usize>, u64, u64, u64, u32, Vec<(String, Span)>);
    let alike = |param: Option<usize>, s: &Settings| -> Alike {
        let inits = s.inits.iter().map(|(name, init)| (name.value.clone(), init.value.span)).collect();
        (param, s.rank, s.scale.to_bits(), s.dropout.to_bits(), s.blocks.product.id, inits)
    };
    let mut made: Vec<(Alike, Rc<Adapter>)> = Vec::new();
    for (i, hit) in hits {
        let settings = lora.aims[hit.aim].with.as_ref().expect("an `exclude` hits nothing");
        let param = if any_rank { plain.params.iter().position(|p| p.slots().contains(i)) } else { None };
        let key = alike(param, settings);
        let adapter = match made.iter().find(|(known, _)| *known == key) {
            Some((_, adapter)) => adapter.clone(),
            None => {
                let path = &plain.slots[*i].path;
                let adapter = Rc::new(adapter(ck, settings, any_rank.then_some(&**path), hit)?);
                made.push((key, adapter.clone()));
                adapter
            }
        };
        ck.adapters.insert(plain.slots[*i].path.to_string(), adapter);
    }
    Some(())
}

/// The adapter with these settings. One of any rank is called after the weight that it was first made for.
fn adapter(ck: &mut Checker, settings: &Settings, any_rank_of: Option<&str>, hit: &Hit) -> Option<Adapter> {
    let (rank, made) = match any_rank_of {
        None => (Size::from(settings.rank as i64), settings.made.clone()),
        Some(path) => {
            let rank = ck.dynamic(&format!("{}.rank", label_of(path)));
            let made = settings.blocks.with(ck, &rank, 1.0, settings.dropout, hit.span)?;
            (rank, made)
        }
    };
    Some(Adapter {
        number: ck.adapter_number(),
        product: made.product,
        table: made.table,
        tied: made.tied,
        inits: settings.inits.clone(),
        rank,
        scale: settings.scale,
        dropout: settings.dropout,
        spans: (settings.rank_span, hit.span),
    })
}

/// A weight's name and its further ones.
fn names_of(slots: &[Slot], aliases: &[(Rc<str>, usize, Span)], i: usize) -> Vec<String> {
    let further = aliases.iter().filter(|(_, slot, _)| *slot == i).map(|(name, ..)| name.to_string());
    std::iter::once(slots[i].path.to_string()).chain(further).collect()
}

/// The number of the layer that a weight is in: the first segment of its name that is one.
fn layer_of(name: &str) -> Option<u64> {
    name.split('.').find_map(|segment| segment.parse().ok())
}

fn nothing(verb: &str, glob: &Str, names: &[Vec<String>]) -> Diagnostic {
    let d = Diagnostic::error("E0501", glob.span, format!("this {verb} matches no module"));
    match near_glob(&glob.value, names.iter().flatten().map(String::as_str)) {
        Some(near) => d.help(near),
        None => d,
    }
}

/// Reports targets that no product reads, now that the model has been worked through with its adapters.
pub fn check_read(ck: &mut Checker, stored: &Stored) -> Option<()> {
    let mut fine = Some(());
    let all: Vec<(String, Rc<Adapter>)> = ck.adapters.iter().map(|(n, a)| (n.clone(), a.clone())).collect();
    for (name, adapter) in all {
        let weight = ck.program.weights.iter().position(|w| w.name == name);
        if weight.is_some_and(|i| stored.decls[i].adapted.is_none()) {
            let message = format!("no product and no table reads `{name}`");
            let d = Diagnostic::error("E0515", adapter.spans.1, message);
            ck.report(
                d.help("`exclude` it; an adapter is beside `x @ w`, a sum of products with a weight, or `w[ids]`"),
            );
            fine = None;
        }
    }
    fine
}

/// What a training with an adapter says about it.
pub fn recipe(ck: &Checker, lora: &Lora, stored: &Stored, takers: &Takers) -> recipe::Lora {
    let mut adapted = Vec::new();
    let slots = stored.slots(ck);
    for Slot { path, decl } in &slots {
        let Some(how) = &decl.adapted else { continue };
        let label = label_of(path);
        let below = |other: &Slot| Some(other.path.strip_prefix(&*label)?.strip_prefix('.')?.to_string());
        adapted.push(recipe::Adapted {
            weight: path.to_string(),
            label: label.clone(),
            params: slots.iter().filter(|s| s.decl.added).filter_map(below).collect(),
            rank: how.adapter.rank.known().unwrap_or(0) as u64,
            scale: how.adapter.scale,
            dropout: how.adapter.dropout,
            block: how.adapter.product.net.ast.name.text.clone(),
            inner_first: how.inner.first() == Some(&0),
            form: form(how, decl.ty.rank()),
            bias: takers.get(&**path).cloned(),
        });
    }
    let item = lora.reading.item.ast.name.text.clone();
    recipe::Lora {
        name: item,
        finish: lora.finish,
        file: lora.file.clone(),
        prefix: lora.prefix.clone(),
        residual: lora.residual,
        adapted,
    }
}

/// What an adapted weight of so many axes is.
fn form(how: &Adapted, rank: usize) -> Form {
    match how.groups {
        _ if how.table && how.tied => Form::Tied,
        _ if how.table => Form::Table,
        Some(1) if rank == 2 => Form::Matrix,
        Some(groups) if rank > 2 && how.inner.iter().copied().eq(1..rank) => Form::Kernel(groups as u64),
        Some(_) | None => Form::Other,
    }
}

/// The weights that adapters add.
pub fn added(stored: &Stored) -> Vec<WeightId> {
    (0..).zip(&stored.decls).filter(|(_, d)| d.added).map(|(i, _)| WeightId(i)).collect()
}
