//! A plan as text: its stored tensors, its entries with their steps and buffers, and its kernels.
//!
//! [`Plan::outline`] leaves the kernels' own work out; nothing else that the runtime needs is lost, and [`crate::read`] makes
//! the plan of it again. Emitted Rust holds a plan like this. The plan's own text shows the kernels' work, and the notes.

use crate::kernel::Kind;
use crate::plan::{Buffer, Call, Entry, Gemm, Matrix, Panels, Place, Plan, Port, Step, Store};
use crate::{Host, HostVar, Size};
use std::fmt::{self, Display, Formatter};

impl Display for Plan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        head(self, f)?;
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        entries(self, f)?;
        for (i, k) in self.kernels.iter().enumerate() {
            write!(f, "\nkernel {i}\n{k}")?;
        }
        Ok(())
    }
}

impl Plan {
    /// The plan's text without the work of its kernels: what `str::parse` makes a plan of.
    pub fn outline(&self) -> impl Display + '_ {
        Whole(self)
    }
}

struct Whole<'a>(&'a Plan);

impl Display for Whole<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        head(self.0, f)?;
        entries(self.0, f)?;
        writeln!(f, "\nkernels")?;
        self.0.kernels.iter().try_for_each(|k| writeln!(f, "  {}", k.outline()))
    }
}

/// The sizes that are known at run time, and what is stored.
fn head(plan: &Plan, f: &mut Formatter<'_>) -> fmt::Result {
    if !plan.dims.is_empty() {
        writeln!(f, "sizes {}", names(plan).join(", "))?;
    }
    writeln!(f, "weights")?;
    for w in &plan.weights {
        let aliases: String = w.aliases.iter().map(|a| format!(" = {}", Name(a))).collect();
        let unread = if w.unread { ", unread" } else { "" };
        let (name, store) = (Name(&w.name), Show(w.store));
        writeln!(f, "  {name}{aliases}: {}{:?} in {store} at {}{unread}", w.dtype, w.shape, w.offset)?;
    }
    if !plan.states.is_empty() {
        writeln!(f, "states {}", plan.states.iter().map(|s| Name(s).to_string()).collect::<Vec<_>>().join(", "))?;
    }
    for p in &plan.parts {
        let (weight, state) = (&plan.weights[p.weight as usize].name, &plan.states[usize::from(p.state)]);
        writeln!(f, "  {} of {}: {:?} at {}", Name(state), Name(weight), p.shape, p.offset)?;
    }
    Ok(())
}

/// The names of the sizes that are known at run time, as they stand in the text.
fn names(plan: &Plan) -> Vec<String> {
    plan.dims.iter().map(|name| Name(name).to_string()).collect()
}

fn entries(plan: &Plan, f: &mut Formatter<'_>) -> fmt::Result {
    let dims = names(plan);
    for entry in &plan.entries {
        writeln!(f, "\nentry {}", entry.name)?;
        Outline { plan, dims: &dims, entry }.write(f)?;
    }
    Ok(())
}

/// A name of a tensor or a size: in quotes where it has letters that names seldom have, or could be read as something else.
struct Name<'a>(&'a str);

impl Display for Name<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if crate::read::is_plain(self.0) { f.write_str(self.0) } else { write!(f, "{:?}", self.0) }
    }
}

/// What stands at the end of a line, for people.
struct Note<'a>(&'a str);

impl Display for Note<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, "  // {}", self.0.replace(['\n', '\r'], " ")) }
    }
}

struct Show(Store);

impl Display for Show {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Store::Trained => write!(f, "trained"),
            Store::Grads => write!(f, "grads"),
            Store::State(k) => write!(f, "state {k}"),
            Store::Frozen => write!(f, "frozen"),
            Store::Ints(elem) => write!(f, "ints {elem}"),
        }
    }
}

struct Outline<'a> {
    plan: &'a Plan,
    dims: &'a [String],
    entry: &'a Entry,
}

impl Outline<'_> {
    fn write(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (what, ports) in [("in", &self.entry.inputs), ("out", &self.entry.outputs)] {
            for p in ports {
                writeln!(f, "  {what} {} = b{}", self.port(p), p.buffer)?;
            }
        }
        for g in &self.entry.guards {
            writeln!(f, "  require {} else {:?}", self.host(&g.holds), g.message)?;
        }
        for s in &self.entry.steps {
            self.step(f, s, 1)?;
        }
        for (i, b) in self.entry.buffers.iter().enumerate() {
            writeln!(f, "  b{i}: {}", self.buffer(b))?;
        }
        Ok(())
    }

    fn size(&self, s: &Size) -> String {
        s.show(self.dims).to_string()
    }

    fn sizes(&self, list: &[Size]) -> String {
        list.iter().map(|s| self.size(s)).collect::<Vec<_>>().join(", ")
    }

    fn port(&self, p: &Port) -> String {
        let limit = p.limit.as_ref().map_or(String::new(), |s| format!(" below {}", s.show(|s| self.size(s))));
        let default = p.default.as_ref().map_or(String::new(), |h| format!(" default {}", self.host(h)));
        format!("{}: {}[{}]{limit}{default}", Name(&p.name), p.dtype, self.sizes(&p.shape))
    }

    fn host(&self, h: &Host) -> String {
        let many = |list: &[Host]| list.iter().map(|h| self.host(h)).collect::<Vec<_>>().join(", ");
        match h {
            Host::Const(x) => number(*x),
            Host::Var(v) => format!("{}()", v.name()),
            Host::Size(s) => format!("[{}]", self.size(s)),
            Host::Prim(p, args) => format!("{}({})", p.name(), many(args)),
            Host::Row(depth, cells) => format!("row{depth}({})", many(cells)),
            Host::Segment(cells) => format!("segment({})", many(cells)),
        }
    }

    fn buffer(&self, b: &Buffer) -> String {
        let place = match &b.place {
            Place::Arena { first, last } => format!("arena {first}..{last}"),
            Place::Weight { store, weight } => {
                format!("{} of {}", Show(*store), Name(&self.plan.weights[*weight as usize].name))
            }
            Place::Store(s) => format!("all of {}", Show(*s)),
            Place::Part { of, offset } => format!("b{of} from {}", self.size(offset)),
            Place::Slot { of, stride, depth, ahead, slots } => {
                format!("b{of}, slot (i{depth} + {ahead}) % {slots} of {}", self.size(stride))
            }
            Place::Local { first, last } => format!("local {first}..{last}"),
            Place::Piece { of, offset } => format!("piece of b{of} from {}", self.size(offset)),
            Place::Row { depth, cells } => {
                let cells: String = cells.iter().map(|c| format!(" b{c}")).collect();
                format!("row i{depth} of{cells}")
            }
        };
        format!("{}[{}] {place}{}", b.elem, self.size(&b.len), Note(&b.note))
    }

    fn step(&self, f: &mut Formatter<'_>, s: &Step, depth: usize) -> fmt::Result {
        let pad = "  ".repeat(depth);
        match s {
            Step::Kernel(c) => writeln!(f, "{pad}{}", self.call(c)),
            Step::Gemm(g) => self.gemm(f, g, &pad),
            Step::Copy { from, to } => writeln!(f, "{pad}copy b{from} to b{to}"),
            Step::Scatter { ids, count, from, to, rows, width } => {
                let [count, rows, width] = [count, rows, width].map(|s| self.size(s));
                writeln!(f, "{pad}scatter {count} rows of {width} from b{from} to b{to} [{rows}] by b{ids}")
            }
            Step::Rows { op, from, to, rows, len, keep } => {
                let [rows, len, keep] = [rows, len, keep].map(|s| self.size(s));
                writeln!(f, "{pad}{} of {rows} rows of {len} from b{from} to b{to} [{keep}]", op.name())
            }
            Step::Repeat(r) => {
                let order = if r.reverse { " downwards" } else { "" };
                writeln!(f, "{pad}repeat {}{order}{}", r.count, Note(&r.note))?;
                r.steps.iter().try_for_each(|s| self.step(f, s, depth + 1))
            }
            Step::Panels(k) => {
                writeln!(f, "{pad}{}", self.panels(k))?;
                k.steps.iter().try_for_each(|s| self.step(f, s, depth + 1))
            }
        }
    }

    fn panels(&self, k: &Panels) -> String {
        let order = |serial: &bool| if *serial { " in order" } else { "" };
        let cuts: Vec<String> =
            k.cuts.iter().zip(&k.serial).map(|(s, serial)| format!("{}{}", self.size(s), order(serial))).collect();
        let zero: String = k.zero.iter().map(|b| format!(" b{b}")).collect();
        let zero = if zero.is_empty() { zero } else { format!(", zeros in{zero}") };
        let (first, width) = (self.size(&Size::dim(k.first)), self.size(&k.width));
        format!("panels of {first} rows of {width} over {}{zero}{}", cuts.join(", "), Note(&k.note))
    }

    fn call(&self, c: &Call) -> String {
        let mut text = format!("kernel {}", c.kernel);
        for b in &c.bufs {
            text += &format!(" b{b}");
        }
        for (kind, h) in &c.uniforms {
            text += &format!(" {kind}({})", self.host(h));
        }
        if !c.exts.is_empty() {
            text += &format!(" [{}]", self.sizes(&c.exts));
        }
        text += &format!(" rows {}", self.size(&c.rows));
        for t in &c.folds {
            // Most folds are of real numbers.
            let kind = if t.kind == Kind::F32 { String::new() } else { format!(" {}", t.kind) };
            text += &format!(" {}{kind} [{}] b{} by b{}", t.op, self.size(&t.len), t.to, t.partial);
        }
        if c.segments {
            text += " for each segment";
        }
        text
    }

    fn gemm(&self, f: &mut Formatter<'_>, g: &Gemm, pad: &str) -> fmt::Result {
        write!(f, "{pad}gemm {} x {}", self.size(&g.m), self.size(&g.n))?;
        if !g.batch.is_empty() {
            write!(f, " for each of {}", self.sizes(&g.batch))?;
        }
        write!(f, ": {} {}=", self.matrix(&g.c), if g.accumulate { "+" } else { "" })?;
        for (i, t) in g.terms.iter().enumerate() {
            let plus = if i > 0 { " +" } else { "" };
            write!(f, "{plus} {} @ {} over {}", self.matrix(&t.a), self.matrix(&t.b), self.size(&t.k))?;
        }
        writeln!(f, "{}", Note(&g.note))?;
        match &g.then {
            Some(c) => writeln!(f, "{pad}  then {}", self.call(c)),
            None => Ok(()),
        }
    }

    fn matrix(&self, m: &Matrix) -> String {
        let offset = if m.offset.is(0) { String::new() } else { format!(" + {}", self.size(&m.offset)) };
        let batch: String = m.batch.iter().map(|s| format!("{}, ", self.size(s))).collect();
        let walk = |outer: &Size, axes: &[(Size, Size)]| {
            let inner: String =
                axes.iter().map(|(n, s)| format!(" then {} of {}", self.size(n), self.size(s))).collect();
            format!("{}{inner}", self.size(outer))
        };
        format!("b{}{offset}[{batch}{}, {}]", m.buf, walk(&m.row, &m.rows), walk(&m.col, &m.cols))
    }
}

/// A number as it is read back to the last bit: written out, or by a power of ten where that is shorter.
fn number(x: f64) -> String {
    let (plain, scientific) = (x.to_string(), format!("{x:e}"));
    if plain.len() <= scientific.len() + 2 { plain } else { scientific }
}

impl HostVar {
    /// Each with its name in a plan's text.
    pub(crate) const NAMES: [(HostVar, &'static str); 6] = [
        (HostVar::Step, "step"),
        (HostVar::Steps, "steps"),
        (HostVar::Epoch, "epoch"),
        (HostVar::FirstSample, "first_sample"),
        (HostVar::SeedLow, "seed_low"),
        (HostVar::SeedHigh, "seed_high"),
    ];

    fn name(self) -> &'static str {
        HostVar::NAMES[self as usize].1
    }
}
