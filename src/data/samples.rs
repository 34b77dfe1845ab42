//! Samples: the columns of a source with the ids that are made of its texts. Takes a source and encodings; gives the tensors of
//! some rows, those of unequal length filled up.

use super::encode::{Coder, Ids, Pad};
use super::split::{Parts, in_order, shares};
use super::texts::Texts;
use super::{As, Columns, Wanted, names, read_like};
use crate::error::{Error, Result, code};
use dlc_plan::recipe::{Data, EncodedRows, Encoder, Encoding, Part, Source};
use dlc_runtime::tensor::Tensor;
use std::path::{Path, PathBuf};

/// Reads the sources of a data item, all of them in the same way.
pub struct Reader<'a> {
    folder: &'a Path,
    encodings: &'a [Encoding],
    wanted: Vec<Wanted>,
    /// What the first source had, for those after it.
    first: Option<(Columns, Vec<Option<Coder>>)>,
}

/// The samples of a source.
pub struct Samples {
    columns: Columns,
    encoded: Vec<Encoded>,
    rows: Rows,
}

/// The columns of an encoding.
struct Encoded {
    encoding: Encoding,
    ids: Ids,
}

/// What a row is.
enum Rows {
    /// One of the source's.
    Own,
    /// A window of ids: rows from `first` on begin at `start` and so much later each. There may be several such pieces.
    Windows { length: usize, stride: usize, pieces: Vec<Piece> },
}

/// Windows that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    /// The number of the first.
    first: u32,
    /// Where it begins.
    start: usize,
    /// How many they are.
    count: u32,
}

impl<'a> Reader<'a> {
    /// A reader of the columns that are wanted, and of the texts that become ids.
    pub fn new(folder: &'a Path, encodings: &'a [Encoding], wanted: Vec<Wanted>) -> Reader<'a> {
        let made: Vec<&String> = encodings.iter().flat_map(|encoding| &encoding.columns).collect();
        let mut wanted: Vec<Wanted> = wanted.into_iter().filter(|wanted| !made.contains(&&wanted.name)).collect();
        for encoding in encodings {
            let as_ = match encoding.rows {
                EncodedRows::Padded(_) => As::Texts,
                EncodedRows::Windows { .. } => As::Documents,
            };
            for name in &encoding.of {
                if !wanted.iter().any(|wanted| wanted.name == *name) {
                    wanted.push(Wanted { name: name.clone(), as_ });
                }
            }
        }
        Reader { folder, encodings, wanted, first: None }
    }

    /// The samples of a source. What the first one's classes and characters are, those of the others are too.
    pub fn read(&mut self, source: &Source) -> Result<Samples> {
        let like = self.first.as_ref().map(|(columns, _)| columns);
        let mut columns = read_like(source, self.folder, Some(&self.wanted), like)?;
        let paths: Vec<PathBuf> = source.paths.iter().map(|path| self.folder.join(path)).collect();
        let place = names(&paths);
        if self.first.is_none() {
            let coder = |encoding: &Encoding| Coder::new(encoding, self.folder, &texts_of(&columns, encoding)?);
            let coders = self.encodings.iter().map(coder).collect::<Result<Vec<_>>>()?;
            let known = Columns { classes: columns.classes.clone(), ..Columns::default() };
            self.first = Some((known, coders));
        }
        let (_, coders) = self.first.as_ref().expect("it was made above");
        let mut encoded = Vec::new();
        for (encoding, coder) in self.encodings.iter().zip(coders) {
            let ids = match coder {
                Some(coder) => coder.encode(encoding, &texts_of(&columns, encoding)?, &place)?,
                None => {
                    let ids = columns.stream.take().unwrap_or_default();
                    Ids { ends: vec![ids.len()], ids, ..Ids::default() }
                }
            };
            encoded.push(Encoded { encoding: encoding.clone(), ids });
        }
        columns.texts.clear();
        Samples::new(columns, encoded, &place)
    }
}

/// The texts that an encoding is of.
fn texts_of<'c>(columns: &'c Columns, encoding: &Encoding) -> Result<Vec<&'c Texts>> {
    if encoding.by == Encoder::Ids {
        return Ok(Vec::new());
    }
    let texts = |name: &String| {
        columns.texts(name).ok_or_else(|| Error::file(code::NO_COLUMN, format!("column `{name}` has no texts")))
    };
    encoding.of.iter().map(texts).collect()
}

impl Samples {
    fn new(columns: Columns, encoded: Vec<Encoded>, place: &str) -> Result<Samples> {
        let windows = encoded.iter().find_map(|e| match e.encoding.rows {
            EncodedRows::Windows { length, stride } => Some((length, stride, e.ids.ids.len())),
            EncodedRows::Padded(_) => None,
        });
        let Some((length, stride, ids)) = windows else { return Ok(Samples { columns, encoded, rows: Rows::Own }) };
        let whole = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).max(1);
        let (length, stride) = (whole(length), whole(stride));
        let all = piece(0, 0..ids, length, stride)?;
        if all.count == 0 {
            let message = format!("{place}: {ids} ids are less than a window, of {length} and one that follows");
            return Err(Error::file(code::BAD_ROWS, message));
        }
        Ok(Samples { columns, encoded, rows: Rows::Windows { length, stride, pieces: vec![all] } })
    }

    /// The number of samples.
    pub fn rows(&self) -> u32 {
        match &self.rows {
            Rows::Own => u32::try_from(self.columns.rows()).expect("readers take no more rows"),
            Rows::Windows { pieces, .. } => pieces.last().map_or(0, |last| last.first + last.count),
        }
    }

    /// The rows of each part, as a data item shares them out. Rows go to parts at random; windows, which may overlap, are cut
    /// after the ids have been shared out in order, so that nothing that is held out is seen in training.
    ///
    /// `kept` are the rows that are samples, where not all are; windows are of all.
    pub fn share(&mut self, data: &Data, kept: Option<&[u32]>) -> Result<Parts> {
        let rows = self.rows();
        let Rows::Windows { length, stride, pieces } = &mut self.rows else {
            let Some(kept) = kept else { return shares(&data.name, rows, &data.split) };
            let mut parts = shares(&data.name, u32::try_from(kept.len()).unwrap_or(u32::MAX), &data.split)?;
            let numbers = parts.iter_mut().flat_map(|(_, numbers)| numbers);
            numbers.for_each(|number| *number = kept[*number as usize]);
            return Ok(parts);
        };
        if data.split.is_empty() {
            return Ok(vec![(Part::Train, (0..rows).collect())]);
        }
        let ids = self.encoded[0].ids.ids.len();
        // So many windows, and the id that follows the last of them.
        let ids_of = |windows: usize| windows.saturating_sub(1).saturating_mul(*stride).saturating_add(*length + 1);
        let (mut parts, mut found): (Parts, Vec<Piece>) = (Vec::new(), Vec::new());
        for (part, range) in in_order(&data.name, ids, &data.split, ids_of)? {
            let first = found.last().map_or(0, |last| last.first + last.count);
            let own = piece(first, range, *length, *stride)?;
            parts.push((part, (first..first + own.count).collect()));
            found.push(own);
        }
        *pieces = found;
        Ok(parts)
    }

    /// How long the rows are that each encoding would be filled up to for these rows.
    pub fn lengths(&self, rows: &[u32]) -> Vec<usize> {
        let longest = |e: &Encoded| match (e.encoding.rows, &self.rows) {
            (EncodedRows::Padded(Some(length)), _) => usize::try_from(length).unwrap_or(usize::MAX),
            (EncodedRows::Windows { .. }, Rows::Windows { length, .. }) => *length,
            _ => rows.iter().map(|row| e.ids.range(*row as usize).len()).max().unwrap_or(0).max(1),
        };
        let own: Vec<usize> = self.encoded.iter().map(longest).collect();
        let alike = |e: &Encoded| {
            let same = self.encoded.iter().zip(&own).filter(|(other, _)| other.encoding.length == e.encoding.length);
            same.map(|(_, length)| *length).max().unwrap_or(0)
        };
        self.encoded.iter().map(alike).collect()
    }

    /// The source's own columns, all rows of them, without ids.
    pub fn own(&self) -> &Columns {
        &self.columns
    }

    /// The tensors of some rows, those of ids filled up to the lengths given.
    pub fn select(&self, rows: &[u32], lengths: &[usize]) -> Result<Columns> {
        let mut columns = match &self.rows {
            Rows::Own => self.columns.select(rows)?.into_named(),
            Rows::Windows { .. } => Vec::new(),
        };
        for (encoded, length) in self.encoded.iter().zip(lengths) {
            columns.extend(match &self.rows {
                Rows::Own => encoded.padded(rows, *length)?,
                Rows::Windows { length, stride, pieces } => encoded.windows(rows, *length, *stride, pieces)?,
            });
        }
        Columns::new(columns)
    }
}

/// The windows of some ids.
fn piece(first: u32, range: std::ops::Range<usize>, length: usize, stride: usize) -> Result<Piece> {
    let count = match range.len().checked_sub(length.saturating_add(1)) {
        Some(spare) => spare / stride + 1,
        None => 0,
    };
    let count = u32::try_from(count).ok().filter(|count| first.checked_add(*count).is_some());
    let message = "2^32 windows or more: a greater stride makes fewer";
    let count = count.ok_or_else(|| Error::file(code::BAD_ROWS, message))?;
    Ok(Piece { first, start: range.start, count })
}

impl Encoded {
    fn named(&self, tensors: Vec<Tensor>) -> Vec<(String, Tensor)> {
        self.encoding.columns.iter().cloned().zip(tensors).collect()
    }

    /// Ids, a mask, and which text of a pair each id is of.
    fn padded(&self, rows: &[u32], length: usize) -> Result<Vec<(String, Tensor)>> {
        let Pad { id, left } = self.ids.pad;
        let shape = [rows.len(), length];
        let count = rows.len().saturating_mul(length);
        let (mut ids, mut mask) = (vec![i64::from(id); count], vec![0_i64; count]);
        let mut kinds = vec![0_i64; if self.encoding.columns.len() > 2 { count } else { 0 }];
        for (at, row) in rows.iter().enumerate() {
            let range = self.ids.range(*row as usize);
            let range = range.start..range.end.min(range.start.saturating_add(length));
            let start = at * length + if left { length - range.len() } else { 0 };
            for (place, from) in (start..).zip(range) {
                ids[place] = i64::from(self.ids.ids[from]);
                mask[place] = 1;
                if let (Some(kind), Some(of)) = (kinds.get_mut(place), self.ids.kinds.get(from)) {
                    *kind = i64::from(*of);
                }
            }
        }
        let tensor = |values: Vec<i64>| Tensor::from_slice(&shape, &values);
        let mut tensors = vec![tensor(ids)?, tensor(mask)?];
        if self.encoding.columns.len() > 2 {
            tensors.push(tensor(kinds)?);
        }
        Ok(self.named(tensors))
    }

    /// Ids, and those that follow each of them.
    fn windows(&self, rows: &[u32], length: usize, stride: usize, pieces: &[Piece]) -> Result<Vec<(String, Tensor)>> {
        let shape = [rows.len(), length];
        let (mut ids, mut next) = (Vec::new(), Vec::new());
        for row in rows {
            let piece = pieces[pieces.partition_point(|piece| piece.first + piece.count <= *row)];
            let start = piece.start + (row - piece.first) as usize * stride;
            let window = &self.ids.ids[start..start + length + 1];
            ids.extend(window[..length].iter().map(|id| i64::from(*id)));
            next.extend(window[1..].iter().map(|id| i64::from(*id)));
        }
        Ok(self.named(vec![Tensor::from_slice(&shape, &ids)?, Tensor::from_slice(&shape, &next)?]))
    }
}
