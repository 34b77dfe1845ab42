//! Where elements lie when views are read through, and when they are laid out.

use dlc_compiler::fuse::index::{Layout, Lin, Map};
use dlc_compiler::program::{Ty, View};
use dlc_plan::{DType, Size};

fn ty(shape: &[i64]) -> Ty {
    Ty { dtype: DType::F32, shape: shape.iter().map(|n| Size::from(*n)).collect() }
}

#[test]
fn a_merge_of_what_was_split_is_the_identity() {
    // [6] -> split [2, 3] -> merge [6], read along a loop of 6: no quotient is needed.
    let extents = [Size::from(2), Size::from(3)];
    let split = Lin { offset: Size::zero(), terms: vec![(0, Size::from(3)), (1, Size::one())] };
    let map = Map { axes: vec![split], bounds: Vec::new() };
    let merged = map.through(&View::Merge { axis: 0, count: 2 }, &ty(&[2, 3]), &ty(&[6]), &extents);
    assert_eq!(merged, Some(Map::identity(2)));
    let plain = Map::identity(1).through(&View::Merge { axis: 0, count: 2 }, &ty(&[2, 3]), &ty(&[6]), &[Size::from(6)]);
    assert_eq!(plain, None);
}

#[test]
fn layouts_follow_views() {
    let at = Layout::contiguous(&ty(&[2, 3, 4]).shape);
    let p = at.view(&View::Permute(vec![0, 2, 1]), &ty(&[2, 3, 4]), &ty(&[2, 4, 3])).expect("strides permute");
    assert_eq!(p.strides, [12, 1, 4].map(Size::from));
    assert_eq!(p.view(&View::Merge { axis: 1, count: 2 }, &ty(&[2, 4, 3]), &ty(&[2, 12])), None);
    let m = at.view(&View::Merge { axis: 0, count: 2 }, &ty(&[2, 3, 4]), &ty(&[6, 4])).expect("no gap");
    assert_eq!(m.strides, [4, 1].map(Size::from));
}
