//! Layers and functions of the prelude.

use super::super::spec::{Dim, Id, Ty};
use super::{MOST, Scope, Writer};
use dlc_plan::DType;

impl Writer<'_> {
    pub(super) fn layer(&mut self, s: &mut Scope) -> Option<Id> {
        let x = self.find(s, |v| v.ty.dtype == DType::F32 && v.ty.rank() > 0 && v.most <= MOST)?;
        match self.dice.below(4) {
            0 => self.plain(s, x),
            1 => self.attended(s),
            2 => self.over_images(s),
            _ => self.weighted(s, x),
        }
    }

    /// What has no weights: softmax, and what drops.
    fn plain(&mut self, s: &mut Scope, x: Id) -> Option<Id> {
        let (ty, most) = (self.ty(x).clone(), self.most(x));
        let axis = self.dice.below(ty.rank());
        let (text, most) = match self.dice.below(6) {
            0 | 1 => (format!("softmax[{axis}]($0)"), 1.0),
            2 => (format!("log_softmax[{axis}]($0)"), 2.0 * most + 6.0),
            3 => ("dropout($0, 0.3)".into(), 2.0 * most),
            4 if ty.rank() > 1 => ("channel_dropout($0, 0.25)".into(), 2.0 * most),
            _ => ("stochastic_depth($0, 0.4)".into(), 2.0 * most),
        };
        Some(self.make(s, &[x], text, ty, most))
    }

    /// Layers with weights, over the last axis or over channels.
    fn weighted(&mut self, s: &mut Scope, x: Id) -> Option<Id> {
        let label = s.label?;
        let ty = self.ty(x).clone();
        let most = self.most(x);
        let last = ty.shape[ty.rank() - 1].number()?;
        let channels = ty.shape.get(1).and_then(|dim| dim.number());
        let mut shape = ty.shape.clone();
        let (text, most) = match (self.dice.below(8), channels) {
            (0, _) if ty.rank() > 1 => {
                let out = self.extent();
                shape[ty.rank() - 1] = out;
                (format!("Linear({out})"), most * last as f64)
            }
            (1, _) => ("LayerNorm".into(), 20.0),
            (2, _) => ("RMSNorm".into(), 20.0),
            (3, Some(_)) => ("BatchNorm".into(), 320.0 * (1.0 + most)),
            (4, Some(n)) if n > 0 => (format!("GroupNorm({})", if n % 2 == 0 { 2 } else { 1 }), 320.0),
            (5, Some(_)) if ty.rank() > 2 => ("InstanceNorm(affine = true)".into(), 320.0),
            (6, Some(n)) => (format!("PReLU({n})"), most),
            (7, _) if ty.rank() > 1 => ("SwiGLU(6, bias = true)".into(), most * last as f64 * most),
            _ => ("LayerNorm(bias = false)".into(), 20.0),
        };
        if most > MOST * 10.0 {
            return None;
        }
        Some(self.make(s, &[x], format!("$0 -> l$#{label}: {text}"), Ty::new(ty.dtype, &shape), most))
    }

    fn attended(&mut self, s: &mut Scope) -> Option<Id> {
        let q = self.find(s, |v| v.ty.dtype == DType::F32 && (2..5).contains(&v.ty.rank()) && v.most <= 10.0)?;
        let ty = self.ty(q).clone();
        let k = self.find(s, |v| v.ty == ty && v.most <= 10.0)?;
        let v = self.find(s, |v| v.ty == ty)?;
        let most = self.most(v);
        let dynamics = |k: usize| ty.shape.iter().filter(|dim| dim.times[k] != 0).count();
        // The scores have the rows' extent twice.
        if dynamics(0) > 1 && dynamics(1) > 1 {
            return None;
        }
        let rows = [&ty.shape[..], &ty.shape[ty.rank() - 2..ty.rank() - 1]].concat();
        self.spec.products.extend([rows.clone(), rows]);
        let text = match (ty.rank(), self.dice.below(3)) {
            (4, 0) => "attention($0, $1, $2)",
            (4, 1) => "attention($0, $1, $2, causal = true)",
            (4, 2) => "attention($0, $1, $2, causal = true, window = 2, p = 0.2)",
            (_, 0) => "softmax($0 @ $1.t * 0.5) @ $2",
            (_, 1) => "softmax[-1](tanh($0 @ $1.t)) @ $2",
            _ => "dropout(softmax($0 @ $1.t), 0.1) @ $2",
        };
        Some(self.make(s, &[q, k, v], text, ty, most * 2.0))
    }

    /// Convolutions and pools of values with channels.
    fn over_images(&mut self, s: &mut Scope) -> Option<Id> {
        let label = s.label?;
        let x = self.find(s, |v| {
            let numbers = v.ty.shape.iter().skip(1).all(|dim| dim.number().is_some_and(|n| n > 0));
            v.ty.dtype == DType::F32 && (3..5).contains(&v.ty.rank()) && numbers && v.most <= 100.0
        })?;
        let (ty, most) = (self.ty(x).clone(), self.most(x));
        let mut shape = ty.shape.clone();
        let n: Vec<i64> = shape[1..].iter().map(|dim| dim.number().unwrap_or(1)).collect();
        let out = self.dice.pick(&[2, 4, 3]);
        let elements: i64 = n.iter().product();
        if elements > 300 {
            return None;
        }
        let (text, most) = match (ty.rank(), self.dice.below(3)) {
            (3, 0) if n[1] >= 2 => {
                shape[1] = Dim::of(out);
                shape[2] = Dim::of((n[1] + 2 - 3) / 2 + 1);
                (format!("$0 -> l$#{label}: Conv1d({out}, 3, stride = 2, padding = 1)"), most * 3.0 * n[0] as f64)
            }
            (3, _) => {
                shape[1] = Dim::of(out);
                (format!("$0 -> l$#{label}: Conv1d({out}, 2, padding = \"same\")"), most * 2.0 * n[0] as f64)
            }
            (_, 0) if n[1] >= 2 && n[2] >= 2 => {
                shape[2] = Dim::of((n[1] - 2) / 2 + 1);
                shape[3] = Dim::of((n[2] - 2) / 2 + 1);
                (self.dice.pick(&["max_pool($0)", "avg_pool($0)"]).to_string(), most)
            }
            (_, 1) => {
                shape[2] = Dim::of(2);
                shape[3] = Dim::of(1);
                ("adaptive_avg_pool($0, 2, 1)".into(), most)
            }
            _ => {
                shape[1] = Dim::of(out);
                (format!("$0 -> l$#{label}: Conv2d({out}, 3, padding = 1)"), most * 9.0 * n[0] as f64)
            }
        };
        Some(self.make(s, &[x], text, Ty::new(ty.dtype, &shape), most))
    }
}
