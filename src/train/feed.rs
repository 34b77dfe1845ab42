//! What a training is fed with: takes the samples of a `data` item, gives a model the columns that its entries ask for.

use crate::data::{Columns, Wanted, read};
use crate::error::{Error, Result, code};
use crate::machine::{Machine, Named};
use dlc_plan::HostState;
use dlc_plan::recipe::{Data, Part, Source};
use dlc_runtime::Error as RunError;
use dlc_runtime::tensor::Tensor;
use std::path::Path;

use crate::data::split::shares;

/// Samples, and the parts of them that are trained on, watched and tested with.
pub struct Feed {
    sources: Vec<Columns>,
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
        let wanted = wanted(machine);
        let open = |source: &Source| read(source, folder, Some(&wanted));
        let all = open(&data.source)?;
        let mut parts: Vec<(Part, Rows)> = Vec::new();
        for (part, numbers) in shares(&data.name, count(&all), &data.split)? {
            parts.push((part, Rows { source: 0, numbers }));
        }
        let mut sources = vec![all];
        for (part, source) in [(Part::Valid, &data.valid), (Part::Test, &data.test)] {
            if let Some(source) = source {
                let own = open(source)?;
                parts.push((part, Rows { source: sources.len(), numbers: (0..count(&own)).collect() }));
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
        let columns = self.sources[rows.source].select(&rows.numbers);
        let inputs: Vec<(&str, &Tensor)> = columns.iter().filter(|(name, _)| names.iter().any(|n| n == name)).collect();
        let found = machine.run("statistics", &HostState::default(), &inputs)?;
        self.statistics = found;
        Ok(())
    }

    /// The rows of a part; none if there is no such part.
    pub fn part(&self, part: Part) -> Option<&Rows> {
        self.parts.iter().find(|(known, _)| *known == part).map(|(_, rows)| rows)
    }

    /// The columns of some rows of the source that `of` belongs to.
    pub fn batch<'a>(&self, machine: &mut dyn Machine, of: &Rows, numbers: &'a [u32]) -> Result<Batch<'a>> {
        let mut columns: Named = Named::new();
        let raw = self.sources[of.source].select(numbers);
        let mut batch = Batch { source: of.source, numbers, columns: Vec::new() };
        if let Some((ports, _)) = machine.ports("columns") {
            let given = |name: &str| raw.get(name).or_else(|| find(&self.statistics, name));
            let inputs: Vec<(String, &Tensor)> =
                ports.iter().filter_map(|port| Some((port.name.clone(), given(&port.name)?))).collect();
            let inputs: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, tensor)| (name.as_str(), *tensor)).collect();
            let made = machine.run("columns", &HostState::default(), &inputs);
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
    /// Some rows with columns that were made for all of them.
    pub fn of(rows: &'a Rows, columns: Named) -> Batch<'a> {
        Batch { source: rows.source, numbers: &rows.numbers, columns }
    }

    /// How many rows it has.
    pub fn rows(&self) -> usize {
        self.numbers.len()
    }

    /// Runs an entry on those columns that it takes, and on `more`.
    pub fn run(&self, machine: &mut dyn Machine, entry: &str, state: &HostState) -> Result<Named> {
        let inputs = inputs(machine, entry, &self.columns);
        let inputs: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, tensor)| (name.as_str(), *tensor)).collect();
        machine.run(entry, state, &inputs).map_err(|error| self.explain(error))
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
    let given = [made("statistics"), made("columns"), made("forward")].concat();
    let mut wanted: Vec<Wanted> = Vec::new();
    let mut add = |name: String, dtype| {
        if !wanted.iter().any(|known| known.name == name) {
            wanted.push(Wanted { name, dtype: Some(dtype) });
        }
    };
    let statistics = made("statistics");
    for (name, dtype) in names("statistics", false).into_iter().chain(names("columns", false)) {
        if !statistics.contains(&name) {
            add(name, dtype);
        }
    }
    for entry in ["step", "accumulate", "forward", "evaluate"] {
        for (name, dtype) in names(entry, false) {
            if !given.contains(&name) {
                add(name, dtype);
            }
        }
    }
    wanted
}

fn count(columns: &Columns) -> u32 {
    u32::try_from(columns.rows()).expect("readers take no more rows")
}

/// There is nothing to train on.
pub fn no_rows(data: &Data) -> Error {
    Error::file(code::BAD_SPLIT, format!("`{}` has no rows to train on", data.name))
}
