//! Every operation, in the registers of every instruction set of this machine, against the one on single numbers.

use dlc_runtime::isa::Isa;
use dlc_runtime::lanes::*;

/// Floats at which operations differ from each other.
const FLOATS: [f32; 30] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    -0.5,
    1.5,
    -1.5,
    2.5,
    -2.5,
    0.3,
    -7.9,
    1e-40,
    -1e-45,
    1e30,
    -1e30,
    3e38,
    -3e38,
    8388607.5,
    8388609.0,
    2147483520.0,
    2147483648.0,
    -2147483648.0,
    -2147483904.0,
    4294967296.0,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
    f32::MIN_POSITIVE,
    16777217.0,
];

const INTS: [i32; 18] = [
    0,
    1,
    -1,
    2,
    -2,
    31,
    32,
    255,
    -256,
    65_535,
    16_777_217,
    -16_777_217,
    0x4000_0001,
    0x7FC0_0000,
    i32::MAX,
    i32::MIN,
    i32::MIN + 1,
    1_234_567_891,
];

/// What an operation gave: floats by their bits, but any NaN for any other; integers; truths as 0 and 1.
#[derive(Debug, PartialEq)]
struct Seen(Vec<i64>);

fn float_seen(x: f32) -> i64 {
    if x.is_nan() { i64::MAX } else { i64::from(x.to_bits()) }
}

/// All operations of three floats and three integers, as names and results; `$f`, `$i` and `$m` turn results into lanes.
macro_rules! all_operations {
    ($a:expr, $b:expr, $c:expr, $x:expr, $y:expr, $z:expr, $f:expr, $i:expr, $m:expr) => {{
        let (a, b, c, x, y, z) = ($a, $b, $c, $x, $y, $z);
        vec![
            ("+", $f(a + b)),
            ("-", $f(a - b)),
            ("*", $f(a * b)),
            ("/", $f(a / b)),
            ("neg", $f(-a)),
            ("fma", $f(a.fma(b, c))),
            ("fmax", $f(a.fmax(b))),
            ("fmin", $f(a.fmin(b))),
            ("fturn", $f(a.fturn(b, 0))),
            ("fturn.1", $f(a.fturn(b, 1))),
            ("fsqrt", $f(a.fsqrt())),
            ("fabs", $f(a.fabs())),
            ("ffloor", $f(a.ffloor())),
            ("fround", $f(a.fround())),
            ("flt", $m(a.flt(b))),
            ("fle", $m(a.fle(b))),
            ("feq", $m(a.feq(b))),
            ("fne", $m(a.fne(b))),
            ("ftoi", $i(a.ftoi())),
            ("fbits", $i(a.fabs().fmin(c.fabs()).fbits())),
            ("iadd", $i(x.iadd(y))),
            ("isub", $i(x.isub(y))),
            ("imul", $i(x.imul(y))),
            ("ineg", $i(x.ineg())),
            ("imax", $i(x.imax(y))),
            ("imin", $i(x.imin(y))),
            ("iand", $i(x.iand(y))),
            ("ior", $i(x.ior(y))),
            ("ixor", $i(x.ixor(y))),
            ("ishl 0", $i(x.ishl(0))),
            ("ishl 23", $i(x.ishl(23))),
            ("ishr 9", $i(x.ishr(9))),
            ("ishr 31", $i(x.ishr(31))),
            ("isar 9", $i(x.isar(9))),
            ("isar 31", $i(x.isar(31))),
            ("ilt", $m(x.ilt(y))),
            ("ile", $m(x.ile(y))),
            ("ieq", $m(x.ieq(y))),
            ("ine", $m(x.ine(y))),
            ("itof", $f(x.itof())),
            ("ibits", $f(x.ibits())),
            ("mand", $m(a.flt(b).mand(x.ilt(y)))),
            ("mor", $m(a.flt(b).mor(x.ilt(y)))),
            ("mnot", $m(a.flt(b).mnot())),
            ("fselect", $f(x.ilt(y).fselect(b, c))),
            ("iselect", $i(a.flt(b).iselect(y, z))),
        ]
    }};
}

/// The three floats and integers that lane `lane` of case `case` works on: all pairs come up.
fn operands(case: usize, lane: usize) -> ([f32; 3], [i32; 3]) {
    let n = case * LANES + lane;
    let float = |i: usize| FLOATS[i % FLOATS.len()];
    let int = |i: usize| INTS[i % INTS.len()];
    ([float(n), float(n / FLOATS.len()), float(n / 7)], [int(n), int(n / INTS.len()), int(n / 5)])
}

const CASES: usize = 60;

struct Lanes(usize);

impl Work for Lanes {
    type Output = Vec<(&'static str, Seen)>;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Self::Output {
        let float = |i: usize| simd.floats(std::array::from_fn(|lane| operands(self.0, lane).0[i]));
        let int = |i: usize| simd.ints(std::array::from_fn(|lane| operands(self.0, lane).1[i]));
        let floats = |x: S::F| Seen(simd.to_floats(x).map(float_seen).to_vec());
        let ints = |x: S::I| Seen(simd.to_ints(x).map(i64::from).to_vec());
        let masks = |m: S::M| ints(m.iselect(simd.int(1), simd.int(0)));
        all_operations!(float(0), float(1), float(2), int(0), int(1), int(2), floats, ints, masks)
    }
}

fn singles(case: usize) -> Vec<(&'static str, Seen)> {
    let mut all: Vec<(&'static str, Seen)> = Vec::new();
    for lane in 0..LANES {
        let ([a, b, c], [x, y, z]) = operands(case, lane);
        for (i, (name, seen)) in
            all_operations!(a, b, c, x, y, z, float_seen, i64::from, i64::from).into_iter().enumerate()
        {
            if lane == 0 {
                all.push((name, Seen(Vec::new())));
            }
            all[i].1.0.push(seen);
        }
    }
    all
}

#[test]
fn lanes_give_what_single_numbers_give() {
    for isa in Isa::ALL {
        for case in 0..CASES {
            for (lanes, singles) in dispatch(isa, Lanes(case)).iter().zip(&singles(case)) {
                assert_eq!(
                    lanes,
                    singles,
                    "{isa:?} case {case}: {:?}",
                    std::array::from_fn::<_, 16, _>(|l| operands(case, l))
                );
            }
        }
    }
}

#[test]
fn single_numbers_follow_the_definitions() {
    for a in FLOATS {
        for b in FLOATS {
            let max = if a < b || b.is_nan() { b } else { a };
            let min = if a > b || b.is_nan() { b } else { a };
            assert_eq!((float_seen(a.fmax(b)), float_seen(a.fmin(b))), (float_seen(max), float_seen(min)));
        }
    }
    assert!(f32::NAN.fmax(1.0).is_nan() && 1.0_f32.fmax(f32::NAN).is_nan() && f32::NAN.fmin(1.0).is_nan());
    assert_eq!([2.5_f32, 3.5, -0.5, -1.5].map(Float::fround), [2.0, 4.0, 0.0, -2.0]);
    assert_eq!(
        [2.9_f32, -2.9, f32::NAN, 2147483648.0, -2147483904.0, 1e30].map(Float::ftoi),
        [2, -2, i32::MIN, i32::MIN, i32::MIN, i32::MIN]
    );
    assert_eq!(
        [i32::MAX.iadd(1), i32::MIN.ineg(), (-1).ishr(28), (-16).isar(2), 3.ishl(31)],
        [i32::MIN, i32::MIN, 15, -4, i32::MIN]
    );
    assert!(f32::NAN.fne(f32::NAN) && !f32::NAN.feq(f32::NAN) && !f32::NAN.flt(1.0));
}

struct Making;

impl Work for Making {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let numbers: Vec<f32> = (0..LANES).map(|i| i as f32 + 1.0).collect();
        let integers: Vec<i32> = (0..LANES as i32).map(|i| i + 1).collect();
        for count in 0..=LANES {
            let mut floats = [-1.0; LANES + 1];
            let loaded = simd.load_floats(&numbers[..count]);
            let padded: [f32; LANES] = std::array::from_fn(|i| if i < count { i as f32 + 1.0 } else { 0.0 });
            assert_eq!(simd.to_floats(loaded), padded);
            simd.store_floats(simd.float(7.0), &mut floats[..count]);
            assert!(floats[..count].iter().all(|x| *x == 7.0) && floats[count..].iter().all(|x| *x == -1.0));

            let mut ints = [-1; LANES + 1];
            assert_eq!(simd.to_ints(simd.load_ints(&integers[..count])), padded.map(|x| x as i32));
            simd.store_ints(simd.int(7), &mut ints[..count]);
            assert!(ints[..count].iter().all(|x| *x == 7) && ints[count..].iter().all(|x| *x == -1));

            let first = simd.to_ints(simd.first(count).iselect(simd.int(1), simd.int(0)));
            assert_eq!(first.iter().sum::<i32>(), count as i32);
            assert!(first[..count].iter().all(|x| *x == 1));
        }
        assert_eq!(simd.to_ints(simd.ramp()), std::array::from_fn(|i| i as i32));
        for truth in [false, true] {
            assert_eq!(simd.to_ints(simd.mask(truth).iselect(simd.int(1), simd.int(0))), [i32::from(truth); LANES]);
        }
    }
}

#[test]
fn values_are_made_and_stored() {
    Isa::ALL.into_iter().for_each(|isa| dispatch(isa, Making));
}

struct Random([u32; 6]);

impl Work for Random {
    type Output = [i32; LANES];

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> [i32; LANES] {
        let [key0, key1, step, seed_hi, row, group] = self.0;
        simd.to_ints(simd.random([key0, key1], step, seed_hi, row, group))
    }
}

#[test]
fn random_bits_are_those_of_the_plan() {
    for isa in Isa::ALL {
        for (row, group) in [(0, 0), (1, 3), (u32::MAX, u32::MAX / 4), (77, 0x0FFF_FFFF)] {
            let [key0, key1, step, seed_hi] = [0xDEAD_BEEF, u32::MAX, 12, 0x8000_0001];
            let wanted = dlc_plan::random::bits16([key0, key1], step, seed_hi, row, group).map(|bits| bits as i32);
            assert_eq!(dispatch(isa, Random([key0, key1, step, seed_hi, row, group])), wanted, "{isa:?}");
        }
    }
}

#[test]
fn partial_results_are_joined_in_halves() {
    let lanes: [f32; LANES] = std::array::from_fn(|i| (i as f32).exp2() * 1e-3 + 1e6);
    let mut by_hand = lanes.to_vec();
    while by_hand.len() > 1 {
        let (low, high) = by_hand.split_at(by_hand.len() / 2);
        by_hand = low.iter().zip(high).map(|(a, b)| a + b).collect();
    }
    assert_eq!(halve(lanes, |a, b| a + b).to_bits(), by_hand[0].to_bits());
    assert_eq!(halve([1; LANES], Int::iadd), 16);
}
