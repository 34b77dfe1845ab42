//! Python's pickles, as far as PyTorch writes them for tensors. Takes the bytes, gives values.
//!
//! A pickle is a program for a small machine with a stack; one of its instructions calls any function of Python by name.
//! Here nothing is called: a few names of PyTorch are known, each with what it would make. Objects of classes, and what plain
//! types of Python and NumPy make, are inert: that they are there is all that is kept of them. A call of any other name is an
//! error. Values lie in one list and speak of each other by number, so that what is nested deeply, or in itself, does no harm; and
//! each instruction makes a bounded number of them. (The instructions are those of CPython's `pickletools`.)

use super::bytes::{Rest, text};
use super::element::Elements;
use super::listing::Bad;
use dlc_runtime::tensor::DType;
use std::collections::HashMap;

/// As in PyTorch.
const MOST_AXES: usize = 64;

/// The number of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Id(u32);

/// A value.
#[derive(Clone, Debug)]
pub enum Value<'p> {
    /// Nothing, a number with a point or of many digits, bytes, a set: something without use here.
    Other,
    /// A truth.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A text.
    Text(&'p str),
    /// Values, in their order.
    Tuple(Vec<Id>),
    /// As a tuple; more can be added.
    List(Vec<Id>),
    /// Keys with values.
    Dict(Vec<(Id, Id)>),
    /// Something with a name.
    Known(Known),
    /// Something with a name, its module and itself, of which no more is known. It cannot be called.
    Name(&'p str, &'p str),
    /// An object; of its class where that has a name.
    Object(Option<(&'p str, &'p str)>),
    /// Elements in a record of the file.
    Storage(Storage<'p>),
    /// A tensor.
    Tensor(Lying<'p>),
}

/// What PyTorch's pickles call by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// `collections.OrderedDict`.
    Dict,
    /// `collections.defaultdict`, which is told what it makes for a key first.
    DefaultDict,
    /// `torch.Size`.
    Size,
    /// What makes something without use here: see [`INERT`].
    Inert,
    /// `torch._utils._rebuild_tensor_v2`, and the one before it.
    Tensor,
    /// `torch._utils._rebuild_tensor_v3`, which is told the type of elements.
    TypedTensor,
    /// `torch._tensor._rebuild_from_type_v2`, which is told another function and its arguments.
    Typed,
    /// `torch._utils._rebuild_parameter`, and the one for parameters with attributes.
    Parameter,
    /// A class of storages, such as `torch.FloatStorage`.
    Storage(Elements),
    /// A type of elements, such as `torch.float32`.
    Elements(Elements),
}

/// A storage: elements in a record of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storage<'p> {
    /// Their type; bytes where tensors say theirs.
    pub elements: Elements,
    /// The name of the record.
    pub key: &'p str,
    /// How many elements there are.
    pub count: u64,
}

/// A tensor, as it lies in its storage.
#[derive(Clone, Debug)]
pub struct Lying<'p> {
    /// The storage.
    pub storage: Storage<'p>,
    /// The type of its elements.
    pub elements: Elements,
    /// The place of its first element.
    pub first: usize,
    /// Its shape.
    pub shape: Vec<usize>,
    /// How far apart neighbours along each axis are.
    pub steps: Vec<usize>,
    /// Whether each element is the negative of what the storage has.
    pub negated: bool,
}

/// Names of plain types and of what makes their values, by their modules. What they would make says nothing of tensors.
const INERT: [(&[&str], &[&str]); 14] = [
    (&["argparse"], &["Namespace"]),
    (&["types"], &["SimpleNamespace"]),
    (&["collections"], &["Counter", "deque"]),
    (&["datetime"], &["date", "datetime", "time", "timedelta", "timezone"]),
    (&["decimal"], &["Decimal"]),
    (&["fractions"], &["Fraction"]),
    (&["uuid"], &["UUID"]),
    (
        &["pathlib", "pathlib._local"],
        &["Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath"],
    ),
    (
        &["builtins", "__builtin__"],
        &["set", "frozenset", "bytearray", "bytes", "complex", "range", "xrange", "slice", "getattr"],
    ),
    (&["copyreg", "copy_reg"], &["_reconstructor"]),
    (&["_codecs"], &["encode"]),
    (&["numpy"], &["dtype"]),
    (
        &["numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric", "numpy._core.numeric"],
        &["scalar", "_reconstruct", "_frombuffer"],
    ),
    (&["torch", "torch.serialization"], &["device", "_get_layout"]),
];

/// The types of elements by PyTorch's names: of a class of storages, and of the type itself.
const ELEMENTS: [(&str, &[&str], Option<DType>); 16] = [
    ("DoubleStorage", &["float64", "double"], Some(DType::F64)),
    ("FloatStorage", &["float32", "float"], Some(DType::F32)),
    ("HalfStorage", &["float16", "half"], Some(DType::F16)),
    ("BFloat16Storage", &["bfloat16"], Some(DType::BF16)),
    ("LongStorage", &["int64", "long"], Some(DType::I64)),
    ("IntStorage", &["int32", "int"], Some(DType::I32)),
    ("ShortStorage", &["int16", "short"], Some(DType::I16)),
    ("CharStorage", &["int8"], Some(DType::I8)),
    ("ByteStorage", &["uint8"], Some(DType::U8)),
    ("BoolStorage", &["bool"], Some(DType::Bool)),
    ("ComplexFloatStorage", &["complex64"], None),
    ("ComplexDoubleStorage", &["complex128"], None),
    ("", &["uint16"], Some(DType::U16)),
    ("", &["uint32"], Some(DType::U32)),
    ("", &["uint64"], Some(DType::U64)),
    ("", &["float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu", "complex32"], None),
];

impl Known {
    fn find(module: &str, name: &str) -> Option<Known> {
        let elements = |name: &str, dtype: Option<DType>| {
            dtype.map_or_else(|| Elements::Other(name.trim_end_matches("Storage").to_owned()), Elements::Plain)
        };
        match (module, name) {
            ("collections", "OrderedDict") => Some(Known::Dict),
            ("collections", "defaultdict") => Some(Known::DefaultDict),
            _ if INERT.iter().any(|(modules, names)| modules.contains(&module) && names.contains(&name)) => {
                Some(Known::Inert)
            }
            ("torch", "Size") => Some(Known::Size),
            ("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor") => Some(Known::Tensor),
            ("torch._utils", "_rebuild_tensor_v3") => Some(Known::TypedTensor),
            ("torch._tensor", "_rebuild_from_type_v2") => Some(Known::Typed),
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => Some(Known::Parameter),
            ("torch.storage", "UntypedStorage") => Some(Known::Storage(Elements::Plain(DType::U8))),
            ("torch", _) => ELEMENTS.iter().find_map(|(storage, names, dtype)| {
                if !storage.is_empty() && name == *storage {
                    return Some(Known::Storage(elements(name, *dtype)));
                }
                names.contains(&name).then(|| Known::Elements(elements(name, *dtype)))
            }),
            _ => None,
        }
    }
}

/// All values that a pickle has made.
#[derive(Debug)]
pub struct Values<'p> {
    all: Vec<Value<'p>>,
    /// What the pickle stands for.
    pub result: Id,
}

impl<'p> Values<'p> {
    /// A value.
    pub fn get(&self, id: Id) -> &Value<'p> {
        &self.all[id.0 as usize]
    }

    /// Every value that was made.
    pub fn all(&self) -> impl Iterator<Item = &Value<'p>> {
        self.all.iter()
    }

    /// What the pickle stands for.
    pub fn result(&self) -> &Value<'p> {
        self.get(self.result)
    }
}

/// Follows a pickle's instructions to its end.
pub fn read<'p>(rest: &mut Rest<'p>) -> Result<Values<'p>, Bad> {
    let mut machine = Machine { left: rest.left(), ..Machine::default() };
    loop {
        let at = rest.at();
        match machine.step(rest) {
            Ok(false) => {}
            Ok(true) => {
                let result = machine.pop()?;
                return Ok(Values { all: machine.all, result });
            }
            Err(bad) => return Err(Bad { why: format!("its pickle at byte {at}: {}", bad.why), ..bad }),
        }
    }
}

/// The machine.
#[derive(Default)]
struct Machine<'p> {
    all: Vec<Value<'p>>,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    /// What the pickle has put aside, by number.
    memo: HashMap<u64, Id>,
    /// How many pairs may still be made of lists. Each was an instruction, so there are no more than bytes.
    left: usize,
}

/// What comes of a call.
enum Made<'p> {
    New(Value<'p>),
    /// One of the arguments.
    Same(Id),
}

impl<'p> Machine<'p> {
    /// One instruction; gives whether it was the last.
    fn step(&mut self, rest: &mut Rest<'p>) -> Result<bool, Bad> {
        let code = rest.u8()?;
        match code {
            b'.' => return Ok(true),
            // The version, and the length of what follows.
            0x80 => drop(rest.u8()?),
            0x95 => drop(rest.u64()?),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.above_mark()?),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            b'N' => self.push(Value::Other)?,
            0x88 => self.push(Value::Bool(true))?,
            0x89 => self.push(Value::Bool(false))?,
            b'J' | b'K' | b'M' | 0x8a | 0x8b => self.integer(code, rest)?,
            b'G' => {
                rest.u64()?;
                self.push(Value::Other)?;
            }
            b'X' | 0x8c | 0x8d | b'T' | b'U' | b'B' | b'C' | 0x8e | 0x96 => self.words(code, rest)?,
            b')' | b't' | 0x85..=0x87 | b']' | b'l' | b'}' | b'd' | 0x8f | 0x91 => self.gather(code)?,
            b'a' | b'e' | b's' | b'u' | 0x90 => self.add(code)?,
            b'q' | b'r' | 0x94 | b'h' | b'j' => self.remember(code, rest)?,
            b'c' => {
                let (module, name) = (text(rest.line()?)?, text(rest.line()?)?);
                self.name(module, name)?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (&Value::Text(module), &Value::Text(name)) = (self.get(module), self.get(name)) else {
                    return Err("a name is no text".into());
                };
                self.name(module, name)?;
            }
            b'R' => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                match self.make(function, arguments)? {
                    Made::New(value) => self.push(value)?,
                    Made::Same(id) => self.stack.push(id),
                }
            }
            // An object of a class, without or with arguments by name.
            0x81 | 0x92 => {
                if code == 0x92 {
                    self.pop()?;
                }
                let (_, class) = (self.pop()?, self.pop()?);
                let object = self.object(class)?;
                self.push(object)?;
            }
            // What an object is told about itself: the versions of modules, for a dictionary of weights.
            b'b' => drop(self.pop()?),
            b'Q' => {
                let id = self.pop()?;
                let storage = self.storage(id)?;
                self.push(Value::Storage(storage))?;
            }
            _ => return Err(format!("instruction 0x{code:02x} is not one that tensors need").into()),
        }
        Ok(false)
    }

    fn get(&self, id: Id) -> &Value<'p> {
        &self.all[id.0 as usize]
    }

    fn push(&mut self, value: Value<'p>) -> Result<(), Bad> {
        let number = u32::try_from(self.all.len()).map_err(|_| "it makes more values than can be counted")?;
        self.all.push(value);
        self.stack.push(Id(number));
        Ok(())
    }

    fn top(&self) -> Result<Id, String> {
        let floor = self.marks.last().copied().unwrap_or(0);
        self.stack.get(floor..).and_then(|above| above.last()).copied().ok_or_else(|| "the stack is empty".into())
    }

    fn pop(&mut self) -> Result<Id, String> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    /// Takes what lies above the last mark.
    fn above_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop().ok_or("the stack has no mark")?;
        Ok(self.stack.split_off(mark))
    }

    fn integer(&mut self, code: u8, rest: &mut Rest<'p>) -> Result<(), Bad> {
        let value = match code {
            b'J' => Value::Int(i64::from(rest.u32()? as i32)),
            b'K' => Value::Int(i64::from(rest.u8()?)),
            b'M' => Value::Int(i64::from(rest.u16()?)),
            _ => {
                let len = if code == 0x8a { u64::from(rest.u8()?) } else { u64::from(rest.u32()?) };
                long(rest.take(len)?)
            }
        };
        self.push(value)
    }

    fn words(&mut self, code: u8, rest: &mut Rest<'p>) -> Result<(), Bad> {
        let len = match code {
            0x8c | b'U' | b'C' => u64::from(rest.u8()?),
            b'X' | b'T' | b'B' => u64::from(rest.u32()?),
            _ => rest.u64()?,
        };
        let bytes = rest.take(len)?;
        let value = match code {
            // Texts of Python 2 may be any bytes.
            b'U' | b'T' => std::str::from_utf8(bytes).map_or(Value::Other, Value::Text),
            b'B' | b'C' | 0x8e | 0x96 => Value::Other,
            _ => Value::Text(text(bytes)?),
        };
        self.push(value)
    }

    /// Makes a tuple, a list, a dictionary or a set.
    fn gather(&mut self, code: u8) -> Result<(), Bad> {
        let value = match code {
            b')' => Value::Tuple(Vec::new()),
            b't' => Value::Tuple(self.above_mark()?),
            0x85..=0x87 => {
                let mut items = (0..=code - 0x85).map(|_| self.pop()).collect::<Result<Vec<_>, _>>()?;
                items.reverse();
                Value::Tuple(items)
            }
            b']' => Value::List(Vec::new()),
            b'l' => Value::List(self.above_mark()?),
            b'}' => Value::Dict(Vec::new()),
            b'd' => Value::Dict(pairs(&self.above_mark()?)?),
            0x91 => {
                self.above_mark()?;
                Value::Other
            }
            _ => Value::Other,
        };
        self.push(value)
    }

    /// Adds to the list, dictionary or set below.
    fn add(&mut self, code: u8) -> Result<(), Bad> {
        let items = match code {
            b'a' => vec![self.pop()?],
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                vec![key, value]
            }
            _ => self.above_mark()?,
        };
        let below = self.top()?;
        match (&mut self.all[below.0 as usize], code) {
            (Value::List(list), b'a' | b'e') => list.extend(items),
            (Value::Dict(dict), b's' | b'u') => dict.extend(pairs(&items)?),
            (Value::Other, 0x90) | (Value::Object(_), b'a' | b'e') => {}
            // An object of a class of dictionaries is as good as one.
            (object @ Value::Object(_), b's' | b'u') => *object = Value::Dict(pairs(&items)?),
            _ => return Err("items are added to what cannot have any".into()),
        }
        Ok(())
    }

    /// Puts the top aside, or takes back what was put aside.
    fn remember(&mut self, code: u8, rest: &mut Rest<'p>) -> Result<(), Bad> {
        let number = match code {
            b'q' | b'h' => u64::from(rest.u8()?),
            b'r' | b'j' => u64::from(rest.u32()?),
            _ => self.memo.len() as u64,
        };
        if matches!(code, b'h' | b'j') {
            let id = self.memo.get(&number).copied().ok_or("what it takes back was never put aside")?;
            self.stack.push(id);
        } else {
            let top = self.top()?;
            self.memo.insert(number, top);
        }
        Ok(())
    }

    fn name(&mut self, module: &'p str, name: &'p str) -> Result<(), Bad> {
        self.push(Known::find(module, name).map_or(Value::Name(module, name), Value::Known))
    }

    /// An object of a class.
    fn object(&self, class: Id) -> Result<Value<'p>, Bad> {
        match *self.get(class) {
            Value::Name(module, name) => Ok(Value::Object(Some((module, name)))),
            Value::Known(Known::Dict | Known::DefaultDict) => Ok(Value::Dict(Vec::new())),
            Value::Known(Known::Inert) | Value::Object(_) => Ok(Value::Object(None)),
            _ => Err("an object is made of what is no class".into()),
        }
    }

    /// What a call would make.
    fn make(&mut self, function: Id, arguments: Id) -> Result<Made<'p>, Bad> {
        let function = match self.get(function) {
            Value::Known(function) => function,
            Value::Name(module, name) => {
                let bad =
                    Bad::from(format!("it asks for `{module}.{name}`; only tensors are read, and nothing is run"));
                return Err(bad.help("write the weights alone: `torch.save(model.state_dict(), \"weights.pth\")`"));
            }
            _ => return Err("it calls what is no function".into()),
        };
        let Value::Tuple(arguments) = self.get(arguments) else { return Err("arguments are no tuple".into()) };
        match (function, &arguments[..]) {
            (Known::Dict, []) | (Known::DefaultDict, [] | [_]) => Ok(Made::New(Value::Dict(Vec::new()))),
            (Known::Dict, [list, ..]) | (Known::DefaultDict, [_, list, ..]) => {
                let (dict, items) = self.dictionary(*list)?;
                self.left = self.left.checked_sub(items).ok_or("it makes one dictionary many times")?;
                Ok(Made::New(dict))
            }
            (Known::Size | Known::Parameter, [same, ..]) => Ok(Made::Same(*same)),
            (Known::Inert, _) => Ok(Made::New(Value::Object(None))),
            (Known::Typed, [function, _, arguments, ..]) => match self.get(*function) {
                Value::Known(Known::Typed) => Err("a tensor is made of itself".into()),
                _ => self.make(*function, *arguments),
            },
            (Known::Tensor, [storage, first, shape, steps, more @ ..]) => {
                let mut tensor = self.tensor(*storage, *first, [*shape, *steps])?;
                tensor.negated = more.get(2).is_some_and(|bits| self.is_set(*bits, "neg"));
                Ok(Made::New(Value::Tensor(tensor)))
            }
            (Known::TypedTensor, [storage, first, shape, steps, _, _, elements, more @ ..]) => {
                let mut tensor = self.tensor(*storage, *first, [*shape, *steps])?;
                let Value::Known(Known::Elements(elements)) = self.get(*elements) else {
                    return Err("a tensor has no type of elements".into());
                };
                tensor.elements = elements.clone();
                tensor.negated = more.first().is_some_and(|bits| self.is_set(*bits, "neg"));
                Ok(Made::New(Value::Tensor(tensor)))
            }
            (Known::Size | Known::Parameter | Known::Tensor | Known::TypedTensor | Known::Typed, _) => {
                Err("a call has too few arguments".into())
            }
            (Known::Storage(_) | Known::Elements(_), _) => Err("it calls what is no function".into()),
        }
    }

    /// A dictionary from a list of pairs, as Python 2 wrote ordered ones; and how many pairs it has.
    fn dictionary(&self, list: Id) -> Result<(Value<'p>, usize), Bad> {
        let not_pairs = || Bad::from("a dictionary is made of what are no pairs");
        let Value::List(items) = self.get(list) else { return Err(not_pairs()) };
        let pair = |id: &Id| match self.get(*id) {
            Value::Tuple(pair) | Value::List(pair) if pair.len() == 2 => Ok((pair[0], pair[1])),
            _ => Err(not_pairs()),
        };
        Ok((Value::Dict(items.iter().map(pair).collect::<Result<_, _>>()?), items.len()))
    }

    fn tensor(&self, storage: Id, first: Id, [shape, steps]: [Id; 2]) -> Result<Lying<'p>, Bad> {
        let Value::Storage(storage) = self.get(storage) else { return Err("a tensor has no storage".into()) };
        let Value::Int(first) = self.get(first) else { return Err("the place of a tensor is no number".into()) };
        let first = usize::try_from(*first).map_err(|_| "the place of a tensor is negative")?;
        let (shape, steps) = (self.sizes(shape)?, self.sizes(steps)?);
        if shape.len() != steps.len() {
            return Err(format!("a tensor has the shape {shape:?} and the strides {steps:?}").into());
        }
        let elements = storage.elements.clone();
        Ok(Lying { storage: storage.clone(), elements, first, shape, steps, negated: false })
    }

    /// Whether a dictionary has a truth for a key.
    fn is_set(&self, bits: Id, key: &str) -> bool {
        let Value::Dict(bits) = self.get(bits) else { return false };
        let of_key = |id: Id| matches!(self.get(id), Value::Text(text) if *text == key);
        bits.iter().any(|(name, value)| of_key(*name) && matches!(self.get(*value), Value::Bool(true)))
    }

    fn sizes(&self, id: Id) -> Result<Vec<usize>, String> {
        let (Value::Tuple(items) | Value::List(items)) = self.get(id) else { return Err("a shape is no tuple".into()) };
        if items.len() > MOST_AXES {
            return Err(format!("a shape has {} axes; {MOST_AXES} are allowed", items.len()));
        }
        let size = |id: &Id| match self.get(*id) {
            Value::Int(size) => usize::try_from(*size).map_err(|_| format!("{size} is no size")),
            _ => Err("a size is no whole number".into()),
        };
        items.iter().map(size).collect()
    }

    /// The storage that a persistent id speaks of: `("storage", class, key, device, count)`, and in old files a view.
    fn storage(&self, id: Id) -> Result<Storage<'p>, Bad> {
        let Value::Tuple(items) = self.get(id) else { return Err("a storage has no tuple".into()) };
        let found: Vec<&Value> = items.iter().map(|id| self.get(*id)).collect();
        match found[..] {
            [
                Value::Text("storage"),
                Value::Known(Known::Storage(elements)),
                Value::Text(key),
                _,
                Value::Int(count),
                ..,
            ] => {
                if let [_, _, _, _, _, view] = found[..]
                    && !matches!(view, Value::Other)
                {
                    return Err("a storage is a view of another one".into());
                }
                let count = u64::try_from(*count).map_err(|_| "a storage has fewer than no elements")?;
                Ok(Storage { elements: elements.clone(), key, count })
            }
            _ => Err("a storage is not described as PyTorch does".into()),
        }
    }
}

/// Keys and values that lie one after the other.
fn pairs(items: &[Id]) -> Result<Vec<(Id, Id)>, Bad> {
    if items.len() % 2 == 1 {
        return Err("a key has no value".into());
    }
    Ok(items.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
}

/// A whole number by its bytes, the low one first, in two's complement.
fn long(bytes: &[u8]) -> Value<'static> {
    if bytes.len() > 8 {
        return Value::Other;
    }
    let fill = if bytes.last().is_some_and(|last| *last > 127) { 0xFF } else { 0 };
    let mut wide = [fill; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    Value::Int(i64::from_le_bytes(wide))
}
