//! Safe code cannot reach memory that is not its own: kernels that ask for more than their call has, plans whose numbers
//! were changed, code of other kernels.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test that unwraps a surprise has failed, as it should")]

use dlc::emitted::*;
use dlc::{Network, Parts, Tensor};
use dlc_compiler::back::clif;
use dlc_plan::Plan;
use dlc_plan::kernel::{Access, Affine, Bound, Def, Op, Store};
use dlc_runtime::pool::Pool;
use dlc_runtime::{Engine, Kernels, ValidPlan};
use std::sync::Arc;

/// y = x, row by row; and u, a byte a row.
const PLAN: &str = r"
    sizes B
    weights

    entry forward
      in x: f32[B, 4] = b0
      in u: u8[B] = b2
      out y: f32[B, 4] = b1
      kernel 0 b0 b1 b2 f32(1) [B] rows B
      b0: f32[4 * B] arena 0..2  // x
      b1: f32[4 * B] arena 0..3  // y
      b2: u8[B] arena 0..2  // u

    entry init

    kernels
      kernel rows($0) cols(4) bufs(b0: f32, b1: mut f32, b2: u8) uniforms(u0: f32) extents 1: sweep 3
    ";

dlc::model! {
    /// Inputs that are words of Rust; nothing of it is `unsafe`.
    model Words()(do: [N, 2], self: [N, 2], try: [N, 2], gen: [N, 2], self_: [N, 2]) -> y: [N, 2] {
        return do + self * try - gen + self_
    }

    model Ok()(type: [N, 2]) -> y: [N, 2] {
        return 2 * type
    }
}

#[expect(deprecated, reason = "so are the warnings of a spec shown, and silenced")]
mod warned {
    dlc::model! {
        model Warned()(x: [N, 2]) -> y: [N, 2]
        require advise(1 == 2, "this may not be what was meant")
        {
            return x
        }
    }
}

#[test]
fn words_of_rust_are_names_of_inputs() {
    let row = |x: f32| Tensor::from_f32(vec![1, 2], vec![x, 10.0 * x]).unwrap();
    let mut words = Words::new(0).unwrap();
    let y = words.run(&row(1.0), &row(2.0), &row(3.0), &row(4.0), &row(5.0)).unwrap();
    assert_eq!(y.to_f32_vec(), [8.0, 620.0]);
    assert_eq!(Ok::new(0).unwrap().run(&row(1.0)).unwrap().to_f32_vec(), [2.0, 20.0]);
    assert_eq!(warned::Warned::new(0).unwrap().run(&row(1.0)).unwrap().to_f32_vec(), [1.0, 10.0]);
}

fn takes() -> Takes {
    Good::TAKES
}

/// Defines kernels that do one thing.
macro_rules! kernels {
    ($($name:ident: |$x:ident, $rows:ident| $body:expr;)*) => {$(
        struct $name;

        impl Code for $name {
            const TAKES: Takes = Takes {
                bufs: &[reads(Elem::F32), writes(Elem::F32), reads(Elem::U8)],
                uniforms: 1,
                exts: 1,
                folds: &[],
                touches: &[Touch {
                    buf: 1,
                    offset: Ext::Const(0),
                    terms: &[(Axis::Row(0), Ext::Const(4)), (Axis::Col(0), Ext::Const(1))],
                }],
            };

            #[inline(always)]
            fn run<S: Simd>($x: &Call<S>, $rows: Range<i64>) {
                $body
            }
        }
    )*};
}

kernels! {
    Good: |x, rows| for r in x.rows(rows) {
        let v = x.load::<f32>(0, 4 * r, 1, 4);
        x.store::<f32>(1, 4 * r, 1, v, 4);
    };
    FarExtent: |x, _rows| assert_eq!(x.ext(1 << 40), 0);
    NextExtent: |x, _rows| assert_eq!(x.ext(1), 0);
    FarScalar: |x, _rows| assert_eq!(x.bits(1 << 40), 0);
    NextScalar: |x, _rows| assert_eq!(x.bits(1), 0);
    FarBuffer: |x, _rows| x.set::<i32>(1 << 40, 0, 7);
    NextBuffer: |x, _rows| x.set::<f32>(3, 0, 7.0);
    WrappingStride: |x, _rows| {
        let v = x.splat(1.0_f32);
        x.store::<f32>(1, 0, 1 << 62, v, 5);
        x.store::<f32>(1, 0, i64::MIN, v, 2);
    };
    WrappingPlace: |x, _rows| x.store::<f32>(1, i64::MAX, 1, x.splat(1.0_f32), 16);
    ManyLanes: |x, _rows| x.store::<f32>(1, 0, 1, x.splat(1.0_f32), usize::MAX);
    NoLanes: |x, _rows| x.store::<f32>(1, 0, 1, x.splat(1.0_f32), 0);
    Before: |x, _rows| x.set::<f32>(1, -1, 1.0);
    Behind: |x, _rows| x.set::<f32>(1, 12, 1.0);
    OtherType: |x, _rows| assert_eq!(x.get::<f32>(2, 0), 0.0);
    WriteToRead: |x, _rows| x.set::<f32>(0, 0, 1.0);
    NoFold: |x, _rows| x.fold_all::<f32>(0, 1.0, |a, b| a + b);
    OtherRows: |x, rows| for r in 0..rows.end + 1 {
        x.set::<f32>(1, 4 * r, 1.0);
    };
    Panics: |_x, _rows| panic!("this kernel gives up");
}

/// What comes of a plan whose kernel has some code, on 3 rows.
fn run(kernel: RustKernel) -> Result<Vec<f32>, String> {
    let parts = Parts { plan: PLAN, kernels: vec![kernel], recipe: None, weights: None };
    let mut net = Network::new(parts, 0).map_err(|error| error.to_string())?;
    let x = Tensor::from_f32(vec![3, 4], (0..12).map(|x| x as f32).collect()).unwrap();
    let u = Tensor::from_slice(&[3], &[1_u8, 2, 3]).unwrap();
    let out = net.outputs("forward", &[("x", &x), ("u", &u)]).map_err(|error| error.to_string())?;
    Result::Ok(out[0].to_f32_vec())
}

#[test]
fn a_kernel_that_asks_for_other_memory_makes_the_run_an_error() {
    assert_eq!(run(code::<Good>()).unwrap(), (0..12).map(|x| x as f32).collect::<Vec<_>>());
    let all = [
        ("far extent", code::<FarExtent>()),
        ("next extent", code::<NextExtent>()),
        ("far scalar", code::<FarScalar>()),
        ("next scalar", code::<NextScalar>()),
        ("far buffer", code::<FarBuffer>()),
        ("next buffer", code::<NextBuffer>()),
        ("wrapping stride", code::<WrappingStride>()),
        ("wrapping place", code::<WrappingPlace>()),
        ("many lanes", code::<ManyLanes>()),
        ("no lanes", code::<NoLanes>()),
        ("before", code::<Before>()),
        ("behind", code::<Behind>()),
        ("other type", code::<OtherType>()),
        ("write to what is read", code::<WriteToRead>()),
        ("no fold", code::<NoFold>()),
        ("other rows", code::<OtherRows>()),
        ("panic", code::<Panics>()),
    ];
    for (what, kernel) in all {
        let said = run(kernel).expect_err(what);
        assert!(said.contains("asked for memory that is not its own"), "{what}: {said}");
    }
}

struct Fewer;

impl Code for Fewer {
    const TAKES: Takes = Takes { uniforms: 0, ..Good::TAKES };
    fn run<S: Simd>(_x: &Call<S>, _rows: Range<i64>) {}
}

struct Doubles;

impl Code for Doubles {
    const TAKES: Takes = Takes { bufs: &[reads(Elem::I32), writes(Elem::F32), reads(Elem::U8)], ..Good::TAKES };
    fn run<S: Simd>(_x: &Call<S>, _rows: Range<i64>) {}
}

#[test]
fn code_that_takes_something_else_is_refused_with_the_plan() {
    assert_eq!(takes().exts, 1);
    for kernel in [code::<Fewer>(), code::<Doubles>()] {
        let said = run(kernel).unwrap_err();
        assert!(said.contains("kernel 0 has the code of another one"), "{said}");
    }
}

/// What comes of machine code of a plan that was changed before it was checked.
fn changed(change: impl FnOnce(&mut Plan)) -> Result<Vec<f32>, String> {
    let mut plan = gathering();
    change(&mut plan);
    let plan = ValidPlan::new(plan).map_err(|error| error.to_string())?;
    let code = clif::compile(&plan.kernels).map_err(|error| error.to_string())?.share();
    let mut engine = Engine::with_pool(plan, code.into(), Arc::new(Pool::new(2))).map_err(|error| error.to_string())?;
    let x = Tensor::from_f32(vec![3, 4], (0..12).map(|x| x as f32).collect()).unwrap();
    let i = Tensor::from_slice(&[3], &[2_i32, -7, 1000]).unwrap();
    let out = engine.run("forward", &Default::default(), &[("x", &x), ("i", &i)]).map_err(|error| error.to_string())?;
    Result::Ok(out[0].1.to_f32_vec())
}

/// y[r, :] = x[i[r], :].
const MACHINE: &str = r"
    sizes B
    weights

    entry forward
      in x: f32[B, 4] = b0
      in i: i32[B] = b2
      out y: f32[B, 4] = b1
      kernel 0 b0 b1 b2 [B] rows B
      b0: f32[4 * B] arena 0..2  // x
      b1: f32[4 * B] arena 0..3  // y
      b2: i32[B] arena 0..2  // i

    entry init

    kernels
      kernel rows($0) cols(4) bufs(b0: f32, b1: mut f32, b2: i32) extents 1: sweep 3
    ";

/// The plan of [`MACHINE`]. A plan's text has no values, so these are put in here.
fn gathering() -> Plan {
    let mut plan: Plan = MACHINE.parse().unwrap();
    let access = |buf, terms: &[(Axis, i64)], base: Option<(u32, Ext)>| Access {
        buf,
        at: Affine {
            offset: Ext::Const(0),
            terms: terms.iter().map(|(axis, factor)| (*axis, Ext::Const(*factor))).collect(),
        },
        base,
        bounds: vec![],
    };
    let (row, col) = ((Axis::Row(0), 4), (Axis::Col(0), 1));
    let phase = &mut plan.kernels[0].phases[0];
    phase.defs = vec![
        Def { val: 0, kind: Kind::I32, op: Op::Load(access(2, &[(Axis::Row(0), 1)], None)) },
        Def { val: 1, kind: Kind::F32, op: Op::Load(access(0, &[col], Some((0, Ext::Const(4))))) },
    ];
    phase.stores = vec![Store { to: access(1, &[row, col], None), value: 1 }];
    plan
}

/// The load of x.
fn load(plan: &mut Plan) -> &mut Access {
    match &mut plan.kernels[0].phases[0].defs[1].op {
        Op::Load(access) => access,
        other => panic!("{other:?} is no load"),
    }
}

#[test]
fn machine_code_takes_no_index_outside_of_its_buffer() {
    let rows = [8.0, 9.0, 10.0, 11.0, 0.0, 1.0, 2.0, 3.0, 8.0, 9.0, 10.0, 11.0];
    assert_eq!(changed(|_| {}).unwrap(), rows);
}

#[test]
fn a_plan_whose_accesses_leave_their_buffers_is_refused_at_the_first_sizes() {
    let outside = |change: &dyn Fn(&mut Plan)| changed(|plan| change(plan)).unwrap_err();
    let stored = outside(&|plan| plan.kernels[0].phases[0].stores[0].to.at.offset = Ext::Const(4));
    assert!(stored.contains("touches elements 4 to 15 of buffer 1"), "{stored}");
    let before = outside(&|plan| plan.kernels[0].phases[0].stores[0].to.at.offset = Ext::Const(-1));
    assert!(before.contains("touches elements -1 to 10 of buffer 1"), "{before}");
    let far = outside(&|plan| load(plan).at.terms[0].1 = Ext::Const(i64::MAX));
    assert!(far.contains("numbers of up to"), "{far}");
    let gathered = outside(&|plan| load(plan).at.offset = Ext::Const(9));
    assert!(gathered.contains("gathers elements 9 to 12 of buffer 0"), "{gathered}");
    let bounded = outside(&|plan| {
        let index = Affine { offset: Ext::Const(-2), terms: vec![(Axis::Col(0), Ext::Const(1))] };
        let load = load(plan);
        load.base = None;
        load.at = Affine { offset: Ext::Const(10), terms: vec![(Axis::Col(0), Ext::Const(1))] };
        load.bounds = vec![Bound { index, extent: Ext::Const(3) }];
    });
    assert!(bounded.contains("touches elements 12 to 13 of buffer 0"), "{bounded}");
}

#[test]
fn rows_that_share_an_element_run_one_after_the_other() {
    let last =
        |plan: &mut Plan| plan.kernels[0].phases[0].stores[0].to.at.terms.retain(|(axis, _)| *axis != Axis::Row(0));
    assert_eq!(changed(last).unwrap()[..4], [8.0, 9.0, 10.0, 11.0]);
}

#[test]
fn machine_code_of_a_plan_that_is_changed_afterwards_is_refused() {
    let code = clif::compile(&gathering().kernels).unwrap().share();
    let mut plan = gathering();
    load(&mut plan).at.offset = Ext::Const(1 << 30);
    let said = Engine::new(ValidPlan::new(plan).unwrap(), Kernels::from(code)).err().unwrap().to_string();
    assert!(said.contains("kernel 0 has the code of another one"), "{said}");
}
