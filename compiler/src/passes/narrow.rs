//! Integers of 64 bits become such of 32 wherever they are known to fit: indices, labels, positions, lengths, what is made
//! of bytes. So they cost no more than they did, and all others are exact. Reductions of bytes and truths are done in
//! integers of 32 bits, which is what folds keep.
//!
//! Parameters of loops and panels that are such everywhere they are given are passed in 32 bits. An input that indexes is
//! checked when it enters, so it is kept in 32 bits from there on. Results keep their types.

use super::range::{Range, ranges, size};
use super::rewrite::{callees_first, copy, rebuild};
use crate::program::build::Builder;
use crate::program::{FnId, Function, Node, Op, Origin, Program, ReduceOp, Role, RowOp, Ty, Value, View};
use dlc_plan::{DType, Host, Prim, Size};
use rustc_hash::FxHashMap as HashMap;

/// Narrows every function.
pub(super) fn run(p: &mut Program) {
    let mut given: Vec<Option<Vec<Range>>> = vec![None; p.functions.len()];
    for e in &p.entries {
        let roles = e.inputs.iter().zip(&p.function(e.function).params);
        let own = roles.map(|(role, param)| of_role(role, param.ty.dtype)).collect();
        join(&mut given[e.function.0 as usize], own);
    }
    for i in 0..p.entries.len() {
        narrow_inputs(p, i, &given);
    }
    for id in callees_first(p).into_iter().rev() {
        let f = p.function(id);
        let all = || f.params.iter().map(|q| Range::of(q.ty.dtype)).collect::<Vec<_>>();
        let params = given[id.0 as usize].clone().unwrap_or_else(all);
        let found = ranges(f, &params);
        hand_on(p, f, &found, &mut given);
        for callee in callees(f) {
            narrow_params(p, callee, &given);
        }
        let f = std::mem::take(&mut p.functions[id.0 as usize]);
        p.functions[id.0 as usize] = function(p, f, &found);
    }
}

/// What an entry's input may be.
fn of_role(role: &Role, dtype: DType) -> Range {
    match role {
        Role::Index(_, bound) if dtype == DType::I64 => {
            let below = Range::new(0, (size(&bound.below).high - 1).max(0));
            bound.except.map_or(below, |except| below.with(Range::new(except, except)))
        }
        _ => Range::of(dtype),
    }
}

fn join(to: &mut Option<Vec<Range>>, more: Vec<Range>) {
    match to {
        None => *to = Some(more),
        Some(own) => own.iter_mut().zip(more).for_each(|(own, more)| *own = own.with(more)),
    }
}

/// The inputs of an entry that index are of 32 bits, where its function is not used otherwise.
fn narrow_inputs(p: &mut Program, entry: usize, given: &[Option<Vec<Range>>]) {
    let id = p.entries[entry].function;
    let Some(own) = &given[id.0 as usize] else { return };
    for (k, range) in own.iter().enumerate().take(p.entries[entry].inputs.len()) {
        let everywhere = p.entries.iter().filter(|e| e.function == id).all(|e| matches!(e.inputs[k], Role::Index(..)));
        if !everywhere || !range.is_narrow() || p.function(id).params[k].ty.dtype != DType::I64 {
            continue;
        }
        narrow_param(&mut p.functions[id.0 as usize], k);
        for e in p.entries.iter_mut().filter(|e| e.function == id) {
            if let Role::Index(name, bound) = &e.inputs[k] {
                e.inputs[k] = Role::Narrow(name.clone(), bound.clone());
            }
        }
    }
}

fn narrow_param(f: &mut Function, k: usize) {
    f.params[k].ty.dtype = DType::I32;
    f.nodes[k].tys[0].dtype = DType::I32;
}

fn callees(f: &Function) -> Vec<FnId> {
    let called = |n: &Node| match &n.op {
        Op::Call(g) => Some(*g),
        Op::Repeat(r) => Some(r.body),
        Op::Panels(k) => Some(k.body),
        _ => None,
    };
    f.nodes.iter().filter_map(called).collect()
}

/// What a function gives to those that it calls.
fn hand_on(p: &Program, f: &Function, found: &[Vec<Range>], given: &mut [Option<Vec<Range>>]) {
    let range = |v: &Value| found[v.node as usize][v.port as usize];
    for n in &f.nodes {
        let (callee, param_of): (FnId, Box<dyn Fn(usize) -> usize>) = match &n.op {
            Op::Call(g) => (*g, Box::new(|i| i)),
            Op::Panels(k) => (k.body, Box::new(|i| i)),
            Op::Repeat(r) => (r.body, Box::new(|i| r.param_of(i))),
            _ => continue,
        };
        let params = &p.function(callee).params;
        let mut own: Vec<Option<Range>> = vec![None; params.len()];
        for (i, arg) in n.args.iter().enumerate() {
            let slot = &mut own[param_of(i)];
            *slot = Some(slot.map_or(range(arg), |before| before.with(range(arg))));
        }
        if let Op::Repeat(r) = &n.op {
            own[..r.carried].fill(None);
        }
        let own = own.into_iter().zip(params).map(|(own, q)| own.unwrap_or(Range::of(q.ty.dtype))).collect();
        join(&mut given[callee.0 as usize], own);
    }
}

/// The parameters of a loop's body or of panels that are narrow wherever they are given. All callers were seen before.
fn narrow_params(p: &mut Program, callee: FnId, given: &[Option<Vec<Range>>]) {
    let Some(own) = given[callee.0 as usize].clone() else { return };
    if p.entries.iter().any(|e| e.function == callee) || callers(p, callee) != 1 {
        return;
    }
    for (k, range) in own.iter().enumerate() {
        if p.function(callee).params[k].ty.dtype == DType::I64 && range.is_narrow() {
            narrow_param(&mut p.functions[callee.0 as usize], k);
        }
    }
}

/// How many nodes call a function.
fn callers(p: &Program, callee: FnId) -> usize {
    p.functions.iter().flat_map(callees).filter(|g| *g == callee).count()
}

/// A function in the making, with values in other types that were made before.
struct Narrow<'a> {
    p: &'a Program,
    found: &'a [Vec<Range>],
    cast: HashMap<(Value, DType), Value>,
}

fn function(p: &Program, f: Function, found: &[Vec<Range>]) -> Function {
    let before: Vec<DType> = f.results.iter().map(|v| f.ty(*v).dtype).collect();
    let mut narrow = Narrow { p, found, cast: HashMap::default() };
    let mut f = rebuild(f, &mut |b, i, n, args| narrow.node(b, i, n, args));
    for (k, dtype) in before.into_iter().enumerate() {
        let v = f.results[k];
        let ty = f.ty(v).clone();
        if ty.dtype == dtype {
            continue;
        }
        let node = f.nodes.len() as u32;
        f.nodes.push(Node {
            op: Op::Map(Prim::Cast(dtype)),
            args: vec![v],
            tys: vec![Ty { dtype, shape: ty.shape }],
            origin: Origin::default(),
        });
        f.results[k] = Value { node, port: 0 };
    }
    f
}

impl Narrow<'_> {
    /// A value in another type, made once.
    fn cast(&mut self, b: &mut Builder, v: Value, to: DType) -> Value {
        if b.ty(v).dtype == to {
            return v;
        }
        if let Some(made) = self.cast.get(&(v, to)) {
            return *made;
        }
        let node = b.f.node(v).clone();
        let ty = b.ty(v).with(to);
        let widens = b.ty(v).dtype == DType::I32 && to == DType::I64;
        let made = match node.op {
            // What is a constant, or one everywhere, stays so.
            Op::Const(_) | Op::Host(_) if widens => b.node(node.op, Vec::new(), ty),
            Op::View(View::Broadcast(_)) if widens && b.ty(node.args[0]).rank() == 0 => {
                let one = self.cast(b, node.args[0], to);
                b.node(node.op, vec![one], ty)
            }
            _ => b.map(Prim::Cast(to), &[v]),
        };
        self.cast.insert((v, to), made);
        made
    }

    fn range(&self, v: Value) -> Range {
        self.found[v.node as usize][v.port as usize]
    }

    fn node(&mut self, b: &mut Builder, i: usize, n: Node, args: Vec<Value>) -> Vec<Value> {
        let callee = match &n.op {
            Op::Call(g) => Some((*g, None)),
            Op::Panels(k) => Some((k.body, None)),
            Op::Repeat(r) => Some((r.body, Some(r.clone()))),
            _ => None,
        };
        if let Some((g, r)) = callee {
            let p = self.p;
            let at = |i: usize| r.as_ref().map_or(i, |r| r.param_of(i));
            let to = |i: usize| p.function(g).params[at(i)].ty.dtype;
            let args = args.into_iter().enumerate().map(|(i, v)| self.cast(b, v, to(i))).collect();
            return copy(b, n, args);
        }
        let narrow = self.found[i][0].is_narrow();
        let fits = n.args.iter().all(|a| self.range(*a).is_narrow());
        let ty = n.tys[0].clone();
        let whole = |dtype: DType| Ty { dtype, shape: ty.shape.clone() };
        // The type in which integers of 64 bits meet here.
        let meet = |narrow: bool| if narrow { DType::I32 } else { DType::I64 };
        let result = match &n.op {
            Op::Gather | Op::Scatter => return self.by_ids(b, n, args),
            Op::Reduce(op, axes) if matches!(ty.dtype, DType::U8 | DType::Bool) => {
                return vec![self.bytes(b, *op, axes, args[0], &ty)];
            }
            Op::Rows(RowOp::Order { .. }) => whole(DType::I32),
            Op::Map(Prim::Cast(DType::I64)) if narrow => {
                return vec![self.cast(b, args[0], DType::I32)];
            }
            Op::Map(Prim::Cast(to)) => return vec![self.cast(b, args[0], *to)],
            Op::Map(Prim::Lt | Prim::Le | Prim::Eq | Prim::Ne) if self.wide(b, &n, &args) => {
                let args: Vec<Value> = args.into_iter().map(|v| self.cast(b, v, meet(fits))).collect();
                return vec![b.node(n.op, args, ty)];
            }
            Op::Map(Prim::Where) if ty.dtype == DType::I64 => {
                let to = meet(narrow);
                let [x, y] = [args[1], args[2]].map(|v| self.cast(b, v, to));
                return vec![b.node(n.op, vec![args[0], x, y], whole(to))];
            }
            _ if ty.dtype != DType::I64 => ty.clone(),
            Op::Const(_) | Op::Table(_) | Op::Host(_) | Op::Iota(_) => whole(meet(narrow)),
            Op::View(_) | Op::Stop | Op::Within(_) => whole(b.ty(args[0]).dtype),
            _ => {
                let to = meet(narrow && fits);
                let args: Vec<Value> = args.into_iter().map(|v| self.cast(b, v, to)).collect();
                return vec![b.node(n.op, args, whole(to))];
            }
        };
        vec![b.node(n.op, args, result)]
    }

    /// Whether operands are integers of 64 bits, some of which may be kept in 32.
    fn wide(&self, b: &Builder, n: &Node, args: &[Value]) -> bool {
        let types: Vec<DType> = args.iter().map(|v| b.ty(*v).dtype).collect();
        types.contains(&DType::I64) || n.args.iter().zip(&types).any(|(_, d)| *d == DType::I32)
    }

    /// What looks up or adds rows by numbers, which are of 32 bits: clamped first, where they may be anything.
    fn by_ids(&mut self, b: &mut Builder, mut n: Node, mut args: Vec<Value>) -> Vec<Value> {
        let (ids, rows) = match n.op {
            Op::Gather => (1, b.shape(args[0])[0].clone()),
            _ => (0, n.tys[0].shape[0].clone()),
        };
        if b.ty(args[ids]).dtype == DType::I64 {
            let mut id = args[ids];
            if !self.range(n.args[ids]).is_narrow() {
                let zero = b.constant(DType::I64, 0.0);
                let last = b.host(DType::I64, Host::Size(rows.minus(&Size::one())));
                id = b.zip(Prim::Max, &[id, zero]);
                id = b.zip(Prim::Min, &[id, last]);
            }
            args[ids] = self.cast(b, id, DType::I32);
        }
        if n.op == Op::Gather {
            n.tys[0].dtype = b.ty(args[0]).dtype;
        }
        copy(b, n, args)
    }

    /// A reduction of bytes or truths, in integers of 32 bits. That of none is the least or greatest one, beyond 0 and 1.
    fn bytes(&mut self, b: &mut Builder, op: ReduceOp, axes: &[usize], x: Value, ty: &Ty) -> Value {
        let wide = self.cast(b, x, DType::I32);
        let found = b.reduce(op, wide, axes);
        if ty.dtype == DType::U8 {
            return b.map(Prim::Cast(DType::U8), &[found]);
        }
        let zero = b.full(DType::I32, 0.0, &ty.shape);
        b.map(Prim::Lt, &[zero, found])
    }
}
