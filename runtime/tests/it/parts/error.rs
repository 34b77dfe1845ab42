//! What errors say.

use dlc_runtime::Error;
#[test]
fn errors_say_what_was_found_and_expected() {
    let at = vec![381];
    let index = Error::Index { name: "label".into(), value: 12, at, limit: 10 };
    assert_eq!(index.to_string(), "label 12 at row 381 is outside 0..10");
    let index = Error::Index { name: "ids".into(), value: -1, at: vec![3, 7], limit: 10 };
    assert_eq!(index.to_string(), "ids -1 at [3, 7] is outside 0..10");
    let shape = Error::InputShape { name: "x".into(), found: vec![3, 65], expected: "[B, 64]".into() };
    assert_eq!(shape.to_string(), "`x` is [3, 65] here, expected [B, 64]");
    assert_eq!((index.exit_code(), shape.exit_code()), (2, 2));
    assert_eq!(Error::Memory { bytes: 3 << 30 }.to_string(), "the system does not give the 3.0 GiB that are needed");
}
