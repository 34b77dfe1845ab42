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
            Kind::I64 => "i64",
            Kind::Mask => "mask",
        })
    }
}

impl Display for Elem {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Elem::F32 => "f32",
            Elem::I32 => "i32",
            Elem::I64 => "i64",
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
            Instr::FTurn(n) => write!(f, "fturn.{n}"),
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
