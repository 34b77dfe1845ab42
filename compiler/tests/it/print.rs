//! Programs as text.

use super::support::{f32s, function, repeat};
use dlc_compiler::program::print::{self, members};
use dlc_compiler::program::{Entry, Program, ReduceOp, Repeat, Role, Ty, Weight, WeightId};
use dlc_plan::{DType, Host, HostVar, Prim, Size};
use std::rc::Rc;

#[test]
fn a_program_is_printed_a_node_a_line() {
    let mut p = Program { dims: vec!["B".into()], ..Program::default() };
    for i in 0..4 {
        let name = format!("layers.{i}.weight");
        let (ty, span) = (f32s(&[8, 8]), Default::default());
        p.weights.push(Weight { name, aliases: Vec::new(), ty, param: true, trained: i > 0, added: false, span });
    }
    let batch = Ty { dtype: DType::F32, shape: vec![Size::dim(0), Size::from(8)] };
    let body = p.add(function("Layer", &[batch.clone(), f32s(&[8, 8])], |b, x| {
        b.origin.member = "fc".into();
        let y = b.contract(x[0], x[1], &[4, 9], &[2, 9], &[4, 2]);
        b.origin.member = "".into();
        vec![b.with_number(Prim::Max, y, 0.0)]
    }));
    let r = Repeat {
        carried: 1,
        rows: 1,
        members: (0..4).map(|i| format!("layers.{i}").into()).collect(),
        ..repeat(body, 4)
    };
    let types = [vec![batch.clone()], vec![f32s(&[8, 8]); 4]].concat();
    let function = p.add(function("Model", &types, |b, x| {
        let y = b.repeat(r, x.to_vec(), vec![batch])[0];
        let rate = b.host(DType::F32, Host::Prim(Prim::Add, vec![Host::Var(HostVar::Step), Host::Const(1.0)]));
        let last = b.slice(y, 1, Size::from(7), -1, Size::from(8));
        let mean = b.reduce(ReduceOp::Sum, last, &[1]);
        vec![b.zip(Prim::Mul, &[mean, rate])]
    }));
    let weights = (0..4).map(|i| Role::weight(WeightId(i)));
    p.entries.push(Entry {
        name: "forward".into(),
        function,
        inputs: std::iter::once(Role::Named("x".into())).chain(weights).collect(),
        outputs: vec![Role::Named("y".into())],
        guards: vec![(Host::Prim(Prim::Le, vec![Host::Size(Size::dim(0)), Host::Const(9.0)]), "B <= 9".into())],
        defaults: Vec::new(),
    });
    assert_eq!(
        print::program(&p),
        "sizes B
weight 0 layers.0.weight: f32[8, 8] param, frozen
weight 1 layers.1.weight: f32[8, 8] param
weight 2 layers.2.weight: f32[8, 8] param
weight 3 layers.3.weight: f32[8, 8] param

#0 Layer(%0 x0: f32[B, 8], %1 x1: f32[8, 8]) {
  %2: f32[B, 8] = contract ab,cb->ac %0 %1  // fc
  %3: f32[] = const 0
  %4: f32[B, 8] = broadcast [] %3
  %5: f32[B, 8] = map max %2 %4
  return %5
}

#1 Model(%0 x0: f32[B, 8], %1 x1: f32[8, 8], %2 x2: f32[8, 8], %3 x3: f32[8, 8], %4 x4: f32[8, 8]) {
  %5: f32[B, 8] = repeat layers.{0..3} #0 Layer carried(%0) row(%1..%4)
  %6: f32[] = host (step + 1)
  %7: f32[B, 8] = slice [1] from 7 by -1 %5
  %8: f32[B] = sum [1] %7
  %9: f32[B] = broadcast [] %6
  %10: f32[B] = map * %8 %9
  return %10
}

entry forward = #1 Model
  takes x: f32[B, 8]
  takes weight layers.0.weight: f32[8, 8]
  takes weight layers.1.weight: f32[8, 8]
  takes weight layers.2.weight: f32[8, 8]
  takes weight layers.3.weight: f32[8, 8]
  gives y: f32[B]
  requires (size(B) <= 9), else \"B <= 9\"
"
    );
}

#[test]
fn members_that_count_are_shortened() {
    let shown = |paths: &[&str]| members(&paths.iter().map(|m| Rc::from(*m)).collect::<Vec<_>>(), paths.len());
    assert_eq!(shown(&["h.9.mlp", "h.10.mlp", "h.11.mlp"]), "h.{9..11}.mlp");
    assert_eq!(shown(&["a1.b2", "a1.b3"]), "a1.b{2..3}");
    assert_eq!(shown(&["a.0", "a.2"]), "{a.0, a.2}");
    assert_eq!(shown(&["a.0"]), "a.0");
    assert_eq!(members(&[], 5), "5 times");
}
