//! Builds a function, node by node: types are inferred here and nowhere else, and equal nodes are made once.
//!
//! A builder hands out values; what it is asked must make sense (the checker has seen to that), so a wrong request is a
//! bug and says so through `expect`.

use super::{
    Affine, Contract, FnId, Function, Label, Node, Op, Origin, Panels, Param, ReduceOp, Repeat, Ty, Value, View,
};
use dlc_plan::{DType, Gives, Host, Prim, Size};
use std::ops::Range;

/// A function in the making.
#[derive(Debug, Default)]
pub struct Builder {
    /// The function so far.
    pub f: Function,
    /// Where the next nodes come from.
    pub origin: Origin,
}

impl Builder {
    /// A function of that name, without parameters yet.
    pub fn new(name: impl Into<String>) -> Builder {
        Builder { f: Function { name: name.into(), ..Function::default() }, origin: Origin::default() }
    }

    /// Adds a parameter. All parameters come before all other nodes.
    pub fn param(&mut self, name: impl Into<String>, ty: Ty) -> Value {
        let n = self.f.params.len();
        assert_eq!(n, self.f.nodes.len(), "parameters come before other nodes");
        self.f.params.push(Param { name: name.into(), ty: ty.clone() });
        self.push(Op::Param(n as u32), Vec::new(), vec![ty])
    }

    /// Adds a node and gives its first result.
    pub fn push(&mut self, op: Op, args: Vec<Value>, tys: Vec<Ty>) -> Value {
        self.f.nodes.push(Node { op, args, tys, origin: self.origin.clone() });
        Value { node: self.f.nodes.len() as u32 - 1, port: 0 }
    }

    /// Adds a node with one result of that type, or gives an equal one among the nodes made last.
    pub fn node(&mut self, op: Op, args: Vec<Value>, ty: Ty) -> Value {
        let from = self.f.nodes.len().saturating_sub(32);
        for (i, n) in self.f.nodes.iter().enumerate().skip(from) {
            if n.args == args && n.tys.len() == 1 && n.tys[0] == ty && n.op.same(&op) {
                return Value { node: i as u32, port: 0 };
            }
        }
        self.push(op, args, vec![ty])
    }

    /// The type of a value.
    pub fn ty(&self, v: Value) -> &Ty {
        self.f.ty(v)
    }

    /// The shape of a value.
    pub fn shape(&self, v: Value) -> Vec<Size> {
        self.ty(v).shape.clone()
    }

    /// A constant without axes.
    pub fn constant(&mut self, dtype: DType, x: f64) -> Value {
        self.node(Op::Const(x), Vec::new(), Ty::scalar(dtype))
    }

    /// A constant tensor, its elements in order; without axes, a constant.
    pub fn table(&mut self, dtype: DType, elements: &[f64], shape: &[Size]) -> Value {
        match (shape, elements) {
            ([], [x]) => self.constant(dtype, *x),
            _ => self.node(Op::Table(elements.into()), Vec::new(), Ty { dtype, shape: shape.to_vec() }),
        }
    }

    /// One element of a stack, by its number along these many first axes taken together.
    pub fn element(&mut self, stack: Value, axes: usize, number: usize) -> Value {
        let flat = if axes > 1 { self.merge(stack, 0, axes) } else { stack };
        let one = self.slice(flat, 0, Size::from(number as i64), 1, Size::one());
        self.split(one, 0, &[])
    }

    /// The stack of values of one type, as a value of this type, whose leading axes number them.
    pub fn stack(&mut self, values: &[Value], ty: &Ty) -> Value {
        let parts: Vec<Value> = values.iter().map(|v| self.merge(*v, 0, 0)).collect();
        let mut flat = self.ty(parts[0]).clone();
        flat.shape[0] = Size::from(parts.len() as i64);
        let axes = ty.rank() + 1 - flat.rank();
        let whole = self.node(Op::Concat(0), parts, flat);
        if axes > 1 { self.split(whole, 0, &ty.shape[..axes]) } else { whole }
    }

    /// A host scalar without axes; a constant if it is known.
    pub fn host(&mut self, dtype: DType, x: Host) -> Value {
        match x.known() {
            Some(k) => self.constant(dtype, k),
            None => self.node(Op::Host(x), Vec::new(), Ty::scalar(dtype)),
        }
    }

    /// A constant, once for every element of a shape.
    pub fn full(&mut self, dtype: DType, x: f64, shape: &[Size]) -> Value {
        let c = self.constant(dtype, x);
        self.broadcast(c, Vec::new(), shape)
    }

    /// A primitive of operands that have one shape.
    pub fn map(&mut self, prim: Prim, args: &[Value]) -> Value {
        let last = self.ty(*args.last().expect("a primitive has operands")).clone();
        for a in args {
            assert_eq!(self.ty(*a).shape, last.shape, "operands of {} have one shape", prim.name());
        }
        let ty = match (prim.row().gives, prim) {
            (Gives::Same | Gives::Real | Gives::Logic | Gives::Choice, _) => last,
            (Gives::Truth, _) => last.with(DType::Bool),
            (Gives::Named, Prim::Cast(d)) => last.with(d),
            (Gives::Named, _) => last,
        };
        self.node(Op::Map(prim), args.to_vec(), ty)
    }

    /// A cast, where one is needed.
    pub fn cast(&mut self, v: Value, to: DType) -> Value {
        if self.ty(v).dtype == to { v } else { self.map(Prim::Cast(to), &[v]) }
    }

    /// The shape that NumPy's rules give for operands of these shapes, if they line up: from the right, where an axis of
    /// extent 1 stretches.
    pub fn common_shape(shapes: &[Vec<Size>]) -> Option<Vec<Size>> {
        let rank = shapes.iter().map(Vec::len).max().unwrap_or(0);
        let mut out = vec![Size::one(); rank];
        for s in shapes {
            for (o, d) in out[rank - s.len()..].iter_mut().zip(s) {
                if o.is(1) {
                    *o = d.clone();
                } else if !d.is(1) && d != o {
                    return None;
                }
            }
        }
        Some(out)
    }

    /// A value stretched to a shape by NumPy's rules.
    pub fn stretch(&mut self, v: Value, shape: &[Size]) -> Value {
        let own = self.shape(v);
        if own == shape {
            return v;
        }
        let lead = shape.len() - own.len();
        let mut v = v;
        let mut axes = Vec::new();
        for (k, d) in own.iter().enumerate().rev() {
            if d.is(1) && !shape[lead + k].is(1) {
                v = self.split(v, k, &[]);
            } else {
                axes.insert(0, lead + k);
            }
        }
        self.broadcast(v, axes, shape)
    }

    /// A primitive of operands that are stretched to their common shape.
    pub fn zip(&mut self, prim: Prim, args: &[Value]) -> Value {
        let shapes: Vec<_> = args.iter().map(|a| self.shape(*a)).collect();
        let shape = Builder::common_shape(&shapes).expect("the operands line up");
        let args: Vec<_> = args.iter().map(|a| self.stretch(*a, &shape)).collect();
        self.map(prim, &args)
    }

    /// A primitive of a tensor and a number.
    pub fn with_number(&mut self, prim: Prim, v: Value, x: f64) -> Value {
        let (dtype, shape) = (self.ty(v).dtype, self.shape(v));
        let c = self.full(dtype, x, &shape);
        self.map(prim, &[v, c])
    }

    /// A reduction over axes (any order, each once).
    pub fn reduce(&mut self, op: ReduceOp, v: Value, axes: &[usize]) -> Value {
        let mut axes = axes.to_vec();
        axes.sort_unstable();
        if axes.is_empty() {
            return v;
        }
        let ty = self.ty(v);
        let shape = ty.shape.iter().enumerate().filter(|(i, _)| !axes.contains(i)).map(|(_, s)| s.clone()).collect();
        let ty = Ty { dtype: ty.dtype, shape };
        self.node(Op::Reduce(op, axes), vec![v], ty)
    }

    /// A reduction that leaves axes of extent 1.
    pub fn reduce_keep(&mut self, op: ReduceOp, v: Value, axes: &[usize]) -> Value {
        let mut axes = axes.to_vec();
        axes.sort_unstable();
        let mut r = self.reduce(op, v, &axes);
        for a in axes {
            r = self.merge(r, a, 0);
        }
        r
    }

    fn view(&mut self, view: View, v: Value, shape: Vec<Size>) -> Value {
        let ty = Ty { dtype: self.ty(v).dtype, shape };
        self.node(Op::View(view), vec![v], ty)
    }

    /// Result axis i is argument axis `p[i]`.
    pub fn permute(&mut self, v: Value, p: &[usize]) -> Value {
        if p.iter().enumerate().all(|(i, a)| i == *a) {
            return v;
        }
        let shape = p.iter().map(|a| self.ty(v).shape[*a].clone()).collect();
        self.view(View::Permute(p.to_vec()), v, shape)
    }

    /// Argument axis k becomes result axis `axes[k]`; along the others the elements are repeated.
    pub fn broadcast(&mut self, v: Value, axes: Vec<usize>, shape: &[Size]) -> Value {
        if self.ty(v).shape == shape {
            return v;
        }
        self.view(View::Broadcast(axes), v, shape.to_vec())
    }

    /// `len` elements along an axis, from `start` in steps of `step`.
    pub fn slice(&mut self, v: Value, axis: usize, start: Size, step: i64, len: Size) -> Value {
        let mut shape = self.shape(v);
        if start.is(0) && step == 1 && shape[axis] == len {
            return v;
        }
        shape[axis] = len;
        self.view(View::Slice { axis, start, step }, v, shape)
    }

    /// Zeros around the elements along an axis, up to `len`, and `step - 1` zeros between them. A negative step turns their
    /// order round; `before` is then where the first of them comes to be, as it is the last.
    pub fn pad(&mut self, v: Value, axis: usize, before: Size, step: i64, len: Size) -> Value {
        let mut shape = self.shape(v);
        let n = shape[axis].clone();
        if step < 0 {
            let last = n.minus(&Size::one());
            let before = before.plus(&last.times(&Size::from(step)));
            let turned = self.slice(v, axis, last, -1, n);
            return self.pad(turned, axis, before, -step, len);
        }
        if step > 1 {
            // Each element becomes `step` elements in a row; the zeros after the last one may be too many.
            let wide = self.merge(v, axis + 1, 0);
            let wide = self.pad(wide, axis + 1, Size::zero(), 1, Size::from(step));
            let dilated = self.merge(wide, axis, 2);
            let longer = self.pad(dilated, axis, before, 1, len.plus(&Size::from(step - 1)));
            return self.slice(longer, axis, Size::zero(), 1, len);
        }
        if before.is(0) && n == len {
            return v;
        }
        shape[axis] = len;
        self.view(View::Pad { axis, before }, v, shape)
    }

    /// Argument axis k is read at `axes[k]`: slices, permutations and repetitions where these say it, otherwise a window or
    /// a diagonal.
    pub fn affine(&mut self, v: Value, axes: Vec<Affine>, shape: Vec<Size>) -> Value {
        let mut v = v;
        let mut at: Vec<Affine> = Vec::new();
        for a in axes {
            let k = at.len();
            match a.steps[..] {
                [] => {
                    v = self.slice(v, k, a.start, 1, Size::one());
                    v = self.split(v, k, &[]);
                }
                [(r, step)] => {
                    v = self.slice(v, k, a.start, step, shape[r].clone());
                    at.push(Affine { start: Size::zero(), steps: vec![(r, 1)] });
                }
                _ => at.push(a),
            }
        }
        let plain = at.iter().all(|a| a.steps.len() == 1);
        let mut order: Vec<usize> = at.iter().filter_map(|a| a.steps.first()).map(|s| s.0).collect();
        let distinct = (1..order.len()).all(|k| !order[..k].contains(&order[k]));
        if !(plain && distinct) {
            return self.view(View::Affine(at), v, shape);
        }
        let places = order.clone();
        order.sort_unstable();
        let from: Vec<usize> =
            order.iter().map(|r| places.iter().position(|p| p == r).expect("sorted, but the same")).collect();
        let v = self.permute(v, &from);
        self.broadcast(v, order, &shape)
    }

    /// An axis becomes several.
    pub fn split(&mut self, v: Value, axis: usize, into: &[Size]) -> Value {
        if into.len() == 1 {
            return v;
        }
        let mut shape = self.shape(v);
        shape.splice(axis..=axis, into.iter().cloned());
        self.view(View::Split { axis, count: into.len() }, v, shape)
    }

    /// Several axes become one; none become a new one of extent 1.
    pub fn merge(&mut self, v: Value, axis: usize, count: usize) -> Value {
        if count == 1 {
            return v;
        }
        let mut shape = self.shape(v);
        let size = Size::product(&shape[axis..axis + count]);
        shape.splice(axis..axis + count, [size]);
        self.view(View::Merge { axis, count }, v, shape)
    }

    /// A contraction by labels.
    pub fn contract(&mut self, a: Value, b: Value, la: &[Label], lb: &[Label], out: &[Label]) -> Value {
        let find = |l: &Label| {
            let from = |v: Value, ls: &[Label]| ls.iter().position(|x| x == l).map(|i| self.ty(v).shape[i].clone());
            from(a, la).or_else(|| from(b, lb)).expect("a label of the result stands in an operand")
        };
        let ty = Ty { dtype: DType::F32, shape: out.iter().map(find).collect() };
        self.node(Op::Contract(Contract { a: la.to_vec(), b: lb.to_vec(), out: out.to_vec() }), vec![a, b], ty)
    }

    /// The index along an axis of a shape, in an integer type.
    pub fn iota(&mut self, dtype: DType, shape: &[Size], axis: usize) -> Value {
        self.node(Op::Iota(axis), Vec::new(), Ty { dtype, shape: shape.to_vec() })
    }

    /// A call; `results` are the types that the function gives.
    pub fn call(&mut self, f: FnId, args: Vec<Value>, results: Vec<Ty>) -> Vec<Value> {
        self.many(Op::Call(f), args, results)
    }

    /// A loop; `results` are the types of the node's results.
    pub fn repeat(&mut self, r: Repeat, args: Vec<Value>, results: Vec<Ty>) -> Vec<Value> {
        self.many(Op::Repeat(r), args, results)
    }

    /// A node with several results.
    pub fn many(&mut self, op: Op, args: Vec<Value>, tys: Vec<Ty>) -> Vec<Value> {
        let n = tys.len() as u32;
        let v = self.push(op, args, tys);
        (0..n).map(|port| Value { node: v.node, port }).collect()
    }

    /// The function, with its results.
    pub fn finish(mut self, results: Vec<Value>) -> Function {
        self.f.results = results;
        self.f
    }
}

impl Repeat {
    /// The body's parameter that an argument of the node goes to.
    pub fn param_of(&self, arg: usize) -> usize {
        let rows = self.carried + self.invariant + self.stacks;
        if arg < rows { arg } else { rows + (arg - rows) / self.count }
    }

    /// The arguments of the node that go to a parameter of the body: one, or one for each iteration.
    pub fn args_of(&self, param: usize) -> Range<usize> {
        let rows = self.carried + self.invariant + self.stacks;
        if param < rows { param..param + 1 } else { self.cells(rows, param) }
    }

    /// The body's result that a result of the node comes from.
    pub fn result_of(&self, port: usize) -> usize {
        let rows = self.carried + self.stacked;
        if port < rows { port } else { rows + (port - rows) / self.count }
    }

    /// The results of the node that come from a result of the body: one, or one for each iteration.
    pub fn ports_of(&self, result: usize) -> Range<usize> {
        let rows = self.carried + self.stacked;
        if result < rows { result..result + 1 } else { self.cells(rows, result) }
    }

    fn cells(&self, rows: usize, slot: usize) -> Range<usize> {
        let first = rows + (slot - rows) * self.count;
        first..first + self.count
    }

    /// The type of a stack, from that of one iteration's slice.
    pub fn stack_ty(&self, slice: &Ty) -> Ty {
        let mut shape = vec![Size::from(self.count as i64)];
        shape.extend(slice.shape.iter().cloned());
        Ty { dtype: slice.dtype, shape }
    }

    /// The types of the node's results, from those of the body's.
    pub fn result_tys(&self, body: &[Ty]) -> Vec<Ty> {
        let mut tys = body[..self.carried].to_vec();
        for t in &body[self.carried..self.carried + self.stacked] {
            tys.push(self.stack_ty(t));
        }
        for t in &body[self.carried + self.stacked..] {
            tys.extend(std::iter::repeat_n(t.clone(), self.count));
        }
        tys
    }
}

impl Panels {
    /// The number of rows of the panel.
    pub fn rows(&self) -> Size {
        Size::dim(self.first)
    }

    /// Where the panel is along a cut: its first row, or the point.
    pub fn index(&self, cut: u8) -> Size {
        Size::dim(self.first + 1 + u16::from(cut))
    }

    /// The extent of a cut in the panel.
    pub fn piece_extent(&self, cut: u8) -> Size {
        if cut == 0 { self.rows() } else { Size::one() }
    }

    /// The results that are added up: those that lack a cut whose points come one after the other.
    pub fn sums(&self) -> Vec<usize> {
        let lacks = |lead: &[u8]| (0..self.cuts.len()).any(|c| !lead.contains(&(c as u8)));
        (0..self.results.len()).filter(|i| lacks(&self.results[*i])).collect()
    }

    /// The types of the node's results, from those of the body's.
    pub fn result_tys(&self, body: &[Ty]) -> Vec<Ty> {
        let whole = |(lead, ty): (&Vec<u8>, &Ty)| {
            let mut shape = ty.shape.clone();
            shape.iter_mut().zip(lead).for_each(|(s, c)| *s = self.cuts[usize::from(*c)].clone());
            Ty { dtype: ty.dtype, shape }
        };
        self.results.iter().zip(body).map(whole).collect()
    }
}
