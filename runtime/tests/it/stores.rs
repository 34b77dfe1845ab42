//! Weights in and out of the stores.

use crate::draft::*;
use dlc_plan::DType;
use dlc_plan::kernel::Elem;
use dlc_plan::plan::{StatePart, Store};
use dlc_runtime::tensor::{self, Tensor};
use dlc_runtime::{Engine, Error};

fn engine() -> Engine {
    let mut d = Draft::new();
    d.weight("fc.weight", &[3, 5], Store::Trained);
    d.weight("fc.bias", &[3], Store::Trained);
    d.weight("half", &[4], Store::Frozen);
    d.weight("count", &[2, 2], Store::Ints(Elem::I64));
    d.plan.weights[0].aliases.push("tied.weight".into());
    d.plan.weights[2].dtype = DType::BF16;
    d.plan.states.push("m".into());
    d.engine(1).0
}

#[test]
fn weights_come_back_by_name_and_alias() {
    let mut e = engine();
    let w = noise(1, &[3, 5]);
    e.stores_mut().set_weight("tied.weight", &w).expect("it fits");
    assert_eq!(e.stores().weight("fc.weight"), Ok(w.clone()));
    assert_eq!(e.stores().weight("tied.weight"), Ok(w));
    assert_eq!(numbers(&e.stores().weight("fc.bias").expect("it is there")), [0.0; 3]);
    // Each store has its own numbers for a weight.
    let m = noise(2, &[3, 5]);
    e.stores_mut().set_kept(Store::State(0), "fc.weight", &m).expect("it fits");
    assert_eq!(e.stores().kept(Store::State(0), "fc.weight"), Ok(m));
    assert_eq!(numbers(&e.stores().kept(Store::Grads, "fc.weight").expect("it is there")), [0.0; 15]);
    e.stores_mut().clear(Store::State(0));
    assert_eq!(numbers(&e.stores().kept(Store::State(0), "fc.weight").expect("it is there")), [0.0; 15]);
}

/// A state that keeps something of another shape for a weight, and nothing for others.
#[test]
fn states_have_shapes_of_their_own() {
    let mut d = Draft::new();
    let weight = d.weight("fc.weight", &[3, 5], Store::Trained);
    d.weight("fc.bias", &[3], Store::Trained);
    d.plan.states.extend(["row".into(), "m".into()]);
    d.plan.parts.push(StatePart { state: 0, weight, shape: vec![3, 1], offset: 16 });
    let mut e = d.engine(1).0;
    let row = noise(1, &[3, 1]);
    e.stores_mut().set_kept(Store::State(0), "fc.weight", &row).expect("it fits");
    assert_eq!(e.stores().kept(Store::State(0), "fc.weight"), Ok(row));
    assert!(e.stores_mut().set_kept(Store::State(0), "fc.weight", &noise(1, &[3, 5])).is_err());
    assert!(matches!(e.stores().kept(Store::State(0), "fc.bias"), Err(Error::NotKept { .. })));
    assert_eq!(e.stores().kept(Store::State(1), "fc.weight").expect("it is there").shape(), [3, 5]);
}

#[test]
fn types_are_converted() {
    let mut e = engine();
    let x = noise(1, &[4]).to_float(tensor::DType::BF16).expect("reals");
    let all = [tensor::DType::F32, tensor::DType::BF16];
    for given in all.map(|dtype| x.to_float(dtype).expect("reals")) {
        e.stores_mut().set_weight("half", &given).expect("it fits");
        assert_eq!(e.stores().weight("half"), Ok(x.clone()));
        assert_eq!(numbers(&e.stores().kept(Store::Frozen, "half").expect("it is there")), x.to_f32_vec());
    }
    let halves = noise(3, &[3]).to_float(tensor::DType::F16).expect("reals");
    e.stores_mut().set_weight("fc.bias", &halves).expect("it fits");
    assert_eq!(numbers(&e.stores().weight("fc.bias").expect("it is there")), halves.to_f32_vec());
    let counts = Tensor::from_i64(vec![2, 2], vec![1, i64::MIN, i64::MAX, (1 << 53) + 1]).expect("four");
    e.stores_mut().set_weight("count", &counts).expect("it fits");
    assert_eq!(e.stores().weight("count"), Ok(counts));
    let bytes = Tensor::from_slice(&[2, 2], &[1_u8, 2, 3, 255]).expect("four");
    e.stores_mut().set_weight("count", &bytes).expect("it fits");
    assert_eq!(e.stores().weight("count").map(|t| t.to_i32_vec().expect("they fit")), Ok(vec![1, 2, 3, 255]));
}

#[test]
fn what_does_not_fit_is_named() {
    let mut e = engine();
    let mut text = |name: &str, value: &Tensor| {
        let error = e.stores_mut().set_weight(name, value).expect_err("it does not fit");
        assert_eq!(error.exit_code(), 2);
        error.to_string()
    };
    let shape = "`fc.weight` is [3, 5] in the model and [5, 3] in what is given for it";
    assert_eq!(text("fc.weight", &noise(1, &[5, 3])), shape);
    let whole = Tensor::from_i64(vec![3], vec![0; 3]).expect("three");
    assert_eq!(text("fc.bias", &whole), "`fc.bias` is f32 in the model and i64 in what is given for it");
    assert_eq!(text("fc.bais", &whole), "no weight is called `fc.bais`");
    let wide = Tensor::from_slice(&[2, 2], &[0_u64, 1, 1 << 63, 0]).expect("four");
    assert_eq!(text("count", &wide), "count 9223372036854775808 at [1, 0] does not fit in 64 bits");
    let error = e.stores().kept(Store::Grads, "half").expect_err("it is frozen");
    assert_eq!(error.to_string(), "`half` is not trained, so it has no gradient");
    assert!(matches!(e.stores().kept(Store::State(1), "fc.bias"), Err(Error::NotKept { .. })));
}
