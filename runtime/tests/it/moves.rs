//! Copies, scatters, and what enters and leaves.

use crate::draft::*;
use dlc_plan::plan::{RowOp, Step};
use dlc_plan::{DType, HostState, Size};
use dlc_runtime::Tensor;
use dlc_runtime::tensor;

/// Copies each input to an output of the same type.
fn echo(dtypes: &[DType]) -> Draft {
    let mut d = Draft::new();
    for (i, &dtype) in dtypes.iter().enumerate() {
        let from = d.input(&format!("in{i}"), dtype, &[b(), n(3)], 100);
        let to = d.output(&format!("out{i}"), dtype, &[b(), n(3)], 1);
        d.step(Step::Copy { from, to });
    }
    d
}

#[test]
fn what_enters_comes_out_in_the_same_type() {
    let all: Vec<DType> = DType::ALL.iter().map(|(dtype, _)| *dtype).collect();
    let d = echo(&all);
    for size in [0, 1, 5, 40_000] {
        let x = noise(1, &[size, 3]);
        let whole: Vec<i64> = numbers(&x).iter().map(|x| (x * 2e9) as i64).collect();
        let narrow: Vec<i32> = whole.iter().map(|x| *x as i32).collect();
        let bytes: Vec<u8> = whole.iter().map(|x| *x as u8).collect();
        let truths = whole.iter().map(|x| x % 3 == 0).collect();
        let inputs = [
            x.clone(),
            x.to_float(tensor::DType::F16).expect("reals"),
            x.to_float(tensor::DType::BF16).expect("reals"),
            Tensor::from_i64(vec![size, 3], whole).expect("the shape fits"),
            Tensor::from_i32(vec![size, 3], narrow).expect("the shape fits"),
            Tensor::from_slice(&[size, 3], &bytes).expect("the shape fits"),
            Tensor::from_bool(vec![size, 3], truths).expect("the shape fits"),
        ];
        let names: Vec<String> = (0..7).map(|i| format!("in{i}")).collect();
        let named: Vec<(&str, &Tensor)> = names.iter().map(String::as_str).zip(&inputs).collect();
        assert_eq!(d.run(&[], &named), inputs);
    }
}

#[test]
fn inputs_of_types_without_loss_are_taken() {
    let d = echo(&[DType::F32, DType::I64]);
    let x = noise(1, &[2, 3]).to_float(tensor::DType::BF16).expect("reals");
    for ids in [
        Tensor::from_slice(&[2, 3], &[0_u8, 1, 2, 3, 4, 255]),
        Tensor::from_slice(&[2, 3], &[0_i8, 1, 2, 3, 4, -5]),
        Tensor::from_slice(&[2, 3], &[0_u16, 1, 2, 3, 4, 65535]),
        Tensor::from_slice(&[2, 3], &[0_i16, 1, 2, 3, 4, -5]),
        Tensor::from_slice(&[2, 3], &[0_i32, 1, 2, 3, 4, i32::MIN]),
        Tensor::from_slice(&[2, 3], &[0_u32, 1, 2, 3, 4, i32::MAX as u32]),
        Tensor::from_slice(&[2, 3], &[0_u64, 1, 2, 3, 4, 5]),
    ] {
        let ids = ids.expect("six elements");
        let found = d.run(&[], &[("in0", &x), ("in1", &ids)]);
        assert_eq!(numbers(&found[0]), x.to_f32_vec());
        let found: Vec<i64> = found[1].view::<i64>().expect("i64").to_vec();
        assert_eq!(found, ids.to_i32_vec().expect("all fit").iter().map(|&x| x.into()).collect::<Vec<i64>>());
    }
}

/// to[ids[p], :] += from[p, :].
fn scatter(rows: Size, width: i64, dtype: DType) -> Draft {
    let mut d = Draft::new();
    let ids = d.narrow_input("ids", &[b()], 1);
    let from = d.input("from", dtype, &[b(), n(width)], 1);
    let to = d.output("to", dtype, &[rows.clone(), n(width)], 1);
    d.step(Step::Scatter { ids, count: b(), from, to, rows, width: n(width) });
    d
}

#[test]
fn a_scatter_adds_in_order_and_clamps() {
    for (count, rows, width) in [(0, 4, 3), (7, 4, 1), (500, 13, 200), (3000, 5, 65), (9, 0, 4)] {
        let ids: Vec<i64> = (0..count as i64).map(|i| i * i % 17 - 2).collect();
        let from = noise(3, &[count, width]);
        let mut expected = vec![0.0_f32; rows * width];
        for (p, &id) in ids.iter().enumerate().filter(|_| rows > 0) {
            let row = id.clamp(0, rows as i64 - 1) as usize;
            let to = &mut expected[row * width..(row + 1) * width];
            to.iter_mut().zip(&numbers(&from)[p * width..]).for_each(|(to, x)| *to += x);
        }
        let d = scatter(n(rows as i64), width as i64, DType::F32);
        let ids = Tensor::from_i64(vec![count], ids).expect("the shape fits");
        let found = d.run(&[], &[("ids", &ids), ("from", &from)]);
        assert_eq!(numbers(&found[0]), expected, "{count} of {width} into {rows}");
    }
    let d = scatter(n(2), 2, DType::I32);
    let ids = Tensor::from_i64(vec![3], vec![1, 0, 1]).expect("three");
    let from = Tensor::from_i32(vec![3, 2], vec![1, 2, 3, 4, i32::MAX, 6]).expect("six");
    let found = d.run(&[], &[("ids", &ids), ("from", &from)]);
    assert_eq!(found[0].view::<i32>().expect("i32"), [3, 4, i32::MIN, 8]);
    let (mut engine, _) = d.engine(1);
    let ids = Tensor::from_i64(vec![3], vec![1, 1 << 40, 1]).expect("three");
    let refused = engine.run("go", &HostState::default(), &[("ids", &ids), ("from", &from)]).expect_err("too large");
    assert_eq!(refused.to_string(), "ids 1099511627776 at row 1 does not fit in 32 bits");
}

/// Something done to each row of `from`, of which `keep` elements are left.
fn rows(op: RowOp, from: DType, to: DType, len: i64, keep: i64) -> Draft {
    let mut d = Draft::new();
    let from = d.input("from", from, &[b(), n(len)], 1);
    let to = d.output("to", to, &[b(), n(keep)], 1);
    d.step(Step::Rows { op, from, to, rows: b(), len: n(len), keep: n(keep) });
    d
}

#[test]
fn orders_are_stable_and_end_with_nan() {
    let nan = f32::NAN;
    let row = [2.0, nan, -0.0, f32::INFINITY, 0.0, f32::NEG_INFINITY, nan, 2.0];
    let x = Tensor::from_f32(vec![1, 8], row.to_vec()).expect("eight");
    for (descending, expected) in [(false, [5, 2, 4, 0, 7, 3, 1, 6]), (true, [1, 6, 3, 0, 7, 2, 4, 5])] {
        for keep in 0..=8 {
            let d = rows(RowOp::Order { descending }, DType::F32, DType::I32, 8, keep);
            let found = d.run(&[], &[("from", &x)]);
            assert_eq!(found[0].view::<i32>().expect("i32"), &expected[..keep as usize], "{keep} of them");
        }
    }
}

#[test]
fn many_rows_are_ordered_and_summed_each_by_itself() {
    for (count, len) in [(0, 5), (3, 1), (7, 1000), (300, 33), (2, 20_000)] {
        let x = noise(5, &[count, len]);
        let (numbers, keep) = (numbers(&x), (len / 3).max(1));
        let mut places = Vec::new();
        let mut sums = Vec::new();
        for row in numbers.chunks(len) {
            let mut order: Vec<i32> = (0..len as i32).collect();
            order.sort_by(|a, b| row[*b as usize].total_cmp(&row[*a as usize]));
            places.extend_from_slice(&order[..keep]);
            sums.extend(row.iter().scan(0.0, |sum, x| {
                *sum += f64::from(*x);
                Some(*sum as f32)
            }));
        }
        let d = rows(RowOp::Order { descending: true }, DType::F32, DType::I32, len as i64, keep as i64);
        assert_eq!(d.run(&[], &[("from", &x)])[0].view::<i32>().expect("i32"), places, "{count} rows of {len}");
        let d = rows(RowOp::RunningSum, DType::F32, DType::F32, len as i64, len as i64);
        assert_eq!(self::numbers(&d.run(&[], &[("from", &x)])[0]), sums, "{count} rows of {len}");
    }
}
