//! Reducers over index variables. A sum of a product becomes contractions: what does not depend on the summed variables is
//! pulled out, and two factors at a time are multiplied, the two that give the smallest result first.

use super::Checker;
use super::frame::Reduced;
use super::lanes::variables;
use super::ops::wider;
use super::reduce::Reduction;
use super::scope::Scope;
use super::value::{Given, Tag, Tensor, Val};
use crate::program::{Label, ReduceOp};
use dlc_grammar::ast::{BinaryOp, Expr, ExprKind};
use dlc_grammar::{Diagnostic, Span};
use dlc_plan::{Host, Prim, Size};

/// What a reducer goes over: index variables, and whether also what `..` stands for.
pub(super) type Over<'a> = (&'a [Tag], bool);

impl Checker {
    /// A reducer's result, from the expression that it goes over.
    pub(super) fn reduce_over(
        &mut self,
        reduction: Reduction,
        name: &'static str,
        over: Over,
        e: &Expr,
        span: Span,
        sc: &Scope,
    ) -> Option<Val> {
        for var in over.0 {
            self.extent(var)?;
        }
        let factors = match reduction {
            Reduction::Sum | Reduction::Mean => factors(e),
            _ => vec![e],
        };
        let mut vals: Vec<(Val, Span)> = Vec::new();
        for factor in factors {
            let v = self.eval(factor, sc);
            if v.is_poison() {
                return None;
            }
            vals.push((v, factor.span));
        }
        self.at(span);
        let depends = |v: &Val| matches!(v, Val::Tensor(t) if over.0.iter().any(|var| t.lane(var).is_some()) || over.1 && !t.rest().is_empty());
        let (inside, outside): (Vec<_>, Vec<_>) = vals.iter().cloned().partition(|(v, _)| depends(v));
        let inner: Vec<Tensor> =
            inside.iter().filter_map(|(v, _)| if let Val::Tensor(t) = v { Some(t.clone()) } else { None }).collect();
        let named = variables(&inner);
        let all = over.0.iter().all(|var| named.iter().any(|n| n.env == var.env));
        let alike = inner.iter().all(|t| {
            t.rest().is_empty() || t.rest().iter().map(|a| &a.size).eq(inner[0].rest().iter().map(|a| &a.size))
        });
        let contracts = inner.len() > 1 && all && alike && inner.iter().all(|t| t.dtype.is_float());
        let mut result = if contracts {
            let sum = self.contract_all(inner, over, span)?;
            match reduction {
                Reduction::Mean => self.divided_by_count(sum, over, &inside, span)?,
                _ => sum,
            }
        } else {
            // Numbers among the factors wait until the sum is made, where there is anything to sum.
            let product = if inside.is_empty() || !all { vals.clone() } else { inside };
            let whole = product.len() == vals.len();
            let v = self.product_of(product, span)?;
            let v = self.reduce_value_over(reduction, name, over, v, e.span, span)?;
            if whole { return Some(v) } else { v }
        };
        for (v, at) in outside {
            result = self.operator(BinaryOp::Mul, span, (result, span), (v, at));
        }
        (!result.is_poison()).then_some(result)
    }

    fn product_of(&mut self, vals: Vec<(Val, Span)>, span: Span) -> Option<Val> {
        let mut product: Option<(Val, Span)> = None;
        for (v, at) in vals {
            product = Some(match product {
                None => (v, at),
                Some(p) => (self.operator(BinaryOp::Mul, span, p, (v, at)), span),
            });
        }
        product.map(|p| p.0).filter(|v| !v.is_poison())
    }

    /// Reduces a value over variables, and over what `..` stands for.
    fn reduce_value_over(
        &mut self,
        reduction: Reduction,
        name: &'static str,
        (vars, rest): Over,
        v: Val,
        at: Span,
        span: Span,
    ) -> Option<Val> {
        let v = match v {
            Val::Num(_) | Val::Bool(_) | Val::Truth(_) => self.scalar_tensor(&v),
            v => v,
        };
        let Val::Tensor(t) = &v else {
            let message = format!("`{name}` needs numbers, got {}", self.show(&v));
            self.report(Diagnostic::error("E0112", at, message));
            return None;
        };
        if rest && vars.is_empty() && t.rest().is_empty() {
            let message = "`..` stands for no axes here";
            self.report(Diagnostic::error("E0309", at, message));
            return None;
        }
        let t = self.over(t, vars)?;
        let mut picked: Vec<usize> = vars.iter().filter_map(|var| t.lane(var)).collect();
        if rest {
            picked.extend(t.lanes()..t.rank());
        }
        picked.sort_unstable();
        let given = Given::new(Val::Tensor(t.clone()), at);
        let how = Reduced { name, call: span, bracket: None };
        match self.reduction_over(reduction, &t, &picked, false, how, &given) {
            Val::Poison => None,
            v => Some(v),
        }
    }

    /// A sum divided by the number of its terms.
    fn divided_by_count(&mut self, sum: Val, (vars, rest): Over, inside: &[(Val, Span)], span: Span) -> Option<Val> {
        let mut count = Size::one();
        for var in vars {
            count = count.times(&self.extent(var)?);
        }
        let tensors = inside.iter().filter_map(|(v, _)| if let Val::Tensor(t) = v { Some(t) } else { None });
        let longest = tensors.map(|t| t.rest()).max_by_key(|r| r.len()).unwrap_or_default();
        if rest {
            count = count.times(&Size::product(longest.iter().map(|a| &a.size)));
        }
        let Val::Tensor(t) = &sum else { return None };
        let n = self.b().host(t.dtype, Host::Size(count));
        let n = Val::Tensor(self.tensor(n, Vec::new()));
        Some(self.primitive(Prim::Div, "/", span, vec![(sum, span), (n, span)]))
    }

    /// The sum of a product of two factors or more.
    fn contract_all(&mut self, mut factors: Vec<Tensor>, over: Over, span: Span) -> Option<Val> {
        while factors.len() > 1 {
            let pairs = (0..factors.len()).flat_map(|i| (i + 1..factors.len()).map(move |j| (i, j)));
            // What a pair leaves: the variables of both that are not summed, or that another factor has too.
            let left = |&(i, j): &(usize, usize)| {
                let others = factors.iter().enumerate().filter(|(k, _)| *k != i && *k != j);
                let wanted = variables(others.map(|(_, t)| t));
                let stays = |v: &Tag| over.0.iter().all(|s| s.env != v.env) || wanted.iter().any(|w| w.env == v.env);
                variables([&factors[i], &factors[j]]).iter().filter(|v| stays(v)).count()
            };
            let (i, j) = pairs.min_by_key(left)?;
            let b = factors.remove(j);
            let a = factors.remove(i);
            let now: Vec<Tag> =
                over.0.iter().filter(|v| factors.iter().all(|t| t.lane(v).is_none())).cloned().collect();
            let rest = over.1 && factors.iter().all(|t| t.rest().is_empty());
            let product = self.contract_two(a, b, (&now, rest), span)?;
            factors.insert(i, product);
        }
        factors.pop().map(Val::Tensor)
    }

    /// The product of two factors, summed over variables.
    fn contract_two(&mut self, a: Tensor, b: Tensor, (vars, rest): Over, span: Span) -> Option<Tensor> {
        let dtype = wider(a.dtype, b.dtype);
        let has_rest = |t: &Tensor| !t.rest().is_empty();
        // What only one of them depends on is summed there.
        let own = |c: &mut Checker, t: &Tensor, other: &Tensor| {
            let mut picked: Vec<usize> =
                vars.iter().filter(|v| other.lane(v).is_none()).filter_map(|v| t.lane(v)).collect();
            if rest && has_rest(t) && !has_rest(other) {
                picked.extend(t.lanes()..t.rank());
            }
            let v = c.use_(t);
            let v = c.b().reduce(ReduceOp::Sum, v, &picked);
            let tags = (0..t.rank()).filter(|k| !picked.contains(k)).map(|k| t.axes[k].tag.clone()).collect();
            c.tensor(v, tags)
        };
        let (a, b) = (own(self, &a, &b), own(self, &b, &a));
        let summed: Vec<&Tag> = vars.iter().filter(|v| a.lane(v).is_some() && b.lane(v).is_some()).collect();
        let rest = rest && has_rest(&a) && has_rest(&b);
        if summed.is_empty() && !rest {
            return match self.operator(BinaryOp::Mul, span, (Val::Tensor(a), span), (Val::Tensor(b), span)) {
                Val::Tensor(t) => Some(t),
                _ => None,
            };
        }
        let all = variables([&a, &b]);
        let label = |t: &Tensor, k: usize| match t.axes[k].variable() {
            Some(var) => all.iter().position(|v| v.env == var.env).expect("it is among all") as Label,
            None => (all.len() + k - t.lanes()) as Label,
        };
        let labels = |t: &Tensor| (0..t.rank()).map(|k| label(t, k)).collect::<Vec<Label>>();
        let (la, lb) = (labels(&a), labels(&b));
        let gone = |l: &Label| match all.get(usize::from(*l)) {
            Some(var) => summed.iter().any(|s| s.env == var.env),
            None => rest,
        };
        let mut out: Vec<Label> = la.iter().chain(&lb).copied().filter(|l| !gone(l)).collect();
        out.sort_unstable();
        out.dedup();
        let tag = |l: &Label| {
            let from = |t: &Tensor, ls: &[Label]| ls.iter().position(|x| x == l).map(|k| t.axes[k].tag.clone());
            from(&a, &la).or_else(|| from(&b, &lb)).flatten()
        };
        let tags = out.iter().map(tag).collect();
        let (va, vb) = (self.use_(&a), self.use_(&b));
        let (va, vb) = (self.b().cast(va, dtype), self.b().cast(vb, dtype));
        let v = self.b().contract(va, vb, &la, &lb, &out);
        let v = self.adapted_product(v, (va, &la), (vb, &lb), &out, span)?;
        let v = self.b().cast(v, dtype);
        Some(self.tensor(v, tags))
    }
}

/// The factors of a product, in order.
fn factors(e: &Expr) -> Vec<&Expr> {
    match &e.kind {
        ExprKind::Binary { op: BinaryOp::Mul, left, right, .. } => [factors(left), factors(right)].concat(),
        _ => vec![e],
    }
}
