//! Texts as ids: tokenizers against Python's, characters, windows, and rows of unequal length in batches.

use crate::assets::asset;
use crate::scratch::Scratch;
use dlc::Error;
use dlc::data::samples::{Reader, Samples};
use dlc_plan::recipe::{Arg, Batch, Data, EncodedRows, Encoder, Encoding, Part, Share, Source, SourceKind};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn source(kind: SourceKind, paths: &[&str]) -> Source {
    Source { kind, paths: paths.iter().map(|path| (*path).to_owned()).collect(), args: Vec::new() }
}

fn encoding(of: &[&str], by: Encoder, columns: &[&str]) -> Encoding {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Encoding {
        of: owned(of),
        by,
        max: None,
        special: true,
        rows: EncodedRows::Padded(None),
        length: "T".into(),
        columns: owned(columns),
    }
}

fn windows(by: Encoder, of: &str, length: u64, stride: u64) -> Encoding {
    Encoding { rows: EncodedRows::Windows { length, stride }, ..encoding(&[of], by, &["ids", "next"]) }
}

fn data(source: &Source, split: &[(Part, Share)]) -> Data {
    Data {
        name: "d".into(),
        source: source.clone(),
        valid: None,
        test: None,
        split: split.to_vec(),
        batch: Batch::All,
        shuffle: false,
        drop_last: false,
        encodings: Vec::new(),
    }
}

/// The rows of a column, each without what its mask (if there is one) leaves out.
fn rows(samples: &Samples, name: &str, mask: Option<&str>) -> Vec<Vec<i64>> {
    let all: Vec<u32> = (0..samples.rows()).collect();
    let columns = samples.select(&all, &samples.lengths(&all)).expect("the rows are there");
    let column = columns.get(name).expect("it is a column");
    let width = column.shape()[1];
    let ids = column.view::<i64>().expect("ids are i64");
    let mask = mask.map(|mask| columns.get(mask).expect("it is a column").view::<i64>().expect("a mask is i64"));
    let kept = |row: usize| {
        let range = row * width..(row + 1) * width;
        range.filter(|at| mask.is_none_or(|mask| mask[*at] == 1)).map(|at| ids[at]).collect()
    };
    (0..all.len()).map(kept).collect()
}

fn ids_of(golden: &Value, name: &str, kind: &str) -> Vec<Vec<i64>> {
    let rows = golden[name][kind].as_array().expect("rows");
    let row = |row: &Value| row.as_array().expect("ids").iter().map(|id| id.as_i64().expect("an id")).collect();
    rows.iter().map(row).collect()
}

/// Every odd text by a tokenizer, as it is, cut, without marks, and in pairs.
fn agrees_with_python(name: &str, file: &Path) {
    let golden: Value =
        serde_json::from_str(&std::fs::read_to_string(golden("tokens/ids.json")).expect("it is committed"))
            .expect("JSON");
    let corpus = golden["corpus"].as_array().expect("texts");
    let dir = Scratch::new();
    let lines = |items: &mut dyn Iterator<Item = (&Value, &Value)>| {
        items.map(|(a, b)| serde_json::json!({ "text": { "a": a, "b": b } }).to_string() + "\n").collect::<String>()
    };
    dir.file("texts.jsonl", lines(&mut corpus.iter().map(|text| (text, text))));
    dir.file("pairs.jsonl", lines(&mut corpus.iter().zip(&corpus[1..])));
    std::fs::copy(file, dir.path("tokenizer.json")).expect("it can be copied");
    let by = Encoder::File("tokenizer.json".into());
    let read = |file: &str, encoding: Encoding| {
        let encodings = [encoding];
        let mut reader = Reader::new(dir.0.as_path(), &encodings, Vec::new());
        reader.read(&source(SourceKind::Jsonl, &[file])).expect("it is sound")
    };
    let one = encoding(&["text.a"], by.clone(), &["ids", "mask"]);
    for (kind, encoding) in [
        ("texts", one.clone()),
        ("plain", Encoding { special: false, ..one.clone() }),
        ("cut", Encoding { max: Some(8), ..one.clone() }),
    ] {
        let found = rows(&read("texts.jsonl", encoding), "ids", Some("mask"));
        let expected = ids_of(&golden, name, kind);
        for ((text, found), expected) in corpus.iter().zip(&found).zip(&expected) {
            assert_eq!(found, expected, "{name}, {kind}: {text}");
        }
        assert_eq!(found.len(), expected.len());
    }
    let pairs = encoding(&["text.a", "text.b"], by, &["ids", "mask", "kinds"]);
    let samples = read("pairs.jsonl", Encoding { max: Some(12), ..pairs });
    assert_eq!(rows(&samples, "ids", Some("mask")), ids_of(&golden, name, "pairs"), "{name}");
    assert_eq!(rows(&samples, "kinds", Some("mask")), ids_of(&golden, name, "kinds"), "{name}");
}

#[test]
fn odd_texts_get_pythons_ids() {
    agrees_with_python("bpe", &golden("tokens/bpe.json"));
    agrees_with_python("wordpiece", &golden("tokens/wordpiece.json"));
}

#[test]
fn odd_texts_get_minilms_ids() {
    let Some(file) = asset("all-MiniLM-L6-v2/tokenizer.json") else { return };
    agrees_with_python("minilm", &file);
}

/// Rows of letters as ids, with an alphabet of their own or one that is given.
fn letters(text: &str, encoding: Encoding) -> Result<Samples, Error> {
    let dir = Scratch::new();
    dir.file("a.txt", text);
    let encodings = [encoding];
    Reader::new(dir.0.as_path(), &encodings, Vec::new()).read(&source(SourceKind::Text, &["a.txt"]))
}

#[test]
fn rows_are_filled_up_to_the_longest_of_a_batch() {
    let own = encoding(&["text"], Encoder::Characters(None), &["ids", "mask"]);
    let samples = letters("cab\r\n\na\nabcab", own.clone()).expect("it is text");
    assert_eq!(samples.rows(), 4);
    assert_eq!(samples.lengths(&[0, 2]), [3]);
    let columns = samples.select(&[2, 0], &[3]).expect("they are there");
    assert_eq!(columns.get("ids").expect("ids").view::<i64>().expect("i64"), [0, 0, 0, 2, 0, 1]);
    assert_eq!(columns.get("mask").expect("mask").view::<i64>().expect("i64"), [1, 0, 0, 1, 1, 1]);
    assert_eq!(samples.lengths(&[1]), [1], "no batch is without a column");
    let cut = Encoding { max: Some(2), rows: EncodedRows::Padded(Some(4)), ..own.clone() };
    let samples = letters("cab\nb", cut).expect("it is text");
    assert_eq!(rows(&samples, "ids", None), [[2, 0, 0, 0], [1, 0, 0, 0]]);
    let alphabet = encoding(&["text"], Encoder::Characters(Some("xba".into())), &["ids", "mask"]);
    let samples = letters("ab\nx", alphabet.clone()).expect("it is text");
    assert_eq!(rows(&samples, "ids", Some("mask")), [vec![2, 1], vec![0]]);
    let error = letters("ab\nbé", alphabet).err().expect("é is no letter of it");
    assert!(error.message.ends_with("a.txt, row 1, line 1: 'é' is none of the 3 characters"), "{error}");
}

#[test]
fn windows_go_on_from_line_to_line() {
    let samples = letters("ab\nc\r\nd", windows(Encoder::Characters(None), "text", 3, 2)).expect("it is text");
    // The alphabet is \n \r a b c d.
    assert_eq!(rows(&samples, "ids", None), [[2, 3, 0], [0, 4, 1]]);
    assert_eq!(rows(&samples, "next", None), [[3, 0, 4], [4, 1, 0]]);
    let error = letters("abc", windows(Encoder::Characters(None), "text", 3, 3)).err().expect("it is short");
    assert!(error.message.ends_with("3 ids are less than a window, of 3 and one that follows"), "{error}");
}

#[test]
fn windows_are_cut_after_the_text_was_split() {
    let dir = Scratch::new();
    dir.file("a.txt", (0..100).map(|n| char::from(b' ' + (n % 90) as u8)).collect::<String>());
    let source = source(SourceKind::Text, &["a.txt"]);
    let split =
        [(Part::Train, Share::Fraction(0.7)), (Part::Valid, Share::Rows(3)), (Part::Test, Share::Fraction(0.2))];
    let encodings = [windows(Encoder::Characters(None), "text", 4, 1)];
    let mut samples = Reader::new(dir.0.as_path(), &encodings, Vec::new()).read(&source).expect("it is text");
    let parts = samples.share(&data(&source, &split), None).expect("it fits");
    let counts: Vec<(Part, usize)> = parts.iter().map(|(part, rows)| (*part, rows.len())).collect();
    assert_eq!(counts, [(Part::Train, 66), (Part::Valid, 3), (Part::Test, 16)]);
    let ids = |rows: &[u32]| {
        let columns = samples.select(rows, &samples.lengths(rows)).expect("they are there");
        columns.get("ids").expect("ids").view::<i64>().expect("i64").to_vec()
    };
    // The last window of the first 70 ids ends at 69; the next part begins at 70, and the one after that 7 ids later.
    assert_eq!(ids(&[65]), [65, 66, 67, 68]);
    assert_eq!(ids(&[66, 68]), [70, 71, 72, 73, 72, 73, 74, 75]);
    assert_eq!(ids(&[69]), [77, 78, 79, 80]);
    let too_many = [(Part::Valid, Share::Rows(97))];
    assert_eq!(samples.share(&data(&source, &too_many), None).err().map(|error| error.code), Some("E0613"));
}

#[test]
fn what_is_held_out_has_the_alphabet_of_what_is_trained_on() {
    let dir = Scratch::new();
    dir.file("a.txt", "abc");
    dir.file("b.txt", "cb");
    dir.file("c.txt", "b\nx");
    let encodings = [encoding(&["text"], Encoder::Characters(None), &["ids", "mask"])];
    let mut reader = Reader::new(dir.0.as_path(), &encodings, Vec::new());
    reader.read(&source(SourceKind::Text, &["a.txt"])).expect("it is text");
    let held_out = reader.read(&source(SourceKind::Text, &["b.txt"])).expect("it is text");
    assert_eq!(rows(&held_out, "ids", Some("mask")), [[2, 1]]);
    let error = reader.read(&source(SourceKind::Text, &["c.txt"])).err().expect("x is new");
    assert!(error.message.ends_with("c.txt, row 1, line 1: 'x' is none of the 3 characters"), "{error}");
    assert_eq!(error.notes, ["these are abc"]);
}

#[test]
fn ids_in_a_file_are_cut_into_windows() {
    let dir = Scratch::new();
    let bytes: Vec<u8> = [7_u16, 65_535, 9, 3, 1].iter().flat_map(|id| id.to_le_bytes()).collect();
    dir.file("ids", &bytes);
    dir.file("wide", [1_i64, -1].iter().flat_map(|id| id.to_le_bytes()).collect::<Vec<u8>>());
    let encodings = [windows(Encoder::Ids, "tokens", 2, 2)];
    let read = |file: &str, dtype: &str| {
        let args = vec![("dtype".to_owned(), Arg::Text(dtype.into()))];
        Reader::new(dir.0.as_path(), &encodings, Vec::new())
            .read(&Source { args, ..source(SourceKind::Tokens, &[file]) })
    };
    let samples = read("ids", "u16").expect("it is sound");
    assert_eq!(rows(&samples, "next", None), [[65_535, 9], [3, 1]]);
    let message = |file, dtype| read(file, dtype).err().expect("it is not sound").message;
    assert!(message("ids", "u32").ends_with("10 bytes are no whole number of ids of 4 bytes"));
    assert!(message("wide", "i64").ends_with("id 1 is negative, or 2^32 or more"));
    assert!(message("wide", "i32").ends_with("id 2 is negative, or 2^32 or more"));
    assert!(message("ids", "f32").starts_with("ids are u8, u16"));
}

#[test]
fn bad_tokenizers_are_refused() {
    let dir = Scratch::new();
    dir.file("a.txt", "some text");
    for (bytes, why) in [("", "EOF"), ("{}", "Model missing"), ("{\"model\": {\"type\": \"BPE\", \"vocab\": 3}}", "")] {
        dir.file("tokenizer.json", bytes);
        let encodings = [encoding(&["text"], Encoder::File("tokenizer.json".into()), &["ids"])];
        let error = Reader::new(dir.0.as_path(), &encodings, Vec::new()).read(&source(SourceKind::Text, &["a.txt"]));
        let error = error.err().expect("it is no tokenizer");
        assert_eq!(error.code, "E0610");
        assert!(error.message.contains("tokenizer.json is no tokenizer: ") && error.message.contains(why), "{error}");
    }
    // Whatever is done to a tokenizer's bytes, it is used or refused.
    let sound = std::fs::read(golden("tokens/wordpiece.json")).expect("it is committed");
    for at in (0..sound.len()).step_by(3) {
        let mut odd = sound.clone();
        odd[at] = b"9\"}]-,0a"[at % 8];
        dir.file("tokenizer.json", odd);
        let encodings = [encoding(&["text"], Encoder::File("tokenizer.json".into()), &["ids"])];
        let _ = Reader::new(dir.0.as_path(), &encodings, Vec::new()).read(&source(SourceKind::Text, &["a.txt"]));
    }
    let file = golden("tokens/wordpiece.json").display().to_string();
    let encodings = [Encoding { max: Some(2), ..encoding(&["text"], Encoder::File(file), &["ids"]) }];
    let error = Reader::new(dir.0.as_path(), &encodings, Vec::new()).read(&source(SourceKind::Text, &["a.txt"]));
    let error = error.err().expect("there is no place");
    assert_eq!(error.message, "2 ids have no place for a text beside 2 marks of its beginning and end");
}
