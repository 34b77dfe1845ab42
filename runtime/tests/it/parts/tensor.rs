//! Tensors.

use dlc_runtime::tensor::*;
use half::{bf16, f16};
#[test]
fn sizes_and_names_are_those_of_the_types() {
    fn check<T: Element>() {
        assert_eq!(size_of::<T>(), T::DTYPE.bytes(), "{}", T::DTYPE);
    }
    check::<f64>();
    check::<f32>();
    check::<f16>();
    check::<bf16>();
    check::<i64>();
    check::<i32>();
    check::<i16>();
    check::<i8>();
    check::<u64>();
    check::<u32>();
    check::<u16>();
    check::<u8>();
    for (dtype, name, _) in DType::ALL {
        assert_eq!(dtype.name(), name);
    }
    for (dtype, name) in dlc_plan::DType::ALL {
        assert_eq!(DType::from(dtype).name(), name);
    }
}

#[test]
fn data_is_aligned_and_comes_back() {
    for len in [0, 1, 15, 16, 17, 257] {
        let numbers: Vec<f32> = (0..len).map(|i| i as f32 - 3.5).collect();
        let tensor = Tensor::from_f32(vec![len], numbers.clone()).expect("the length fits");
        assert_eq!(tensor.as_f32(), Ok(&numbers[..]));
        assert_eq!(tensor.bytes().as_ptr() as usize % 64, 0);
        assert_eq!(Tensor::from_bytes(DType::F32, &[len], tensor.bytes()), Ok(tensor));
    }
    let scalar = Tensor::from_f32(vec![], vec![2.5]).expect("one element");
    assert_eq!((scalar.elements(), scalar.shape()), (1, &[][..]));
}

#[test]
fn mistakes_name_what_was_found_and_expected() {
    let tensor = Tensor::from_i64(vec![2], vec![1, 1 << 40]).expect("two elements");
    let text = |error: TensorError| error.to_string();
    assert_eq!(tensor.as_f32().map_err(text), Err("the tensor's type is i64, expected f32".into()));
    let message = "element 1 is 1099511627776, which does not fit i32";
    assert_eq!(tensor.to_i32_vec().map_err(text), Err(message.into()));
    let short = Tensor::from_f32(vec![2, 3], vec![0.0; 5]);
    assert_eq!(short.map_err(text), Err("a tensor of shape [2, 3] has 6 elements, found 5".into()));
    let short = Tensor::from_bytes(DType::F16, &[3], &[0; 7]);
    assert_eq!(short.map_err(text), Err("a tensor of shape [3] has 6 bytes, found 7".into()));
    let truths = Tensor::from_bytes(DType::Bool, &[3], &[0, 1, 2]);
    assert_eq!(truths.map_err(text), Err("element 2 is 2, expected 0 or 1 for a bool".into()));
    let shape = [usize::MAX, 2];
    assert!(matches!(Tensor::zeros(DType::F32, &shape), Err(TensorError::TooLarge { .. })));
    assert!(matches!(Tensor::zeros(DType::U8, &[usize::MAX / 2]), Err(TensorError::TooLarge { .. })));
    assert_eq!(Tensor::zeros(DType::F32, &[usize::MAX, 2, 0]).map(|t| t.elements()), Ok(0));
    assert!(tensor.clone().reshaped(&[3]).is_err());
    assert_eq!(tensor.reshaped(&[1, 2]).expect("two elements").shape(), [1, 2]);
}

#[test]
fn every_type_turns_into_f32() {
    let ones: [(Tensor, f32); 13] = [
        (Tensor::from_slice(&[1], &[-1.5_f64]).expect("one"), -1.5),
        (Tensor::from_slice(&[1], &[-1.5_f32]).expect("one"), -1.5),
        (Tensor::from_slice(&[1], &[f16::from_f32(-1.5)]).expect("one"), -1.5),
        (Tensor::from_slice(&[1], &[bf16::from_f32(-1.5)]).expect("one"), -1.5),
        (Tensor::from_slice(&[1], &[-7_i64]).expect("one"), -7.0),
        (Tensor::from_slice(&[1], &[-7_i32]).expect("one"), -7.0),
        (Tensor::from_slice(&[1], &[-7_i16]).expect("one"), -7.0),
        (Tensor::from_slice(&[1], &[-7_i8]).expect("one"), -7.0),
        (Tensor::from_slice(&[1], &[7_u64]).expect("one"), 7.0),
        (Tensor::from_slice(&[1], &[7_u32]).expect("one"), 7.0),
        (Tensor::from_slice(&[1], &[7_u16]).expect("one"), 7.0),
        (Tensor::from_slice(&[1], &[7_u8]).expect("one"), 7.0),
        (Tensor::from_bool(vec![1], vec![true]).expect("one"), 1.0),
    ];
    for (tensor, wanted) in ones {
        assert_eq!(tensor.to_f32_vec(), [wanted], "{}", tensor.dtype());
        match tensor.dtype().is_float() {
            true => assert!(tensor.to_i32_vec().is_err()),
            false => assert_eq!(tensor.to_i32_vec(), Ok(vec![wanted as i32])),
        }
    }
}

#[test]
fn floats_round_to_nearest_even() {
    // 1 + 2^-8 lies half way between two numbers of bf16: the even one is 1.
    let tensor = Tensor::from_f32(vec![2], vec![1.0 + 2f32.powi(-8), 1.0 + 3.0 * 2f32.powi(-8)]).expect("two");
    let rounded = tensor.to_float(DType::BF16).expect("a type of real numbers");
    assert_eq!(rounded.to_f32_vec(), [1.0, 1.0 + 2f32.powi(-6)]);
    assert!(tensor.to_float(DType::I32).is_err());
    // Just above half way in f64, half way after rounding to f32.
    let fine = Tensor::from_slice(&[1], &[1.0 + 2f64.powi(-11) + 2f64.powi(-40)]).expect("one");
    assert_eq!(fine.to_float(DType::F16).expect("real").to_f32_vec(), [1.0 + 2f32.powi(-10)]);
    assert_eq!(format!("{tensor:?}"), "f32[2] [1.0039063, 1.0117188]");
}
