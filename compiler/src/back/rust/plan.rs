//! A plan as a Rust expression that makes it again, one line for each thing that a person would point at.

use dlc_plan::kernel::{Ext, FoldOp, Kernel, Kind, Outline, Over};
use dlc_plan::plan::{
    Buffer, Call, Entry, FoldTo, Gemm, Guard, Matrix, Panels, Place, Port, Product, Repeat, Step, Store, Weight,
};
use dlc_plan::{Atom, Host, Plan, Size};
use std::cell::RefCell;
use std::fmt::{Debug, Write};

/// A list of more things than this is made by functions of so many each: a compiler takes long over a long function, and
/// without optimisation each thing in it takes room on the stack.
const MANY: usize = 64;

/// The function `plan` that makes the plan. The kernels' own work is not in it, only what the runtime checks.
pub fn plan(p: &Plan) -> String {
    let mut t =
        Text { out: String::new(), depth: 0, dims: &p.dims, apart: String::new(), parts: 0, sizes: RefCell::default() };
    for (i, d) in p.dims.iter().enumerate() {
        t.line(&format!("/// The size {d}, known at run time."));
        t.line(&format!("const {}: u16 = {i};", dim(&p.dims, i as u16)));
    }
    t.line("");
    t.line("fn plan() -> Plan {");
    t.depth += 1;
    t.line("Plan {");
    t.depth += 1;
    t.line(&format!("dims: {},", strings(&p.dims)));
    t.list("kernels", "Kernel", &p.kernels, |t, k| t.line(&format!("{},", kernel(k))));
    t.list("weights", "Weight", &p.weights, |t, w| t.line(&format!("{},", weight(w))));
    t.line(&format!("states: {},", strings(&p.states)));
    t.list("parts", "StatePart", &p.parts, |t, part| t.line(&format!("{part:?},").replace("shape: [", "shape: vec![")));
    t.list("entries", "Entry", &p.entries, Text::entry);
    t.line("notes: vec![],");
    t.depth -= 1;
    t.line("}");
    t.depth -= 1;
    t.line("}");
    t.out + &t.apart + &t.sizes.take().iter().map(|s| s.1.as_str()).collect::<String>()
}

struct Text<'a> {
    out: String,
    depth: usize,
    dims: &'a [String],
    /// The functions that make parts of long lists.
    apart: String,
    /// How many these are.
    parts: usize,
    /// Sizes with quotients in them, each with the function that gives it.
    sizes: RefCell<Vec<(Size, String)>>,
}

/// The constant that numbers a dynamic size.
fn dim(dims: &[String], n: u16) -> String {
    let name = dims.get(n as usize).map_or("D", String::as_str);
    format!("DIM_{}", name.to_uppercase())
}

fn strings(list: &[String]) -> String {
    let list: Vec<String> = list.iter().map(|s| format!("{s:?}.into()")).collect();
    format!("vec![{}]", list.join(", "))
}

fn debug<T: Debug>(list: &[T]) -> String {
    format!("vec!{list:?}")
}

/// What the runtime knows of a kernel.
fn kernel(k: &Kernel) -> String {
    let list = |items: Vec<String>| items.join(", ");
    let exts = |e: &[Ext]| list(e.iter().map(|e| format!("Ext::{e:?}")).collect());
    let bufs = list(k.bufs.iter().map(|b| format!("(Elem::{:?}, {})", b.elem, b.written)).collect());
    let uniforms = list(k.uniforms.iter().map(|u| format!("Kind::{u:?}")).collect());
    let fold = |(op, kind, over): &(FoldOp, Kind, Over)| format!("(FoldOp::{op:?}, Kind::{kind:?}, Over::{over:?})");
    let phase =
        |(sweep, work, folds): &Outline| format!("({sweep}, {work}, vec![{}])", list(folds.iter().map(fold).collect()));
    let phases = list(k.outline().iter().map(phase).collect());
    let (rows, cols) = (exts(&k.rows), exts(&k.cols));
    format!("Kernel::skeleton(&[{rows}], &[{cols}], &[{bufs}], &[{uniforms}], {}, vec![{phases}])", k.exts)
}

fn weight(w: &Weight) -> String {
    format!(
        "Weight {{ name: {:?}.into(), aliases: {}, shape: {}, dtype: DType::{:?}, store: {}, offset: {} }}",
        w.name,
        strings(&w.aliases),
        debug(&w.shape),
        w.dtype,
        store(w.store),
        w.offset
    )
}

fn store(s: Store) -> String {
    format!("Store::{s:?}")
}

impl Text<'_> {
    fn line(&mut self, s: &str) {
        let _ = writeln!(self.out, "{:width$}{s}", "", width = if s.is_empty() { 0 } else { self.depth * 4 });
    }

    fn list<T>(&mut self, name: &str, ty: &str, items: &[T], each: impl Fn(&mut Self, &T)) {
        if items.is_empty() {
            return self.line(&format!("{name}: vec![],"));
        }
        if items.len() > MANY {
            let parts: Vec<String> = items.chunks(MANY).map(|part| self.part(name, ty, part, &each)).collect();
            return self.line(&format!("{name}: joined(&[{}]),", parts.join(", ")));
        }
        self.line(&format!("{name}: vec!["));
        self.depth += 1;
        for i in items {
            each(self, i);
        }
        self.depth -= 1;
        self.line("],");
    }

    /// Makes a function of a part of a list; gives its name.
    fn part<T>(&mut self, name: &str, ty: &str, items: &[T], each: &impl Fn(&mut Self, &T)) -> String {
        let (out, depth) = (std::mem::take(&mut self.out), std::mem::replace(&mut self.depth, 0));
        let made = format!("{name}_{}", self.parts);
        self.parts += 1;
        self.line("");
        self.line(&format!("fn {made}() -> Vec<{ty}> {{"));
        self.line("    vec![");
        self.depth = 2;
        for i in items {
            each(self, i);
        }
        self.depth = 0;
        self.line("    ]");
        self.line("}");
        self.depth = depth;
        self.apart += &std::mem::replace(&mut self.out, out);
        made
    }

    /// The call of the function that gives a size which is long to write: one with a quotient in it.
    fn long(&self, size: &Size, text: String) -> String {
        let mut all = self.sizes.borrow_mut();
        if let Some(at) = all.iter().position(|known| known.0 == *size) {
            return format!("size_{at}()");
        }
        let name = format!("size_{}()", all.len());
        let function = format!("\n/// {}\nfn {name} -> Size {{\n    {text}\n}}\n", size.show(self.dims));
        all.push((size.clone(), function));
        name
    }

    fn entry(&mut self, e: &Entry) {
        self.line("Entry {");
        self.depth += 1;
        self.line(&format!("name: {:?}.into(),", e.name));
        self.list("inputs", "Port", &e.inputs, |t, p| t.line(&format!("{},", t.port(p))));
        self.list("outputs", "Port", &e.outputs, |t, p| t.line(&format!("{},", t.port(p))));
        self.list("guards", "Guard", &e.guards, |t, g| t.line(&format!("{},", t.guard(g))));
        self.list("buffers", "Buffer", &e.buffers, |t, b| t.line(&format!("{},", t.buffer(b))));
        self.list("steps", "Step", &e.steps, Text::step);
        self.depth -= 1;
        self.line("},");
    }

    /// A size as an expression of `n` and `d`.
    fn size(&self, s: &Size) -> String {
        if let Some(k) = s.known() {
            return format!("n({k})");
        }
        let term = |t: &dlc_plan::Term| {
            let atoms = t.atoms.iter().map(|a| match a {
                Atom::Dim(n) => format!("d({})", dim(self.dims, *n)),
                Atom::Quot(a, b) => format!("quot({}, {})", self.size(a), self.size(b)),
            });
            let mut parts: Vec<String> = atoms.collect();
            if t.factor != 1 || parts.is_empty() {
                parts.push(format!("n({})", t.factor));
            }
            parts.join(" * ")
        };
        let text = s.terms().iter().map(term).collect::<Vec<_>>().join(" + ");
        let has_quotient = s.terms().iter().flat_map(|t| &t.atoms).any(|a| matches!(a, Atom::Quot(..)));
        if has_quotient { self.long(s, text) } else { text }
    }

    fn sizes(&self, list: &[Size]) -> String {
        let list: Vec<String> = list.iter().map(|s| self.size(s)).collect();
        format!("vec![{}]", list.join(", "))
    }

    fn host(&self, h: &Host) -> String {
        let many = |list: &[Host]| list.iter().map(|h| self.host(h)).collect::<Vec<_>>().join(", ");
        match h {
            Host::Const(x) if x.is_nan() => "Host::Const(f64::NAN)".into(),
            Host::Const(x) if x.is_infinite() => {
                format!("Host::Const({}f64::INFINITY)", if *x < 0.0 { "-" } else { "" })
            }
            Host::Const(x) => format!("Host::Const({x:?})"),
            Host::Var(v) => format!("Host::Var(HostVar::{v:?})"),
            Host::Size(s) => format!("Host::Size({})", self.size(s)),
            Host::Prim(dlc_plan::Prim::Cast(d), args) => {
                format!("Host::Prim(Prim::Cast(DType::{d:?}), vec![{}])", many(args))
            }
            Host::Prim(p, args) => format!("Host::Prim(Prim::{p:?}, vec![{}])", many(args)),
            Host::Row(depth, cells) => format!("Host::Row({depth}, vec![{}])", many(cells)),
            Host::Segment(cells) => format!("Host::Segment(vec![{}])", many(cells)),
        }
    }

    fn port(&self, p: &Port) -> String {
        let limit = p.limit.as_ref().map_or("None".into(), |bound| {
            format!("Some(Bound {{ below: {}, except: {:?} }})", self.size(&bound.below), bound.except)
        });
        format!(
            "Port {{ name: {:?}.into(), dtype: DType::{:?}, shape: {}, buffer: {}, limit: {limit} }}",
            p.name,
            p.dtype,
            self.sizes(&p.shape),
            p.buffer
        )
    }

    fn guard(&self, g: &Guard) -> String {
        format!("Guard {{ holds: {}, message: {:?}.into() }}", self.host(&g.holds), g.message)
    }

    fn buffer(&self, b: &Buffer) -> String {
        let place = match &b.place {
            Place::Arena { first, last } => format!("Place::Arena {{ first: {first}, last: {last} }}"),
            Place::Weight { store: s, weight } => {
                format!("Place::Weight {{ store: {}, weight: {weight} }}", store(*s))
            }
            Place::Store(s) => format!("Place::Store({})", store(*s)),
            Place::Part { of, offset } => format!("Place::Part {{ of: {of}, offset: {} }}", self.size(offset)),
            Place::Slot { of, stride, depth, ahead, slots } => format!(
                "Place::Slot {{ of: {of}, stride: {}, depth: {depth}, ahead: {ahead}, slots: {slots} }}",
                self.size(stride)
            ),
            Place::Local { first, last } => format!("Place::Local {{ first: {first}, last: {last} }}"),
            Place::Piece { of, offset } => format!("Place::Piece {{ of: {of}, offset: {} }}", self.size(offset)),
            Place::Row { depth, cells } => format!("Place::Row {{ depth: {depth}, cells: {} }}", debug(cells)),
        };
        format!("buffer(Elem::{:?}, {}, {place}, {:?})", b.elem, self.size(&b.len), b.note)
    }

    fn step(&mut self, s: &Step) {
        match s {
            Step::Kernel(c) => {
                let call = self.call(c);
                self.line(&format!("Step::Kernel({call}),"));
            }
            Step::Gemm(g) => self.gemm(g),
            Step::Copy { from, to } => self.line(&format!("Step::Copy {{ from: {from}, to: {to} }},")),
            Step::Scatter { ids, count, from, to, rows, width } => {
                let [count, rows, width] = [count, rows, width].map(|s| self.size(s));
                let text = format!("ids: {ids}, count: {count}, from: {from}, to: {to}, rows: {rows}, width: {width}");
                self.line(&format!("Step::Scatter {{ {text} }},"));
            }
            Step::Rows { op, from, to, rows, len, keep } => {
                let [rows, len, keep] = [rows, len, keep].map(|s| self.size(s));
                let text = format!("op: RowOp::{op:?}, from: {from}, to: {to}, rows: {rows}, len: {len}, keep: {keep}");
                self.line(&format!("Step::Rows {{ {text} }},"));
            }
            Step::Repeat(r) => self.repeat(r),
            Step::Panels(k) => self.panels(k),
        }
    }

    fn repeat(&mut self, r: &Repeat) {
        self.line("Step::Repeat(Box::new(Repeat {");
        self.depth += 1;
        self.line(&format!("count: {}, reverse: {}, note: {:?}.into(),", r.count, r.reverse, r.note));
        self.list("steps", "Step", &r.steps, Text::step);
        self.depth -= 1;
        self.line("})),");
    }

    fn panels(&mut self, k: &Panels) {
        self.line("Step::Panels(Box::new(Panels {");
        self.depth += 1;
        let (cuts, width) = (self.sizes(&k.cuts), self.size(&k.width));
        let (serial, zero) = (debug(&k.serial), debug(&k.zero));
        self.line(&format!("cuts: {cuts}, serial: {serial}, width: {width}, first: {}, zero: {zero},", k.first));
        self.line(&format!("note: {:?}.into(),", k.note));
        self.list("steps", "Step", &k.steps, Text::step);
        self.depth -= 1;
        self.line("})),");
    }

    fn call(&self, c: &Call) -> String {
        let uniform = |u: &(dlc_plan::kernel::Kind, Host)| format!("(Kind::{:?}, {})", u.0, self.host(&u.1));
        let uniforms: Vec<String> = c.uniforms.iter().map(uniform).collect();
        let folds: Vec<String> = c.folds.iter().map(|f| self.fold(f)).collect();
        format!(
            "KernelCall {{ kernel: {}, bufs: {}, uniforms: vec![{}], exts: {}, rows: {}, folds: vec![{}], segments: {} }}",
            c.kernel,
            debug(&c.bufs),
            uniforms.join(", "),
            self.sizes(&c.exts),
            self.size(&c.rows),
            folds.join(", "),
            c.segments
        )
    }

    fn fold(&self, f: &FoldTo) -> String {
        format!(
            "FoldTo {{ op: FoldOp::{:?}, kind: Kind::{:?}, len: {}, partial: {}, to: {} }}",
            f.op,
            f.kind,
            self.size(&f.len),
            f.partial,
            f.to
        )
    }

    fn gemm(&mut self, g: &Gemm) {
        self.line("Step::Gemm(Box::new(Gemm {");
        self.depth += 1;
        let (m, n) = (self.size(&g.m), self.size(&g.n));
        self.line(&format!("note: {:?}.into(), m: {m}, n: {n},", g.note));
        self.list("terms", "Product", &g.terms, |t, p: &Product| {
            let (a, b) = (t.matrix(&p.a), t.matrix(&p.b));
            t.line(&format!("Product {{ k: {}, a: {a}, b: {b} }},", t.size(&p.k)));
        });
        let c = self.matrix(&g.c);
        self.line(&format!("c: {c}, batch: {}, accumulate: {},", self.sizes(&g.batch), g.accumulate));
        let then = g.then.as_ref().map_or("None".into(), |c| format!("Some({})", self.call(c)));
        self.line(&format!("then: {then},"));
        self.depth -= 1;
        self.line("})),");
    }

    fn matrix(&self, m: &Matrix) -> String {
        let axes = |axes: &[(Size, Size)]| {
            let pairs: Vec<String> =
                axes.iter().map(|(n, s)| format!("({}, {})", self.size(n), self.size(s))).collect();
            format!("vec![{}]", pairs.join(", "))
        };
        format!(
            "Matrix {{ buf: {}, offset: {}, row: {}, col: {}, rows: {}, cols: {}, batch: {} }}",
            m.buf,
            self.size(&m.offset),
            self.size(&m.row),
            self.size(&m.col),
            axes(&m.rows),
            axes(&m.cols),
            self.sizes(&m.batch)
        )
    }
}
