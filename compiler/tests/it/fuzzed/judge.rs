//! What has to be so for every valid spec, on inputs of any size:
//!
//! - it is compiled, and its text as `dlc fmt` writes it is the same spec;
//! - each kernel of machine code does what the reference evaluator says, bit by bit;
//! - one thread and two give the same bits;
//! - machine code is as near to the interpreter as rounding allows, outputs, loss and gradients;
//! - the interpreter's gradients are the slopes of its loss;
//! - all refuse the same inputs.

use super::dice::Dice;
use super::noise::noisy;
use super::run::{Named, Ready, by_engine, by_interpreter, inputs, number, ready};
use super::spec::Spec;
use crate::simulate;
use crate::support::bits::difference;
use dlc_compiler::program::interp::{Tensor, first_unsound};
use dlc_compiler::program::{Program, Role};
use dlc_grammar::Diagnostic;
use dlc_grammar::parse::parse;
use dlc_grammar::print::format;
use dlc_grammar::tree::tree;
use dlc_plan::{HostState, Plan};

/// How many checks were made, to see that they were.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    /// Runs that were refused by all.
    pub refused: usize,
    /// Runs that were compared.
    pub compared: usize,
    /// Runs with a number that single precision does not have, of which bits alone were compared.
    pub unsound: usize,
    /// Slopes that were compared with gradients.
    pub slopes: usize,
}

impl Count {
    pub fn add(&mut self, other: Count) {
        self.refused += other.refused;
        self.compared += other.compared;
        self.unsound += other.unsound;
        self.slopes += other.slopes;
    }
}

/// Makes inputs for a plan where the dynamic sizes are these.
pub type Inputs<'a> = dyn Fn(&Plan, [i64; 2], &mut Dice) -> Named + 'a;

/// Judges a spec on inputs of these sizes; the error says what is wrong.
pub fn judge(spec: &Spec, sizes: &[[i64; 2]], seed: u64) -> Result<Count, String> {
    judge_text(&spec.text(), sizes, seed, &|_, sizes, dice| inputs(spec, sizes, dice))
}

/// Judges a text on inputs that are made where its dynamic sizes are these.
pub fn judge_text(text: &str, sizes: &[[i64; 2]], seed: u64, make: &Inputs) -> Result<Count, String> {
    printed(text)?;
    let host = HostState { step: 3, steps: 10, first_sample: 5, seed: 9, ..HostState::default() };
    let mut r = ready(text, &host)?;
    let mut count = Count::default();
    for (n, sizes) in sizes.iter().enumerate() {
        let at = |e: String| format!("B = {}, T = {}: {e}", sizes[0], sizes[1]);
        let given = make(&r.compiled.plan, *sizes, &mut Dice::seeded(seed.wrapping_add(n as u64)));
        for entry in ["forward", "grad"] {
            one(&mut r, entry, &given, &host, &mut count).map_err(|e| at(format!("{entry}: {e}")))?;
        }
        if !rough(text) {
            slopes(&r, &given, &host, &mut count).map_err(at)?;
        }
    }
    Ok(count)
}

/// The text as the formatter writes it is the same spec, and is written so again.
pub fn printed(text: &str) -> Result<(), String> {
    let (spec, errors) = parse(text, 0);
    if errors.iter().any(Diagnostic::is_error) {
        return Ok(());
    }
    let formatted = format(text).map_err(|d| format!("it cannot be formatted: {d:?}"))?;
    let (again, errors) = parse(&formatted, 0);
    if errors.iter().any(Diagnostic::is_error) || tree(&again) != tree(&spec) {
        return Err(format!("formatted it is another spec:\n{formatted}"));
    }
    match format(&formatted) {
        Ok(twice) if twice == formatted => Ok(()),
        _ => Err(format!("formatted twice it is another text:\n{formatted}")),
    }
}

fn one(r: &mut Ready, entry: &str, given: &Named, host: &HostState, count: &mut Count) -> Result<(), String> {
    let expected = by_interpreter(&r.compiled.program, entry, &r.weights, given, host);
    let [one, two] = r.engines.each_mut().map(|engine| by_engine(engine, entry, given, host));
    let (expected, one, two) = match (expected, one, two) {
        (Ok(expected), Ok(one), Ok(two)) => (expected, one, two),
        (Err(_), Err(a), Err(b)) if a == b => {
            count.refused += 1;
            return Ok(());
        }
        (expected, one, two) => {
            let [a, b] = [one.err(), two.err()];
            return Err(format!("not all refuse it: interpreter {:?}, machine code {a:?} and {b:?}", expected.err()));
        }
    };
    if let Some((name, _)) = one.iter().zip(&two).map(|(a, b)| (&a.0, a.1.bytes() == b.1.bytes())).find(|(_, s)| !s) {
        return Err(format!("`{name}` has other bits on two threads"));
    }
    kernels(r, entry, given, host)?;
    let e = r.compiled.program.entry(entry).expect("it was run");
    let args = args(&r.compiled.program, entry, &r.weights, given);
    if first_unsound(&r.compiled.program, e, args, host).map_err(|e| e.0)?.is_some() {
        count.unsound += 1;
        return Ok(());
    }
    count.compared += 1;
    let found: Named = one.iter().map(|(name, t)| (name.clone(), number(t))).collect();
    if found.iter().all(|(name, t)| near(&expected[name], t)) {
        return Ok(());
    }
    let Some(why) = far(&r.compiled.program, entry, &r.weights, given, host, &expected, &found, (3, 8.0)) else {
        return Ok(());
    };
    // A number beside a jump may fall to either side: more noise shows that.
    match far(&r.compiled.program, entry, &r.weights, given, host, &expected, &found, (12, 32.0)) {
        Some(_) => Err(why),
        None => Ok(()),
    }
}

/// Whether all elements are as near as can be told at once: beside themselves and beside the greatest.
fn near(expected: &Tensor, found: &Tensor) -> bool {
    let greatest = expected.data.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
    let near = |(want, is): (&f64, &f64)| (want - is).abs() <= 1e-6 * want.abs() + 1e-7 * greatest || want == is;
    expected.shape == found.shape && expected.data.iter().zip(&found.data).all(near)
}

fn args(p: &Program, entry: &str, weights: &Named, given: &Named) -> Vec<Tensor> {
    let e = p.entry(entry).expect("it was run");
    let each = e.inputs.iter().zip(&p.function(e.function).params).map(|(role, param)| match role {
        Role::Named(n) | Role::Index(n, _) | Role::Narrow(n, _) => given[n].clone(),
        Role::Weight(row) => {
            let mut each: Vec<Tensor> = row.iter().map(|w| weights[&p.weights[w.0 as usize].name].clone()).collect();
            if each.len() == 1 { each.remove(0) } else { Tensor::stack(each, &param.ty) }
        }
        other => panic!("{entry} takes {other:?}"),
    });
    each.collect()
}

/// The first output that is farther from what is expected than rounding explains.
#[expect(clippy::too_many_arguments, reason = "all of a run meets here")]
fn far(
    p: &Program,
    entry: &str,
    weights: &Named,
    given: &Named,
    host: &HostState,
    expected: &Named,
    found: &Named,
    (runs, strength): (usize, f64),
) -> Option<String> {
    let noisy: Vec<Named> = (0..runs)
        .map(|salt| by_interpreter(&noisy(p, salt, strength), entry, weights, given, host).expect("it ran before"))
        .collect();
    for (name, t) in found {
        let e = &expected[name];
        if e.shape != t.shape {
            return Some(format!("`{name}` is {:?}, not {:?}", t.shape, e.shape));
        }
        for (k, (want, is)) in e.data.iter().zip(&t.data).enumerate() {
            let apart = |n: &Named| Some((n[name].data[k] - want).abs()).filter(|d| !d.is_nan());
            let spread = noisy.iter().map(|n| apart(n).unwrap_or(f64::INFINITY)).fold(0.0, f64::max);
            let bound = 2.0 * spread + 4e-7 * want.abs() + 1e-36;
            let same = want == is || (want.is_nan() && is.is_nan());
            let within = (want - is).abs() <= bound;
            if !same && !within && (want.is_nan() || bound.is_finite()) {
                return Some(format!("`{name}`[{k}] is {is}, not {want}, where rounding explains {bound:.1e}"));
            }
        }
    }
    None
}

/// Each kernel of machine code against the evaluator, on what the plan gives it.
fn kernels(r: &Ready, entry: &str, given: &Named, host: &HostState) -> Result<(), String> {
    let plan = &r.compiled.plan;
    let e = plan.entries.iter().find(|e| e.name == entry).expect("it was run");
    let inputs: Vec<Tensor> = e.inputs.iter().map(|p| given[&p.name].clone()).collect();
    let weights: Vec<Tensor> = plan.weights.iter().map(|w| r.weights[&w.name].clone()).collect();
    let found = std::cell::RefCell::new(None);
    simulate::run_watched(plan, entry, &inputs, &weights, host, &|number, before, after, rows| {
        let mut memory = before.clone();
        // SAFETY: the code was compiled from this kernel, and the memory was made for it.
        unsafe { memory.call(&plan.kernels[number], r.code.fns()[number], 0..rows) };
        if let (None, Some(what)) = (&*found.borrow(), difference(&plan.kernels[number], &memory, after)) {
            found.replace(Some(format!("kernel {number} in machine code: {what}\n{}", plan.kernels[number])));
        }
    });
    found.into_inner().map_or(Ok(()), Err)
}

/// Whether a spec's gradients are not the slopes of its loss, by what it says.
fn rough(text: &str) -> bool {
    ["stop(", "f16(", "floor(", "i64(", "i32(", "u8(", "sort[", "top_k["].iter().any(|word| text.contains(word))
}

/// The gradient along a direction, against the loss's difference quotient, where the loss has a slope.
fn slopes(r: &Ready, given: &Named, host: &HostState, count: &mut Count) -> Result<(), String> {
    let p = &r.compiled.program;
    let Ok(at) = by_interpreter(p, "grad", &r.weights, given, host) else { return Ok(()) };
    let mut dice = Dice::seeded(7);
    // The loss alone: what only gradients read is not computed.
    let mut alone = p.clone();
    let e = alone.entries.iter_mut().find(|e| e.name == "grad").expect("it was run");
    let place = e.outputs.iter().position(|role| *role == Role::Named("loss".into())).expect("there is a loss");
    e.outputs = vec![e.outputs[place].clone()];
    let f = &mut alone.functions[e.function.0 as usize];
    f.results = vec![f.results[place]];
    let trained = |name: &str| p.weights.iter().any(|w| w.name == name && w.trained);
    let way: Named = r
        .weights
        .iter()
        .filter(|(name, _)| trained(name))
        .map(|(name, t)| {
            let data: Vec<f64> = t.data.iter().map(|_| dice.real()).collect();
            (name.clone(), Tensor::new(t.shape.clone(), data))
        })
        .collect();
    let moved = |h: f64| -> Result<f64, String> {
        let mut weights = r.weights.clone();
        for (name, way) in &way {
            let t = weights.get_mut(name).expect("it is one of them");
            t.data.iter_mut().zip(&way.data).for_each(|(x, d)| *x += h * d);
        }
        Ok(by_interpreter(&alone, "grad", &weights, given, host)?["loss"].data[0])
    };
    let loss = at["loss"].data[0];
    let slope: f64 = way.iter().flat_map(|(name, way)| way.data.iter().zip(&at[name].data)).map(|(d, g)| d * g).sum();
    // A kink between two points shows in that the quotients to either side are not as near as a smooth loss has them.
    for h in [1e-5, 1e-6] {
        let (after, before) = ((moved(h)? - loss) / h, (loss - moved(-h)?) / h);
        let mean = (after + before) / 2.0;
        let fine = 1e-3 * slope.abs().max(mean.abs()) + 1e-9 * loss.abs() / h + 1e-9;
        if !loss.is_finite() || !mean.is_finite() || !slope.is_finite() || (after - before).abs() > fine {
            continue;
        }
        count.slopes += 1;
        if (mean - slope).abs() > fine {
            return Err(format!("the gradient says {slope}, and the loss has the slopes {before} and {after}"));
        }
        return Ok(());
    }
    Ok(())
}
