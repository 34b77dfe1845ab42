//! A kernel as a Rust type: loops that a person can read, and that compile to vector code for each instruction set.
//!
//! A scalar is a variable, a value of a sweep is sixteen in a register; the functions, which are the same for both, and
//! all access to memory, are the runtime's.

use dlc_plan::kernel::{
    Access, Affine, Axis, Bits, BufTy, Def, Elem, Ext, Fold, FoldOp, Instr, Kernel, Kind, Op, Over, Phase, Store, Val,
};
use std::fmt::Write;

/// What stands for a kernel's name in its text.
pub const NAME: &str = "{kernel}";

/// The text of a kernel as a type that is called [`NAME`].
pub fn kernel(k: &Kernel) -> String {
    let mut lane = vec![false; count(k)];
    for d in k.phases.iter().filter(|p| p.sweep).flat_map(|p| &p.defs) {
        lane[d.val as usize] = true;
    }
    let mut t = Text { k, lane, out: String::new(), depth: 0 };
    t.line(&format!("/// {}", summary(k)));
    t.line(&format!("pub struct {NAME};"));
    t.open(&format!("impl Code for {NAME} {{"));
    t.takes();
    t.line("");
    t.line("#[inline(always)]");
    t.open("fn run<S: Simd>(x: &Call<S>, rows: Range<i64>) {");
    t.body();
    t.close();
    t.close();
    t.out
}

fn count(k: &Kernel) -> usize {
    let defs = k.setup.iter().chain(k.phases.iter().flat_map(|p| &p.defs)).map(|d| d.val);
    let folds = k.phases.iter().flat_map(|p| &p.folds).map(|f| match f.over {
        Over::Cols(v) => v,
        Over::Rows(_) | Over::All(_) => 0,
    });
    defs.chain(folds).max().map_or(0, |v| v as usize + 1)
}

fn summary(k: &Kernel) -> String {
    let show = |exts: &[Ext]| {
        let one = |e: &Ext| match e {
            Ext::Const(n) => n.to_string(),
            Ext::Arg(i) => format!("e{i}"),
        };
        exts.iter().map(one).collect::<Vec<_>>().join(", ")
    };
    let written: Vec<String> =
        k.bufs.iter().enumerate().filter(|(_, b)| b.written).map(|(i, _)| i.to_string()).collect();
    let writes = if written.is_empty() { String::new() } else { format!("; writes {}", written.join(", ")) };
    format!("Rows [{}], columns [{}]; {} buffers{writes}.", show(&k.rows), show(&k.cols), k.bufs.len())
}

struct Text<'a> {
    k: &'a Kernel,
    lane: Vec<bool>,
    out: String,
    depth: usize,
}

impl Text<'_> {
    fn line(&mut self, s: &str) {
        let _ = writeln!(self.out, "{:width$}{s}", "", width = self.depth * 4);
    }

    fn open(&mut self, s: &str) {
        self.line(s);
        self.depth += 1;
    }

    fn close(&mut self) {
        self.depth -= 1;
        self.line("}");
    }

    /// What the kernel takes, as the engine compares it with the plan.
    fn takes(&mut self) {
        let Kernel { bufs, uniforms, exts, folds, .. } = self.k;
        let buf = |b: &BufTy| format!("{}(Elem::{:?})", if b.written { "writes" } else { "reads" }, b.elem);
        let bufs: Vec<String> = bufs.iter().map(buf).collect();
        let mut kinds = vec![String::new(); usize::from(*folds)];
        for f in self.k.phases.iter().flat_map(|p| &p.folds) {
            if let Over::Rows(slot) | Over::All(slot) = f.over {
                kinds[usize::from(slot)] = format!("Kind::{:?}", f.kind);
            }
        }
        let counts = format!("uniforms: {}, exts: {exts}", uniforms.len());
        self.open("const TAKES: Takes = Takes {");
        self.line(&format!("bufs: &[{}], {counts}, folds: &[{}],", bufs.join(", "), kinds.join(", ")));
        let mut touches: Vec<(u16, &Affine)> = Vec::new();
        for a in self.k.stores().chain(self.k.loads()) {
            let touch = (a.buf, &a.at);
            if self.k.bufs[usize::from(a.buf)].written && !touches.contains(&touch) {
                touches.push(touch);
            }
        }
        self.open("touches: &[");
        for (buf, at) in touches {
            let terms: Vec<String> =
                at.terms.iter().map(|(axis, ext)| format!("(Axis::{axis:?}, Ext::{ext:?})")).collect();
            let (offset, terms) = (at.offset, terms.join(", "));
            self.line(&format!("Touch {{ buf: {buf}, offset: Ext::{offset:?}, terms: &[{terms}] }},"));
        }
        self.depth -= 1;
        self.line("],");
        self.depth -= 1;
        self.line("};");
    }

    fn body(&mut self) {
        for i in 0..self.k.exts {
            self.line(&format!("let e{i} = x.ext({i});"));
        }
        for d in &self.k.setup {
            self.def(d, false);
        }
        let runs = self.row_runs();
        if !runs.is_empty() {
            self.line("let last = rows.end;");
        }
        let uses_rows = !self.k.rows.is_empty() || !runs.is_empty();
        self.open(if uses_rows { "for row in x.rows(rows) {" } else { "for _ in x.rows(rows) {" });
        self.row_indices();
        for p in &self.k.phases {
            if p.sweep { self.sweep(p) } else { self.row(p) }
        }
        for slot in runs {
            self.line(&format!("x.end_rows({slot}, row + 1, last, {});", self.k.run));
        }
        self.close();
    }

    /// The slots of sums over rows, which go in runs.
    fn row_runs(&self) -> Vec<u16> {
        let folds = self.k.phases.iter().flat_map(|p| &p.folds);
        let slot = |f: &Fold| match f.over {
            Over::Rows(slot) if f.op.is_long(f.kind) => Some(slot),
            Over::Rows(_) | Over::Cols(_) | Over::All(_) => None,
        };
        folds.filter_map(slot).collect()
    }

    fn row_indices(&mut self) {
        let n = self.k.rows.len();
        if n == 0 {
            return;
        }
        if n == 1 {
            self.line("let r0 = row;");
            return;
        }
        self.line("let mut rest = row;");
        for i in (1..n).rev() {
            let e = ext(self.k.rows[i]);
            self.line(&format!("let r{i} = rest % {e};"));
            self.line(&format!("rest /= {e};"));
        }
        self.line("let r0 = rest;");
    }

    fn row(&mut self, p: &Phase) {
        for d in &p.defs {
            self.def(d, false);
        }
        for s in &p.stores {
            let (buf, v) = (s.to.buf, s.value);
            let v = if self.k.bufs[buf as usize].elem == Elem::U8 { format!("v{v} as u8") } else { format!("v{v}") };
            let at = self.at(&s.to.at, None);
            self.line(&format!("x.set({buf}, {at}, {v});"));
        }
        for f in &p.folds {
            let Over::All(slot) = f.over else { continue };
            if f.op.is_long(f.kind) {
                self.line(&format!("x.add_all({slot}, v{});", f.value));
                continue;
            }
            self.line(&format!("x.fold_all({slot}, v{}, {});", f.value, join(f.op, f.kind)));
        }
    }

    fn sweep(&mut self, p: &Phase) {
        let cols = self.k.cols.len();
        for f in &p.folds {
            match f.over {
                Over::Cols(v) if f.op.is_long(f.kind) => self.line(&format!("let mut f{v} = x.sum();")),
                Over::Cols(v) => self.line(&format!("let mut f{v} = x.splat({});", identity(f.op, f.kind))),
                Over::Rows(_) | Over::All(_) => {}
            }
        }
        for c in 0..cols - 1 {
            let e = ext(self.k.cols[c]);
            self.open(&format!("for c{c} in 0..{e} {{"));
        }
        let (c, end) = (cols - 1, self.k.cols[cols - 1]);
        self.open(&format!("for c{c} in (0..{}).step_by(LANES) {{", ext(end)));
        match end {
            Ext::Const(k) if k % 16 == 0 => self.line("let n = LANES;"),
            Ext::Const(_) | Ext::Arg(_) => self.line(&format!("let n = LANES.min(({} - c{c}) as usize);", ext(end))),
        }
        for d in &p.defs {
            self.def(d, true);
        }
        for s in &p.stores {
            self.store(s);
        }
        for f in &p.folds {
            self.fold(f);
        }
        for _ in 0..cols {
            self.close();
        }
        for f in &p.folds {
            match f.over {
                Over::Cols(v) if f.op.is_long(f.kind) => self.line(&format!("let v{v} = x.summed(f{v});")),
                Over::Cols(v) => {
                    self.line(&format!("let v{v} = x.halve::<{}>(f{v}, {});", ty(f.kind), join(f.op, f.kind)));
                }
                Over::Rows(_) | Over::All(_) => {}
            }
        }
    }

    /// A value as lanes.
    fn lanes(&self, v: Val) -> String {
        if self.lane[v as usize] { format!("v{v}") } else { format!("x.splat(v{v})") }
    }

    fn fold(&mut self, f: &Fold) {
        let (v, join, ty) = (self.lanes(f.value), join(f.op, f.kind), ty(f.kind));
        match f.over {
            Over::Cols(to) if f.op.is_long(f.kind) => {
                self.line(&format!("x.add(&mut f{to}, {v}, n, {});", self.k.run));
            }
            Over::Cols(to) => self.line(&format!("f{to} = x.fold::<{ty}>(f{to}, {v}, n, {join});")),
            Over::Rows(slot) => {
                let at = self.column();
                self.line(&format!("x.fold_rows::<{ty}>({slot}, {at}, {v}, n, {join});"));
            }
            Over::All(slot) => self.line(&format!("x.fold_rows::<{ty}>({slot}, 0, {v}, 1, {join});")),
        }
    }

    /// The number of the first column of the block.
    fn column(&self) -> String {
        let mut text = String::new();
        for (i, _) in self.k.cols.iter().enumerate() {
            text = match i {
                0 => "c0".to_string(),
                _ => format!("({text}) * {} + c{i}", ext(self.k.cols[i])),
            };
        }
        text
    }

    fn store(&mut self, s: &Store) {
        let (base, stride) = self.split(&s.to.at);
        let v = self.lanes(s.value);
        let ty = element(self.k.bufs[s.to.buf as usize].elem);
        self.line(&format!("x.store::<{ty}>({}, {base}, {stride}, {v}, n);", s.to.buf));
    }

    /// An affine index without the vector axis, and the vector axis' factor.
    fn split(&self, a: &Affine) -> (String, String) {
        let vector = Axis::Col(self.k.cols.len() as u8 - 1);
        let stride = a.terms.iter().find(|t| t.0 == vector).map_or("0".into(), |t| ext(t.1));
        (self.at(a, None), stride)
    }

    /// An affine index; `lane` is added to the vector axis.
    fn at(&self, a: &Affine, lane: Option<&str>) -> String {
        let vector = Axis::Col((self.k.cols.len() as u8).wrapping_sub(1));
        let mut parts = Vec::new();
        for (axis, factor) in &a.terms {
            let i = match axis {
                Axis::Row(i) => format!("r{i}"),
                Axis::Col(i) => format!("c{i}"),
            };
            let i = match lane {
                Some(l) if *axis == vector => format!("({i} + {l})"),
                Some(_) | None => i,
            };
            parts.push(if *factor == Ext::Const(1) { i } else { format!("{i} * {}", ext(*factor)) });
        }
        if a.offset != Ext::Const(0) || parts.is_empty() {
            parts.push(ext(a.offset));
        }
        parts.join(" + ")
    }

    fn def(&mut self, d: &Def, lane: bool) {
        let rhs = match &d.op {
            Op::Float(bits) if lane => format!("x.splat({})", float(*bits)),
            Op::Float(bits) => float(*bits),
            Op::Int(n) if lane => format!("x.splat({n}i32)"),
            Op::Int(n) => format!("{n}i32"),
            Op::Uniform(i) => match (d.kind, lane) {
                (Kind::F32, false) => format!("x.real({i})"),
                (Kind::F32, true) => format!("x.splat(x.real({i}))"),
                (Kind::I32 | Kind::I64 | Kind::Mask, false) => format!("x.whole({i})"),
                (Kind::I32 | Kind::I64 | Kind::Mask, true) => format!("x.splat(x.whole({i}))"),
            },
            Op::Index(Axis::Row(i)) if lane => format!("x.splat(r{i} as i32)"),
            Op::Index(Axis::Row(i)) => format!("r{i} as i32"),
            Op::Index(Axis::Col(i)) if *i as usize + 1 == self.k.cols.len() => format!("x.ramp(c{i} as i32)"),
            Op::Index(Axis::Col(i)) => format!("x.splat(c{i} as i32)"),
            Op::Load(a) => self.load(a, lane),
            Op::Instr(i, args) => self.instr(*i, args, lane),
            Op::Bits(b) => self.bits(b, lane),
        };
        self.line(&format!("let v{} = {rhs};", d.val));
    }

    fn load(&self, a: &Access, lane: bool) -> String {
        let elem = self.k.bufs[a.buf as usize].elem;
        let ty = element(elem);
        let one = if elem == Elem::U8 { " as i32" } else { "" };
        if !lane {
            let base = a.base.map_or(String::new(), |(v, s)| format!(" + i64::from(v{v}) * {}", ext(s)));
            let at = self.at(&a.at, None) + &base;
            if a.bounds.is_empty() {
                return format!("x.get::<{ty}>({}, {at}){one}", a.buf);
            }
            return format!("x.get_if::<{ty}>({}, {}, {at}){one}", self.inside(a, None), a.buf);
        }
        let row_base = a.base.is_some_and(|(v, _)| !self.lane[v as usize]);
        if a.bounds.is_empty() && (a.base.is_none() || row_base) {
            let (base, stride) = self.split(&a.at);
            let gather = a.base.map_or(String::new(), |(v, s)| format!(" + i64::from(v{v}) * {}", ext(s)));
            return format!("x.load::<{ty}>({}, {base}{gather}, {stride}, n)", a.buf);
        }
        let gather = a.base.map_or(String::new(), |(v, s)| match self.lane[v as usize] {
            true => format!(" + i64::from(from[l]) * {}", ext(s)),
            false => format!(" + i64::from(v{v}) * {}", ext(s)),
        });
        let at = self.at(&a.at, Some("l as i64")) + &gather;
        let at = match a.bounds.is_empty() {
            true => format!("Some({at})"),
            false => format!("({}).then_some({at})", self.inside(a, Some("l as i64"))),
        };
        let pick = format!("x.pick::<{ty}>({}, n, |l| {at})", a.buf);
        match a.base {
            Some((v, _)) if self.lane[v as usize] => format!("{{ let from = x.array(v{v}); {pick} }}"),
            Some(_) | None => pick,
        }
    }

    fn inside(&self, a: &Access, lane: Option<&str>) -> String {
        let one =
            |b: &dlc_plan::kernel::Bound| format!("(0..{}).contains(&({}))", ext(b.extent), self.at(&b.index, lane));
        a.bounds.iter().map(one).collect::<Vec<_>>().join(" && ")
    }

    fn bits(&self, b: &Bits, lane: bool) -> String {
        let key = format!("[v{} as u32, v{} as u32]", b.seed[0], b.site);
        let head = format!("{key}, v{} as u32, v{} as u32", b.step, b.seed[1]);
        let row = |at: String| format!("(({at}) as u32).wrapping_add(v{} as u32)", b.first);
        if !lane {
            return format!("bits({head}, {}, ({}) as u32) as i32", row(self.at(&b.row, None)), self.at(&b.col, None));
        }
        let vector = Axis::Col(self.k.cols.len() as u8 - 1);
        let aligned = b.col.offset == Ext::Const(0) && b.col.terms == [(vector, Ext::Const(1))];
        let steady = b.row.terms.iter().all(|t| t.0 != vector);
        if aligned && steady {
            let Axis::Col(c) = vector else { return String::new() };
            return format!("x.bits16({head}, {}, c{c} as u32 / 16)", row(self.at(&b.row, None)));
        }
        let l = Some("l as i64");
        format!("x.each(|l| bits({head}, {}, ({}) as u32) as i32)", row(self.at(&b.row, l)), self.at(&b.col, l))
    }

    fn instr(&self, i: Instr, args: &[Val], lane: bool) -> String {
        let (name, shift) = name(i);
        let mut list: Vec<String> = args.iter().map(|v| if lane { self.lanes(*v) } else { format!("v{v}") }).collect();
        list.extend(shift.map(|s| s.to_string()));
        format!("{name}({})", list.join(", "))
    }
}

/// What a kind is on its own.
fn ty(kind: Kind) -> &'static str {
    match kind {
        Kind::F32 => "f32",
        Kind::I32 => "i32",
        Kind::I64 => "i64",
        Kind::Mask => "bool",
    }
}

/// What a buffer holds.
fn element(elem: Elem) -> &'static str {
    match elem {
        Elem::F32 => "f32",
        Elem::I32 => "i32",
        Elem::I64 => "i64",
        Elem::U8 => "u8",
    }
}

fn ext(e: Ext) -> String {
    match e {
        Ext::Const(n) if n < 0 => format!("({n})"),
        Ext::Const(n) => n.to_string(),
        Ext::Arg(i) => format!("e{i}"),
    }
}

fn float(bits: u32) -> String {
    let x = f32::from_bits(bits);
    if x.is_nan() {
        return format!("f32::from_bits({bits:#x})");
    }
    if x.is_infinite() {
        return if x > 0.0 { "f32::INFINITY".into() } else { "f32::NEG_INFINITY".into() };
    }
    format!("{x:?}f32")
}

fn identity(op: FoldOp, kind: Kind) -> &'static str {
    let pick = |float, int, long| match kind {
        Kind::F32 => float,
        Kind::I32 | Kind::Mask => int,
        Kind::I64 => long,
    };
    match op {
        FoldOp::Sum => pick("0.0f32", "0i32", "0i64"),
        FoldOp::Prod => pick("1.0f32", "1i32", "1i64"),
        FoldOp::Max => pick("f32::NEG_INFINITY", "i32::MIN", "i64::MIN"),
        FoldOp::Min => pick("f32::INFINITY", "i32::MAX", "i64::MAX"),
    }
}

fn join(op: FoldOp, kind: Kind) -> &'static str {
    name(op.instr(kind)).0
}

/// The runtime's function for an operation, and the constant it takes.
fn name(i: Instr) -> (&'static str, Option<u8>) {
    let name = match i {
        Instr::FAdd => "fadd",
        Instr::FSub => "fsub",
        Instr::FMul => "fmul",
        Instr::FDiv => "fdiv",
        Instr::FMulAdd => "fmuladd",
        Instr::FMax => "fmax",
        Instr::FMin => "fmin",
        Instr::FSqrt => "fsqrt",
        Instr::FNeg => "fneg",
        Instr::FAbs => "fabs",
        Instr::FFloor => "ffloor",
        Instr::FRound => "fround",
        Instr::FLt => "flt",
        Instr::FLe => "fle",
        Instr::FEq => "feq",
        Instr::FNe => "fne",
        Instr::FToI => "ftoi",
        Instr::FTurn(q) => return ("fturn", Some(q)),
        Instr::FBits => "fbits",
        Instr::IAdd => "iadd",
        Instr::ISub => "isub",
        Instr::IMul => "imul",
        Instr::INeg => "ineg",
        Instr::IMax => "imax",
        Instr::IMin => "imin",
        Instr::IAnd => "iand",
        Instr::IOr => "ior",
        Instr::IXor => "ixor",
        Instr::IShl(s) => return ("ishl", Some(s)),
        Instr::IShr(s) => return ("ishr", Some(s)),
        Instr::ISar(s) => return ("isar", Some(s)),
        Instr::ILt => "ilt",
        Instr::ILe => "ile",
        Instr::IEq => "ieq",
        Instr::INe => "ine",
        Instr::IToF => "itof",
        Instr::IBits => "ibits",
        Instr::IRem => "irem",
        Instr::IPair => "ipair",
        Instr::IToL => "itol",
        Instr::LAdd => "ladd",
        Instr::LSub => "lsub",
        Instr::LMul => "lmul",
        Instr::LNeg => "lneg",
        Instr::LMax => "lmax",
        Instr::LMin => "lmin",
        Instr::LRem => "lrem",
        Instr::LLt => "llt",
        Instr::LLe => "lle",
        Instr::LEq => "leq",
        Instr::LNe => "lne",
        Instr::LToF => "ltof",
        Instr::LToI => "ltoi",
        Instr::FToL => "ftol",
        Instr::LSelect => "lselect",
        Instr::MAnd => "mand",
        Instr::MOr => "mor",
        Instr::MNot => "mnot",
        Instr::FSelect => "fselect",
        Instr::ISelect => "iselect",
    };
    (name, None)
}
