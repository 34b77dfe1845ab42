//! What a training is fed with: takes the samples of a `data` item, gives a model the columns that its entries ask for.

use crate::data::samples::{Reader, Samples};
use crate::data::{As, Columns, Wanted};
use crate::error::{Error, Result, code};
use crate::machine::{Counts, Machine, Named, SHARES};
use dlc_plan::HostState;
use dlc_plan::recipe::{Data, Part};
use dlc_runtime::Error as RunError;
use dlc_runtime::tensor::Tensor;
use std::borrow::Cow;
use std::path::Path;

/// Samples, and the parts of them that are trained on, watched and tested with.
pub struct Feed {
    sources: Vec<Samples>,
    parts: Vec<(Part, Rows)>,
    /// What `statistics` gave.
    statistics: Named,
}

/// Rows of one of the sources.
#[derive(Clone, Debug)]
pub struct Rows {
    source: usize,
    /// The rows' numbers.
    pub numbers: Vec<u32>,
}

/// A batch: columns by name, and which rows they are.
pub struct Batch<'a> {
    source: usize,
    numbers: &'a [u32],
    /// The columns.
    pub columns: Named,
}

impl Feed {
    /// Reads the samples whose files are relative to `folder`, and shares them out. `machine` says which columns it needs.
    pub fn open(machine: &mut dyn Machine, data: &Data, folder: &Path) -> Result<Feed> {
        let mut reader = Reader::new(folder, &data.encodings, wanted(machine));
        let mut all = reader.read(&data.source)?;
        let mut parts: Vec<(Part, Rows)> = Vec::new();
        let samples = kept(machine, &all)?;
        for (part, numbers) in all.share(data, samples.as_deref())? {
            parts.push((part, Rows { source: 0, numbers }));
        }
        let mut sources = vec![all];
        for (part, source) in [(Part::Valid, &data.valid), (Part::Test, &data.test)] {
            if let Some(source) = source {
                let own = reader.read(source)?;
                let numbers = kept(machine, &own)?.unwrap_or_else(|| (0..own.rows()).collect());
                parts.push((part, Rows { source: sources.len(), numbers }));
                sources.push(own);
            }
        }
        let mut feed = Feed { sources, parts, statistics: Named::new() };
        feed.measure(machine)?;
        Ok(feed)
    }

    /// Statistics of the training split, where the plan asks for them.
    fn measure(&mut self, machine: &mut dyn Machine) -> Result<()> {
        let Some((inputs, _)) = machine.ports("statistics") else { return Ok(()) };
        let names: Vec<String> = inputs.iter().map(|port| port.name.clone()).collect();
        let Some(rows) = self.part(Part::Train) else { return Ok(()) };
        let samples = &self.sources[rows.source];
        let columns = samples.select(&rows.numbers, &samples.lengths(&rows.numbers))?;
        let inputs: Vec<(&str, &Tensor)> = columns.iter().filter(|(name, _)| names.iter().any(|n| n == name)).collect();
        let found = machine.run("statistics", &HostState::default(), &inputs)?;
        self.statistics = found;
        Ok(())
    }

    /// What a source has that is left out, in a line each.
    pub fn left_out(&self) -> impl Iterator<Item = &str> {
        self.sources.iter().flat_map(|samples| samples.own().notes()).map(String::as_str)
    }

    /// How many rows each part has, and which class is which number.
    pub fn summary(&self) -> String {
        let part = |(part, rows): &(Part, Rows)| {
            let what = match part {
                Part::Train => "to train on",
                Part::Valid => "held out",
                Part::Test => "to test with",
            };
            format!("{} {what}", rows.numbers.len())
        };
        let classes = self.sources.first().map_or(&[][..], |samples| samples.own().classes());
        let parts: Vec<String> = self.parts.iter().map(part).collect();
        let rows = if classes.is_empty() { "rows" } else { "pictures" };
        let mut text = format!("{rows}: {}\n", parts.join(", "));
        if !classes.is_empty() {
            let numbered: Vec<String> = classes.iter().enumerate().map(|(i, name)| format!("{i} {name}")).collect();
            let what = if classes.len() == 1 { "class" } else { "classes" };
            text.push_str(&format!("{} {what}: {}\n", classes.len(), numbered.join(", ")));
        }
        text
    }

    /// The rows of a part; none if there is no such part.
    pub fn part(&self, part: Part) -> Option<&Rows> {
        self.parts.iter().find(|(known, _)| *known == part).map(|(_, rows)| rows)
    }

    /// How long the rows of unequal length are among some of a part, each kind of them by itself.
    pub fn lengths(&self, of: &Rows, numbers: &[u32]) -> Vec<usize> {
        self.sources[of.source].lengths(numbers)
    }

    /// The columns of some rows of the source that `of` belongs to, as they are without training, with rows filled up to the
    /// lengths given.
    pub fn batch<'a>(
        &self,
        machine: &mut dyn Machine,
        of: &Rows,
        numbers: &'a [u32],
        lengths: &[usize],
    ) -> Result<Batch<'a>> {
        let raw = self.raw(of, numbers, lengths)?;
        self.made(
            machine,
            "columns",
            &HostState::default(),
            Batch { source: of.source, numbers, columns: Vec::new() },
            raw,
        )
    }

    /// What some rows have in their files, with rows of unequal length filled up.
    pub fn raw(&self, of: &Rows, numbers: &[u32], lengths: &[usize]) -> Result<Columns> {
        self.sources[of.source].select(numbers, lengths)
    }

    /// The columns of rows that are trained on.
    pub fn training_batch<'a>(
        &self,
        machine: &mut dyn Machine,
        of: &Rows,
        numbers: &'a [u32],
        raw: Columns,
        state: &HostState,
    ) -> Result<Batch<'a>> {
        let entry = if machine.ports("augment").is_some() { "augment" } else { "columns" };
        self.made(machine, entry, state, Batch { source: of.source, numbers, columns: Vec::new() }, raw)
    }

    fn made<'a>(
        &self,
        machine: &mut dyn Machine,
        entry: &str,
        state: &HostState,
        mut batch: Batch<'a>,
        raw: Columns,
    ) -> Result<Batch<'a>> {
        let mut columns: Named = Named::new();
        if let Some((ports, _)) = machine.ports(entry) {
            let given = |name: &str| raw.get(name).or_else(|| find(&self.statistics, name));
            let inputs: Vec<(String, &Tensor)> =
                ports.iter().filter_map(|port| Some((port.name.clone(), given(&port.name)?))).collect();
            let inputs: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, tensor)| (name.as_str(), *tensor)).collect();
            let made = machine.run(entry, state, &inputs);
            columns = made.map_err(|error| batch.explain(error))?;
        }
        for (name, tensor) in raw.into_named() {
            if find(&columns, &name).is_none() {
                columns.push((name, tensor));
            }
        }
        batch.columns = columns;
        Ok(batch)
    }
}

impl<'a> Batch<'a> {
    /// All rows, with columns that were made for them.
    pub fn of(rows: &'a Rows, columns: Named) -> Batch<'a> {
        Batch::some(rows, &rows.numbers, columns)
    }

    /// Some rows, with columns that were made for them.
    pub fn some(rows: &Rows, numbers: &'a [u32], columns: Named) -> Batch<'a> {
        Batch { source: rows.source, numbers, columns }
    }

    /// How many rows it has.
    pub fn rows(&self) -> usize {
        self.numbers.len()
    }

    /// Runs an entry on those columns that it takes.
    pub fn run(&self, machine: &mut dyn Machine, entry: &str, state: &HostState) -> Result<Named> {
        self.run_with(machine, entry, state, &[])
    }

    /// Runs an entry on those columns that it takes, and on `more`.
    pub fn run_with(
        &self,
        machine: &mut dyn Machine,
        entry: &str,
        state: &HostState,
        more: &[(&str, &Tensor)],
    ) -> Result<Named> {
        let inputs = inputs(machine, entry, &self.columns);
        let own = inputs.iter().map(|(name, tensor)| (name.as_str(), *tensor));
        let inputs: Vec<(&str, &Tensor)> = own.chain(more.iter().copied()).collect();
        machine.run(entry, state, &inputs).map_err(|error| self.explain(error))
    }

    /// What it adds to what the terms of a loss are divided by.
    pub fn counts(&self, machine: &mut dyn Machine, state: &HostState) -> Result<Option<Counts>> {
        let inputs = inputs(machine, "count", &self.columns);
        let inputs: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, tensor)| (name.as_str(), *tensor)).collect();
        Counts::of(machine, state, &inputs)
    }

    /// An error with the row as the data file numbers it, and not as the batch does.
    fn explain(&self, error: RunError) -> Error {
        let error = match error {
            RunError::Index { name, value, mut at, limit } => {
                self.renumber(&mut at);
                RunError::Index { name, value, at, limit }
            }
            RunError::Wide { name, value, mut at } => {
                self.renumber(&mut at);
                RunError::Wide { name, value, at }
            }
            other => other,
        };
        error.into()
    }

    fn renumber(&self, at: &mut [usize]) {
        if let Some(first) = at.first_mut() {
            *first = self.numbers.get(*first).map_or(*first, |number| *number as usize);
        }
    }

    /// Says which column has a number that is not finite, and in which row.
    pub fn not_finite(&self) -> Option<String> {
        self.columns.iter().find_map(|(name, tensor)| {
            let numbers = tensor.as_f32().ok()?;
            let at = numbers.iter().position(|number| !number.is_finite())?;
            let row = self.numbers[at / (numbers.len() / self.numbers.len()).max(1)];
            let of = if self.source == 0 { "" } else { " of the held-out samples" };
            Some(format!("column `{name}` is {} in row {row}{of}", numbers[at]))
        })
    }
}

/// The rows of a source that are samples; none where all are.
fn kept(machine: &mut dyn Machine, samples: &Samples) -> Result<Option<Vec<u32>>> {
    let Some((inputs, _)) = machine.ports("where") else { return Ok(None) };
    let names: Vec<String> = inputs.iter().map(|port| port.name.clone()).collect();
    let given: Vec<(&str, &Tensor)> =
        names.iter().filter_map(|name| Some((name.as_str(), samples.own().get(name)?))).collect();
    let truths = machine.run("where", &HostState::default(), &given)?;
    let truths = find(&truths, "where").map_or(Vec::new(), Tensor::to_f32_vec);
    Ok(Some((0..).zip(truths).filter(|(_, truth)| *truth != 0.0).map(|(row, _)| row).collect()))
}

/// Those tensors that an entry takes.
fn inputs<'a>(machine: &dyn Machine, entry: &str, given: &'a Named) -> Vec<(String, &'a Tensor)> {
    let ports = machine.ports(entry).map_or(&[][..], |(inputs, _)| inputs);
    ports.iter().filter_map(|port| Some((port.name.clone(), find(given, &port.name)?))).collect()
}

/// The tensor of that name.
pub fn find<'a>(named: &'a Named, name: &str) -> Option<&'a Tensor> {
    named.iter().find(|(known, _)| known == name).map(|(_, tensor)| tensor)
}

/// The columns that must be read: what `columns` and `statistics` take, and what other entries take that nothing else gives.
fn wanted(machine: &dyn Machine) -> Vec<Wanted> {
    let names = |entry: &str, outputs: bool| -> Vec<(String, dlc_plan::DType)> {
        let (ins, outs) = machine.ports(entry).unwrap_or_default();
        (if outputs { outs } else { ins }).iter().map(|port| (port.name.clone(), port.dtype)).collect()
    };
    let made = |entry: &str| -> Vec<String> { names(entry, true).into_iter().map(|(name, _)| name).collect() };
    let given = [made("statistics"), made("columns"), made("augment"), made("forward")].concat();
    let mut wanted: Vec<Wanted> = Vec::new();
    let mut add = |name: String, dtype| {
        if !wanted.iter().any(|known| known.name == name) {
            wanted.push(Wanted { name, as_: As::Numbers(Some(dtype)) });
        }
    };
    let statistics = made("statistics");
    for (name, dtype) in ["where", "statistics", "columns", "augment"].iter().flat_map(|entry| names(entry, false)) {
        if !statistics.contains(&name) {
            add(name, dtype);
        }
    }
    for entry in ["accumulate", "forward", "evaluate"] {
        for (name, dtype) in names(entry, false) {
            if !given.contains(&name) && name != SHARES {
                add(name, dtype);
            }
        }
    }
    wanted
}

/// How many rows a batch of a model has, where its text fixes that.
pub fn fixed_rows(machine: &dyn Machine) -> Option<usize> {
    let (inputs, _) = machine.ports("forward").unwrap_or_default();
    let mut firsts = inputs.iter().map(|port| port.shape.first()?.known());
    let first = firsts.next().flatten()?;
    firsts.all(|other| other == Some(first)).then_some(usize::try_from(first).ok()?).filter(|rows| *rows > 0)
}

/// Rows with the last of them again, until they are as many as a batch must have.
pub fn filled(numbers: &[u32], rows: Option<usize>) -> Cow<'_, [u32]> {
    match (rows, numbers.last()) {
        (Some(rows), Some(last)) if numbers.len() < rows => {
            let more = std::iter::repeat_n(*last, rows - numbers.len());
            numbers.iter().copied().chain(more).collect()
        }
        _ => Cow::Borrowed(numbers),
    }
}

/// There is nothing to train on.
pub fn no_rows(data: &Data) -> Error {
    Error::file(code::BAD_SPLIT, format!("`{}` has no rows to train on", data.name))
}
