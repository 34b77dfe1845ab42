//! Sizes as polynomials.

use dlc_plan::Size;
#[test]
fn polynomials_are_normal_forms() {
    let (b, t) = (Size::dim(0), Size::dim(1));
    let x = b.plus(&Size::from(2)).times(&t);
    let y = t.times(&b).plus(&t).plus(&t);
    assert_eq!(x, y);
    assert_eq!(x.divided(&t), Some(b.plus(&Size::from(2))));
    assert_eq!(x.divided(&b), None);
    assert_eq!(x.eval(&[3, 5]), 25);
    assert_eq!(x.show(&["B".into(), "T".into()]).to_string(), "B * T + 2 * T");
    assert!(x.minus(&y).is(0));
}

#[test]
fn quotients_are_exact_or_floored() {
    let b = Size::dim(0);
    assert_eq!(Size::from(7).quotient(&Size::from(2)), Some(Size::from(3)));
    assert_eq!(b.times(&Size::from(6)).quotient(&Size::from(3)), Some(b.times(&Size::from(2))));
    let q = b.quotient(&Size::from(4)).expect("four is not zero");
    assert_eq!(q.eval(&[11]), 2);
    assert_eq!(b.quotient(&Size::zero()), None);
    assert_eq!(q.replace(&|_| Size::from(8)), Size::from(2));
}
