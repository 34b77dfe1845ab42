//! Elementwise primitives on tensors and numbers: element types, broadcasting, `@`.
//!
//! Element types never change by themselves, except that an integer meets a real number as one. Shapes line up from the
//! right, and an axis of extent 1 stretches; the program says so with explicit broadcasts.

use super::Checker;
use super::num;
use super::value::{Axis, AxisSel, Num, NumVal, Tag, Tensor, Val};
use crate::program::build::Builder;
use crate::program::{Label, Value};
use dlc_grammar::ast::BinaryOp;
use dlc_grammar::{Diagnostic, Span};
use dlc_plan::{DType, Gives, Prim, Size};

/// A contraction's labels are bytes.
pub(super) const MOST_AXES: usize = 64;

/// What a number or a tensor is to the rules of element types.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Typed(DType),
    /// An integer that is no tensor takes the type of what it meets.
    Int,
    /// Likewise a real number; an integer tensor becomes f32 for it.
    Real,
    Truth,
}

impl Checker {
    /// An operator between two values.
    pub(super) fn operator(&mut self, op: BinaryOp, op_span: Span, a: (Val, Span), b: (Val, Span)) -> Val {
        if a.0.is_poison() || b.0.is_poison() {
            return Val::Poison;
        }
        if let BinaryOp::Eq | BinaryOp::Ne = op
            && let Some(same) = self.same(&a.0, &b.0)
        {
            return Val::Bool(same == (op == BinaryOp::Eq));
        }
        match num::prim_of(op) {
            None => self.matmul(a, b, op_span),
            Some((prim, false)) => self.primitive(prim, op.symbol(), op_span, vec![a, b]),
            Some((prim, true)) => self.primitive(prim, op.symbol(), op_span, vec![b, a]),
        }
    }

    /// Whether two values that are neither numbers nor tensors are the same.
    fn same(&self, a: &Val, b: &Val) -> Option<bool> {
        match (a, b) {
            (Val::None, Val::None) => Some(true),
            (Val::None, _) | (_, Val::None) => Some(false),
            (Val::Str(a), Val::Str(b)) => Some(a == b),
            (Val::Str(_), _) | (_, Val::Str(_)) => Some(false),
            (Val::Func(_) | Val::Net(_), Val::Func(_) | Val::Net(_)) => Some(self.key_of(a) == self.key_of(b)),
            _ => None,
        }
    }

    /// A primitive of values: on numbers at once, on tensors element by element. `name` is what the user wrote.
    pub(super) fn primitive(&mut self, prim: Prim, name: &'static str, span: Span, args: Vec<(Val, Span)>) -> Val {
        let mut vals = Vec::with_capacity(args.len());
        for (v, at) in &args {
            match self.operand(v, *at) {
                Some(v) => vals.push(v),
                None => return Val::Poison,
            }
        }
        if vals.iter().any(|v| matches!(v, Val::Tensor(_))) {
            return self.map_tensors(prim, name, span, &vals, &args);
        }
        let logical = matches!(prim.row().gives, Gives::Logic)
            || matches!(prim, Prim::Eq | Prim::Ne) && vals.iter().all(|v| num::truth(v).is_some());
        if prim == Prim::Where {
            return self.where_static(span, &vals);
        }
        let result = if logical {
            num::logic(prim, &vals)
        } else {
            let numbers: Option<Vec<&NumVal>> = vals.iter().map(number).collect();
            numbers.map(|numbers| num::apply(prim, &numbers))
        };
        match result {
            Some(Val::Num(n)) if num::is_large(&n.value) => self.too_large(span),
            Some(Val::Truth(h)) if num::is_large_truth(&h) => self.too_large(span),
            Some(v) => v,
            None => self.wrong_operands(prim, name, span, &vals),
        }
    }

    fn too_large(&mut self, span: Span) -> Val {
        self.error(Diagnostic::error("E0311", span, "this expression of sizes has too many terms"))
    }

    /// A choice between numbers.
    fn where_static(&mut self, span: Span, vals: &[Val]) -> Val {
        match (&vals[0], number(&vals[1]), number(&vals[2])) {
            (Val::Bool(c), ..) => vals[if *c { 1 } else { 2 }].clone(),
            (Val::Truth(h), Some(a), Some(b)) => {
                Val::host(dlc_plan::Host::Prim(Prim::Where, vec![h.clone(), num::to_host(a), num::to_host(b)]))
            }
            _ => self.wrong_operands(Prim::Where, "where", span, vals),
        }
    }

    /// A value as an operand: a number, a truth or a tensor.
    fn operand(&mut self, v: &Val, span: Span) -> Option<Val> {
        match v {
            Val::Poison => None,
            Val::Num(_) | Val::Bool(_) | Val::Truth(_) | Val::Tensor(_) => Some(v.clone()),
            Val::Axis(AxisSel::At(n, _)) => Some(Val::int(*n)),
            Val::List(_) => {
                let v = self.list_tensor(v, span);
                (!v.is_poison()).then_some(v)
            }
            other => {
                let message = format!("{} cannot be calculated with", self.show(other));
                self.report(Diagnostic::error("E0112", span, message));
                None
            }
        }
    }

    fn wrong_operands(&mut self, prim: Prim, name: &str, span: Span, vals: &[Val]) -> Val {
        let shown: Vec<String> = vals.iter().map(|v| self.show(v)).collect();
        let message = match prim.row().gives {
            Gives::Logic => format!("`{name}` needs truths, got {}", shown.join(" and ")),
            Gives::Choice => format!("`{name}` needs a truth and two values, got {}", shown.join(", ")),
            Gives::Same | Gives::Real | Gives::Truth | Gives::Named => {
                format!("`{name}` needs numbers, got {}", shown.join(" and "))
            }
        };
        let d = Diagnostic::error("E0403", span, message);
        let helpful = vals.iter().any(|v| matches!(v, Val::Tensor(t) if t.dtype == DType::Bool));
        self.error(if helpful { d.help("`f32(x)` makes numbers of truths: 1 and 0") } else { d })
    }

    fn map_tensors(&mut self, prim: Prim, name: &'static str, span: Span, vals: &[Val], args: &[(Val, Span)]) -> Val {
        let Some(vals) = &self.line_up_lanes(vals, span) else { return Val::Poison };
        let Some(dtypes) = operand_types(prim, vals) else {
            return self.wrong_operands(prim, name, span, vals);
        };
        let Some(axes) = self.line_up(vals, name, span, args) else { return Val::Poison };
        self.warn_of_ranks(vals, span);
        let shape: Vec<Size> = axes.iter().map(|a| a.size.clone()).collect();
        let mut operands: Vec<Value> = Vec::with_capacity(vals.len());
        for (v, dtype) in vals.iter().zip(dtypes) {
            let v = self.as_value(v, dtype);
            operands.push(self.b().stretch(v, &shape));
        }
        let value = match (prim, number(vals.last().expect("a primitive has operands"))) {
            (Prim::Pow, Some(NumVal::Int(n))) => self.power(operands[0], operands[1], *n),
            _ => self.b().map(prim, &operands),
        };
        let tags = axes.into_iter().map(|a| a.tag).collect();
        Val::Tensor(self.tensor(value, tags))
    }

    /// Warns where a loss or a metric takes an output of the model element by element with a column of another rank: the
    /// one with more axes is then repeated along rows.
    fn warn_of_ranks(&mut self, vals: &[Val], span: Span) {
        let (Some(judged), Some(frame)) = (&self.judged, self.frames.last()) else { return };
        if judged.frame != frame.id || self.modules.in_prelude(span) {
            return;
        }
        let tensors: Vec<&Tensor> =
            vals.iter().filter_map(|v| if let Val::Tensor(t) = v { Some(t) } else { None }).collect();
        let plain = |t: &&&Tensor| t.rank() > 0 && t.frame == frame.id && t.axes.iter().all(|a| a.variable().is_none());
        let reads = |t: &Tensor| judged.reads(&frame.builder.f, t.value);
        let kinds: Vec<(&Tensor, (bool, bool))> = tensors.iter().filter(plain).map(|t| (*t, reads(t))).collect();
        let output = kinds.iter().find(|(_, (output, _))| *output);
        let column = kinds.iter().find(|(_, (output, column))| *column && !*output);
        let (Some((output, _)), Some((column, _))) = (output, column) else { return };
        if output.rank() == column.rank() {
            return;
        }
        let message = format!(
            "an output {} meets a column {}: of other ranks, they pair rows with rows",
            self.show_tensor(output),
            self.show_tensor(column)
        );
        let d = Diagnostic::warning("W0806", span, message);
        self.report(d.help("`y[:, 0]` takes an axis of 1 away, `y[:, none]` adds one"));
    }

    /// A power with a small integer exponent is a product: of integers, and of real numbers where that is rounded twice at
    /// most.
    fn power(&mut self, base: Value, exponent: Value, n: i64) -> Value {
        let most = if self.b().ty(base).dtype.is_float() { 3 } else { 8 };
        match n {
            1 => base,
            2..=8 if n <= most => {
                let half = self.power(base, exponent, n / 2);
                let even = self.b().map(Prim::Mul, &[half, half]);
                if n % 2 == 0 { even } else { self.b().map(Prim::Mul, &[even, base]) }
            }
            _ => self.b().map(Prim::Pow, &[base, exponent]),
        }
    }

    /// A whole number in a type; of integers, modulo the number of those that it has.
    fn whole(&mut self, dtype: DType, n: i64) -> Value {
        if dtype.is_float() {
            return self.b().constant(dtype, n as f64);
        }
        let n = dlc_plan::wrap(dtype, n);
        if let Some(x) = dlc_plan::exact(n) {
            return self.b().constant(dtype, x);
        }
        // A constant is a double, so what is none is made of its halves.
        let [high, unit, low] = [n >> 32, 1 << 32, n & 0xffff_ffff].map(|n| self.b().constant(dtype, n as f64));
        let high = self.b().zip(Prim::Mul, &[high, unit]);
        self.b().zip(Prim::Add, &[high, low])
    }

    /// A number or a tensor as a value of that element type in the function being built.
    pub(super) fn as_value(&mut self, v: &Val, dtype: DType) -> Value {
        match v {
            Val::Tensor(t) => {
                let value = self.use_(t);
                self.b().cast(value, dtype)
            }
            Val::Num(Num { value: NumVal::Int(n), .. }) => self.whole(dtype, *n),
            Val::Num(n) => self.b().host(dtype, num::to_host(&n.value)),
            other => {
                let host = num::truth(other).expect("an operand is a tensor, a number or a truth");
                self.b().host(dtype, host)
            }
        }
    }

    /// A list of numbers, or of lists, as a tensor.
    pub(super) fn list_tensor(&mut self, v: &Val, span: Span) -> Val {
        let Val::List(items) = v else { return v.clone() };
        let items: Vec<Val> = items.iter().map(|i| self.list_tensor(i, span)).collect();
        if items.is_empty() || items.len() > 4096 {
            return self.error(Diagnostic::error("E0312", span, "a list is a tensor if it has 1 to 4096 elements"));
        }
        self.stack(0, items, span)
    }

    /// The common axes of operands, or a report that they do not line up.
    pub(super) fn line_up(&mut self, vals: &[Val], name: &str, span: Span, args: &[(Val, Span)]) -> Option<Vec<Axis>> {
        let shapes: Vec<&[Axis]> =
            vals.iter().map(|v| if let Val::Tensor(t) = v { &t.axes[..] } else { &[] }).collect();
        let rank = shapes.iter().map(|s| s.len()).max().unwrap_or(0);
        let mut out: Vec<Axis> = vec![Axis { size: Size::one(), tag: None }; rank];
        for axes in &shapes {
            for (o, a) in out[rank - axes.len()..].iter_mut().zip(axes.iter()) {
                if o.size == a.size {
                    if o.name().is_none() {
                        o.tag = a.tag.clone();
                    }
                } else if o.size.is(1) {
                    *o = a.clone();
                } else if !a.size.is(1) {
                    self.no_line_up(vals, name, span, args);
                    return None;
                }
            }
        }
        Some(out)
    }

    fn no_line_up(&mut self, vals: &[Val], name: &str, span: Span, args: &[(Val, Span)]) {
        let tensors: Vec<(&Tensor, Span)> = vals
            .iter()
            .zip(args)
            .filter_map(|(v, (_, at))| if let Val::Tensor(t) = v { Some((t, *at)) } else { None })
            .collect();
        let clash = |(a, b): &(&Tensor, &Tensor)| Builder::common_shape(&[a.shape(), b.shape()]).is_none();
        let pair = (0..tensors.len()).flat_map(|i| (i + 1..tensors.len()).map(move |j| (i, j)));
        let Some((i, j)) = pair.into_iter().find(|(i, j)| clash(&(tensors[*i].0, tensors[*j].0))) else { return };
        // Some operators see their operands in the other order; the text's order is what people read.
        let ((a, _), (b, _)) =
            if tensors[i].1.start <= tensors[j].1.start { (tensors[i], tensors[j]) } else { (tensors[j], tensors[i]) };
        if a.rank() != b.rank()
            && let Some(d) = self.dropped_axis(a, b, span)
        {
            return self.report(d);
        }
        let (sa, sb) = (self.show_shape(&a.axes), self.show_shape(&b.axes));
        let message = match name {
            "+" => format!("cannot add {sa} and {sb}"),
            "-" => format!("cannot subtract {sb} from {sa}"),
            "*" => format!("cannot multiply {sa} and {sb}"),
            "/" => format!("cannot divide {sa} by {sb}"),
            "^" => format!("cannot raise {sa} to the power {sb}"),
            "==" | "!=" | "<" | "<=" | ">" | ">=" => format!("cannot compare {sa} and {sb}"),
            _ => format!("`{name}` cannot line up {sa} and {sb}"),
        };
        let rank = a.rank().max(b.rank());
        let axis_of = |t: &Tensor, k: usize| (k + t.rank()).checked_sub(rank).map(|i| t.axes[i].clone());
        let differs = (0..rank).rev().find(|k| match (axis_of(a, *k), axis_of(b, *k)) {
            (Some(x), Some(y)) => x.size != y.size && !x.size.is(1) && !y.size.is(1),
            _ => false,
        });
        let k = differs.expect("some axis does not line up");
        let (x, y) = (axis_of(a, k).expect("both have it"), axis_of(b, k).expect("both have it"));
        let (mut nx, mut ny) = (self.show_axis_name(&x), self.show_axis_name(&y));
        if nx == ny {
            (nx, ny) = (self.show_axis(&x), self.show_axis(&y));
        }
        let place = self.frame().builder.origin.span;
        let mut d = Diagnostic::error("E0301", place, message);
        d = d.here(format!("axis {k} is {nx} on the left, {ny} on the right"));
        let last = k + 1 == rank;
        for axis in [&x, &y] {
            d = self.label_origin(d, axis, place, if last { "the last axis".to_string() } else { format!("axis {k}") });
        }
        let (x, y) = if self.stage_of(&y).is_some() { (x, y) } else { (y, x) };
        if let Some(help) = self.project_back(&x, &y) {
            d = d.help(help);
        }
        self.report(d);
    }

    /// Marks where an axis got its size, if that is in another place of the same body.
    fn label_origin(&self, d: Diagnostic, axis: &Axis, place: Span, what: String) -> Diagnostic {
        match &axis.tag {
            Some(tag)
                if self.stage_of(axis).is_some()
                    && !(place.start <= tag.origin.start
                        && tag.origin.end <= place.end
                        && place.file == tag.origin.file) =>
            {
                d.label(tag.origin, format!("{what} became {} here", self.show_axis(axis)))
            }
            _ => d,
        }
    }

    /// The named stage of a pipe in which an axis got its size.
    fn stage_of(&self, axis: &Axis) -> Option<Span> {
        let origin = axis.tag.as_ref()?.origin;
        let holds =
            |s: &&Span| s.file == origin.file && s.start <= origin.start && origin.end <= s.end && s.end > s.start;
        self.stages.iter().filter(holds).min_by_key(|s| s.end - s.start).copied()
    }

    /// The stage that made `wrong`, written so that it makes `right`.
    fn project_back(&self, right: &Axis, wrong: &Axis) -> Option<String> {
        let stage = self.stage_of(wrong)?;
        let origin = wrong.tag.as_ref()?.origin;
        if self.modules.in_prelude(stage) {
            return None;
        }
        let text = self.text(stage);
        let (start, end) = ((origin.start - stage.start) as usize, (origin.end - stage.start) as usize);
        let (before, after) = (text.get(..start)?, text.get(end..)?);
        Some(format!("project back: `{before}{}{after}`", self.show_axis_name(right)))
    }

    /// What to say where one side lost an axis to a reduction.
    fn dropped_axis(&mut self, a: &Tensor, b: &Tensor, span: Span) -> Option<Diagnostic> {
        let top = self.frames.last()?;
        let reduced = [a, b].into_iter().find_map(|t| top.reduced.get(&t.value).filter(|_| t.frame == top.id))?.clone();
        let message = format!(
            "{} and {} do not line up: the {} dropped an axis",
            self.show_names(&a.axes),
            self.show_names(&b.axes),
            reduced.name
        );
        let d = Diagnostic::error("E0304", span, message);
        let Some(bracket) = reduced.bracket else { return Some(d) };
        let text = self.text(reduced.call);
        let at = (bracket.end.saturating_sub(1)).saturating_sub(reduced.call.start) as usize;
        match (text.get(..at), text.get(at..)) {
            (Some(before), Some(after)) => Some(d.help(format!("`{before}, keep{after}`"))),
            _ => Some(d),
        }
    }

    /// The last two axes change places.
    pub(super) fn transpose(&mut self, t: &Tensor, span: Span) -> Val {
        let rank = t.rank();
        if self.refuse_lanes("`.t`", [&Val::Tensor(t.clone())], span) {
            return Val::Poison;
        }
        if rank < 2 {
            let message = format!("`.t` swaps the last two axes, and {} has {rank}", self.show_tensor(t));
            return self.error(Diagnostic::error("E0310", span, message));
        }
        let mut order: Vec<usize> = (0..rank).collect();
        order.swap(rank - 2, rank - 1);
        let v = self.use_(t);
        let v = self.b().permute(v, &order);
        let tags = order.iter().map(|i| t.axes[*i].tag.clone()).collect();
        Val::Tensor(self.tensor(v, tags))
    }

    /// `a @ b`: the last axis of `a` meets the last but one of `b`; the axes before line up.
    fn matmul(&mut self, a: (Val, Span), b: (Val, Span), op_span: Span) -> Val {
        if self.refuse_lanes("`@`", [&a.0, &b.0], op_span) {
            return Val::Poison;
        }
        let (Val::Tensor(x), Val::Tensor(y)) = (&a.0, &b.0) else {
            let message = format!("`@` needs two tensors, got {} and {}", self.show(&a.0), self.show(&b.0));
            return self.error(Diagnostic::error("E0302", op_span, message));
        };
        // It was refused when it was made.
        if x.rank().max(y.rank()) > MOST_AXES {
            return Val::Poison;
        }
        if x.rank() < 2 || y.rank() < 2 {
            let message =
                format!("`@` needs two axes on each side, got {} and {}", self.show_tensor(x), self.show_tensor(y));
            return self.error(Diagnostic::error("E0302", op_span, message));
        }
        for (t, side) in [(x, "left"), (y, "right")] {
            if !t.dtype.is_float() {
                let message = format!("`@` needs real numbers, got {} on the {side}", self.show_tensor(t));
                return self.error(Diagnostic::error("E0402", op_span, message).help("`f32(x)` converts"));
            }
        }
        let (inner, outer) = (&x.axes[x.rank() - 1], &y.axes[y.rank() - 2]);
        if inner.size != outer.size {
            let message = format!("inner sizes differ: {} and {}", self.show_axis(inner), self.show_axis(outer));
            let mut d = Diagnostic::error("E0302", op_span, message);
            if y.axes[y.rank() - 1].size == inner.size {
                d = d.help(format!("weights are [out, in]: `{} @ {}.t`", self.text(a.1), self.text(b.1)));
            }
            return self.error(d);
        }
        self.contract(x, y, op_span, (a.1, b.1))
    }

    fn contract(&mut self, x: &Tensor, y: &Tensor, op_span: Span, spans: (Span, Span)) -> Val {
        let lead = |t: &Tensor| Val::Tensor(Tensor { axes: t.axes[..t.rank() - 2].into(), ..t.clone() });
        let both = [(lead(x), spans.0), (lead(y), spans.1)];
        let vals = [both[0].0.clone(), both[1].0.clone()];
        let Some(batch) = self.line_up(&vals, "@", op_span, &both) else { return Val::Poison };
        let n = batch.len();
        let (m, k, out) = (n as Label, n as Label + 1, n as Label + 2);
        // A product is of two tensors of one type: the narrower one becomes as the wider one.
        let dtype = wider(x.dtype, y.dtype);
        let [mut vx, mut vy] = [x, y].map(|t| {
            let v = self.use_(t);
            self.b().cast(v, dtype)
        });
        // An axis of extent 1 on one side alone is no axis of the product.
        let mut labels = |v: &mut Value, t: &Tensor, tail: [Label; 2]| {
            let lead = t.rank() - 2;
            let mut found = Vec::new();
            for i in (0..lead).rev() {
                let b = n - lead + i;
                if t.axes[i].size == batch[b].size {
                    found.insert(0, b as Label);
                } else {
                    *v = self.b().split(*v, i, &[]);
                }
            }
            found.extend(tail);
            found
        };
        let (lx, ly) = (labels(&mut vx, x, [m, k]), labels(&mut vy, y, [k, out]));
        let result: Vec<Label> = (0..n as Label).chain([m, out]).collect();
        let v = self.b().contract(vx, vy, &lx, &ly, &result);
        let Some(v) = self.adapted_product(v, (vx, &lx), (vy, &ly), &result, op_span) else { return Val::Poison };
        let v = self.b().cast(v, dtype);
        let mut tags: Vec<Option<Tag>> = batch.into_iter().map(|a| a.tag).collect();
        tags.push(x.axes[x.rank() - 2].tag.clone());
        tags.push(y.axes[y.rank() - 1].tag.clone());
        Val::Tensor(self.tensor(v, tags))
    }
}

fn number(v: &Val) -> Option<&NumVal> {
    match v {
        Val::Num(n) => Some(&n.value),
        _ => None,
    }
}

/// The element types that a primitive's operands take, if it takes these.
fn operand_types(prim: Prim, vals: &[Val]) -> Option<Vec<DType>> {
    let classes: Vec<Class> = vals.iter().map(class).collect::<Option<_>>()?;
    let truth = |c: &Class| matches!(c, Class::Truth | Class::Typed(DType::Bool));
    Some(match prim.row().gives {
        Gives::Logic if classes.iter().all(truth) => vec![DType::Bool; classes.len()],
        Gives::Logic => return None,
        Gives::Choice => {
            let chosen = if classes[1..].iter().all(truth) { DType::Bool } else { common(&classes[1..])? };
            if !truth(&classes[0]) {
                return None;
            }
            vec![DType::Bool, chosen, chosen]
        }
        Gives::Truth if matches!(prim, Prim::Eq | Prim::Ne) && classes.iter().all(truth) => vec![DType::Bool; 2],
        Gives::Same => vec![common(&classes)?; classes.len()],
        Gives::Truth => {
            let met = common(&classes)?;
            let fits = |v: &Val| !matches!(number(v), Some(NumVal::Int(n)) if dlc_plan::wrap(met, *n) != *n);
            // A number that the type does not have is less or greater than all of it.
            let met = if met.is_float() || vals.iter().all(fits) { met } else { DType::I64 };
            vec![met; classes.len()]
        }
        Gives::Real if is_product(prim, vals) => vec![common(&classes)?; 2],
        Gives::Real => {
            let d = common(&classes)?;
            vec![if d.is_float() { d } else { DType::F32 }; classes.len()]
        }
        Gives::Named => return None,
    })
}

/// An integer to a small power stays an integer.
fn is_product(prim: Prim, vals: &[Val]) -> bool {
    prim == Prim::Pow && matches!(vals.get(1).and_then(number), Some(NumVal::Int(1..=8)))
}

fn class(v: &Val) -> Option<Class> {
    Some(match v {
        Val::Tensor(t) => Class::Typed(t.dtype),
        Val::Num(n) => match n.value {
            NumVal::Int(_) | NumVal::Size(_) => Class::Int,
            NumVal::Float(_) | NumVal::Host(_) => Class::Real,
        },
        Val::Bool(_) | Val::Truth(_) => Class::Truth,
        _ => return None,
    })
}

/// The type in which operands meet: no truth among them.
fn common(classes: &[Class]) -> Option<DType> {
    let mut found: Option<DType> = None;
    for c in classes {
        match c {
            Class::Typed(DType::Bool) | Class::Truth => return None,
            Class::Typed(d) => found = Some(found.map_or(*d, |f| wider(f, *d))),
            Class::Int | Class::Real => {}
        }
    }
    let real = classes.contains(&Class::Real);
    match found {
        Some(d) if real && !d.is_float() => Some(DType::F32),
        Some(d) => Some(d),
        None => Some(if real { DType::F32 } else { DType::I64 }),
    }
}

/// The type in which tensors of two types meet: real before integer, wider before narrower, f32 for the two halves.
pub(super) fn wider(a: DType, b: DType) -> DType {
    match (a.is_float(), b.is_float()) {
        _ if a == b => a,
        (true, true) => DType::F32,
        (true, false) => a,
        (false, true) => b,
        (false, false) => match (a, b) {
            (DType::I64, _) | (_, DType::I64) => DType::I64,
            _ => DType::I32,
        },
    }
}
