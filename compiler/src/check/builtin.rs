//! The primitives that text calls by name, and what each does with its arguments.
//!
//! Scalar primitives come from the plan's table; the rest are a row here each.

use super::Checker;
use super::load::FnItem;
use super::num;
use super::raw::Encode;
use super::reduce::Reduction;
use super::value::{Axis, AxisArgs, Func, Given, Num, NumVal, Target, Tensor, Val};
use crate::program::{Function, Op, Ty, Value};
use dlc_grammar::{Diagnostic, Span};
use dlc_plan::{DType, PRIMS, Prim, Size, cast};
use std::rc::Rc;

/// A primitive of the language.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Builtin {
    /// Its name.
    pub name: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// Element by element.
    Scalar(Prim),
    /// Element by element with two arguments, a reduction with one.
    Either(Prim, Reduction),
    Reduce(Reduction),
    Cast(DType),
    Stop,
    /// Integers that index something.
    Within,
    Concat,
    Stack,
    Split,
    Pad,
    Iota,
    Positions,
    Bernoulli,
    /// Numbers of [0, 1): for the elements of a weight, or along axes.
    Rand,
    Cached,
    Numel,
    /// How many axes there are.
    Rank,
    /// A value over the whole training split.
    Statistic,
    /// A weight of the model that is trained, by its name.
    Stored,
    /// Whether a tensor was made by a function.
    MadeBy,
    /// A warning where a condition does not hold.
    Advise,
    /// Whether two tensors have one shape, which they must.
    Alike,
    /// All elements along an axis in order, and where they were.
    Sort,
    /// The greatest elements along an axis, and where they are.
    TopK,
    /// Each element plus all before it along an axis.
    RunningSum,
    /// What only the host does, before anything is computed.
    Encode(Encode),
    /// Known, but of a later version.
    Later,
}

const fn row(name: &'static str, kind: Kind) -> Builtin {
    Builtin { name, kind }
}

/// All but the scalar primitives and the casts, which have tables of their own.
const ROWS: [Builtin; 34] = [
    row("max", Kind::Either(Prim::Max, Reduction::Max)),
    row("min", Kind::Either(Prim::Min, Reduction::Min)),
    row("sum", Kind::Reduce(Reduction::Sum)),
    row("mean", Kind::Reduce(Reduction::Mean)),
    row("prod", Kind::Reduce(Reduction::Prod)),
    row("any", Kind::Reduce(Reduction::Any)),
    row("all", Kind::Reduce(Reduction::All)),
    row("argmax", Kind::Reduce(Reduction::Argmax)),
    row("stop", Kind::Stop),
    row("within", Kind::Within),
    row("concat", Kind::Concat),
    row("stack", Kind::Stack),
    row("split", Kind::Split),
    row("pad", Kind::Pad),
    row("iota", Kind::Iota),
    row("positions", Kind::Positions),
    row("bernoulli", Kind::Bernoulli),
    row("rand", Kind::Rand),
    row("cached", Kind::Cached),
    row("numel", Kind::Numel),
    row("rank", Kind::Rank),
    row("statistic", Kind::Statistic),
    row("tensor", Kind::Stored),
    row("made_by", Kind::MadeBy),
    row("advise", Kind::Advise),
    row("alike", Kind::Alike),
    row("sort", Kind::Sort),
    row("top_k", Kind::TopK),
    row("cumsum", Kind::RunningSum),
    row("tokenize", Kind::Encode(Encode::Tokenize)),
    row("characters", Kind::Encode(Encode::Characters)),
    row("windows", Kind::Encode(Encode::Windows)),
    row("top_p", Kind::Later),
    row("sample", Kind::Later),
];

/// Scalar primitives that are operators or words of the language and not called by name.
const OPERATORS: [&str; 5] = ["neg", "cast", "and", "or", "not"];

fn scalars() -> impl Iterator<Item = Builtin> {
    let called = |name: &str| name.starts_with(|c: char| c.is_ascii_alphabetic()) && !OPERATORS.contains(&name);
    PRIMS.iter().filter(move |r| called(r.name)).map(|r| row(r.name, Kind::Scalar(r.prim)))
}

fn casts() -> impl Iterator<Item = Builtin> {
    DType::ALL.iter().map(|(d, name)| row(name, Kind::Cast(*d)))
}

impl Builtin {
    /// The primitive of that name.
    pub fn named(name: &str) -> Option<Builtin> {
        ROWS.into_iter().chain(scalars()).chain(casts()).find(|b| b.name == name)
    }

    /// Whether it reads a file that one of its arguments names.
    pub(crate) fn reads_file(self) -> bool {
        matches!(self.kind, Kind::Encode(Encode::Tokenize))
    }

    /// The names of all primitives.
    pub fn names() -> impl Iterator<Item = &'static str> {
        ROWS.into_iter().chain(scalars()).chain(casts()).map(|b| b.name)
    }

    /// The reduction that it is, with one argument.
    pub(super) fn reduction(&self) -> Option<Reduction> {
        match self.kind {
            Kind::Reduce(r) | Kind::Either(_, r) => Some(r),
            Kind::Scalar(_) | Kind::Cast(_) | Kind::Stop | Kind::Concat | Kind::Stack | Kind::Split | Kind::Pad => None,
            Kind::Iota | Kind::Positions | Kind::Bernoulli | Kind::Rand | Kind::Cached | Kind::Numel => None,
            Kind::Rank => None,
            Kind::MadeBy | Kind::Advise | Kind::Alike | Kind::Within | Kind::Later => None,
            Kind::Statistic | Kind::Stored => None,
            Kind::Sort | Kind::TopK | Kind::RunningSum | Kind::Encode(_) => None,
        }
    }

    /// Whether it says what is to be made of texts, which the host does.
    pub(crate) fn encodes(&self) -> bool {
        matches!(self.kind, Kind::Encode(_))
    }

    /// Whether it works on each element, or on what `..` stands for, so that elements of an equation are fine.
    fn by_element(&self) -> bool {
        let elementwise = matches!(self.kind, Kind::Scalar(_) | Kind::Cast(_) | Kind::Stop);
        let asks = matches!(self.kind, Kind::MadeBy | Kind::Advise | Kind::Alike | Kind::Within);
        elementwise || self.reduction().is_some() || asks
    }

    /// Whether it takes axes in brackets, and how many arguments in parentheses.
    fn takes(&self) -> (bool, std::ops::RangeInclusive<usize>) {
        match self.kind {
            Kind::Scalar(p) => (false, p.row().arity..=p.row().arity),
            Kind::Either(..) => (true, 1..=2),
            Kind::Reduce(_) => (true, 1..=1),
            Kind::Cast(_) | Kind::Stop | Kind::Iota | Kind::Numel | Kind::Rank => (false, 1..=1),
            Kind::Statistic | Kind::Stored => (false, 1..=1),
            Kind::Concat | Kind::Stack => (true, 1..=usize::MAX),
            Kind::Sort => (true, 1..=2),
            Kind::RunningSum => (true, 1..=1),
            Kind::Split | Kind::Bernoulli | Kind::TopK => (true, 2..=2),
            Kind::Within => (false, 2..=3),
            Kind::Pad => (true, 3..=3),
            Kind::Rand => (true, 0..=1),
            Kind::Positions => (false, 1..=2),
            Kind::Cached => (true, 1..=1),
            Kind::MadeBy | Kind::Alike => (false, 2..=2),
            Kind::Advise => (false, 2..=3),
            Kind::Encode(_) => (false, 0..=usize::MAX),
            Kind::Later => (true, 0..=usize::MAX),
        }
    }
}

/// The axis of size 1 without which a tensor has the shape of another.
fn extra_axis(long: &Tensor, short: &Tensor) -> Option<usize> {
    let rest = |k: usize| long.axes.iter().enumerate().filter(move |(i, _)| *i != k).map(|(_, a)| &a.size);
    let fits = |k: &usize| long.axes[*k].size.is(1) && rest(*k).eq(short.axes.iter().map(|a| &a.size));
    (0..long.rank()).rev().find(fits)
}

impl Checker {
    /// Calls a function with arguments.
    pub(super) fn call_func(&mut self, f: &Func, args: Vec<Given>, span: Span) -> Val {
        match &f.target {
            Target::Item(item) => self.call_fn(item, f.axes.as_deref(), args, span),
            Target::Builtin(b) => self.call_builtin(b, f.axes.as_deref(), args, span),
        }
    }

    fn call_builtin(&mut self, b: &Builtin, axes: Option<&AxisArgs>, args: Vec<Given>, span: Span) -> Val {
        if let (Kind::Encode(what), None) = (b.kind, axes) {
            return self.encode(what, b, args, span);
        }
        if let Some((name, at)) = args.iter().find_map(|a| a.name.clone()) {
            let message = format!("`{}` has no parameter `{name}`", b.name);
            return self.error(Diagnostic::error("E0105", at, message).help("its arguments have no names"));
        }
        let (takes_axes, count) = b.takes();
        if let Some(axes) = axes.filter(|_| !takes_axes) {
            let message = format!("`{}` takes no axes", b.name);
            return self.error(Diagnostic::error("E0306", axes.span, message));
        }
        if !count.contains(&args.len()) {
            let wants = if count.start() == count.end() {
                count.start().to_string()
            } else {
                format!("{} or more", count.start())
            };
            let plural = if wants == "1" { "" } else { "s" };
            let message = format!("`{}` takes {wants} argument{plural}, got {}", b.name, args.len());
            return self.error(Diagnostic::error("E0107", span, message));
        }
        if args.iter().any(|a| a.val.is_poison()) {
            return Val::Poison;
        }
        self.at(span);
        let whole = !b.by_element();
        if whole && self.refuse_lanes(&format!("`{}`", b.name), args.iter().map(|a| &a.val), span) {
            return Val::Poison;
        }
        self.applied(b, axes, args, span)
    }

    /// A primitive on arguments of which it takes as many.
    fn applied(&mut self, b: &Builtin, axes: Option<&AxisArgs>, args: Vec<Given>, span: Span) -> Val {
        match b.kind {
            Kind::Scalar(p) => self.primitive(p, b.name, span, args.into_iter().map(|a| (a.val, a.span)).collect()),
            Kind::Either(p, _) if args.len() == 2 => match axes {
                None => self.primitive(p, b.name, span, args.into_iter().map(|a| (a.val, a.span)).collect()),
                Some(axes) => {
                    let message = format!("`{}` of two arguments takes no axes", b.name);
                    self.error(Diagnostic::error("E0306", axes.span, message))
                }
            },
            Kind::Either(_, r) | Kind::Reduce(r) => self.reduction(r, b.name, axes, &args[0], span),
            Kind::Cast(d) => self.cast_to(d, &args[0]),
            Kind::Stop => self.stop(&args[0].val),
            Kind::Within => self.within(&args),
            Kind::Concat => self.concat(axes, args, span),
            Kind::Stack => self.stack_args(axes, args, span),
            Kind::Split => self.split(axes, &args, span),
            Kind::Pad => self.pad(axes, &args, span),
            Kind::Iota => self.iota(&args[0]),
            Kind::Positions => self.positions(&args),
            Kind::Bernoulli => self.bernoulli(axes, &args, span),
            Kind::Rand => self.rand(axes, &args, span),
            Kind::Cached => args.into_iter().next().expect("it has one argument").val,
            Kind::Numel => self.numel(&args[0]),
            Kind::Rank => self.rank(&args[0]),
            Kind::Statistic => self.statistic(&args[0], span),
            Kind::Stored => self.stored(&args[0]),
            Kind::MadeBy => self.made_by(&args),
            Kind::Advise => self.advise(&args),
            Kind::Alike => self.one_shape(&args),
            Kind::Sort => self.sort(axes, &args, span),
            Kind::TopK => self.top_k(axes, &args, span),
            Kind::RunningSum => self.running_sum(axes, &args[0], span),
            Kind::Encode(what) => self.encode(what, b, args, span),
            Kind::Later => {
                let message = format!("`{}` comes with a later version", b.name);
                self.error(Diagnostic::error("E0114", span, message))
            }
        }
    }

    /// An argument that must be a tensor.
    pub(super) fn tensor_arg(&mut self, name: &str, a: &Given) -> Option<Tensor> {
        match self.list_tensor(&a.val, a.span) {
            Val::Poison => None,
            Val::Tensor(t) => Some(t),
            other => {
                let message = format!("`{name}` needs a tensor, got {}", self.show(&other));
                self.report(Diagnostic::error("E0112", a.span, message));
                None
            }
        }
    }

    /// The one axis in brackets.
    pub(super) fn one_axis(&mut self, name: &str, t: &Tensor, axes: Option<&AxisArgs>, span: Span) -> Option<usize> {
        match axes.map(|a| a.list.as_slice()) {
            Some([axis]) => self.pick(t, axis, name),
            _ => {
                let message = format!("`{name}` needs one axis: `{name}[-1](..)`");
                self.report(Diagnostic::error("E0306", span, message));
                None
            }
        }
    }

    fn cast_to(&mut self, d: DType, a: &Given) -> Val {
        let v = self.list_tensor(&a.val, a.span);
        match &v {
            Val::Tensor(t) => {
                let value = self.use_(t);
                let value = self.b().cast(value, d);
                Val::Tensor(self.tensor(value, t.tags()))
            }
            Val::Num(Num { value: n @ (NumVal::Int(_) | NumVal::Size(_)), .. }) if d.is_int() => {
                Val::Num(Num::plain(n.clone()))
            }
            Val::Num(n) => match (num::known(&n.value), d) {
                (Some(x), DType::Bool) => Val::Bool(x != 0.0),
                (Some(x), d) if d.is_int() && x.abs() < 2f64.powi(53) => Val::int(cast(d, x) as i64),
                (Some(x), d) => Val::float(cast(d, x)),
                (None, _) => Val::host(dlc_plan::Host::Prim(Prim::Cast(d), vec![num::to_host(&n.value)])),
            },
            Val::Bool(b) if d.is_float() => Val::float(f64::from(u8::from(*b))),
            Val::Bool(b) => Val::int(i64::from(*b)),
            Val::Poison => Val::Poison,
            other => {
                let message = format!("`{d}` converts numbers, got {}", self.show(other));
                self.error(Diagnostic::error("E0112", a.span, message))
            }
        }
    }

    /// A tensor that no gradient passes.
    pub(super) fn stop(&mut self, v: &Val) -> Val {
        let Val::Tensor(t) = v else { return v.clone() };
        let value = self.use_(t);
        let ty = self.b().ty(value).clone();
        let value = self.b().node(Op::Stop, vec![value], ty);
        Val::Tensor(self.tensor(value, t.tags()))
    }

    /// Tensors of one type with the same axes but for one, or a report.
    pub(super) fn alike(&mut self, name: &str, args: Vec<Given>, span: Span) -> Option<Vec<Tensor>> {
        let args = match &args[..] {
            [Given { val: Val::List(items) | Val::Tuple(items), span, .. }] => {
                items.iter().map(|v| Given::new(v.clone(), *span)).collect()
            }
            _ => args,
        };
        let mut tensors = Vec::new();
        for a in &args {
            let v = match self.list_tensor(&a.val, a.span) {
                v @ (Val::Num(_) | Val::Bool(_) | Val::Truth(_)) => self.scalar_tensor(&v),
                v => v,
            };
            tensors.push(self.tensor_arg(name, &Given::new(v, a.span))?);
        }
        let Some(first) = tensors.first() else {
            self.report(Diagnostic::error("E0312", span, format!("`{name}` needs at least one tensor")));
            return None;
        };
        let truths = tensors.iter().filter(|t| t.dtype == DType::Bool).count();
        if truths != 0 && truths != tensors.len() {
            let message = format!("`{name}` cannot join truths and numbers");
            self.report(Diagnostic::error("E0403", span, message));
            return None;
        }
        let dtype = tensors.iter().fold(first.dtype, |d, t| super::ops::wider(d, t.dtype));
        Some(tensors.iter().map(|t| self.with_dtype(t, dtype)).collect())
    }

    fn with_dtype(&mut self, t: &Tensor, d: DType) -> Tensor {
        let v = self.use_(t);
        let v = self.b().cast(v, d);
        self.tensor(v, t.tags())
    }

    /// A number as a tensor without axes: f32 for a real number, i64 for an integer.
    pub(super) fn scalar_tensor(&mut self, v: &Val) -> Val {
        let dtype = match v {
            Val::Num(Num { value: NumVal::Int(_) | NumVal::Size(_), .. }) => DType::I64,
            Val::Num(_) => DType::F32,
            Val::Bool(_) | Val::Truth(_) => DType::Bool,
            other => return other.clone(),
        };
        let value = self.as_value(v, dtype);
        Val::Tensor(self.tensor(value, Vec::new()))
    }

    fn iota(&mut self, n: &Given) -> Val {
        let Some((size, tag)) = self.as_size(&n.val, n.span) else { return Val::Poison };
        let v = self.b().iota(DType::I64, &[size], 0);
        Val::Tensor(self.tensor(v, vec![tag]))
    }

    /// The position of each token; where nothing is cached they count from 0.
    fn positions(&mut self, args: &[Given]) -> Val {
        let mut sizes = Vec::new();
        for a in args {
            let Some(size) = self.as_size(&a.val, a.span) else { return Val::Poison };
            sizes.push(size);
        }
        let (shape, tags): (Vec<Size>, Vec<_>) = sizes.into_iter().unzip();
        let v = self.b().iota(DType::I64, &shape, shape.len() - 1);
        Val::Tensor(self.tensor(v, tags))
    }

    /// Ones with probability q and zeros, drawn along the axes in brackets and repeated along the others.
    fn bernoulli(&mut self, axes: Option<&AxisArgs>, args: &[Given], span: Span) -> Val {
        let Some(t) = self.tensor_arg("bernoulli", &args[0]) else { return Val::Poison };
        if axes.is_none() {
            let message = "`bernoulli` needs the axes along which it draws: `bernoulli[..](x, q)`";
            return self.error(Diagnostic::error("E0306", span, message));
        }
        let Some(picked) = self.pick_all(&t, axes, "bernoulli") else { return Val::Poison };
        let Val::Num(q) = &args[1].val else {
            let message = format!("a probability is a number, got {}", self.show(&args[1].val));
            return self.error(Diagnostic::error("E0112", args[1].span, message));
        };
        if num::known(&q.value).is_some_and(|q| !(0.0..=1.0).contains(&q)) {
            let message = format!("a probability is from 0 to 1, got {}", self.show(&args[1].val));
            return self.error(Diagnostic::error("E0112", args[1].span, message));
        }
        self.draw(&t, &picked, Some(q), span)
    }

    /// Numbers of [0, 1), drawn along the axes in brackets and repeated along the others; without brackets and argument,
    /// one for each element of the weight whose first value is being worked out.
    fn rand(&mut self, axes: Option<&AxisArgs>, args: &[Given], span: Span) -> Val {
        match (axes, args) {
            (None, []) => self.first_rand(span),
            (Some(_), [x]) => {
                let Some(t) = self.tensor_arg("rand", x) else { return Val::Poison };
                let Some(picked) = self.pick_all(&t, axes, "rand") else { return Val::Poison };
                self.draw(&t, &picked, None, span)
            }
            _ => {
                let message = "`rand` needs the axes along which it draws, and of what: `rand[0](x)`";
                self.error(Diagnostic::error("E0306", span, message))
            }
        }
    }

    /// Random numbers along some axes of a tensor; with a probability, ones where they are below it and zeros elsewhere.
    fn draw(&mut self, t: &Tensor, picked: &[usize], q: Option<&Num>, span: Span) -> Val {
        if !self.may_draw(span) {
            return Val::Poison;
        }
        let mut drawn: Vec<Size> = picked.iter().map(|i| t.axes[*i].size.clone()).collect();
        let real = drawn.len();
        drawn.resize(real.max(2), Size::one());
        let site = self.site();
        let site = self.use_(&site);
        let random = self.b().node(Op::Random, vec![site], Ty { dtype: DType::F32, shape: drawn });
        let mut v = match q {
            Some(q) => {
                let q = self.as_value(&Val::Num(q.clone()), DType::F32);
                let hit = self.b().zip(Prim::Lt, &[random, q]);
                self.b().cast(hit, if t.dtype.is_float() { t.dtype } else { DType::F32 })
            }
            None => random,
        };
        for i in (real..2).rev() {
            v = self.b().split(v, i, &[]);
        }
        for i in 0..t.rank() {
            if !picked.contains(&i) {
                v = self.b().merge(v, i, 0);
            }
        }
        let tags = (0..t.rank()).map(|i| t.axes[i].tag.clone().filter(|_| picked.contains(&i))).collect();
        Val::Tensor(self.tensor(v, tags))
    }

    fn numel(&mut self, a: &Given) -> Val {
        let Some(t) = self.tensor_arg("numel", a) else { return Val::Poison };
        Val::Num(Num::plain(Num::size(&Size::product(t.axes.iter().map(|a| &a.size)))))
    }

    /// Whether a tensor is the result of calling a function that states its own derivative.
    fn made_by(&mut self, args: &[Given]) -> Val {
        self.asked_about = Some(args[0].span);
        let (Val::Tensor(t), Val::Func(Func { target: Target::Item(f), .. })) = (&args[0].val, &args[1].val) else {
            return Val::Bool(false);
        };
        let Some(frame) = self.frames.iter().find(|frame| frame.id == t.frame) else { return Val::Bool(false) };
        Val::Bool(self.is_result_of(&frame.builder.f, t.value, f))
    }

    /// Whether a value is what a function gave, perhaps within a layer or a model that gave it on.
    fn is_result_of(&self, within: &Function, v: Value, item: &Rc<FnItem>) -> bool {
        let (mut f, mut v) = (within, v);
        while let Some(n) = f.nodes.get(v.node as usize) {
            match &n.op {
                Op::Call(id) if self.function_items.get(id) == Some(&item.id) => return true,
                Op::Call(id) => {
                    f = self.program.function(*id);
                    let Some(result) = f.results.get(v.port as usize) else { return false };
                    v = *result;
                }
                Op::View(_) => v = n.args[0],
                _ => return false,
            }
        }
        false
    }

    /// Whether two tensors have one shape. Where they have not, that is told here; numbers fit every shape.
    fn one_shape(&mut self, args: &[Given]) -> Val {
        let (Val::Tensor(a), Val::Tensor(b)) = (&args[0].val, &args[1].val) else { return Val::Bool(true) };
        let apart = |(x, y): (&Axis, &Axis)| x.size.minus(&y.size).known().is_some_and(|d| d != 0);
        if a.rank() == b.rank() && !a.axes.iter().zip(b.axes.iter()).any(apart) {
            return Val::Bool(true);
        }
        let message = format!(
            "element by element of {} and {}: they must have one shape",
            self.show_tensor(a),
            self.show_tensor(b)
        );
        let mut d = Diagnostic::error("E0301", args[0].span, message);
        for (long, short, given) in [(a, b, &args[0]), (b, a, &args[1])] {
            if let Some(k) = extra_axis(long, short) {
                let text = self.text(self.argument_of(given.span)).to_string();
                let index: Vec<&str> = (0..long.rank()).map(|i| if i == k { "0" } else { ":" }).collect();
                d = d.help(format!("`{text}[{}]` has the shape {}", index.join(", "), self.show_names(&short.axes)));
                break;
            }
        }
        self.error(d)
    }

    /// Warns, and goes on, where a condition does not hold.
    fn advise(&mut self, args: &[Given]) -> Val {
        let (Val::Bool(false), Val::Str(message)) = (&args[0].val, &args[1].val) else { return Val::Bool(true) };
        let place = self.asked_about.take().unwrap_or(args[0].span);
        let mut d = Diagnostic::warning("W0802", place, &**message);
        if let Some(Val::Str(help)) = args.get(2).map(|a| &a.val) {
            d = d.help(&**help);
        }
        self.report(d);
        Val::Bool(true)
    }
}
