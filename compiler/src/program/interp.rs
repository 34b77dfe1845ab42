//! The plain interpreter: what a program means. Takes a function or an entry and tensors; gives tensors. All arithmetic
//! of reals is in double precision; numbers are rounded only at casts, and where a constant or a host scalar meets a tensor.
//! Integers are of 64 bits and exact; they wrap in their type after each operation. Every pass, both back ends and the runtime are tested against it.

mod array;
mod eval;
mod panels;
mod seek;

use super::{Entry, FnId, Function, Node, Op, Program, Repeat, Role, Ty, View};
use array::Array;
use dlc_plan::{DType, Host, HostState, Size};
use seek::{Seek, is_sound};
use std::fmt;
use std::rc::Rc;

/// A tensor: its extents, and its elements with the last axis fastest. Truths are 0 and 1.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tensor {
    /// The extents of its axes.
    pub shape: Vec<usize>,
    /// Its elements; of integers, the nearest doubles.
    pub data: Vec<f64>,
    /// The elements of a tensor of integers exactly, where one of them is no double.
    pub whole: Option<Vec<i64>>,
}

impl Tensor {
    /// A tensor of these extents.
    pub fn new(shape: impl Into<Vec<usize>>, data: impl Into<Vec<f64>>) -> Tensor {
        Tensor { shape: shape.into(), data: data.into(), whole: None }
    }

    /// A tensor of integers.
    pub fn whole(shape: impl Into<Vec<usize>>, elements: Vec<i64>) -> Tensor {
        let data = elements.iter().map(|n| *n as f64).collect();
        let exact = elements.iter().all(|n| dlc_plan::exact(*n).is_some());
        Tensor { shape: shape.into(), data, whole: (!exact).then_some(elements) }
    }

    /// The elements as integers.
    pub fn integers(&self) -> Vec<i64> {
        self.whole.clone().unwrap_or_else(|| self.data.iter().map(|x| *x as i64).collect())
    }

    /// Tensors of one shape as one, which has leading axes besides: those that `ty`, its type, says.
    pub fn stack(parts: Vec<Tensor>, ty: &Ty) -> Tensor {
        let extent = |s: &Size| usize::try_from(s.known().expect("stacks of weights are static")).unwrap_or(0);
        let shape: Vec<usize> = ty.shape.iter().map(extent).collect();
        if parts.iter().any(|t| t.whole.is_some()) {
            return Tensor::whole(shape, parts.iter().flat_map(Tensor::integers).collect());
        }
        Tensor::new(shape, parts.into_iter().flat_map(|t| t.data).collect::<Vec<f64>>())
    }

    /// The tensors of a stack of so many.
    pub fn unstack(self, count: usize) -> Vec<Tensor> {
        let (mut lead, mut axes) = (1, 0);
        while lead < count {
            lead *= self.shape[axes];
            axes += 1;
        }
        let (shape, len) = (&self.shape[axes..], self.data.len() / count.max(1));
        let part = |i: usize| match &self.whole {
            Some(all) => Tensor::whole(shape, all[i * len..(i + 1) * len].to_vec()),
            None => Tensor::new(shape, &self.data[i * len..(i + 1) * len]),
        };
        (0..count).map(part).collect()
    }

    /// A number without axes.
    pub fn scalar(x: f64) -> Tensor {
        Tensor::new(Vec::new(), vec![x])
    }
}

/// Why a function could not be run: what was given does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunError(pub String);

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RunError {}

/// Fewer elements than this need not be asked for before they are made.
const MANY: usize = 1 << 24;

fn error<T>(message: String) -> Result<T, RunError> {
    Err(RunError(message))
}

/// Runs an entry on one tensor for each of its inputs; gives one for each of its outputs. The dynamic sizes are those of
/// the inputs' axes; guards and the ranges of indices are checked.
pub fn run_entry(p: &Program, e: &Entry, args: Vec<Tensor>, host: &HostState) -> Result<Vec<Tensor>, RunError> {
    let dims = bind(p, e.function, &args)?;
    for (condition, message) in &e.guards {
        if condition.eval(host, &dims, &[], 0) == 0.0 {
            return error(condition.refused(message, &p.dims, &dims));
        }
    }
    for (role, tensor) in e.inputs.iter().zip(&args) {
        if let Role::Index(name, limit) | Role::Narrow(name, limit) = role {
            let below = limit.below.eval(&dims);
            let outside = |x: &i64| !(0..below).contains(x) && limit.except != Some(*x);
            if let Some(x) = tensor.integers().into_iter().find(outside) {
                return error(format!("{name} {x} is outside 0..{below}"));
            }
        }
    }
    run(p, e.function, args, &dims, host)
}

/// Where an entry first makes a number that single precision does not have out of such as it has: the path of the member,
/// or the name of the function where that is no member. `None` where there is no such place.
pub fn first_unsound(p: &Program, e: &Entry, args: Vec<Tensor>, host: &HostState) -> Result<Option<String>, RunError> {
    let dims = bind(p, e.function, &args)?;
    let params = &p.function(e.function).params;
    let arrays = args.into_iter().zip(params).map(|(arg, q)| taken(arg, q.ty.dtype)).collect();
    let mut run = Run { p, dims: &dims, host, rows: Vec::new(), seek: Some(Seek::default()) };
    let done = run.function(p.function(e.function), arrays);
    match run.seek.and_then(|seek| seek.found) {
        Some(place) => Ok(Some(place)),
        None => done.map(|_| None),
    }
}

/// The dynamic sizes, from the extents of a function's arguments. A size that no argument tells is 0.
pub fn bind(p: &Program, f: FnId, args: &[Tensor]) -> Result<Vec<i64>, RunError> {
    let mut dims: Vec<Option<i64>> = vec![None; p.dims.len()];
    for (param, arg) in p.function(f).params.iter().zip(args) {
        for (size, extent) in param.ty.shape.iter().zip(&arg.shape) {
            let [d] = size.dims()[..] else { continue };
            if *size != Size::dim(d) {
                continue;
            }
            match dims[d as usize].replace(*extent as i64) {
                Some(old) if old != *extent as i64 => {
                    return error(format!("{} is {old} and {extent} (in {})", p.dims[d as usize], param.name));
                }
                Some(_) | None => {}
            }
        }
    }
    Ok(dims.into_iter().map(Option::unwrap_or_default).collect())
}

/// Runs a function, where the dynamic sizes are `dims`.
pub fn run(p: &Program, f: FnId, args: Vec<Tensor>, dims: &[i64], host: &HostState) -> Result<Vec<Tensor>, RunError> {
    let function = p.function(f);
    if args.len() != function.params.len() {
        return error(format!(
            "{} takes {} tensors, and {} are given",
            function.name,
            function.params.len(),
            args.len()
        ));
    }
    let mut run = Run { p, dims, host, rows: Vec::new(), seek: None };
    let mut arrays = Vec::new();
    for (param, arg) in function.params.iter().zip(args) {
        let expected = run.extents(&param.ty.shape)?;
        if arg.shape != expected || arg.data.len() != expected.iter().product::<usize>() {
            return error(format!("{} is {:?}, where {expected:?} is expected", param.name, arg.shape));
        }
        arrays.push(taken(arg, param.ty.dtype));
    }
    let results = run.function(function, arrays)?;
    Ok(results.into_iter().zip(function.result_tys()).map(|(a, ty)| given(a, ty.dtype)).collect())
}

/// What stays the same while a function runs, and the iterations of the loops around it, outermost first.
struct Run<'a> {
    p: &'a Program,
    dims: &'a [i64],
    host: &'a HostState,
    rows: Vec<usize>,
    /// What is looked for on the way.
    seek: Option<Seek>,
}

impl Run<'_> {
    /// The extents of a tensor that there is memory for: one that large is not made otherwise.
    fn extents(&self, shape: &[Size]) -> Result<Vec<usize>, RunError> {
        let extent = |s: &Size| usize::try_from(s.eval(self.dims)).ok();
        let extents: Option<Vec<usize>> = shape.iter().map(extent).collect();
        let extents = extents.ok_or_else(|| RunError("an axis has a negative extent".into()))?;
        let count = extents.iter().try_fold(1usize, |n, e| n.checked_mul(*e));
        let fits = |n| n <= MANY || Vec::<f64>::new().try_reserve_exact(n).is_ok();
        match count {
            Some(n) if fits(n) => Ok(extents),
            _ => error(format!("there is no memory for a tensor of {extents:?}")),
        }
    }

    /// Runs a function. A value is given up as soon as its last user has had it.
    fn function(&mut self, f: &Function, args: Vec<Array>) -> Result<Vec<Array>, RunError> {
        let mut uses: Vec<Vec<usize>> = f.nodes.iter().map(|n| vec![0; n.tys.len()]).collect();
        for v in f.nodes.iter().flat_map(|n| &n.args).chain(&f.results) {
            uses[v.node as usize][v.port as usize] += 1;
        }
        let mut values: Vec<Vec<Option<Array>>> = Vec::with_capacity(f.nodes.len());
        let mut args = args.into_iter();
        for (i, n) in f.nodes.iter().enumerate() {
            let results = if let Op::Param(_) = n.op {
                vec![args.next().expect("there is an argument for each parameter")]
            } else if uses[i].iter().all(|n| *n == 0) {
                Vec::new()
            } else {
                let taken: Vec<Array> = n.args.iter().map(|a| take(&mut values, &mut uses, *a)).collect();
                let sound =
                    self.seek.is_some() && taken.iter().zip(&n.args).all(|(array, v)| is_sound(array, f.ty(*v).dtype));
                let results =
                    self.node(f, n, taken).map_err(|RunError(e)| RunError(format!("{e} (%{i} of {})", f.name)))?;
                if let (true, Some(seek)) = (sound, &mut self.seek) {
                    seek.look(f, n, &results)?;
                }
                results
            };
            values.push(results.into_iter().map(Some).collect());
        }
        Ok(f.results.iter().map(|v| take(&mut values, &mut uses, *v)).collect())
    }

    fn node(&mut self, f: &Function, n: &Node, args: Vec<Array>) -> Result<Vec<Array>, RunError> {
        if let Op::Call(g) = &n.op {
            return self.within(&n.origin.member, |run| run.function(run.p.function(*g), args));
        }
        if let Op::Repeat(r) = &n.op {
            return self.repeat(r, args);
        }
        if let Op::Panels(k) = &n.op {
            return self.within(&n.origin.member, |run| run.panels(k, &args));
        }
        if let Op::Host(h) = &n.op {
            return Ok(vec![self.host_scalar(h, n.tys[0].dtype)]);
        }
        if args.first().is_some_and(|a| a.by_segment) && matches!(n.op, Op::View(View::Broadcast(_))) {
            return Ok(vec![self.segments_filled(&args[0])]);
        }
        let shape = self.extents(&n.tys[0].shape)?;
        let from = n.args.last().map_or(n.tys[0].dtype, |a| f.ty(*a).dtype);
        Ok(vec![eval::node(self, n, from, &args, shape)?])
    }

    /// Runs what belongs to a member.
    fn within<T>(&mut self, member: &Rc<str>, f: impl FnOnce(&mut Self) -> T) -> T {
        if let Some(seek) = &mut self.seek {
            seek.path.push(member.clone());
        }
        let done = f(self);
        if let Some(seek) = &mut self.seek {
            seek.path.pop();
        }
        done
    }

    fn host_scalar(&self, h: &Host, dtype: DType) -> Array {
        let value = |segment| array::number(dtype, h.eval(self.host, self.dims, &self.rows, segment));
        if super::verify::differs_by_segment(h) {
            return Array::by_segment((0..self.p.segments().0.len()).map(value).collect());
        }
        Array::new(Vec::new(), vec![value(0)])
    }

    /// A scalar that differs by segment, once for each element of the arena.
    fn segments_filled(&self, scalar: &Array) -> Array {
        let (starts, whole) = self.p.segments();
        let mut pieces: Vec<(usize, f64)> =
            starts.iter().map(|s| s.1).zip(scalar.contiguous().iter().copied()).collect();
        pieces.sort_by_key(|piece| piece.0);
        let ends = pieces.iter().skip(1).map(|piece| piece.0).chain([whole]).collect::<Vec<_>>();
        let mut data = Vec::with_capacity(whole);
        for ((_, x), end) in pieces.into_iter().zip(ends) {
            data.resize(end, x);
        }
        Array::new(vec![whole], data)
    }

    fn repeat(&mut self, r: &Repeat, args: Vec<Array>) -> Result<Vec<Array>, RunError> {
        let body = self.p.function(r.body);
        let (first, rest) = args.split_at(r.carried);
        let (invariants, rest) = rest.split_at(r.invariant);
        let (stacks, rows) = rest.split_at(r.stacks);
        let mut carried = first.to_vec();
        let mut per_iteration: Vec<Vec<Array>> = vec![Vec::new(); r.count];
        for k in 0..r.count {
            let i = if r.reverse { r.count - 1 - k } else { k };
            let mut given = carried;
            given.extend_from_slice(invariants);
            given.extend(stacks.iter().map(|s| s.element(i)));
            given.extend(rows.chunks(r.count).map(|slot| slot[i].clone()));
            self.rows.push(i);
            let member = r.members.get(i).cloned().unwrap_or_default();
            let mut results = self.within(&member, |run| run.function(body, given))?;
            self.rows.pop();
            per_iteration[i] = results.split_off(r.carried);
            carried = results;
        }
        let column = |j: usize| per_iteration.iter().map(|out| out[j].clone()).collect::<Vec<_>>();
        carried.extend((0..r.stacked).map(|j| Array::stack(&column(j))));
        carried.extend((r.stacked..r.stacked + r.row_results).flat_map(column));
        Ok(carried)
    }
}

/// A value for one of its users; the last one gets it for good.
fn take(values: &mut [Vec<Option<Array>>], uses: &mut [Vec<usize>], v: super::Value) -> Array {
    let (left, slot) = (&mut uses[v.node as usize][v.port as usize], &mut values[v.node as usize][v.port as usize]);
    *left -= 1;
    let array = if *left == 0 { slot.take() } else { slot.clone() };
    array.expect("a value is kept until its last use")
}

/// A tensor of a type as an array.
fn taken(t: Tensor, dtype: DType) -> Array {
    if dtype.is_float() {
        return Array::new(t.shape, t.data);
    }
    let cells = t.integers().into_iter().map(|n| array::of_whole(dlc_plan::wrap(dtype, n))).collect();
    Array::new(t.shape, cells)
}

/// An array of a type as a tensor.
fn given(a: Array, dtype: DType) -> Tensor {
    let a = a.compact();
    let data = Rc::try_unwrap(a.data).unwrap_or_else(|shared| shared.to_vec());
    if dtype.is_float() {
        return Tensor::new(a.shape, data);
    }
    Tensor::whole(a.shape, data.into_iter().map(array::whole).collect())
}
