//! Random valid specs: takes choices, gives a spec that is sound by construction. Each statement takes values that are there
//! and makes one or two more; what each may do is in the files beside.

mod axes;
mod elements;
mod layers;
mod nested;
mod products;

use super::dice::Dice;
use super::spec::{Dim, Id, Item, Spec, Stmt, Ty, Value};
use dlc_plan::DType;

/// What specs may have. A switch stands for a fault that is known; it is switched on when that is mended.
#[derive(Clone, Copy, Debug)]
pub struct Allowed {
    /// Integers beyond 32 bits.
    pub wide: bool,
    /// Arithmetic on `u8`, reductions of `u8` and truths, and states of them.
    pub bytes: bool,
    /// Positions and slices that count from the end of an axis that may be too short.
    pub short: bool,
    /// Real numbers of 16 bits.
    pub halves: bool,
}

/// What may be today.
pub const ALLOWED: Allowed = Allowed { wide: true, bytes: true, short: true, halves: true };

/// Values that a statement may read, and the statements so far.
#[derive(Default)]
struct Scope {
    pool: Vec<Id>,
    stmts: Vec<Stmt>,
    /// How many bodies are around.
    depth: usize,
    /// What a label needs so that iterations do not share it; nothing where weights cannot be.
    label: Option<&'static str>,
}

/// A spec in the making.
struct Writer<'d> {
    dice: &'d mut Dice,
    allowed: Allowed,
    spec: Spec,
}

/// Extents that are numbers: small ones, and some that a row of lanes divides or does not.
const EXTENTS: [i64; 10] = [3, 2, 4, 1, 5, 6, 8, 16, 17, 33];

/// A larger value is made smaller before it goes on.
const MOST: f64 = 1e4;

/// A random spec.
pub fn spec(dice: &mut Dice, allowed: Allowed) -> Spec {
    let mut w = Writer { dice, allowed, spec: Spec::default() };
    let mut s = Scope { label: Some(""), ..Scope::default() };
    w.inputs(&mut s);
    let items = w.dice.below(3);
    (0..items).for_each(|n| w.item(n));
    w.first_weight(&mut s);
    let count = 3 + w.dice.below(12);
    w.grow(&mut s, count);
    w.finish(s)
}

impl Writer<'_> {
    fn inputs(&mut self, s: &mut Scope) {
        let floats = 1 + self.dice.below(2);
        for k in 0..floats {
            let mut shape = vec![Dim::dynamic(0)];
            let middle = self.dice.below(4);
            (0..middle.min(2)).for_each(|_| {
                let axis = if self.dice.one_in(2) { Dim::dynamic(1) } else { self.extent() };
                if axis.number().is_some() || !shape.contains(&axis) {
                    shape.push(axis);
                }
            });
            let last = if k == 0 || !self.dice.one_in(4) { self.extent() } else { Dim::of(1) };
            shape.push(last);
            self.input(s, format!("x{k}"), Ty::new(DType::F32, &shape), 2.0, false);
        }
        let below = self.dice.pick(&[3.0, 2.0, 5.0]);
        let ids: &[Dim] = if self.dice.one_in(3) { &[Dim::dynamic(0), Dim::dynamic(1)] } else { &[Dim::dynamic(0)] };
        self.input(s, "ids".into(), Ty::new(DType::I64, ids), below, true);
        if self.dice.one_in(2) {
            let dtype = self.dice.pick(&[DType::U8, DType::I64, DType::I32, DType::Bool]);
            let n = self.extent();
            let most = match dtype {
                DType::U8 => 255.0,
                DType::Bool => 1.0,
                _ if self.allowed.wide && dtype == DType::I64 => 1e10,
                _ => 1000.0,
            };
            self.input(s, "k".into(), Ty::new(dtype, &[Dim::dynamic(0), n]), most, false);
        }
    }

    fn input(&mut self, s: &mut Scope, name: String, ty: Ty, most: f64, index: bool) {
        let id = self.spec.values.len();
        self.spec.values.push(Value { name, ty, most, index, read: 0 });
        self.spec.inputs.push(id);
        s.pool.push(id);
    }

    fn extent(&mut self) -> Dim {
        let few = if self.dice.one_in(4) { EXTENTS.len() } else { 5 };
        Dim::of(EXTENTS[self.dice.below(few)])
    }

    /// What every gradient goes to: a weight that the first input is multiplied by.
    fn first_weight(&mut self, s: &mut Scope) {
        let x = self.spec.inputs[0];
        let ty = Ty::new(DType::F32, &self.ty(x).shape[self.ty(x).rank() - 1..]);
        let w = self.make(s, &[], "$=: param ".to_string() + &ty.to_string() + " = uniform(0.5, 1.5)", ty, 1.5);
        self.spec.values[w].name = "w".into();
        let ty = self.ty(x).clone();
        self.make(s, &[x, w], "$0 * $1", ty, 3.0);
    }

    /// So many more statements.
    fn grow(&mut self, s: &mut Scope, count: usize) {
        for _ in 0..count {
            for _ in 0..20 {
                if self.step(s).is_some() {
                    break;
                }
            }
            if self.dice.spent() {
                return;
            }
        }
    }

    /// One more statement, if what was chosen is possible.
    fn step(&mut self, s: &mut Scope) -> Option<Id> {
        match self.dice.below(24) {
            0..3 => self.unary(s),
            3..6 => self.binary(s),
            6 => self.integers(s),
            7 => self.truths(s),
            8 => self.chosen(s),
            9 => self.cast(s),
            10 | 11 => self.reduced(s),
            12 => self.product(s),
            13 => self.equation(s),
            14 => self.window(s),
            15 => self.sliced(s),
            16 => self.joined(s),
            17 => self.arranged(s),
            18 => self.gathered(s),
            19 => self.ordered(s),
            20 | 21 => self.layer(s),
            22 => self.nested(s),
            _ => self.called(s),
        }
    }

    fn ty(&self, id: Id) -> &Ty {
        &self.spec.values[id].ty
    }

    fn most(&self, id: Id) -> f64 {
        self.spec.values[id].most
    }

    fn value(&mut self, ty: Ty, most: f64) -> Id {
        let id = self.spec.values.len();
        self.spec.values.push(Value { name: format!("v{id}"), ty, most, index: false, read: 0 });
        id
    }

    /// A statement that gives one value.
    fn make(&mut self, s: &mut Scope, args: &[Id], text: impl Into<String>, ty: Ty, most: f64) -> Id {
        let id = self.value(ty, most);
        args.iter().for_each(|arg| self.spec.values[*arg].read += 1);
        s.stmts.push(Stmt { gives: vec![id], args: args.to_vec(), text: text.into(), body: None });
        s.pool.push(id);
        id
    }

    /// A statement that gives two values.
    fn make_two(&mut self, s: &mut Scope, args: &[Id], text: &str, tys: [Ty; 2], most: [f64; 2]) -> Id {
        let [one, two] = tys;
        let gives = vec![self.value(one, most[0]), self.value(two, most[1])];
        s.pool.extend(&gives);
        args.iter().for_each(|arg| self.spec.values[*arg].read += 1);
        s.stmts.push(Stmt { gives: gives.clone(), args: args.to_vec(), text: text.into(), body: None });
        gives[0]
    }

    /// A value that fits; the latest, and those that nothing has read, are the likeliest, so that the values hang together.
    fn find(&mut self, s: &Scope, fits: impl Fn(&Value) -> bool) -> Option<Id> {
        let there: Vec<Id> = s.pool.iter().copied().filter(|id| fits(&self.spec.values[*id])).collect();
        if there.is_empty() {
            return None;
        }
        let unread: Vec<Id> = there.iter().copied().filter(|id| self.spec.values[*id].read == 0).collect();
        let there = if unread.is_empty() || self.dice.one_in(3) { there } else { unread };
        let from = if self.dice.one_in(3) { 0 } else { there.len().saturating_sub(4) };
        Some(there[from + self.dice.below(there.len() - from)])
    }

    /// A weight of uniform numbers.
    fn weight(&mut self, s: &mut Scope, shape: &[Dim]) -> Option<Id> {
        if s.label != Some("") {
            return None;
        }
        let ty = Ty::new(DType::F32, shape);
        let text = format!("$=: param {ty} = uniform(-1, 1)");
        Some(self.make(s, &[], text, ty, 1.0))
    }

    fn finish(mut self, s: Scope) -> Spec {
        let read: Vec<Id> = s.stmts.iter().flat_map(Stmt::reads).collect();
        let made: Vec<Id> = s.stmts.iter().flat_map(|s| s.gives.clone()).collect();
        let mut unread: Vec<Id> = made.iter().copied().filter(|id| !read.contains(id)).collect();
        unread.retain(|id| self.spec.values[*id].name != "w");
        let extra = made[self.dice.below(made.len())];
        if !unread.contains(&extra) && self.spec.values[extra].name != "w" {
            unread.push(extra);
        }
        let keep = 1 + self.dice.below(6);
        while unread.len() > keep {
            unread.remove(0);
        }
        for id in &unread {
            let term = self.term(*id);
            self.spec.terms.push(term);
        }
        self.spec.outputs = unread;
        self.spec.stmts = s.stmts;
        self.spec.recipe = self.dice.pick(&["", "", "  clip = 1\n", "  l2 = 0.1\n", "  accumulate = 2\n"]).to_string();
        if !self.dice.one_in(8) {
            self.spec.prune();
        }
        self.spec
    }

    fn term(&mut self, id: Id) -> String {
        let last = self.ty(id).shape.last().and_then(|dim| dim.number());
        let small = self.most(id) <= 100.0;
        match self.dice.below(8) {
            0 | 1 if small => "mean($0 ^ 2)".into(),
            2 => "sum(tanh($0)) / 8".into(),
            3 => "log_cosh($0, 0.3)".into(),
            4 if small && last.is_some_and(|n| n > 1) => "soft_cross_entropy($0, softmax(0.5 * $0))".into(),
            5 if small => "mean(0.5 * $0)".into(),
            _ => "mean(sin(0.01 * $0 + 0.3))".into(),
        }
    }

    fn item(&mut self, n: usize) {
        let block = self.dice.one_in(2);
        let mut s = Scope { depth: 1, label: block.then_some(""), ..Scope::default() };
        let inputs = self.spec.inputs.clone();
        let first = inputs[0];
        let mut params = vec![self.value(self.ty(first).clone(), 3.0)];
        if self.dice.one_in(3) {
            let other = self.dice.pick(&inputs);
            params.push(self.value(self.ty(other).clone(), self.most(other)));
        }
        s.pool = params.clone();
        let count = 1 + self.dice.below(5);
        self.grow(&mut s, count);
        let body = self.body(s, |w, v| w.ty(v).dtype == DType::F32);
        if let Some(body) = body {
            let name = format!("{}{n}", if block { "K" } else { "F" });
            self.spec.items.push(Item { block, name, params, body });
        }
    }
}
