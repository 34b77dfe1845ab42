//! Reads the text of a plan back: the converse of [`Plan::outline`].
//!
//! A line at a time. What is below a line (a loop's steps, a product's kernel) is two further in than that.

mod line;

use crate::kernel::{BufTy, Fold, FoldOp, Kernel, Kind, Over, Phase, RUN};
use crate::plan::{
    Bound, BufId, Buffer, Call, Entry, FoldTo, Gemm, Guard, Matrix, Panels, Place, Plan, Port, Product, Repeat, RowOp,
    StatePart, Step, Weight,
};
use crate::{DType, Host, HostVar, PRIMS, Prim, Size};
use line::Line;
pub(crate) use line::is_plain;
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

/// Why a text is no plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoPlan {
    /// The line, from 1.
    pub line: usize,
    /// What would have been right, and what stands there.
    pub message: String,
}

impl Display for NoPlan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "line {} of the plan: {}", self.line, self.message)
    }
}

impl std::error::Error for NoPlan {}

type Read<T> = Result<T, NoPlan>;

impl FromStr for Plan {
    type Err = NoPlan;

    fn from_str(text: &str) -> Read<Plan> {
        let mut reader = Reader { lines: lines(text), at: 0, plan: Plan::default() };
        reader.head()?;
        while reader.starts("entry ") {
            let entry = reader.entry()?;
            reader.plan.entries.push(entry);
        }
        reader.kernels()?;
        match reader.peek() {
            None => Ok(reader.plan),
            Some(line) => Err(line.wrong("the end of the text")),
        }
    }
}

/// The lines that have something, each with its number and how far in it stands.
fn lines(text: &str) -> Vec<(usize, usize, &str)> {
    let parts = text.lines().enumerate().map(|(i, line)| {
        let rest = line.trim_start_matches(' ');
        (i + 1, line.len() - rest.len(), rest)
    });
    parts.filter(|part| !part.2.is_empty()).collect()
}

struct Reader<'a> {
    lines: Vec<(usize, usize, &'a str)>,
    at: usize,
    plan: Plan,
}

impl<'a> Reader<'a> {
    /// The next line, which is not taken.
    fn peek(&self) -> Option<Line<'a>> {
        self.lines.get(self.at).map(|&(number, _, rest)| Line { number, rest })
    }

    /// Whether the next line starts like this.
    fn starts(&self, start: &str) -> bool {
        self.peek().is_some_and(|line| line.rest.starts_with(start))
    }

    /// Takes the next line if it starts like this.
    fn take(&mut self, start: &str) -> Option<Line<'a>> {
        let mut line = self.peek()?;
        line.eat(start).then(|| {
            self.at += 1;
            line
        })
    }

    /// How far in the next line stands; 0 where there is none.
    fn depth(&self) -> usize {
        self.lines.get(self.at).map_or(0, |line| line.1)
    }

    /// How far in the line before the next stands.
    fn depth_before(&self) -> usize {
        self.at.checked_sub(1).map_or(0, |before| self.lines[before].1)
    }

    fn head(&mut self) -> Read<()> {
        if let Some(line) = self.take("sizes ") {
            self.plan.dims = line.names()?;
            let twice = |at: usize| self.plan.dims[..at].contains(&self.plan.dims[at]);
            if (0..self.plan.dims.len()).any(twice) {
                return Err(line.wrong("each size once"));
            }
        }
        let end = NoPlan { line: self.lines.last().map_or(0, |line| line.0), message: "it has no `weights`".into() };
        self.take("weights").ok_or(end)?;
        let inside = self.depth_before();
        while self.depth() > inside {
            let weight = self.weight()?;
            self.plan.weights.push(weight);
        }
        if let Some(line) = self.take("states ") {
            self.plan.states = line.names()?;
            while self.depth() > inside {
                let part = self.state_part()?;
                self.plan.parts.push(part);
            }
        }
        Ok(())
    }

    fn weight(&mut self) -> Read<Weight> {
        let mut line = self.next()?;
        let name = line.name()?;
        let mut aliases = Vec::new();
        while line.eat(" = ") {
            aliases.push(line.name()?);
        }
        line.expect(": ")?;
        let dtype = line.dtype()?;
        let shape = line.numbers()?;
        line.expect(" in ")?;
        let store = line.store()?;
        line.expect(" at ")?;
        let offset = line.number()?;
        let unread = line.eat(", unread");
        line.end()?;
        Ok(Weight { name, aliases, shape, dtype, store, offset, unread })
    }

    fn state_part(&mut self) -> Read<StatePart> {
        let mut line = self.next()?;
        let state = line.name()?;
        let state = self.plan.states.iter().position(|s| *s == state).ok_or_else(|| line.wrong("a state"))? as u16;
        line.expect(" of ")?;
        let weight = self.stored(&mut line)?;
        line.expect(": ")?;
        let shape = line.numbers()?;
        line.expect(" at ")?;
        let offset = line.number()?;
        line.end()?;
        Ok(StatePart { state, weight, shape, offset })
    }

    /// The number of the weight whose name stands next.
    fn stored(&self, line: &mut Line) -> Read<u32> {
        let (before, name) = (*line, line.name()?);
        let at = self.plan.weights.iter().position(|w| w.name == name);
        at.map(|i| i as u32).ok_or_else(|| before.wrong("the name of a weight"))
    }

    fn next(&mut self) -> Read<Line<'a>> {
        let last = self.lines.last().map_or(0, |line| line.0);
        let line = self.peek().ok_or_else(|| NoPlan { line: last, message: "the text ends too early".into() })?;
        self.at += 1;
        Ok(line)
    }

    fn entry(&mut self) -> Read<Entry> {
        let name = self.next()?.rest["entry ".len()..].to_owned();
        let inside = self.depth_before();
        let mut entry = Entry { name, ..Entry::default() };
        while let Some(line) = self.take("in ") {
            entry.inputs.push(self.port(line)?);
        }
        while let Some(line) = self.take("out ") {
            entry.outputs.push(self.port(line)?);
        }
        while let Some(mut line) = self.take("require ") {
            let holds = self.host(&mut line)?;
            line.expect(" else ")?;
            let message = line.quoted()?;
            line.end()?;
            entry.guards.push(Guard { holds, message });
        }
        entry.steps = self.steps(inside)?;
        while self.depth() > inside {
            let buffer = self.buffer(entry.buffers.len())?;
            entry.buffers.push(buffer);
        }
        Ok(entry)
    }

    fn port(&self, mut line: Line) -> Read<Port> {
        let name = line.name()?;
        line.expect(": ")?;
        let dtype = line.dtype()?;
        let shape = self.sizes(&mut line)?;
        let mut limit = None;
        if line.eat(" below ") {
            let below = self.size(&mut line)?;
            limit = Some(Bound { below, except: if line.eat(" or ") { Some(line.number()?) } else { None } });
        }
        let default = if line.eat(" default ") { Some(self.host(&mut line)?) } else { None };
        line.expect(" = ")?;
        let buffer = line.buf()?;
        line.end()?;
        Ok(Port { name, dtype, shape, buffer, limit, default })
    }

    fn buffer(&mut self, number: usize) -> Read<Buffer> {
        let mut line = self.next()?;
        line.expect(&format!("b{number}: "))?;
        let elem = line.elem()?;
        line.expect("[")?;
        let len = self.size(&mut line)?;
        line.expect("] ")?;
        let place = self.place(&mut line)?;
        Ok(Buffer { elem, len, place, note: line.note()? })
    }

    fn place(&self, line: &mut Line) -> Read<Place> {
        let between = |line: &mut Line| {
            let first = line.number()?;
            line.expect("..")?;
            Ok((first, line.number()?))
        };
        if line.eat("arena ") {
            return between(line).map(|(first, last)| Place::Arena { first, last });
        }
        if line.eat("local ") {
            return between(line).map(|(first, last)| Place::Local { first, last });
        }
        if line.eat("all of ") {
            return line.store().map(Place::Store);
        }
        if line.eat("piece of ") {
            let of = line.buf()?;
            line.expect(" from ")?;
            return Ok(Place::Piece { of, offset: self.size(line)? });
        }
        if line.eat("row i") {
            let depth = line.number()?;
            line.expect(" of")?;
            return Ok(Place::Row { depth, cells: line.bufs()? });
        }
        if !line.starts_buf() {
            let store = line.store()?;
            line.expect(" of ")?;
            return Ok(Place::Weight { store, weight: self.stored(line)? });
        }
        let of = line.buf()?;
        if line.eat(" from ") {
            return Ok(Place::Part { of, offset: self.size(line)? });
        }
        line.expect(", slot (i")?;
        let depth = line.number()?;
        line.expect(" + ")?;
        let ahead = line.number()?;
        line.expect(") % ")?;
        let slots = line.number()?;
        line.expect(" of ")?;
        Ok(Place::Slot { of, stride: self.size(line)?, depth, ahead, slots })
    }

    /// The steps that stand further in than this; none of them is a buffer's line.
    fn steps(&mut self, inside: usize) -> Read<Vec<Step>> {
        let mut steps = Vec::new();
        while self.depth() > inside && !self.peek().is_some_and(|line| line.starts_buf()) {
            steps.push(self.step()?);
        }
        Ok(steps)
    }

    fn step(&mut self) -> Read<Step> {
        let inside = self.depth();
        let mut line = self.next()?;
        if line.eat("kernel ") {
            let call = self.call(&mut line)?;
            line.end()?;
            return Ok(Step::Kernel(call));
        }
        if line.eat("gemm ") {
            let mut gemm = self.gemm(line)?;
            if self.depth() > inside
                && let Some(mut line) = self.take("then kernel ")
            {
                gemm.then = Some(self.call(&mut line)?);
                line.end()?;
            }
            return Ok(Step::Gemm(Box::new(gemm)));
        }
        if line.eat("copy ") {
            let from = line.buf()?;
            line.expect(" to ")?;
            let to = line.buf()?;
            line.end()?;
            return Ok(Step::Copy { from, to });
        }
        if line.eat("scatter ") {
            let count = self.size(&mut line)?;
            line.expect(" rows of ")?;
            let width = self.size(&mut line)?;
            let (from, to, rows) = self.moved(&mut line)?;
            line.expect(" by ")?;
            let ids = line.buf()?;
            line.end()?;
            return Ok(Step::Scatter { ids, count, from, to, rows, width });
        }
        if line.eat("repeat ") {
            let count = line.number()?;
            let reverse = line.eat(" downwards");
            let note = line.note()?;
            return Ok(Step::Repeat(Box::new(Repeat { count, reverse, steps: self.steps(inside)?, note })));
        }
        if line.eat("panels of ") {
            let mut panels = self.panels(line)?;
            panels.steps = self.steps(inside)?;
            return Ok(Step::Panels(Box::new(panels)));
        }
        let known = RowOp::ALL.into_iter().find(|op| line.eat(&format!("{} of ", op.name())));
        let op = known.ok_or_else(|| line.wrong("a step"))?;
        let rows = self.size(&mut line)?;
        line.expect(" rows of ")?;
        let len = self.size(&mut line)?;
        let (from, to, keep) = self.moved(&mut line)?;
        line.end()?;
        Ok(Step::Rows { op, from, to, rows, len, keep })
    }

    /// ` from b1 to b2 [size]`
    fn moved(&self, line: &mut Line) -> Read<(BufId, BufId, Size)> {
        line.expect(" from ")?;
        let from = line.buf()?;
        line.expect(" to ")?;
        let to = line.buf()?;
        line.expect(" [")?;
        let size = self.size(line)?;
        line.expect("]")?;
        Ok((from, to, size))
    }

    fn panels(&self, mut line: Line) -> Read<Panels> {
        let (before, first) = (line, self.size(&mut line)?);
        let [first] = first.dims()[..] else { return Err(before.wrong("a size that is known at run time")) };
        line.expect(" rows of ")?;
        let width = self.size(&mut line)?;
        line.expect(" over ")?;
        let (mut cuts, mut serial, mut zero) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            cuts.push(self.size(&mut line)?);
            serial.push(line.eat(" in order"));
            if line.eat(", zeros in") {
                zero = line.bufs()?;
                break;
            }
            if !line.eat(", ") {
                break;
            }
        }
        Ok(Panels { cuts, serial, width, first, zero, steps: Vec::new(), note: line.note()? })
    }

    fn call(&self, line: &mut Line) -> Read<Call> {
        let kernel = line.number()?;
        let bufs = line.bufs()?;
        let mut uniforms = Vec::new();
        while let Some(kind) = Kind::ALL.into_iter().find(|kind| line.eat(&format!(" {kind}("))) {
            uniforms.push((kind, self.host(line)?));
            line.expect(")")?;
        }
        let exts = if line.eat(" ") && line.rest.starts_with('[') { self.sizes(line)? } else { Vec::new() };
        line.eat(" ");
        line.expect("rows ")?;
        let rows = self.size(line)?;
        let mut folds = Vec::new();
        while let Some(op) = FoldOp::ALL.into_iter().find(|op| line.eat(&format!(" {op} "))) {
            let kind = Kind::ALL.into_iter().find(|kind| line.eat(&format!("{kind} "))).unwrap_or(Kind::F32);
            line.expect("[")?;
            let len = self.size(line)?;
            line.expect("] ")?;
            let to = line.buf()?;
            line.expect(" by ")?;
            folds.push(FoldTo { op, kind, len, partial: line.buf()?, to });
        }
        Ok(Call { kernel, bufs, uniforms, exts, rows, folds, segments: line.eat(" for each segment") })
    }

    fn gemm(&self, mut line: Line) -> Read<Gemm> {
        let m = self.size(&mut line)?;
        line.expect(" x ")?;
        let n = self.size(&mut line)?;
        let mut batch = Vec::new();
        if line.eat(" for each of ") {
            batch.push(self.size(&mut line)?);
            while line.eat(", ") {
                batch.push(self.size(&mut line)?);
            }
        }
        line.expect(": ")?;
        let c = self.matrix(&mut line)?;
        let accumulate = line.eat(" +=");
        if !accumulate {
            line.expect(" =")?;
        }
        let mut terms = Vec::new();
        loop {
            line.expect(" ")?;
            let a = self.matrix(&mut line)?;
            line.expect(" @ ")?;
            let b = self.matrix(&mut line)?;
            line.expect(" over ")?;
            terms.push(Product { k: self.size(&mut line)?, a, b });
            // A further product begins as a further term of the size would.
            if !line.eat(" +") {
                break;
            }
        }
        Ok(Gemm { m, n, terms, c, batch, accumulate, then: None, note: line.note()? })
    }

    fn matrix(&self, line: &mut Line) -> Read<Matrix> {
        let buf = line.buf()?;
        let offset = if line.eat(" + ") { self.size(line)? } else { Size::zero() };
        line.expect("[")?;
        let mut walks = vec![self.walk(line)?];
        while line.eat(", ") {
            walks.push(self.walk(line)?);
        }
        let (Some((col, cols)), Some((row, rows))) = (walks.pop(), walks.pop()) else {
            return Err(line.wrong("the stride of columns"));
        };
        line.expect("]")?;
        let batch = walks.into_iter().map(|(stride, _)| stride).collect();
        Ok(Matrix { buf, offset, row, col, rows, cols, batch })
    }

    /// `64 then 3 of 7`: a stride, and axes within it.
    fn walk(&self, line: &mut Line) -> Read<(Size, Vec<(Size, Size)>)> {
        let (outer, mut axes) = (self.size(line)?, Vec::new());
        while line.eat(" then ") {
            let extent = self.size(line)?;
            line.expect(" of ")?;
            axes.push((extent, self.size(line)?));
        }
        Ok((outer, axes))
    }

    /// `[B, 64]`
    fn sizes(&self, line: &mut Line) -> Read<Vec<Size>> {
        line.expect("[")?;
        line.list("]", |line, _| self.size(line))
    }

    fn size(&self, line: &mut Line) -> Read<Size> {
        let mut sum = if line.eat("-") { self.term(line)?.times(&Size::from(-1)) } else { self.term(line)? };
        loop {
            // What is added to a product of matrices is a buffer, and no name stands without quotes that is one's.
            let mut ahead = *line;
            if ahead.eat(" + ") && !ahead.starts_buf() {
                *line = ahead;
                sum = sum.plus(&self.term(line)?);
            } else if line.eat(" - ") {
                sum = sum.minus(&self.term(line)?);
            } else {
                return Ok(sum);
            }
        }
    }

    fn term(&self, line: &mut Line) -> Read<Size> {
        let mut product = self.atom(line)?;
        while line.eat(" * ") {
            product = product.times(&self.atom(line)?);
        }
        Ok(product)
    }

    fn atom(&self, line: &mut Line) -> Read<Size> {
        if line.rest.starts_with(|c: char| c.is_ascii_digit()) {
            return Ok(Size::from(line.number::<i64>()?));
        }
        if line.eat("floor((") {
            let above = self.size(line)?;
            line.expect(") / (")?;
            let below = self.size(line)?;
            line.expect("))")?;
            return Ok(above.quotient(&below).unwrap_or_default());
        }
        let before = *line;
        self.dim(line).ok_or_else(|| before.wrong("a size"))
    }

    /// The size whose name stands next.
    fn dim(&self, line: &mut Line) -> Option<Size> {
        let name = line.name().ok()?;
        self.plan.dims.iter().position(|dim| *dim == name).map(|dim| Size::dim(dim as u16))
    }

    fn host(&self, line: &mut Line) -> Read<Host> {
        if line.eat("[") {
            let size = self.size(line)?;
            line.expect("]")?;
            return Ok(Host::Size(size));
        }
        let end = line.rest.find(['(', ')', ',', ' ']).unwrap_or(line.rest.len());
        let head = &line.rest[..end];
        if !line.rest[end..].starts_with('(') {
            let number = head.parse().map_err(|_| line.wrong("a number"))?;
            line.rest = &line.rest[end..];
            return Ok(Host::Const(number));
        }
        let before = *line;
        let wrong = || before.wrong("a function of numbers");
        line.rest = &line.rest[end + 1..];
        let args = line.list(")", |line, _| self.host(line))?;
        if let Some((var, _)) = HostVar::NAMES.into_iter().find(|(_, name)| *name == head)
            && args.is_empty()
        {
            return Ok(Host::Var(var));
        }
        if head == "segment" {
            return Ok(Host::Segment(args));
        }
        if let Some(depth) = head.strip_prefix("row").and_then(|depth| depth.parse().ok()) {
            return Ok(Host::Row(depth, args));
        }
        let named = PRIMS.iter().find(|row| row.name == head && !matches!(row.prim, Prim::Cast(_)));
        let prim = named.map(|row| row.prim).or_else(|| DType::parse(head).map(Prim::Cast)).ok_or_else(wrong)?;
        if prim.row().arity == args.len() { Ok(Host::Prim(prim, args)) } else { Err(wrong()) }
    }

    fn kernels(&mut self) -> Read<()> {
        let Some(line) = self.take("kernels") else { return Ok(()) };
        line.end()?;
        let inside = self.depth_before();
        while self.depth() > inside {
            let kernel = kernel(self.next()?)?;
            self.plan.kernels.push(kernel);
        }
        Ok(())
    }
}

fn kernel(mut line: Line) -> Read<Kernel> {
    line.expect("kernel rows(")?;
    let rows = line.exts()?;
    line.expect(" cols(")?;
    let cols = line.exts()?;
    let buffer = |line: &mut Line, number| {
        line.expect(&format!("b{number}: "))?;
        let written = line.eat("mut ");
        Ok(BufTy { elem: line.elem()?, written })
    };
    let uniform = |line: &mut Line, number| {
        line.expect(&format!("u{number}: "))?;
        line.kind()
    };
    let bufs = if line.eat(" bufs(") { line.list(")", buffer)? } else { Vec::new() };
    let uniforms = if line.eat(" uniforms(") { line.list(")", uniform)? } else { Vec::new() };
    let exts = if line.eat(" extents ") { line.number()? } else { 0 };
    let mut phases = Vec::new();
    while line.eat(if phases.is_empty() { ": " } else { ", " }) {
        phases.push(phase(&mut line)?);
    }
    line.end()?;
    let folds = phases.iter().map(|p: &Phase| p.folds.len() as u16).sum();
    Ok(Kernel { rows, cols, bufs, uniforms, exts, folds, run: RUN, setup: Vec::new(), phases })
}

fn phase(line: &mut Line) -> Read<Phase> {
    let sweep = line.eat("sweep ");
    if !sweep {
        line.expect("row ")?;
    }
    let elsewhere = line.number()?;
    let mut folds = Vec::new();
    while line.eat(" fold") {
        let slot = line.number()?;
        line.expect(" ")?;
        let op = FoldOp::ALL.into_iter().find(|op| line.eat(&format!("{op} ")));
        let op = op.ok_or_else(|| line.wrong("how a fold joins"))?;
        let kind = line.kind()?;
        line.expect(" over ")?;
        let over = if line.eat("rows") {
            Over::Rows(slot)
        } else {
            line.expect("all")?;
            Over::All(slot)
        };
        folds.push(Fold { op, value: 0, kind, over });
    }
    Ok(Phase { sweep, defs: Vec::new(), stores: Vec::new(), folds, elsewhere })
}
