//! PyTorch's `.pth`, `.pt` and `.bin`, as `torch.save` writes them: since version 1.6 a zip archive with a pickle and a record
//! for each storage, before that pickles and records one after the other. Takes the bytes, gives the tensors of the
//! dictionary of weights in it. Nothing of a pickle is run.

use super::bytes::Rest;
use super::element::Elements;
use super::listing::{Bad, Entry, Listing, Packing, Place, Strides};
use super::pickle::{self, Id, Lying, Storage, Value, Values};
use super::zip::{self, Member};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

/// The number that the older form begins with, as a pickle: an instruction, its length, and ten bytes.
pub const OLD_MAGIC: &[u8] = &[0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, b'.'];
/// Where a checkpoint keeps its dictionary of weights, if that is not all it has.
const KEYS: [&str; 5] = ["state_dict", "model_state_dict", "model", "module", "net"];
/// A dictionary within a dictionary within one.
const DEEPEST: usize = 3;

/// Where the records of a file are, and which way round their numbers are.
struct Records<'a> {
    find: &'a dyn Fn(&Storage) -> Result<Range<usize>, String>,
    high_first: bool,
}

/// The tensors of an archive with these members.
pub fn list(archive: &[u8], members: &[Member]) -> Result<Listing, Bad> {
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
    let order = record("byteorder").map_or(&b"little"[..], |range| &archive[range]);
    let high_first = match order {
        b"little" => false,
        b"big" => true,
        _ => return Err(format!("its order of bytes is `{}`", order.escape_ascii()).into()),
    };
    let values = pickle::read(&mut Rest::new(&archive[record("data.pkl")?]))?;
    let find = |storage: &Storage| record(&format!("data/{}", storage.key));
    weights(&values, &Records { find: &find, high_first })
}

/// The tensors of a file of the older form: a magic number, a version, facts about the machine, the values, the names of
/// the storages, then for each of these its count and its elements.
pub fn list_old(file: &[u8]) -> Result<Listing, Bad> {
    let mut rest = Rest::new(file);
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
        rest.take(bytes as u64)?;
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
        let name = name(values.get(*key))?;
        match values.get(*value) {
            Value::Tensor(lying) => {
                let place = place(lying, records).map_err(|why| format!("`{name}`: {why}"))?;
                let entry = Entry { elements: lying.elements.clone(), shape: lying.shape.clone(), place };
                listing.tensors.push((name, entry));
            }
            _ => others.push(name),
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

/// The dictionary that holds tensors.
fn dictionary<'v>(values: &'v Values) -> Result<Found<'v>, Bad> {
    let (mut id, mut path) = (values.result, Vec::new());
    for _ in 0..=DEEPEST {
        let Value::Dict(pairs) = values.get(id) else {
            let what =
                if matches!(values.get(id), Value::Tensor(_)) { "a tensor without a name" } else { "no dictionary" };
            return Err(unsuited(what.to_owned()));
        };
        if pairs.is_empty() || pairs.iter().any(|(_, value)| matches!(values.get(*value), Value::Tensor(_))) {
            return Ok((pairs, path));
        }
        let text = |key: Id| if let Value::Text(text) = values.get(key) { Some(*text) } else { None };
        let known = KEYS.iter().find_map(|known| pairs.iter().find(|(key, _)| text(*key) == Some(known)));
        let mut inner = pairs.iter().filter(|(_, value)| matches!(values.get(*value), Value::Dict(_)));
        let only = inner.next().filter(|_| inner.next().is_none());
        let Some((key, value)) = known.or(only) else {
            let keys: Vec<&str> = pairs.iter().filter_map(|(key, _)| text(*key)).take(12).collect();
            return Err(unsuited(format!("a dictionary without tensors, whose keys are {}", keys.join(", "))));
        };
        path.push(name(values.get(*key))?);
        id = *value;
    }
    Err(unsuited("dictionaries within dictionaries".into()))
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
    Ok(Place { range, packing: Packing::Stored, strides: Some(strides), high_first: records.high_first })
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
