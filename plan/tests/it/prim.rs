//! The table of primitives.

use dlc_plan::*;
#[test]
fn every_primitive_has_one_row_and_its_arity() {
    for (i, r) in PRIMS.iter().enumerate() {
        assert_eq!(r.prim.row().name, r.name);
        assert!(PRIMS[..i].iter().all(|q| q.name != r.name), "{} stands twice", r.name);
        assert!(r.prim.eval(&vec![1.0; r.arity]).is_finite());
    }
}

#[test]
fn erf_agrees_with_its_table() {
    // Abramowitz and Stegun, table 7.1.
    for (x, y) in [(0.5, 0.5204998778), (1.0, 0.8427007929), (2.0, 0.9953222650), (3.5, 0.999999256901628)] {
        assert!((erf(x) - y).abs() < 1e-10, "erf({x}) = {}", erf(x));
        assert_eq!(erf(-x), -erf(x));
    }
    // The same table, 7.3 and the text above it.
    for (x, y) in [(0.5, 0.4795001222), (1.0, 0.157299207050285), (4.0, 1.541725790028e-8), (-2.0, 1.9953222650)] {
        assert!((erfc(x) - y).abs() < 1e-10 * y.max(1e-2), "erfc({x}) = {}", erfc(x));
    }
    assert!((erfc(4.0) - 1.541725790028e-8).abs() < 1e-19);
    assert_eq!((erfc(f64::INFINITY), erfc(f64::NEG_INFINITY)), (0.0, 2.0));
}

#[test]
fn casts_round_to_nearest_even() {
    assert_eq!(cast(DType::BF16, 1.0 + 1.0 / 256.0), 1.0);
    assert_eq!(cast(DType::BF16, 1.0 + 3.0 / 256.0), 1.0 + 4.0 / 256.0);
    assert_eq!(cast(DType::F16, 65520.0), f64::INFINITY);
    assert_eq!(cast(DType::F16, 65519.0), 65504.0);
    assert_eq!(cast(DType::F16, 2f64.powi(-24)), 2f64.powi(-24));
    assert_eq!(cast(DType::I32, -2.7), -2.0);
}
