//! PyTorch's `.pth`, `.pt` and `.bin`, as `torch.save` writes them: since version 1.6 a zip archive with a pickle and a record
//! for each storage, before that pickles and records one after the other. Takes the bytes, gives the tensors of the
//! dictionary of weights in it. Nothing of a pickle is run.

use super::bytes::Rest;
use super::element::Elements;
use super::input::View;
use super::listing::{Bad, Entry, Listing, Packing, Place, Strides};
use super::pickle::{self, Id, Lying, Storage, Value, Values};
use super::zip::{self, Member};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

/// The number that the older form begins with, in a pickle: an instruction, its length, and ten bytes.
const OLD_MAGIC: &[u8] = &[0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, b'.'];
/// Where a checkpoint keeps its dictionary of weights, if that is not all it has.
const KEYS: [&str; 9] =
    ["state_dict", "model_state_dict", "model_state", "model", "module", "network", "net", "params", "weights"];
/// What ends the key of what a module keeps beside its weights, which may be a dictionary of tensors too.
const NO_WEIGHTS: &str = "_extra_state";
/// A dictionary within a dictionary within one.
const DEEPEST: usize = 3;

/// Where the records of a file are, and which way round their numbers are.
struct Records<'a> {
    find: &'a dyn Fn(&Storage) -> Result<Range<usize>, String>,
    high_first: bool,
}

/// Whether a file is of the older form: a pickle of that number, of protocol 2 or 3, or of a later one, whose pickles lie in
/// frames.
pub fn is_old(file: &[u8]) -> bool {
    match file {
        [0x80, 2 | 3, rest @ ..] => rest.starts_with(OLD_MAGIC),
        [0x80, 4 | 5, 0x95, _, _, _, _, _, _, _, _, rest @ ..] => rest.starts_with(OLD_MAGIC),
        [0x80, 4 | 5, rest @ ..] => rest.starts_with(OLD_MAGIC),
        _ => false,
    }
}

/// The tensors of an archive with these members.
pub fn list(archive: &View, members: &[Member]) -> Result<Listing, Bad> {
    let mut found = members.iter().filter_map(|member| member.name.strip_suffix("data.pkl"));
    let (Some(folder), None) = (found.next(), found.next()) else {
        return Err("it should have one `data.pkl`".into());
    };
    let by_name: HashMap<&str, &Member> = members.iter().map(|member| (member.name.as_str(), member)).collect();
    if by_name.contains_key(format!("{folder}constants.pkl").as_str()) {
        let bad = Bad::from("it is a program of TorchScript, and not a dictionary of weights");
        return Err(bad.help("write the weights alone: `torch.save(module.state_dict(), \"weights.pth\")`"));
    }
    let record = |name: &str| {
        let member = by_name.get(format!("{folder}{name}").as_str()).ok_or_else(|| format!("it has no `{name}`"))?;
        match member.packing {
            zip::Packing::Stored { .. } => Ok(member.range.clone()),
            zip::Packing::Deflated { .. } => Err(format!("`{name}` is packed, which PyTorch does not do")),
        }
    };
    let order = record("byteorder").map_or(Ok(&b"little"[..]), |range| archive.bytes(range))?;
    let high_first = match order {
        b"little" => false,
        b"big" => true,
        _ => return Err(format!("its order of bytes is `{}`", order.escape_ascii()).into()),
    };
    let values = pickle::read(&mut Rest::of(archive, record("data.pkl")?))?;
    let find = |storage: &Storage| record(&format!("data/{}", storage.key));
    weights(&values, &Records { find: &find, high_first })
}

/// The tensors of a file of the older form: a magic number, a version, facts about the machine, the values, the names of
/// the storages, then for each of these its count and its elements.
pub fn list_old(file: &View) -> Result<Listing, Bad> {
    let mut rest = Rest::of(file, 0..file.len());
    pickle::read(&mut rest)?;
    let version = pickle::read(&mut rest)?;
    if !matches!(version.result(), Value::Int(1001)) {
        return Err("the version of PyTorch's older format is not 1001".into());
    }
    let machine = pickle::read(&mut rest)?;
    let little = matches!(entry(&machine, machine.result, "little_endian"), Some(Value::Bool(true)));
    let values = pickle::read(&mut rest)?;
    let keys = pickle::read(&mut rest)?;
    let Value::List(keys_in_order) = keys.result() else { return Err("it does not list its storages".into()) };
    let storages = values.storages();
    let mut places = HashMap::new();
    for id in keys_in_order {
        let &Value::Text(key) = keys.get(*id) else { return Err("a storage has no name".into()) };
        let storage = storages.get(key).ok_or_else(|| format!("no tensor speaks of the storage `{key}`"))?;
        let count = rest.u64()?;
        let count = if little { count } else { count.swap_bytes() };
        let bytes = usize::try_from(count).ok().and_then(|count| storage.elements.bytes(count));
        let bytes = bytes.ok_or_else(|| format!("a storage has {count} elements of {}", storage.elements.name()))?;
        let start = rest.at();
        rest.skip(bytes as u64)?;
        if places.insert(key, start..rest.at()).is_some() {
            return Err(format!("it has two storages called `{key}`").into());
        }
    }
    if !rest.is_empty() {
        return Err(format!("{} bytes follow its last storage", rest.left()).into());
    }
    let find =
        |storage: &Storage| places.get(storage.key).cloned().ok_or_else(|| format!("it has no `{}`", storage.key));
    weights(&values, &Records { find: &find, high_first: !little })
}

/// The value of a dictionary for a key.
fn entry<'v, 'p>(values: &'v Values<'p>, dict: Id, key: &str) -> Option<&'v Value<'p>> {
    let Value::Dict(pairs) = values.get(dict) else { return None };
    pairs
        .iter()
        .find(|(id, _)| matches!(values.get(*id), Value::Text(text) if *text == key))
        .map(|(_, id)| values.get(*id))
}

/// The tensors of the dictionary of weights.
fn weights(values: &Values, records: &Records) -> Result<Listing, Bad> {
    let mut listing = Listing::default();
    let (dict, path) = dictionary(values)?;
    if !path.is_empty() {
        listing.notes.push(format!("its weights are those under `{}`", path.join(".")));
    }
    let mut others = Vec::new();
    for (key, value) in dict {
        match (name(values.get(*key)), values.get(*value)) {
            (name, Value::Tensor(lying)) => {
                let name = name?;
                let place = place(lying, records).map_err(|why| format!("`{name}`: {why}"))?;
                let entry = Entry { elements: lying.elements.clone(), shape: lying.shape.clone(), place };
                listing.tensors.push((name, entry));
            }
            (Ok(name), _) => others.push(name),
            (Err(_), _) => {}
        }
    }
    if !others.is_empty() {
        listing.notes.push(format!("no tensors, and left out: `{}`", others.join("`, `")));
    }
    Ok(listing)
}

/// A key as a name.
fn name(key: &Value) -> Result<String, Bad> {
    match key {
        Value::Text(text) => Ok((*text).to_owned()),
        Value::Int(number) => Ok(number.to_string()),
        _ => Err("a name in the dictionary of weights is no text".into()),
    }
}

/// The keys and values of a dictionary, and by which keys it was found.
type Found<'v> = (&'v [(Id, Id)], Vec<String>);

/// The dictionary of weights.
fn dictionary<'v>(values: &'v Values) -> Result<Found<'v>, Bad> {
    let (mut id, mut path) = (values.result, Vec::new());
    for _ in 0..=DEEPEST {
        let pairs = match values.get(id) {
            Value::Dict(pairs) => pairs,
            Value::Tensor(_) => return Err(unsuited("a tensor without a name".to_owned())),
            Value::Object(Some((module, name))) => {
                return Err(unsuited(format!("an object of `{module}.{name}`, which is not made: nothing is run")));
            }
            _ => return Err(unsuited("no dictionary".to_owned())),
        };
        match inner(values, pairs)? {
            None => return Ok((pairs, path)),
            Some((key, value)) => {
                path.push(name(values.get(key))?);
                id = value;
            }
        }
    }
    Err(unsuited("dictionaries within dictionaries".into()))
}

/// Which entry of a dictionary leads to that of the weights; none if it is that itself. A tensor may lie beside the weights:
/// the last loss, the state of the random numbers.
fn inner(values: &Values, pairs: &[(Id, Id)]) -> Result<Option<(Id, Id)>, Bad> {
    let text = |key: Id| if let Value::Text(text) = values.get(key) { Some(*text) } else { None };
    let is_dict = |(_, value): &(Id, Id)| matches!(values.get(*value), Value::Dict(_));
    let of_key = |known: &&str| pairs.iter().find(|entry| text(entry.0) == Some(known) && is_dict(entry)).copied();
    let known: Vec<(Id, Id)> = KEYS.iter().filter_map(of_key).collect();
    if let Some(found) = known.iter().find(|entry| leads_to_tensors(values, entry.1, &mut HashSet::new())) {
        return Ok(Some(*found));
    }
    let mut seen = HashSet::new();
    let is_extra = |key: Id| text(key).is_some_and(|key| key.ends_with(NO_WEIGHTS));
    let mut dicts: Vec<(Id, Id)> = pairs.iter().filter(|entry| is_dict(entry) && !is_extra(entry.0)).copied().collect();
    dicts.retain(|entry| seen.insert(entry.1));
    let own = tensors(values, pairs);
    let mut seen = HashSet::new();
    let direct: Vec<(Id, Id)> = dicts.iter().filter(|entry| tensors_in(values, entry.1) > 0).copied().collect();
    match direct[..] {
        [entry] if tensors_in(values, entry.1) >= own => return Ok(Some(entry)),
        _ if own > 0 || pairs.is_empty() => return Ok(None),
        [] => {}
        _ => return Err(several(values, &direct)),
    }
    let deep: Vec<(Id, Id)> =
        dicts.iter().filter(|entry| leads_to_tensors(values, entry.1, &mut seen)).take(2).copied().collect();
    match (&deep[..], &known[..], &dicts[..]) {
        ([entry], _, _) | ([], [entry, ..], _) | ([], [], [entry]) => Ok(Some(*entry)),
        _ => {
            let keys: Vec<&str> = pairs.iter().filter_map(|(key, _)| text(*key)).take(12).collect();
            Err(unsuited(format!("a dictionary without tensors, whose keys are {}", keys.join(", "))))
        }
    }
}

/// Several dictionaries may be that of the weights.
fn several(values: &Values, found: &[(Id, Id)]) -> Bad {
    let names: Vec<String> = found.iter().filter_map(|entry| name(values.get(entry.0)).ok()).take(12).collect();
    unsuited(format!("several dictionaries of tensors, whose keys are {}", names.join(", ")))
}

/// How many tensors a dictionary has itself.
fn tensors(values: &Values, pairs: &[(Id, Id)]) -> usize {
    pairs.iter().filter(|(_, value)| matches!(values.get(*value), Value::Tensor(_))).count()
}

/// As [`tensors`], of a value.
fn tensors_in(values: &Values, dict: Id) -> usize {
    if let Value::Dict(pairs) = values.get(dict) { tensors(values, pairs) } else { 0 }
}

/// Whether a dictionary, or one within it, has a tensor. None is looked at twice.
fn leads_to_tensors(values: &Values, dict: Id, seen: &mut HashSet<Id>) -> bool {
    let mut level = vec![dict];
    for _ in 0..=DEEPEST {
        let mut below = Vec::new();
        for id in level {
            let Value::Dict(pairs) = values.get(id) else { continue };
            if !seen.insert(id) {
                continue;
            }
            if tensors(values, pairs) > 0 {
                return true;
            }
            below.extend(pairs.iter().map(|(_, value)| *value));
        }
        level = below;
    }
    false
}

fn unsuited(what: String) -> Bad {
    let bad = Bad::from(format!("it holds {what}"));
    bad.help("write a dictionary of weights: `torch.save(model.state_dict(), \"weights.pth\")`")
}

/// Where a tensor lies in the file.
fn place(lying: &Lying, records: &Records) -> Result<Place, String> {
    let range = (records.find)(&lying.storage)?;
    let storage = &lying.storage;
    let wanted = usize::try_from(storage.count).ok().and_then(|count| storage.elements.bytes(count));
    if let (Elements::Plain(_), Some(found)) = (&storage.elements, Some(range.len()))
        && wanted != Some(found)
    {
        let kind = storage.elements.name();
        return Err(format!("its storage should have {} elements of {kind}, and has {found} bytes", storage.count));
    }
    let strides = Strides { first: lying.first, steps: lying.steps.clone() };
    Ok(Place {
        range,
        packing: Packing::Stored,
        strides: Some(strides),
        high_first: records.high_first,
        negated: lying.negated,
    })
}

impl<'p> Values<'p> {
    /// All storages that are spoken of, by their names.
    fn storages(&self) -> BTreeMap<&'p str, &Storage<'p>> {
        let mut found = BTreeMap::new();
        for value in self.all() {
            if let Value::Storage(storage) = value {
                found.insert(storage.key, storage);
            }
        }
        found
    }
}

/// Whether bytes look like a pickle that is no file of PyTorch, and what to say of it.
pub fn only_pickle(file: &[u8]) -> Option<Bad> {
    let [0x80, 2..=5, ..] = file else { return None };
    let bad = Bad::from("it is a pickle, and not a file of `torch.save`");
    Some(bad.help("write it by `torch.save(model.state_dict(), \"weights.pth\")`, or as safetensors"))
}
