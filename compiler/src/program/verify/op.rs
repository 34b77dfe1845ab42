//! The invariants of a single node: what each operation takes and gives. Takes a node whose arguments exist.

use super::{Fault, called, host, results_of, same_types, sizes_exist};
use crate::program::{Affine, Contract, Function, Node, Op, Panels, Program, ReduceOp, Repeat, RowOp, Ty, View, print};
use dlc_plan::{Atom, DType, Gives, Prim, Size};

/// Checks invariants 3 to 12 and 16 for one node.
pub(super) fn check(p: &Program, f: &Function, n: &Node) -> Result<(), Fault> {
    let args: Vec<&Ty> = n.args.iter().map(|a| f.ty(*a)).collect();
    let arity = match &n.op {
        Op::Param(_) | Op::Const(_) | Op::Table(_) | Op::Host(_) | Op::Iota(_) => Some(0),
        Op::Map(prim) => Some(prim.row().arity),
        Op::Reduce(..) | Op::View(_) | Op::Random | Op::Stop | Op::Within(_) | Op::Rows(_) => Some(1),
        Op::Contract(_) | Op::Gather | Op::Scatter => Some(2),
        Op::Concat(_) | Op::Call(_) | Op::Repeat(_) | Op::Panels(_) => None,
    };
    if arity.is_some_and(|k| k != args.len()) {
        return Err((3, format!("{} arguments", args.len())));
    }
    let many = matches!(n.op, Op::Call(_) | Op::Repeat(_) | Op::Panels(_));
    if !many && n.tys.len() != 1 {
        return Err((3, format!("{} results", n.tys.len())));
    }
    match &n.op {
        Op::Param(_) => Ok(()),
        Op::Const(x) => scalar(&n.tys[0]).and_then(|()| constant(n.tys[0].dtype, *x)),
        Op::Table(elements) => table(&n.tys[0], elements),
        Op::Host(h) => scalar(&n.tys[0]).and_then(|()| host(p, h)),
        Op::Map(prim) => map(p, *prim, &args, &n.tys[0]),
        Op::Reduce(op, axes) => reduce(p, *op, axes, args[0], &n.tys[0]),
        Op::View(v) => view(p, v, args[0], &n.tys[0]),
        Op::Contract(c) => contract(p, c, &args, &n.tys[0]),
        Op::Gather => gather(p, args[0], args[1], &n.tys[0]),
        Op::Scatter => gather(p, &n.tys[0], args[0], args[1]),
        Op::Rows(op) => rows(p, *op, args[0], &n.tys[0]),
        Op::Iota(axis) => in_range(3, *axis, &n.tys[0])
            .and_then(|()| if n.tys[0].dtype.is_int() { Ok(()) } else { Err((3, "an index is an integer".into())) }),
        Op::Random if *args[0] != Ty::scalar(DType::I32) => Err((5, "a site is an i32 without axes".into())),
        Op::Random if n.tys[0].dtype != DType::F32 => Err((4, "random numbers are f32".into())),
        Op::Random => Ok(()),
        Op::Concat(axis) => concat(p, *axis, &args, &n.tys[0]),
        Op::Stop => same_types(p, 4, "stop", &args, &[&n.tys[0]]),
        Op::Within(bound) if args[0].dtype.is_int() => {
            sizes_exist(p, [&bound.below])?;
            same_types(p, 4, "within", &args, &[&n.tys[0]])
        }
        Op::Within(_) => Err((4, format!("{} cannot index", args[0].dtype))),
        Op::Call(g) => {
            let g = called(p, *g)?;
            same_types(p, 11, "arguments", &args, &g.params.iter().map(|q| &q.ty).collect::<Vec<_>>())?;
            same_types(p, 11, "results", &n.tys.iter().collect::<Vec<_>>(), &results_of(g)?)
        }
        Op::Repeat(r) => repeat(p, r, &args, &n.tys),
        Op::Panels(k) => panels(p, k, &args, &n.tys),
    }
}

fn scalar(t: &Ty) -> Result<(), Fault> {
    if t.shape.is_empty() { Ok(()) } else { Err((5, "a constant or host scalar with axes".into())) }
}

fn table(t: &Ty, elements: &[f64]) -> Result<(), Fault> {
    if t.len().known() != Some(elements.len() as i64) {
        return Err((5, format!("{} elements of a table of {:?}", elements.len(), t.shape)));
    }
    elements.iter().try_for_each(|x| constant(t.dtype, *x))
}

fn constant(dtype: DType, x: f64) -> Result<(), Fault> {
    let fits = match dtype {
        DType::F32 | DType::F16 | DType::BF16 => true,
        DType::I64 | DType::I32 | DType::U8 => x == x.trunc(),
        DType::Bool => x == 0.0 || x == 1.0,
    };
    if fits { Ok(()) } else { Err((5, format!("{x} is no {dtype}"))) }
}

fn in_range(number: u8, axis: usize, t: &Ty) -> Result<(), Fault> {
    if axis < t.rank() { Ok(()) } else { Err((number, format!("axis {axis} of {} axes", t.rank()))) }
}

fn map(p: &Program, prim: Prim, args: &[&Ty], out: &Ty) -> Result<(), Fault> {
    if let Some(odd) = args.iter().find(|a| a.shape != out.shape) {
        let name = prim.name();
        return Err((4, format!("{name}: an operand {} for a result {}", print::ty(p, odd), print::ty(p, out))));
    }
    let all = |d: DType| args.iter().all(|a| a.dtype == d);
    let fits = match prim.row().gives {
        Gives::Same => all(out.dtype) && out.dtype != DType::Bool,
        Gives::Real => all(out.dtype) && out.dtype.is_float(),
        Gives::Truth => all(args[0].dtype) && out.dtype == DType::Bool,
        Gives::Logic => all(DType::Bool) && out.dtype == DType::Bool,
        Gives::Choice => args[0].dtype == DType::Bool && args[1..].iter().all(|a| a.dtype == out.dtype),
        Gives::Named => prim == Prim::Cast(out.dtype),
    };
    let types = || args.iter().map(|a| a.dtype.name()).collect::<Vec<_>>().join(", ");
    if fits { Ok(()) } else { Err((4, format!("{} of {} gives {}", prim.name(), types(), out.dtype))) }
}

fn reduce(p: &Program, op: ReduceOp, axes: &[usize], a: &Ty, out: &Ty) -> Result<(), Fault> {
    if axes.is_empty() || axes.windows(2).any(|w| w[0] >= w[1]) {
        return Err((6, format!("the axes {axes:?} are not ascending")));
    }
    axes.iter().try_for_each(|i| in_range(6, *i, a))?;
    if a.dtype == DType::Bool && matches!(op, ReduceOp::Sum | ReduceOp::Prod) {
        return Err((6, format!("the {} of truths", print::reduce_name(op))));
    }
    let shape = a.shape.iter().enumerate().filter(|(i, _)| !axes.contains(i)).map(|(_, s)| s.clone()).collect();
    same_types(p, 6, "result", &[out], &[&Ty { dtype: a.dtype, shape }])
}

fn view(p: &Program, v: &View, a: &Ty, out: &Ty) -> Result<(), Fault> {
    let expect = |shape: Vec<Size>| same_types(p, 7, "result", &[out], &[&Ty { dtype: a.dtype, shape }]);
    match v {
        View::Permute(axes) => {
            let mut sorted = axes.clone();
            sorted.sort_unstable();
            if !sorted.into_iter().eq(0..a.rank()) {
                return Err((7, format!("{axes:?} is no permutation of {} axes", a.rank())));
            }
            expect(axes.iter().map(|i| a.shape[*i].clone()).collect())
        }
        View::Broadcast(axes) => {
            if axes.len() != a.rank() || axes.windows(2).any(|w| w[0] >= w[1]) {
                return Err((7, format!("{axes:?} for {} axes", a.rank())));
            }
            axes.iter().try_for_each(|i| in_range(7, *i, out))?;
            let mut shape = out.shape.clone();
            for (i, s) in axes.iter().zip(&a.shape) {
                shape[*i] = s.clone();
            }
            expect(shape)
        }
        View::Slice { axis, start, step } => {
            one_axis(p, *axis, start, *step, a, out)?;
            inside(start, *step, &out.shape[*axis], &a.shape[*axis])
        }
        View::Pad { axis, before } => {
            one_axis(p, *axis, before, 1, a, out)?;
            inside(before, 1, &a.shape[*axis], &out.shape[*axis])
        }
        View::Affine(axes) => {
            if axes.len() != a.rank() || a.dtype != out.dtype {
                return Err((7, format!("{} indices for {}", axes.len(), print::ty(p, a))));
            }
            axes.iter().zip(&a.shape).try_for_each(|(at, extent)| affine(p, at, extent, out))
        }
        View::Split { axis, count } => regroup(p, *axis, *count, a, out),
        View::Merge { axis, count } => regroup(p, *axis, *count, out, a),
    }
}

/// A slice or a pad: the types differ in the extent of one axis only.
fn one_axis(p: &Program, axis: usize, at: &Size, step: i64, a: &Ty, out: &Ty) -> Result<(), Fault> {
    in_range(7, axis, a)?;
    sizes_exist(p, [at])?;
    if step == 0 {
        return Err((7, "the step is zero".into()));
    }
    in_range(7, axis, out)?;
    let mut expected = a.clone();
    expected.shape[axis] = out.shape[axis].clone();
    same_types(p, 7, "result", &[out], &[&expected])
}

/// An affine index of an axis: its steps are in order, and where all is known it stays inside.
fn affine(p: &Program, at: &Affine, extent: &Size, out: &Ty) -> Result<(), Fault> {
    sizes_exist(p, [&at.start])?;
    at.steps.iter().try_for_each(|(axis, _)| in_range(7, *axis, out))?;
    if at.steps.windows(2).any(|w| w[0].0 >= w[1].0) || at.steps.iter().any(|s| s.1 == 0) {
        return Err((7, format!("the steps {:?}", at.steps)));
    }
    let reach = |(axis, step): &(usize, i64)| out.shape[*axis].known().map(|n| (n - 1) * step);
    let reaches: Option<Vec<i64>> = at.steps.iter().map(reach).collect();
    let (Some(start), Some(reaches), Some(extent)) = (at.start.known(), reaches, extent.known()) else { return Ok(()) };
    let low = start + reaches.iter().filter(|r| **r < 0).sum::<i64>();
    let high = start + reaches.iter().filter(|r| **r > 0).sum::<i64>();
    let fits = (0 <= low && high < extent) || out.shape.iter().any(|s| s.is(0));
    if fits { Ok(()) } else { Err((7, format!("{low}..={high} of an axis of {extent}"))) }
}

/// Where all is known: `len` elements from `start` in steps of `step` lie in `0..extent`.
fn inside(start: &Size, step: i64, len: &Size, extent: &Size) -> Result<(), Fault> {
    let (Some(first), Some(len), Some(extent)) = (start.known(), len.known(), extent.known()) else { return Ok(()) };
    let last = first + (len - 1) * step;
    let fits = len == 0 || (0..extent).contains(&first) && (0..extent).contains(&last);
    if fits && len >= 0 { Ok(()) } else { Err((7, format!("{first}..={last} of an axis of {extent}"))) }
}

/// One axis of `one` is `count` axes of `many`.
fn regroup(p: &Program, axis: usize, count: usize, one: &Ty, many: &Ty) -> Result<(), Fault> {
    let (r, m) = (one.rank(), many.rank());
    if axis >= r || m + 1 != r + count || one.dtype != many.dtype {
        return Err((7, format!("axis {axis} of {} and {count} axes of {}", print::ty(p, one), print::ty(p, many))));
    }
    let (whole, parts) = (&one.shape[axis], &many.shape[axis..axis + count]);
    let rest = one.shape[..axis] == many.shape[..axis] && one.shape[axis + 1..] == many.shape[axis + count..];
    let floor = |s: &Size| s.terms().iter().flat_map(|t| &t.atoms).any(|a| matches!(a, Atom::Quot(..)));
    // A floor quotient times its divisor is the whole only under a guard at entry, which is not visible here.
    let product = Size::product(parts) == *whole || floor(whole) || parts.iter().any(floor);
    if rest && product {
        Ok(())
    } else {
        Err((7, format!("axis {axis} of {} is not {count} axes of {}", print::ty(p, one), print::ty(p, many))))
    }
}

fn contract(p: &Program, c: &Contract, args: &[&Ty], out: &Ty) -> Result<(), Fault> {
    let lists = [(&c.a, args[0]), (&c.b, args[1]), (&c.out, out)];
    for (labels, t) in lists {
        if labels.len() != t.rank() {
            return Err((8, format!("{} labels for {}", labels.len(), print::ty(p, t))));
        }
        for (i, l) in labels.iter().enumerate() {
            let found: Vec<&Size> = lists
                .iter()
                .flat_map(|(ls, t)| ls.iter().zip(&t.shape).filter(|(x, _)| *x == l).map(|(_, s)| s))
                .collect();
            if labels[..i].contains(l) || found.len() < 2 {
                return Err((8, format!("label {l} stands twice in one list, or in one list only")));
            }
            if found.iter().any(|s| *s != found[0]) {
                return Err((
                    8,
                    format!("axes of label {l} differ: {} and {}", print::ty(p, args[0]), print::ty(p, args[1])),
                ));
            }
        }
    }
    if args[0].dtype != args[1].dtype || !args[0].dtype.is_float() || out.dtype != DType::F32 {
        return Err((8, format!("{} by {} gives {}", args[0].dtype, args[1].dtype, out.dtype)));
    }
    Ok(())
}

/// (table [V, ..D], ids [..I], rows [..I, ..D]), for gather and, the other way round, for scatter.
fn gather(p: &Program, table: &Ty, ids: &Ty, rows: &Ty) -> Result<(), Fault> {
    if !ids.dtype.is_int() {
        return Err((9, format!("ids are {}", ids.dtype)));
    }
    let Some(row) = table.shape.get(1..) else { return Err((9, "a table without axes".into())) };
    let shape: Vec<Size> = ids.shape.iter().chain(row).cloned().collect();
    same_types(p, 9, "rows", &[rows], &[&Ty { dtype: table.dtype, shape }])
}

/// A row may end earlier in the result of an order; all other axes stay.
fn rows(p: &Program, op: RowOp, arg: &Ty, out: &Ty) -> Result<(), Fault> {
    if arg.shape.is_empty() || arg.dtype == DType::Bool {
        return Err((9, format!("rows of {}", print::ty(p, arg))));
    }
    let mut expected = arg.clone();
    if let RowOp::Order { .. } = op {
        expected.dtype = if out.dtype == DType::I32 { DType::I32 } else { DType::I64 };
        expected.shape[arg.rank() - 1] = out.shape.last().cloned().unwrap_or(Size::zero());
    }
    same_types(p, 9, "rows", &[out], &[&expected])
}

fn concat(p: &Program, axis: usize, args: &[&Ty], out: &Ty) -> Result<(), Fault> {
    in_range(10, axis, out)?;
    let mut sum = Size::zero();
    for a in args {
        in_range(10, axis, a)?;
        sum = sum.plus(&a.shape[axis]);
        let mut expected = out.clone();
        expected.shape[axis] = a.shape[axis].clone();
        same_types(p, 10, "argument", &[a], &[&expected])?;
    }
    if sum == out.shape[axis] { Ok(()) } else { Err((10, format!("axis {axis} is {sum}, not {}", out.shape[axis]))) }
}

fn repeat(p: &Program, r: &Repeat, args: &[&Ty], tys: &[Ty]) -> Result<(), Fault> {
    if r.count == 0 || r.members.len() != r.count && !r.members.is_empty() {
        return Err((12, format!("{} times, with {} members", r.count, r.members.len())));
    }
    let body = called(p, r.body)?;
    let params: Vec<&Ty> = body.params.iter().map(|q| &q.ty).collect();
    let results: Vec<Ty> = results_of(body)?.into_iter().cloned().collect();
    if params.len() != r.carried + r.invariant + r.stacks + r.rows
        || results.len() != r.carried + r.stacked + r.row_results
    {
        return Err((12, format!("{} parameters and {} results of the body", params.len(), results.len())));
    }
    let (same, rest) = params.split_at(r.carried + r.invariant);
    let (slices, rows) = rest.split_at(r.stacks);
    let stacks: Vec<Ty> = slices.iter().map(|t| r.stack_ty(t)).collect();
    let rows = rows.iter().flat_map(|t| std::iter::repeat_n(*t, r.count));
    let expected: Vec<&Ty> = same.iter().copied().chain(&stacks).chain(rows).collect();
    same_types(p, 12, "arguments", args, &expected)?;
    let (next, carried) = (results[..r.carried].iter().collect::<Vec<_>>(), &params[..r.carried]);
    same_types(p, 12, "carried results", &next, carried)?;
    let expected = r.result_tys(&results);
    same_types(p, 12, "results", &tys.iter().collect::<Vec<_>>(), &expected.iter().collect::<Vec<_>>())
}

fn panels(p: &Program, k: &Panels, args: &[&Ty], tys: &[Ty]) -> Result<(), Fault> {
    let body = called(p, k.body)?;
    let results: Vec<Ty> = results_of(body)?.into_iter().cloned().collect();
    if k.cuts.is_empty() || k.serial.len() != k.cuts.len() || results.len() != k.results.len() {
        return Err((21, format!("{} cuts and {} results", k.cuts.len(), results.len())));
    }
    sizes_exist(p, k.cuts.iter().chain([&k.width]))?;
    sizes_exist(p, (0..=k.cuts.len() as u16).map(|i| Size::dim(k.first + i)).collect::<Vec<_>>().iter())?;
    for (lead, ty) in k.results.iter().zip(&results) {
        let extents = lead.iter().map(|c| k.piece_extent(*c)).collect::<Vec<_>>();
        let known = lead.iter().all(|c| usize::from(*c) < k.cuts.len());
        if !known
            || !ty.shape.starts_with(&extents)
            || (0..k.cuts.len()).any(|c| !k.serial[c] && !lead.contains(&(c as u8)))
        {
            return Err((21, format!("a piece {} over the cuts {lead:?}", print::ty(p, ty))));
        }
    }
    let sums = k.sums();
    let params: Vec<&Ty> = body.params.iter().map(|q| &q.ty).collect();
    let expected: Vec<&Ty> = args.iter().copied().chain(sums.iter().map(|i| &results[*i])).collect();
    same_types(p, 21, "arguments", &params, &expected)?;
    let expected = k.result_tys(&results);
    same_types(p, 21, "results", &tys.iter().collect::<Vec<_>>(), &expected.iter().collect::<Vec<_>>())
}
