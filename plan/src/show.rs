//! Kernels as text: takes a kernel, gives the lines that `--emit plan` and the snapshots show. One line a value, in the
//! order of the code; `$0` is the call's first extent, `row0` and `col0` are the loops' indices.

use std::fmt::{self, Display, Formatter};

use crate::kernel::{
    Access, Affine, Axis, Bits, Bound, Def, Elem, Ext, Fold, FoldOp, Instr, Kernel, Kind, Op, Over, Phase, Store,
};

impl Display for Kernel {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.head(f)?;
        writeln!(f)?;
        if !self.setup.is_empty() {
            writeln!(f, "  setup")?;
            self.setup.iter().try_for_each(|def| writeln!(f, "    {def}"))?;
        }
        for phase in &self.phases {
            writeln!(f, "  {}", phase.name())?;
            phase.defs.iter().try_for_each(|def| writeln!(f, "    {def}"))?;
            phase.stores.iter().try_for_each(|store| writeln!(f, "    {store}"))?;
            phase.folds.iter().try_for_each(|fold| writeln!(f, "    {fold}"))?;
        }
        Ok(())
    }
}

impl Kernel {
    fn head(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "kernel rows({}) cols({})", Commas(&self.rows), Commas(&self.cols))?;
        for (i, b) in self.bufs.iter().enumerate() {
            write!(f, "{}b{i}: {}{}", sep(i, " bufs("), if b.written { "mut " } else { "" }, b.elem)?;
        }
        f.write_str(if self.bufs.is_empty() { "" } else { ")" })?;
        for (i, kind) in self.uniforms.iter().enumerate() {
            write!(f, "{}u{i}: {kind}", sep(i, " uniforms("))?;
        }
        f.write_str(if self.uniforms.is_empty() { "" } else { ")" })
    }

    /// What the runtime knows of a kernel: the extents of its loops, its buffers with whether it stores to them, its scalars,
    /// its number of extents, and for each phase how much work it is, and its folds over rows.
    pub(crate) fn outline(&self) -> impl Display + '_ {
        Outline(self)
    }
}

struct Outline<'a>(&'a Kernel);

impl Display for Outline<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.head(f)?;
        if self.0.exts > 0 {
            write!(f, " extents {}", self.0.exts)?;
        }
        for (i, phase) in self.0.phases.iter().enumerate() {
            let folds: Vec<&Fold> = phase.folds.iter().filter(|fold| !matches!(fold.over, Over::Cols(_))).collect();
            let work = crate::chunks::phase_work(phase) - folds.len() as u64;
            write!(f, "{}{} {work}", sep(i, ": "), phase.name())?;
            for Fold { op, kind, over, value: _ } in folds {
                match over {
                    Over::Cols(_) => {}
                    Over::Rows(slot) => write!(f, " fold{slot} {op} {kind} over rows")?,
                    Over::All(slot) => write!(f, " fold{slot} {op} {kind} over all")?,
                }
            }
        }
        Ok(())
    }
}

impl Phase {
    fn name(&self) -> &'static str {
        if self.sweep { "sweep" } else { "row" }
    }
}

fn sep(i: usize, open: &'static str) -> &'static str {
    if i == 0 { open } else { ", " }
}

struct Commas<'a, T>(&'a [T]);

impl<T: Display> Display for Commas<'_, T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(i, item)| write!(f, "{}{item}", sep(i, "")))
    }
}

impl Display for Kind {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::F32 => "f32",
            Kind::I32 => "i32",
            Kind::Mask => "mask",
        })
    }
}

impl Display for Elem {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Elem::F32 => "f32",
            Elem::I32 => "i32",
            Elem::U8 => "u8",
        })
    }
}

impl Display for Ext {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Ext::Const(n) => write!(f, "{n}"),
            Ext::Arg(n) => write!(f, "${n}"),
        }
    }
}

impl Display for Axis {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Axis::Row(n) => write!(f, "row{n}"),
            Axis::Col(n) => write!(f, "col{n}"),
        }
    }
}

impl Display for Affine {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (i, (axis, factor)) in self.terms.iter().enumerate() {
            match factor {
                Ext::Const(1) => write!(f, "{}{axis}", plus(i))?,
                Ext::Const(_) | Ext::Arg(_) => write!(f, "{}{axis}*{factor}", plus(i))?,
            }
        }
        match self.offset {
            Ext::Const(0) if !self.terms.is_empty() => Ok(()),
            Ext::Const(n) if n < 0 && !self.terms.is_empty() => write!(f, " - {}", n.unsigned_abs()),
            Ext::Const(_) | Ext::Arg(_) => write!(f, "{}{}", plus(self.terms.len()), self.offset),
        }
    }
}

fn plus(i: usize) -> &'static str {
    if i == 0 { "" } else { " + " }
}

impl Display for Access {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "b{}[{}", self.buf, self.at)?;
        match self.base {
            Some((val, Ext::Const(1))) => write!(f, " + %{val}")?,
            Some((val, factor)) => write!(f, " + %{val}*{factor}")?,
            None => {}
        }
        f.write_str("]")?;
        for (i, Bound { index, extent }) in self.bounds.iter().enumerate() {
            write!(f, "{}0 <= {index} < {extent}", sep(i, " if "))?;
        }
        Ok(())
    }
}

impl Display for Instr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Instr::IShl(n) => write!(f, "ishl.{n}"),
            Instr::IShr(n) => write!(f, "ishr.{n}"),
            Instr::ISar(n) => write!(f, "isar.{n}"),
            other => f.write_str(&format!("{other:?}").to_lowercase()),
        }
    }
}

impl Display for Bits {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let [low, high] = self.seed;
        write!(f, "bits(seed %{low} %{high}, site %{}, step %{}, ", self.site, self.step)?;
        write!(f, "row {} + %{}, col {})", self.row, self.first, self.col)
    }
}

impl Display for Def {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "%{} = ", self.val)?;
        match &self.op {
            Op::Float(bits) => write!(f, "f32 {:?}", f32::from_bits(*bits)),
            Op::Int(n) => write!(f, "i32 {n}"),
            Op::Uniform(n) => write!(f, "u{n}"),
            Op::Index(axis) => write!(f, "{axis}"),
            Op::Load(access) => write!(f, "load {access}"),
            Op::Instr(instr, args) => {
                write!(f, "{instr}")?;
                args.iter().try_for_each(|arg| write!(f, " %{arg}"))
            }
            Op::Bits(bits) => write!(f, "{bits}"),
        }
    }
}

impl Display for Store {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "store {} = %{}", self.to, self.value)
    }
}

impl Display for FoldOp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FoldOp::Sum => "sum",
            FoldOp::Prod => "prod",
            FoldOp::Max => "max",
            FoldOp::Min => "min",
        })
    }
}

impl Display for Fold {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Fold { op, value, kind: _, over } = self;
        match over {
            Over::Cols(val) => write!(f, "%{val} = {op} over cols %{value}"),
            Over::Rows(slot) => write!(f, "fold{slot} = {op} over rows %{value}"),
            Over::All(slot) => write!(f, "fold{slot} = {op} over all %{value}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{BufTy, Phase};

    fn at(terms: &[(Axis, Ext)], offset: i64) -> Affine {
        Affine { offset: Ext::Const(offset), terms: terms.to_vec() }
    }

    #[test]
    fn a_kernel_reads_like_its_loops() {
        let (row, col) = (Axis::Row(0), Axis::Col(0));
        let element = Access {
            buf: 0,
            at: at(&[(row, Ext::Const(64)), (col, Ext::Const(1))], 0),
            base: None,
            bounds: vec![Bound { index: at(&[(col, Ext::Const(1))], -1), extent: Ext::Arg(0) }],
        };
        let to = Access { buf: 1, at: at(&[(col, Ext::Arg(1))], 3), base: Some((0, Ext::Const(64))), bounds: vec![] };
        let def = |val, kind, op| Def { val, kind, op };
        let bits =
            Bits { seed: [0, 0], site: 0, step: 0, first: 0, row: at(&[], 0), col: at(&[(col, Ext::Const(1))], 0) };
        let kernel = Kernel {
            rows: vec![Ext::Arg(0)],
            cols: vec![Ext::Const(64)],
            bufs: vec![BufTy { elem: Elem::U8, written: false }, BufTy { elem: Elem::F32, written: true }],
            uniforms: vec![Kind::I32],
            exts: 2,
            folds: 1,
            setup: vec![def(0, Kind::I32, Op::Uniform(0)), def(1, Kind::F32, Op::Float(1.5f32.to_bits()))],
            phases: vec![Phase {
                elsewhere: 0,
                sweep: true,
                defs: vec![
                    def(2, Kind::I32, Op::Load(element)),
                    def(3, Kind::I32, Op::Instr(Instr::IShr(8), vec![2])),
                    def(4, Kind::F32, Op::Instr(Instr::IToF, vec![3])),
                    def(5, Kind::I32, Op::Bits(bits)),
                ],
                stores: vec![Store { to, value: 4 }],
                folds: vec![
                    Fold { op: FoldOp::Max, value: 4, kind: Kind::F32, over: Over::Cols(6) },
                    Fold { op: FoldOp::Sum, value: 4, kind: Kind::F32, over: Over::Rows(0) },
                ],
            }],
        };
        let expected = "\
kernel rows($0) cols(64) bufs(b0: u8, b1: mut f32) uniforms(u0: i32)
  setup
    %0 = u0
    %1 = f32 1.5
  sweep
    %2 = load b0[row0*64 + col0] if 0 <= col0 - 1 < $0
    %3 = ishr.8 %2
    %4 = itof %3
    %5 = bits(seed %0 %0, site %0, step %0, row 0 + %0, col col0)
    store b1[col0*$1 + 3 + %0*64] = %4
    %6 = max over cols %4
    fold0 = sum over rows %4
";
        assert_eq!(kernel.to_string(), expected);
    }
}
