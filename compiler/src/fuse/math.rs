//! Functions that the machine does not have, as machine operations: the same bits wherever they are compiled.
//!
//! All in single precision; errors are a few units in the last place over the whole range, and the edges (infinities,
//! NaN, zero, subnormals) are what IEEE functions give. Polynomials without another source are power series.

use super::emit::Emit;
use dlc_plan::Instr;
use dlc_plan::kernel::Val;

const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;

/// 1.5 2^23: a number near it has no fraction.
const MAGIC: f32 = 12_582_912.0;

/// pi in three parts. None is below 0, so that a zero keeps its sign.
const PI: [f32; 3] = [3.141_592_5, 1.509_957_9e-7, 1.078_060_5e-14];

/// (sin(r) / r - 1) / r^2 between -pi/2 and pi/2, as a polynomial in r^2.
const SIN: [f32; 5] = [-0.166_666_67, 0.008_333_331, -0.000_198_408_64, 2.752_513_9e-6, -2.388_447_1e-8];

/// 2 / ln 2 in two parts, and the rest of log2((1 + s) / (1 - s)) / s as a polynomial in s^2.
const TWO_OVER_LN2: [f32; 2] = [2.885_39, 3.851_926e-8];
const LOG2: [f32; 5] = [0.961_796_7, 0.577_078_04, 0.412_198_57, 0.320_598_9, 0.262_308_2];

/// (2^f - 1) / f between -1/2 and 1/2.
const EXP2: [f32; 6] =
    [std::f32::consts::LN_2, 0.240_226_5, 0.055_503_275, 0.009_618_005, 0.001_340_038_3, 0.000_154_760_22];

/// erf(x) / x between -1 and 1, as a polynomial in x^2.
const ERF_NEAR_0: [f32; 7] = [
    std::f32::consts::FRAC_2_SQRT_PI,
    -0.376_126_27,
    0.112_835_97,
    -0.026_854_329,
    0.005_189_312,
    -0.000_801_885_5,
    7.882_497e-5,
];

impl Emit<'_> {
    fn add(&mut self, a: Val, b: Val) -> Val {
        self.ins(Instr::FAdd, &[a, b])
    }

    fn sub(&mut self, a: Val, b: Val) -> Val {
        self.ins(Instr::FSub, &[a, b])
    }

    fn mul(&mut self, a: Val, b: Val) -> Val {
        self.ins(Instr::FMul, &[a, b])
    }

    fn div(&mut self, a: Val, b: Val) -> Val {
        self.ins(Instr::FDiv, &[a, b])
    }

    fn fma(&mut self, a: Val, b: Val, c: Val) -> Val {
        self.ins(Instr::FMulAdd, &[a, b, c])
    }

    fn select(&mut self, m: Val, a: Val, b: Val) -> Val {
        self.ins(Instr::FSelect, &[m, a, b])
    }

    /// A polynomial by Horner's rule; the constant term comes first.
    fn horner(&mut self, x: Val, c: &[f32]) -> Val {
        let mut sum = self.float(c[c.len() - 1]);
        for k in c[..c.len() - 1].iter().rev() {
            let k = self.float(*k);
            sum = self.fma(sum, x, k);
        }
        sum
    }

    /// 2^n for an integer n in -126..=127, by its exponent bits.
    fn two_to(&mut self, n: Val) -> Val {
        let bias = self.int(127);
        let e = self.ins(Instr::IAdd, &[n, bias]);
        let bits = self.ins(Instr::IShl(23), &[e]);
        self.ins(Instr::IBits, &[bits])
    }

    /// v * 2^n in two steps, so that results may be subnormal and n may leave the range of exponents.
    fn scale(&mut self, v: Val, n: Val) -> Val {
        let half = self.ins(Instr::ISar(1), &[n]);
        let rest = self.ins(Instr::ISub, &[n, half]);
        let (a, b) = (self.two_to(half), self.two_to(rest));
        let v = self.mul(v, a);
        self.mul(v, b)
    }

    /// (n, r, e^r - 1) with x = n ln 2 + r and |r| <= ln 2 / 2 (Cody and Waite's reduction), x between the clamps.
    fn exp_parts(&mut self, x: Val, low: f32, high: f32) -> (Val, Val) {
        let (lo, hi) = (self.float(low), self.float(high));
        let x = self.ins(Instr::FMin, &[hi, x]);
        let x = self.ins(Instr::FMax, &[lo, x]);
        let log2e = self.float(std::f32::consts::LOG2_E);
        let n = self.mul(x, log2e);
        let n = self.ins(Instr::FRound, &[n]);
        let (h, l) = (self.float(-LN2_HIGH), self.float(-LN2_LOW));
        let r = self.fma(n, h, x);
        let r = self.fma(n, l, r);
        let p = self.horner(r, &[1.0, 0.5, 1.0 / 6.0, 1.0 / 24.0, 1.0 / 120.0, 1.0 / 720.0, 1.0 / 5040.0]);
        let p = self.mul(p, r);
        let n = self.ins(Instr::FToI, &[n]);
        (n, p)
    }

    /// e^x.
    pub(super) fn exp(&mut self, x: Val) -> Val {
        let (n, p) = self.exp_parts(x, -105.0, 89.0);
        let one = self.float(1.0);
        let p = self.add(p, one);
        self.scale(p, n)
    }

    /// e^x - 1, exact near 0.
    pub(super) fn expm1(&mut self, x: Val) -> Val {
        let (n, p) = self.exp_parts(x, -20.0, 89.0);
        let one = self.float(1.0);
        let whole = self.add(p, one);
        let large = self.scale(whole, n);
        let cap = self.int(31);
        let small_n = self.ins(Instr::IMin, &[n, cap]);
        let power = self.two_to(small_n);
        let shift = self.sub(power, one);
        let small = self.fma(power, p, shift);
        let is_large = self.ins(Instr::ILt, &[cap, n]);
        let result = self.select(is_large, large, small);
        // The sum above loses the sign of zero and nothing else: tiny numbers are their own result.
        let zero = self.float(0.0);
        let is_zero = self.ins(Instr::FEq, &[x, zero]);
        self.select(is_zero, x, result)
    }

    /// The natural logarithm: exponent by its bits, mantissa m in [sqrt(1/2), sqrt(2)) by log m = 2 artanh((m-1)/(m+1)).
    pub(super) fn log(&mut self, x: Val) -> Val {
        let (e, m) = self.split(x);
        let (one, two) = (self.float(1.0), self.float(2.0));
        let f = self.sub(m, one);
        let bottom = self.add(f, two);
        let s = self.div(f, bottom);
        let z = self.mul(s, s);
        let p = self.horner(z, &[2.0 / 3.0, 2.0 / 5.0, 2.0 / 7.0, 2.0 / 9.0, 2.0 / 11.0]);
        let p = self.mul(p, z);
        // log m = 2 s + s p = f - s (f - p), which keeps f, exact, as the leading part.
        let inner = self.sub(f, p);
        let low = self.mul(s, inner);
        let (h, l) = (self.float(LN2_HIGH), self.float(LN2_LOW));
        let tail = self.mul(e, l);
        let tail = self.sub(tail, low);
        let sum = self.add(f, tail);
        let value = self.fma(e, h, sum);
        self.log_edges(x, value)
    }

    /// The exponent e and the mantissa m in [sqrt(1/2), sqrt(2)) of a number above 0: x = m 2^e.
    fn split(&mut self, x: Val) -> (Val, Val) {
        let (tiny, up) = (self.float(f32::MIN_POSITIVE), self.float(8_388_608.0));
        let is_tiny = self.ins(Instr::FLt, &[x, tiny]);
        let scaled = self.mul(x, up);
        let y = self.select(is_tiny, scaled, x);
        let bits = self.ins(Instr::FBits, &[y]);
        // Subtracting the bits of sqrt(1/2) leaves the exponent that brings the mantissa next to 1.
        let root = self.int(0x3f35_04f3);
        let above = self.ins(Instr::ISub, &[bits, root]);
        let e = self.ins(Instr::ISar(23), &[above]);
        let shift = self.ins(Instr::IShl(23), &[e]);
        let m = self.ins(Instr::ISub, &[bits, shift]);
        let m = self.ins(Instr::IBits, &[m]);
        let (none, down) = (self.int(0), self.int(-23));
        let correction = self.ins(Instr::ISelect, &[is_tiny, down, none]);
        let e = self.ins(Instr::IAdd, &[e, correction]);
        let e = self.ins(Instr::IToF, &[e]);
        (e, m)
    }

    fn log_edges(&mut self, x: Val, value: Val) -> Val {
        let zero = self.float(0.0);
        let inf = self.float(f32::INFINITY);
        let low = self.float(f32::NEG_INFINITY);
        let nan = self.float(f32::NAN);
        let finite = self.ins(Instr::FLt, &[x, inf]);
        let value = self.select(finite, value, x);
        let is_zero = self.ins(Instr::FEq, &[x, zero]);
        let value = self.select(is_zero, low, value);
        let negative = self.ins(Instr::FLt, &[x, zero]);
        self.select(negative, nan, value)
    }

    /// log(1 + x), exact near 0: log(u) x / (u - 1) with u = 1 + x, in which the rounding of u cancels.
    pub(super) fn log1p(&mut self, x: Val) -> Val {
        let one = self.float(1.0);
        let u = self.add(one, x);
        let log = self.log(u);
        let d = self.sub(u, one);
        let ratio = self.div(x, d);
        let value = self.mul(log, ratio);
        let inf = self.float(f32::INFINITY);
        let same = self.ins(Instr::FEq, &[u, one]);
        let value = self.select(same, x, value);
        let is_inf = self.ins(Instr::FEq, &[u, inf]);
        let value = self.select(is_inf, x, value);
        let zero = self.float(0.0);
        let pole = self.ins(Instr::FEq, &[u, zero]);
        let low = self.float(f32::NEG_INFINITY);
        self.select(pole, low, value)
    }

    /// The hyperbolic tangent, t / (t + 2) with t = e^(2|x|) - 1, and the sign of x.
    pub(super) fn tanh(&mut self, x: Val) -> Val {
        let a = self.ins(Instr::FAbs, &[x]);
        let cap = self.float(10.0);
        let a = self.ins(Instr::FMin, &[cap, a]);
        let twice = self.add(a, a);
        let t = self.expm1(twice);
        let two = self.float(2.0);
        let bottom = self.add(t, two);
        let value = self.div(t, bottom);
        self.with_sign(value, x)
    }

    /// The error function: x P(x^2) below 1, and 1 - e^(-x^2) Q(1 / (1 + x/2)) above, P and Q being Chebyshev fits
    /// (relative errors 1.4e-9 and 7e-10).
    pub(super) fn erf(&mut self, x: Val) -> Val {
        let a = self.ins(Instr::FAbs, &[x]);
        let cap = self.float(4.0);
        let a = self.ins(Instr::FMin, &[cap, a]);
        let z = self.mul(a, a);
        let small = self.horner(z, &ERF_NEAR_0);
        let small = self.mul(small, a);
        let (one, half) = (self.float(1.0), self.float(0.5));
        let bottom = self.fma(half, a, one);
        let t = self.div(one, bottom);
        let q = [
            -0.000_160_457_62,
            0.285_005_54,
            0.259_104_47,
            0.349_807_62,
            -0.107_693_18,
            0.568_191_26,
            -0.474_458,
            0.120_262_11,
        ];
        let q = self.horner(t, &q);
        let negative = self.ins(Instr::FNeg, &[z]);
        let e = self.exp(negative);
        let tail = self.mul(e, q);
        let large = self.sub(one, tail);
        let is_small = self.ins(Instr::FLt, &[a, one]);
        let value = self.select(is_small, small, large);
        let value = self.with_sign(value, x);
        let is_nan = self.ins(Instr::FNe, &[x, x]);
        self.select(is_nan, x, value)
    }

    /// 1 - erf(x), which keeps its digits where erf is next to 1: 1 - x P(x^2) between -1/2 and 1/2, P as above; and beyond,
    /// e^(-x^2) t R(t) with t = 1 / (1 + |x|/2), or what that is less than 2. R is a Chebyshev fit up to where the result
    /// is 0 (relative error 1.2e-8); what x^2 loses by rounding is put back.
    pub(super) fn erfc(&mut self, x: Val) -> Val {
        let a = self.ins(Instr::FAbs, &[x]);
        let cap = self.float(10.6);
        let a = self.ins(Instr::FMin, &[cap, a]);
        let (one, two, half) = (self.float(1.0), self.float(2.0), self.float(0.5));
        let z = self.mul(a, a);
        let p = self.horner(z, &ERF_NEAR_0);
        let p = self.ins(Instr::FNeg, &[p]);
        let small = self.fma(p, x, one);
        let bottom = self.fma(half, a, one);
        let t = self.div(one, bottom);
        let r = [
            0.282_076_84,
            0.282_568_48,
            0.241_502_46,
            0.209_806_38,
            -0.045_201_94,
            0.307_194_26,
            -0.513_962_45,
            0.297_688_93,
            -0.061_664_436,
        ];
        let r = self.horner(t, &r);
        let negative = self.ins(Instr::FNeg, &[z]);
        let e = self.exp(negative);
        let lost = self.fma(a, a, negative);
        let left = self.sub(one, lost);
        let e = self.mul(e, left);
        let r = self.mul(r, t);
        let tail = self.mul(e, r);
        let zero = self.float(0.0);
        let rest = self.sub(two, tail);
        let below = self.ins(Instr::FLt, &[x, zero]);
        let tail = self.select(below, rest, tail);
        let is_small = self.ins(Instr::FLt, &[a, half]);
        let value = self.select(is_small, small, tail);
        let is_nan = self.ins(Instr::FNe, &[x, x]);
        self.select(is_nan, x, value)
    }

    /// |v| with the sign of x.
    fn with_sign(&mut self, v: Val, x: Val) -> Val {
        let (mask, rest) = (self.int(i32::MIN), self.int(i32::MAX));
        let bits = self.ins(Instr::FBits, &[x]);
        let sign = self.ins(Instr::IAnd, &[bits, mask]);
        let v = self.ins(Instr::FBits, &[v]);
        let v = self.ins(Instr::IAnd, &[v, rest]);
        let v = self.ins(Instr::IOr, &[v, sign]);
        self.ins(Instr::IBits, &[v])
    }

    /// sin(x + quarters pi / 2), quarters being 0 or 1: x less the nearest multiple of pi (odd multiple of pi/2), by three
    /// parts of pi or, far from 0, as [`Instr::FTurn`] does it; then a polynomial of degree 11, a minimax fit.
    pub(super) fn sin(&mut self, x: Val, quarters: u8) -> Val {
        let (inverse, magic) = (self.float(std::f32::consts::FRAC_1_PI), self.float(MAGIC));
        // Adding the magic number rounds to an integer, whose last bit is the sum's.
        let (t, n) = if quarters == 0 {
            let t = self.fma(x, inverse, magic);
            (t, self.sub(t, magic))
        } else {
            let half = self.float(0.5);
            let t = self.fma(x, inverse, half);
            let t = self.add(t, magic);
            let n = self.sub(t, magic);
            (t, self.sub(n, half))
        };
        let mut r = x;
        for part in PI {
            let part = self.float(-part);
            r = self.fma(n, part, r);
        }
        let (t, r) = (self.ins(Instr::FBits, &[t]), self.ins(Instr::FBits, &[r]));
        let sign = self.ins(Instr::IShl(31), &[t]);
        let r = self.ins(Instr::IXor, &[r, sign]);
        let near = self.ins(Instr::IBits, &[r]);
        let r = self.ins(Instr::FTurn(quarters), &[x, near]);
        let z = self.mul(r, r);
        let q = self.horner(z, &SIN);
        // q r^2, with what r^2 lost by rounding.
        let minus = self.ins(Instr::FNeg, &[z]);
        let lost = self.fma(r, r, minus);
        let lost = self.mul(q, lost);
        let q = self.fma(q, z, lost);
        self.fma(q, r, r)
    }

    /// The base 2 logarithm of a number above 0, in two floats: e + log2 m, and log2 m = s (2 / ln 2 + s^2 P(s^2)) with
    /// s = (m - 1) / (m + 1), products and the quotient with what they lose by rounding.
    fn log2(&mut self, x: Val) -> (Val, Val) {
        let (e, m) = self.split(x);
        let (one, two) = (self.float(1.0), self.float(2.0));
        let f = self.sub(m, one);
        let bottom = self.add(f, two);
        let d = self.sub(bottom, two);
        let bottom_low = self.sub(f, d);
        let inverse = self.div(one, bottom);
        let s = self.mul(f, inverse);
        let minus_s = self.ins(Instr::FNeg, &[s]);
        let s_low = self.fma(minus_s, bottom, f);
        let s_low = self.fma(minus_s, bottom_low, s_low);
        let s_low = self.mul(s_low, inverse);
        let (z, z_low) = self.product(s, s);
        let twice = self.add(s, s);
        let z_low = self.fma(twice, s_low, z_low);
        let p = self.horner(z, &LOG2);
        let [c, c_low] = TWO_OVER_LN2.map(|c| self.float(c));
        let g = self.fma(z, p, c);
        let g_low = self.sub(c, g);
        let g_low = self.fma(z, p, g_low);
        let g_low = self.add(g_low, c_low);
        let g_low = self.fma(z_low, p, g_low);
        let (high, low) = self.product(s, g);
        let low = self.fma(s, g_low, low);
        let low = self.fma(s_low, g, low);
        let sum = self.add(e, high);
        let rest = self.sub(e, sum);
        let rest = self.add(rest, high);
        (sum, self.add(rest, low))
    }

    /// A product, and what it loses by rounding.
    fn product(&mut self, a: Val, b: Val) -> (Val, Val) {
        let p = self.mul(a, b);
        let minus = self.ins(Instr::FNeg, &[p]);
        (p, self.fma(a, b, minus))
    }

    /// x^y: 2^(y log2 |x|), the exponent in two floats, with the signs and edges of IEEE pow.
    pub(super) fn pow(&mut self, x: Val, y: Val) -> Val {
        let a = self.ins(Instr::FAbs, &[x]);
        let (log, log_low) = self.log2(a);
        let (q, q_low) = self.product(y, log);
        let q_low = self.fma(y, log_low, q_low);
        let value = self.exp2(q, q_low);
        let (zero, one, inf) = (self.float(0.0), self.float(1.0), self.float(f32::INFINITY));
        let is_zero = self.ins(Instr::FEq, &[a, zero]);
        let is_inf = self.ins(Instr::FEq, &[a, inf]);
        let falls = self.ins(Instr::FLt, &[y, zero]);
        let (at_zero, at_inf) = (self.select(falls, inf, zero), self.select(falls, zero, inf));
        let value = self.select(is_zero, at_zero, value);
        let value = self.select(is_inf, at_inf, value);
        let of_one = self.ins(Instr::FEq, &[a, one]);
        let value = self.select(of_one, one, value);
        let mut value = self.pow_sign(x, y, value);
        for operand in [x, y] {
            let is_nan = self.ins(Instr::FNe, &[operand, operand]);
            value = self.select(is_nan, operand, value);
        }
        let is_one = self.ins(Instr::FEq, &[x, one]);
        let none = self.ins(Instr::FEq, &[y, zero]);
        let trivial = self.ins(Instr::MOr, &[is_one, none]);
        self.select(trivial, one, value)
    }

    /// |x|^y as x^y: NaN of a negative number and no whole y, negative for odd ones.
    fn pow_sign(&mut self, x: Val, y: Val, value: Val) -> Val {
        let (zero, half, nan) = (self.float(0.0), self.float(0.5), self.float(f32::NAN));
        let floor = self.ins(Instr::FFloor, &[y]);
        let whole = self.ins(Instr::FEq, &[floor, y]);
        let halved = self.mul(y, half);
        let half_floor = self.ins(Instr::FFloor, &[halved]);
        let even = self.ins(Instr::FEq, &[half_floor, halved]);
        let with_sign = self.with_sign(value, x);
        let odd = self.ins(Instr::MNot, &[even]);
        let odd = self.ins(Instr::MAnd, &[whole, odd]);
        let signed = self.select(odd, with_sign, value);
        let low = self.float(f32::NEG_INFINITY);
        let negative = self.ins(Instr::FLt, &[x, zero]);
        let finite = self.ins(Instr::FLt, &[low, x]);
        let broken = self.ins(Instr::MNot, &[whole]);
        let broken = self.ins(Instr::MAnd, &[broken, finite]);
        let broken = self.ins(Instr::MAnd, &[broken, negative]);
        self.select(broken, nan, signed)
    }

    /// 2^(q + low), low being small beside 1 where the result is neither 0 nor infinite.
    fn exp2(&mut self, q: Val, low: Val) -> Val {
        let (top, bottom, zero, one) = (self.float(160.0), self.float(-160.0), self.float(0.0), self.float(1.0));
        let size = self.ins(Instr::FAbs, &[q]);
        let counts = self.ins(Instr::FLt, &[size, top]);
        let low = self.select(counts, low, zero);
        let q = self.ins(Instr::FMin, &[top, q]);
        let q = self.ins(Instr::FMax, &[bottom, q]);
        let n = self.ins(Instr::FRound, &[q]);
        let f = self.sub(q, n);
        let f = self.add(f, low);
        let p = self.horner(f, &EXP2);
        let p = self.fma(p, f, one);
        let n = self.ins(Instr::FToI, &[n]);
        let value = self.scale(p, n);
        let is_nan = self.ins(Instr::FNe, &[q, q]);
        self.select(is_nan, q, value)
    }

    /// x^n for a whole n above 1, to one unit in the last place: by squaring, with what products lose by rounding.
    pub(super) fn whole_power(&mut self, x: Val, n: u32) -> Val {
        let mut power: Option<(Val, Val)> = None;
        for bit in (0..n.ilog2() + 1).rev() {
            power = power.map(|(h, l)| {
                let (p, lost) = self.product(h, h);
                let twice = self.add(h, h);
                (p, self.fma(twice, l, lost))
            });
            if n >> bit & 1 == 1 {
                power = Some(match power {
                    Some((h, l)) => {
                        let (p, lost) = self.product(h, x);
                        (p, self.fma(l, x, lost))
                    }
                    None => (x, self.float(0.0)),
                });
            }
        }
        let Some((high, low)) = power else { return self.float(1.0) };
        // Beyond the largest number, what is lost is none.
        let sum = self.add(high, low);
        let nothing = self.sub(low, low);
        let finite = self.ins(Instr::FEq, &[nothing, nothing]);
        self.select(finite, sum, high)
    }

    /// The remainder with the divisor's sign, exact but for the last addition: as long division by b 2^24k, every digit of
    /// 24 bits at most one too large, then b is added where the signs differ. `least` is the least |b|, where that is known.
    pub(super) fn rem(&mut self, a: Val, b: Val, least: Option<f64>) -> Val {
        let (zero, step, top) = (self.float(0.0), self.float(16_777_216.0), self.float(f32::MAX));
        let mut r = self.ins(Instr::FAbs, &[a]);
        let least = least.map_or(-149, |b| b.abs().log2().floor().clamp(-149.0, 127.0) as i32);
        let mut divisors = vec![self.ins(Instr::FAbs, &[b])];
        for _ in 1..(128 - least + 23) / 24 {
            divisors.push(self.mul(divisors[divisors.len() - 1], step));
        }
        for divisor in divisors.into_iter().rev() {
            let q = self.div(r, divisor);
            let q = self.ins(Instr::FFloor, &[q]);
            // An infinite divisor is taken no times, which is to leave r and not give NaN.
            let divisor = self.ins(Instr::FMin, &[top, divisor]);
            let q = self.ins(Instr::FNeg, &[q]);
            let rest = self.fma(q, divisor, r);
            let more = self.add(rest, divisor);
            let below = self.ins(Instr::FLt, &[rest, zero]);
            r = self.select(below, more, rest);
        }
        let is_nan = self.ins(Instr::FNe, &[r, r]);
        let signed = self.with_sign(r, a);
        let r = self.select(is_nan, r, signed);
        let product = self.signs_differ(r, b);
        let is_zero = self.ins(Instr::FEq, &[r, zero]);
        let not_zero = self.ins(Instr::MNot, &[is_zero]);
        let turns = self.ins(Instr::MAnd, &[product, not_zero]);
        let sum = self.add(r, b);
        self.select(turns, sum, r)
    }

    /// Whether one of two numbers is below zero and the other is not.
    fn signs_differ(&mut self, a: Val, b: Val) -> Val {
        let none = self.int(0);
        let (a, b) = (self.ins(Instr::FBits, &[a]), self.ins(Instr::FBits, &[b]));
        let both = self.ins(Instr::IXor, &[a, b]);
        self.ins(Instr::ILt, &[both, none])
    }
}
