//! Sizes of axes: polynomials over dynamic sizes and floor quotients, normalised, so that equal sizes compare equal.
//!
//! A size is static when it has no dynamic part. Dynamic sizes are numbered; the plan keeps their names.

use std::collections::BTreeMap;
use std::fmt;

/// A factor of a term: something known only at run time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Atom {
    /// A dynamic size, by its number.
    Dim(u16),
    /// The quotient of two sizes, rounded down.
    Quot(Box<Size>, Box<Size>),
}

/// One term: a coefficient and its sorted factors.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term {
    /// The sorted factors; none for the constant term.
    pub atoms: Vec<Atom>,
    /// The coefficient, never zero.
    pub factor: i64,
}

/// A size: a sum of terms, sorted by their factors. No terms is zero.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size {
    terms: Terms,
}

/// The terms of a size. Most sizes are plain numbers, of which there are very many: those own no memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Terms {
    /// None.
    #[default]
    Zero,
    /// A constant term alone, which is not zero.
    Number([Term; 1]),
    /// All others.
    Sum(Vec<Term>),
}

impl From<i64> for Size {
    fn from(n: i64) -> Size {
        Size { terms: if n == 0 { Terms::Zero } else { Terms::Number([Term { atoms: Vec::new(), factor: n }]) } }
    }
}

impl Size {
    /// The dynamic size with this number.
    pub fn dim(n: u16) -> Size {
        Size::collect([(vec![Atom::Dim(n)], 1)])
    }

    /// Zero.
    pub fn zero() -> Size {
        Size::default()
    }

    /// One.
    pub fn one() -> Size {
        Size::from(1)
    }

    /// The terms, sorted by their factors.
    pub fn terms(&self) -> &[Term] {
        match &self.terms {
            Terms::Zero => &[],
            Terms::Number(one) => one,
            Terms::Sum(all) => all,
        }
    }

    fn collect(parts: impl IntoIterator<Item = (Vec<Atom>, i64)>) -> Size {
        let mut sums: BTreeMap<Vec<Atom>, i64> = BTreeMap::new();
        for (atoms, factor) in parts {
            let sum = sums.entry(atoms).or_default();
            *sum = sum.saturating_add(factor);
        }
        let term = |(atoms, factor)| Term { atoms, factor };
        let all: Vec<Term> = sums.into_iter().filter(|(_, factor)| *factor != 0).map(term).collect();
        match all.as_slice() {
            [] => Size::zero(),
            [one] if one.atoms.is_empty() => Size::from(one.factor),
            _ => Size { terms: Terms::Sum(all) },
        }
    }

    /// The value, if no dynamic size is in it.
    pub fn known(&self) -> Option<i64> {
        match &self.terms {
            Terms::Zero => Some(0),
            Terms::Number([constant]) => Some(constant.factor),
            Terms::Sum(_) => None,
        }
    }

    /// Whether the value is known and equal to `n`.
    pub fn is(&self, n: i64) -> bool {
        self.known() == Some(n)
    }

    /// The sum.
    pub fn plus(&self, other: &Size) -> Size {
        if let (Some(a), Some(b)) = (self.known(), other.known()) {
            return Size::from(a.saturating_add(b));
        }
        Size::collect(self.terms().iter().chain(other.terms()).map(|t| (t.atoms.clone(), t.factor)))
    }

    /// The difference.
    pub fn minus(&self, other: &Size) -> Size {
        self.plus(&other.times(&Size::from(-1)))
    }

    /// The product.
    pub fn times(&self, other: &Size) -> Size {
        if let (Some(a), Some(b)) = (self.known(), other.known()) {
            return Size::from(a.saturating_mul(b));
        }
        Size::collect(self.terms().iter().flat_map(|a| {
            other.terms().iter().map(move |b| {
                let mut atoms: Vec<Atom> = a.atoms.iter().chain(&b.atoms).cloned().collect();
                atoms.sort();
                (atoms, a.factor.saturating_mul(b.factor))
            })
        }))
    }

    /// The exact quotient, if the division leaves nothing over whatever the dynamic sizes are.
    pub fn divided(&self, by: &Size) -> Option<Size> {
        if self == by && !by.is(0) {
            return Some(Size::one());
        }
        let [d] = by.terms() else { return None };
        let mut parts = Vec::new();
        for t in self.terms() {
            if t.factor % d.factor != 0 {
                return None;
            }
            let mut atoms = t.atoms.clone();
            for a in &d.atoms {
                atoms.remove(atoms.iter().position(|x| x == a)?);
            }
            parts.push((atoms, t.factor / d.factor));
        }
        Some(Size::collect(parts))
    }

    /// The quotient rounded down: exact where possible, a floor quotient otherwise. Division by a known zero is `None`.
    pub fn quotient(&self, by: &Size) -> Option<Size> {
        if by.is(0) {
            return None;
        }
        if let Some(exact) = self.divided(by) {
            return Some(exact);
        }
        if let (Some(a), Some(b)) = (self.known(), by.known()) {
            return Some(Size::from(a.div_euclid(b)));
        }
        Some(Size::collect([(vec![Atom::Quot(Box::new(self.clone()), Box::new(by.clone()))], 1)]))
    }

    /// The product of many sizes.
    pub fn product<'a>(sizes: impl IntoIterator<Item = &'a Size>) -> Size {
        // Numbers are most of them, and multiplied as such.
        let (mut numbers, mut rest) = (1i64, None::<Size>);
        for s in sizes {
            match (s.known(), &mut rest) {
                (Some(n), _) => numbers = numbers.saturating_mul(n),
                (None, Some(rest)) => *rest = rest.times(s),
                (None, rest) => *rest = Some(s.clone()),
            }
        }
        rest.map_or_else(|| Size::from(numbers), |rest| rest.times(&Size::from(numbers)))
    }

    /// The value when the dynamic sizes are `dims`. A floor quotient by zero is zero; what does not fit saturates.
    pub fn eval(&self, dims: &[i64]) -> i64 {
        let of = |t: &Term| t.atoms.iter().fold(t.factor, |p, a| p.saturating_mul(a.eval(dims)));
        self.terms().iter().map(of).fold(0, i64::saturating_add)
    }

    /// Every dynamic size replaced by the size that `map` gives for its number.
    pub fn replace(&self, map: &dyn Fn(u16) -> Size) -> Size {
        let mut sum = Size::zero();
        for t in self.terms() {
            let product = t.atoms.iter().fold(Size::from(t.factor), |p, a| p.times(&a.replace(map)));
            sum = sum.plus(&product);
        }
        sum
    }

    /// The numbers of the dynamic sizes in it, each once.
    pub fn dims(&self) -> Vec<u16> {
        let mut found = Vec::new();
        for a in self.terms().iter().flat_map(|t| &t.atoms) {
            match a {
                Atom::Dim(n) => found.push(*n),
                Atom::Quot(a, b) => found.extend(a.dims().into_iter().chain(b.dims())),
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Prints with the names of the dynamic sizes.
    pub fn show<'a>(&'a self, names: &'a [String]) -> impl fmt::Display + 'a {
        Shown { size: self, names }
    }
}

impl std::ops::Add for Size {
    type Output = Size;

    fn add(self, other: Size) -> Size {
        self.plus(&other)
    }
}

impl std::ops::Mul for Size {
    type Output = Size;

    fn mul(self, other: Size) -> Size {
        self.times(&other)
    }
}

impl Atom {
    fn eval(&self, dims: &[i64]) -> i64 {
        match self {
            Atom::Dim(n) => dims.get(*n as usize).copied().unwrap_or(0),
            Atom::Quot(a, b) => a.eval(dims).checked_div_euclid(b.eval(dims)).unwrap_or(0),
        }
    }

    fn replace(&self, map: &dyn Fn(u16) -> Size) -> Size {
        match self {
            Atom::Dim(n) => map(*n),
            Atom::Quot(a, b) => a.replace(map).quotient(&b.replace(map)).unwrap_or_default(),
        }
    }
}

struct Shown<'a> {
    size: &'a Size,
    names: &'a [String],
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.names;
        if self.size.terms().is_empty() {
            return write!(f, "0");
        }
        // The constant term sorts first; people write it last.
        let (constant, rest): (Vec<_>, Vec<_>) = self.size.terms().iter().partition(|t| t.atoms.is_empty());
        for (i, t) in rest.into_iter().chain(constant).enumerate() {
            let sign = if t.factor < 0 { "-" } else { "+" };
            match (i, t.factor < 0) {
                (0, false) => {}
                (0, true) => write!(f, "-")?,
                _ => write!(f, " {sign} ")?,
            }
            let size = t.factor.unsigned_abs();
            if size != 1 || t.atoms.is_empty() {
                write!(f, "{size}")?;
            }
            for (j, a) in t.atoms.iter().enumerate() {
                if j > 0 || size != 1 {
                    write!(f, " * ")?;
                }
                match a {
                    Atom::Dim(n) => match names.get(*n as usize) {
                        Some(name) => write!(f, "{name}")?,
                        None => write!(f, "d{n}")?,
                    },
                    Atom::Quot(a, b) => write!(f, "floor(({}) / ({}))", a.show(names), b.show(names))?,
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.show(&[]))
    }
}
