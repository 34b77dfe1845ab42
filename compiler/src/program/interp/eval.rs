//! The meaning of each operation that is not structure: a node and its arguments' arrays to an array.

use super::array::{Array, number, of_whole, walk, whole};
use super::{Run, RunError, error};
use crate::program::{Contract, Label, Node, Op, ReduceOp, RowOp, Ty, View};
use dlc_plan::random::{GROUP, bits16, key, uniform};
use dlc_plan::{DType, Prim};

/// Runs one node that gives one result, of this shape.
/// `from` is the type of the last argument's elements.
pub(super) fn node(run: &Run, n: &Node, from: DType, args: &[Array], shape: Vec<usize>) -> Result<Array, RunError> {
    let result = match &n.op {
        Op::Const(x) => Array::new(shape, vec![number(n.tys[0].dtype, *x)]),
        Op::Table(all) => Array::new(shape, all.iter().map(|x| number(n.tys[0].dtype, *x)).collect()),
        Op::Map(prim) => map(*prim, from, n.tys[0].dtype, shape, args),
        Op::Reduce(op, axes) => reduce(*op, n.tys[0].dtype, axes, &args[0], shape),
        Op::View(v) => return view(run, v, &args[0], shape),
        Op::Contract(c) => contract(c, &args[0], &args[1], shape),
        Op::Gather => gather(&args[0], &args[1], shape),
        Op::Scatter => scatter(n.tys[0].dtype, &args[0], &args[1], shape),
        Op::Rows(op) => rows(*op, from, &args[0], shape),
        Op::Iota(axis) => iota(*axis, shape),
        Op::Random => random(run, &n.tys[0], &args[0], shape),
        Op::Concat(axis) => Array::concat(shape, *axis, args),
        Op::Stop | Op::Within(_) => args[0].clone(),
        Op::Param(_) | Op::Host(_) | Op::Call(_) | Op::Repeat(_) | Op::Panels(_) => {
            unreachable!("parameters, host scalars and functions are run by the caller")
        }
    };
    if result.shape == n.tys[0].shape.iter().map(|s| s.eval(run.dims) as usize).collect::<Vec<_>>() {
        Ok(result)
    } else {
        error(format!("extents {:?} where the type says otherwise", result.shape))
    }
}

/// A primitive of cells; its operands, but for the truth that chooses, are of type `from`, and its result of type `to`.
fn primitive(prim: Prim, from: DType, to: DType, x: &[f64]) -> f64 {
    if !from.is_float() {
        let mut operands = [0; 3];
        operands.iter_mut().zip(x).for_each(|(n, cell)| *n = whole(*cell));
        if let Some(n) = prim.eval_whole(from, &operands[..x.len()]) {
            return of_whole(n);
        }
        // What is left makes reals of integers.
        return single(to, operands[0]);
    }
    match prim {
        Prim::Where => x[if whole(x[0]) != 0 { 1 } else { 2 }],
        Prim::Cast(to) => number(to, x[0]),
        _ if to == DType::Bool => of_whole(prim.eval(x) as i64),
        _ => prim.eval(x),
    }
}

/// An integer as a real number of a type: the nearest single, rounded again for what is narrower.
fn single(to: DType, n: i64) -> f64 {
    dlc_plan::cast(to, f64::from(n as f32))
}

fn map(prim: Prim, from: DType, to: DType, shape: Vec<usize>, args: &[Array]) -> Array {
    if args.iter().any(|a| a.by_segment) {
        let data: Vec<_> = args.iter().map(Array::contiguous).collect();
        let len = data.iter().map(|d| d.len()).max().unwrap_or(0);
        let at = |i: usize| data.iter().map(|d| d[i.min(d.len() - 1)]).collect::<Vec<f64>>();
        return Array::by_segment((0..len).map(|i| primitive(prim, from, to, &at(i))).collect());
    }
    let mut out = Vec::with_capacity(shape.iter().product());
    let places: Vec<_> = args.iter().map(Array::place).collect();
    let mut x = [0.0; 3];
    walk(&shape, &places, |lane| {
        for i in 0..lane.len as isize {
            for (k, a) in args.iter().enumerate() {
                x[k] = a.data[(lane.at[k] + i * lane.step[k]) as usize];
            }
            out.push(primitive(prim, from, to, &x[..args.len()]));
        }
    });
    Array::new(shape, out)
}

/// What a fold of no elements gives.
fn identity(op: ReduceOp, dtype: DType) -> f64 {
    let limits = |least: i64, greatest: i64| (of_whole(least), of_whole(greatest));
    let (least, greatest) = match dtype {
        DType::F32 | DType::F16 | DType::BF16 => (f64::NEG_INFINITY, f64::INFINITY),
        DType::I64 => limits(i64::MIN, i64::MAX),
        DType::I32 => limits(i32::MIN.into(), i32::MAX.into()),
        DType::U8 => limits(0, 255),
        DType::Bool => limits(0, 1),
    };
    match op {
        ReduceOp::Sum => 0.0,
        ReduceOp::Prod => number(dtype, 1.0),
        ReduceOp::Max => least,
        ReduceOp::Min => greatest,
    }
}

fn reduce(op: ReduceOp, dtype: DType, axes: &[usize], a: &Array, shape: Vec<usize>) -> Array {
    let prim = match op {
        ReduceOp::Sum => Prim::Add,
        ReduceOp::Prod => Prim::Mul,
        ReduceOp::Max => Prim::Max,
        ReduceOp::Min => Prim::Min,
    };
    let mut out = vec![identity(op, dtype); shape.iter().product()];
    let result = Array::new(shape, Vec::new());
    let (dense, _) = result.place();
    let mut kept = dense.iter();
    let strides: Vec<isize> = (0..a.shape.len())
        .map(|k| if axes.contains(&k) { 0 } else { *kept.next().expect("an axis of the result for each that is kept") })
        .collect();
    walk(&a.shape, &[a.place(), (&strides, 0)], |lane| {
        for i in 0..lane.len as isize {
            let to = &mut out[(lane.at[1] + i * lane.step[1]) as usize];
            *to = primitive(prim, dtype, dtype, &[*to, a.data[(lane.at[0] + i * lane.step[0]) as usize]]);
        }
    });
    Array::new(result.shape, out)
}

fn view(run: &Run, v: &View, a: &Array, shape: Vec<usize>) -> Result<Array, RunError> {
    let of = |s: &dlc_plan::Size| s.eval(run.dims);
    let found = match v {
        View::Permute(axes) => Some(a.with_axes(shape.clone(), &axes.iter().copied().map(Some).collect::<Vec<_>>())),
        View::Broadcast(axes) => {
            let from: Vec<_> = (0..shape.len()).map(|k| axes.iter().position(|x| *x == k)).collect();
            Some(a.with_axes(shape.clone(), &from))
        }
        View::Slice { axis, start, step } => a.slice(*axis, of(start), *step, shape[*axis]),
        View::Pad { axis, before } => a.pad(*axis, of(before), shape.clone()),
        View::Affine(axes) => {
            let axes: Vec<_> = axes.iter().map(|a| (of(&a.start), &a.steps[..])).collect();
            a.affine(&axes, shape.clone())
        }
        View::Split { .. } | View::Merge { .. } => a.reshape(shape.clone()),
    };
    found.ok_or_else(|| RunError(format!("{v:?} of {:?} cannot give {shape:?}", a.shape)))
}

/// Batched matrix products: labels of all three lists are batch axes, those of the result and one operand are rows or
/// columns, those of the operands only are summed over.
fn contract(c: &Contract, a: &Array, b: &Array, shape: Vec<usize>) -> Array {
    let has = |labels: &[Label], l: &Label| labels.contains(l);
    let pick =
        |from: &[Label], test: &dyn Fn(&Label) -> bool| from.iter().copied().filter(|l| test(l)).collect::<Vec<_>>();
    let batch = pick(&c.out, &|l| has(&c.a, l) && has(&c.b, l));
    let rows = pick(&c.out, &|l| !has(&c.b, l));
    let cols = pick(&c.out, &|l| !has(&c.a, l));
    let inner = pick(&c.a, &|l| !has(&c.out, l));
    let extent = |l: &Label| match c.a.iter().position(|x| x == l) {
        Some(k) => a.shape[k],
        None => b.shape[c.b.iter().position(|x| x == l).expect("a label stands in an operand")],
    };
    let arrange = |x: &Array, own: &[Label], groups: [&[Label]; 3]| {
        let order: Vec<Label> = groups.concat();
        let axes: Vec<_> = order.iter().map(|l| own.iter().position(|x| x == l)).collect();
        x.with_axes(order.iter().map(extent).collect(), &axes).compact()
    };
    let size = |ls: &[Label]| ls.iter().map(extent).product::<usize>();
    let (m, n, k) = (size(&rows), size(&cols), size(&inner));
    let left = arrange(a, &c.a, [&batch, &rows, &inner]).data;
    let right = arrange(b, &c.b, [&batch, &inner, &cols]).data;
    let mut out = vec![0.0; size(&batch) * m * n];
    for (i, row) in out.chunks_mut(n.max(1)).enumerate() {
        let (batch, left) = (i / m, &left[i * k..][..k]);
        for (j, x) in left.iter().enumerate() {
            for (o, y) in row.iter_mut().zip(&right[(batch * k + j) * n..][..n]) {
                *o += x * y;
            }
        }
    }
    let order = [&batch[..], &rows, &cols].concat();
    let found = Array::new(order.iter().map(extent).collect(), out);
    let axes: Vec<_> = c.out.iter().map(|l| order.iter().position(|x| x == l)).collect();
    found.with_axes(shape, &axes)
}

/// Where the row of an id begins, in a table of `len` rows.
fn row(id: f64, len: usize, width: usize) -> usize {
    (whole(id).max(0) as usize).min(len - 1) * width
}

fn gather(table: &Array, ids: &Array, shape: Vec<usize>) -> Array {
    let (elements, width) = (table.contiguous(), table.shape[1..].iter().product::<usize>());
    let mut out = Vec::with_capacity(shape.iter().product());
    for id in ids.contiguous().iter() {
        match table.shape[0] {
            0 => out.resize(out.len() + width, 0.0),
            len => out.extend_from_slice(&elements[row(*id, len, width)..][..width]),
        }
    }
    Array::new(shape, out)
}

fn scatter(dtype: DType, ids: &Array, rows: &Array, shape: Vec<usize>) -> Array {
    let (elements, width) = (rows.contiguous(), shape[1..].iter().product::<usize>());
    let mut out = vec![0.0; shape.iter().product()];
    for (i, id) in ids.contiguous().iter().enumerate().filter(|_| shape[0] > 0) {
        let to = row(*id, shape[0], width);
        for (o, x) in out[to..][..width].iter_mut().zip(&elements[i * width..]) {
            *o = primitive(Prim::Add, dtype, dtype, &[*o, *x]);
        }
    }
    Array::new(shape, out)
}

/// NaN counts as greater than all numbers, and equal elements keep their order.
fn rows(op: RowOp, dtype: DType, a: &Array, shape: Vec<usize>) -> Array {
    let (elements, keep) = (a.contiguous(), shape.last().copied().unwrap_or(0));
    let len = a.shape.last().copied().unwrap_or(0).max(1);
    let mut out = Vec::with_capacity(shape.iter().product());
    for row in elements.chunks(len) {
        match op {
            RowOp::RunningSum => out.extend(row.iter().scan(0.0, |sum, x| {
                *sum = primitive(Prim::Add, dtype, dtype, &[*sum, *x]);
                Some(*sum)
            })),
            RowOp::Order { descending } => {
                let mut places: Vec<usize> = (0..row.len()).collect();
                places.sort_by(|a, b| {
                    let (x, y) = if descending { (row[*b], row[*a]) } else { (row[*a], row[*b]) };
                    match dtype.is_float() {
                        true => x.partial_cmp(&y).unwrap_or_else(|| x.is_nan().cmp(&y.is_nan())),
                        false => whole(x).cmp(&whole(y)),
                    }
                });
                out.extend(places[..keep].iter().map(|i| of_whole(*i as i64)));
            }
        }
    }
    Array::new(shape, out)
}

fn iota(axis: usize, shape: Vec<usize>) -> Array {
    let numbers = Array::new(vec![shape[axis]], (0..shape[axis]).map(|i| of_whole(i as i64)).collect());
    let axes: Vec<_> = (0..shape.len()).map(|k| (k == axis).then_some(0)).collect();
    numbers.with_axes(shape, &axes)
}

/// Rows are all axes but the last, end to end, counted from the batch's first sample; the last axis is the column. With
/// one axis, each element is a row of its own.
fn random(run: &Run, ty: &Ty, site: &Array, shape: Vec<usize>) -> Array {
    let (rows, cols) = match shape.as_slice() {
        [] => (1, 1),
        [n] => (*n, 1),
        [leading @ .., cols] => (leading.iter().product(), *cols),
    };
    let before = ty.rows_per_sample().map_or(0, |per| run.host.first_sample.wrapping_mul(per.eval(run.dims) as u64));
    let (key, high) = key(run.host.seed, whole(site.contiguous()[0]) as u32);
    let mut out = Vec::with_capacity(rows * cols);
    for r in 0..rows as u64 {
        let row = before.wrapping_add(r) as u32;
        for group in 0..cols.div_ceil(GROUP as usize) {
            let lanes = bits16(key, run.host.step as u32, high, row, group as u32);
            let left = (cols - group * GROUP as usize).min(GROUP as usize);
            out.extend(lanes[..left].iter().map(|b| f64::from(uniform(*b))));
        }
    }
    Array::new(shape, out)
}
