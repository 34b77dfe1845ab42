//! Sources of samples besides csv, idx and safetensors: good files, bad ones, and every error at its place.

use crate::scratch::Scratch;
use dlc::data::schema::{Texts, columns};
use dlc::data::{As, Columns, Wanted, read};
use dlc::{DType, Error, Tensor};
use dlc_plan::recipe::{Arg, Source, SourceKind};
use std::path::Path;

fn source(kind: SourceKind, paths: &[&str], args: &[(&str, Arg)]) -> Source {
    Source {
        kind,
        paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        args: args.iter().map(|(name, arg)| ((*name).to_owned(), arg.clone())).collect(),
    }
}

fn wanted(names: &[(&str, As)]) -> Vec<Wanted> {
    names.iter().map(|(name, as_)| Wanted { name: (*name).to_owned(), as_: *as_ }).collect()
}

const REAL: As = As::Numbers(Some(dlc_plan::DType::F32));
const WHOLE: As = As::Numbers(Some(dlc_plan::DType::I64));

/// Reads one file with these bytes; `F` stands for its path in what an error says.
fn one(
    kind: SourceKind,
    bytes: impl AsRef<[u8]>,
    args: &[(&str, Arg)],
    asked: &[(&str, As)],
) -> Result<Columns, Error> {
    let dir = Scratch::new();
    let path = dir.file("f", bytes).display().to_string();
    let asked = wanted(asked);
    let asked = (!asked.is_empty()).then_some(asked.as_slice());
    read(&source(kind, &["f"], args), &dir.path(""), asked).map_err(|mut error| {
        error.message = error.message.replace(&path, "F");
        error.notes.iter_mut().for_each(|note| *note = note.replace(&path, "F"));
        error
    })
}

fn texts(columns: &Columns, name: &str) -> Vec<String> {
    columns.texts(name).unwrap_or_else(|| panic!("{name} has texts")).iter().map(str::to_owned).collect()
}

fn tensor<'a>(columns: &'a Columns, name: &str) -> &'a Tensor {
    columns.get(name).unwrap_or_else(|| panic!("{name} is there"))
}

#[test]
fn tabs_separate_and_quotation_marks_are_letters() {
    let text = "sentence\tlabel\r\na \"quoted\" one\t1\r\n\"half\t0\r\n it's,  \t1\r\n";
    let asked = [("sentence", As::Texts), ("label", REAL)];
    let read = one(SourceKind::Tsv, text, &[], &asked).expect("it is sound");
    assert_eq!(texts(&read, "sentence"), ["a \"quoted\" one", "\"half", " it's,  "]);
    assert_eq!(tensor(&read, "label").as_f32().expect("real"), [1.0, 0.0, 1.0]);
    let quoted = "\"a\tb\"\t1\n";
    let args = [("sentence", Arg::Int(1)), ("label", Arg::Int(1))];
    let error = one(SourceKind::Tsv, quoted, &args, &asked).expect_err("three values");
    assert_eq!(error.message, "F:1: 3 values, expected 2");
    let args = [("quote", Arg::Bool(true)), ("sentence", Arg::Int(1)), ("label", Arg::Int(1))];
    assert_eq!(texts(&one(SourceKind::Tsv, quoted, &args, &asked).expect("it is sound"), "sentence"), ["a\tb"]);
    let error = one(SourceKind::Tsv, b"s\tl\n\xFF\t1\n", &[], &[("s", As::Texts)]).expect_err("no text");
    assert_eq!(error.message, "F:2: column `s` has `\u{fffd}`, expected text in UTF-8");
}

#[test]
fn tables_have_texts_where_they_are_asked_for() {
    let csv =
        one(SourceKind::Csv, "a,b\n\"x, y\",1\n,2\n", &[], &[("b", WHOLE), ("a", As::Texts)]).expect("it is sound");
    assert_eq!(texts(&csv, "a"), ["x, y", ""]);
    assert_eq!(tensor(&csv, "b").view::<i64>().expect("whole"), [1, 2]);
}

#[test]
fn objects_have_members_of_members() {
    let text = "{\"a\": {\"b\": \"one\", \"c\": [[1, 2], [3, 4.5]]}, \"n\": -7, \"t\": true}\n\n  \
                {\"t\": false, \"n\": 9007199254740993, \"a\": {\"c\": [[0, 0], [0, 0]], \"b\": \"\\u00e9\"}, \"more\": null}\r\n";
    let asked = [("n", WHOLE), ("a.c", REAL), ("a.b", As::Texts), ("t", As::Numbers(Some(dlc_plan::DType::Bool)))];
    let read = one(SourceKind::Jsonl, text, &[], &asked).expect("it is sound");
    assert_eq!(read.rows(), 2);
    assert_eq!(texts(&read, "a.b"), ["one", "é"]);
    assert_eq!(tensor(&read, "n").view::<i64>().expect("whole"), [-7, 9_007_199_254_740_993]);
    assert_eq!(tensor(&read, "a.c").shape(), [2, 2, 2]);
    assert_eq!(tensor(&read, "a.c").as_f32().expect("real")[..4], [1.0, 2.0, 3.0, 4.5]);
    assert_eq!(tensor(&read, "t").dtype(), DType::Bool);
    let all = one(SourceKind::Jsonl, text, &[], &[]).expect("it is sound");
    assert_eq!(all.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["a.c", "n", "t"]);
}

#[test]
fn bad_objects_are_named_by_their_lines() {
    let text = "{\"x\": 1, \"y\": [1, 2]}\n{\"y\": [1, 2]}\n{\"x\": \"one\", \"y\": [1, 2]}\n[3]\nnonsense\n\
                {\"x\": 2, \"y\": [1]}\n{\"x\": 1e60, \"y\": [1, 2]}\n{\"x\": 1, \"y\": [1, [2]]}\n{\"x\": 3, \"y\": [4, 5]}\n";
    let error = one(SourceKind::Jsonl, text, &[], &[("x", REAL), ("y", REAL)]).expect_err("seven are bad");
    assert_eq!((error.code, error.message.as_str()), ("E0611", "7 rows of F cannot be read"));
    assert_eq!(
        error.notes[0].lines().collect::<Vec<_>>(),
        [
            "F:2: `x` is not there",
            "F:3: `x` is `\"one\"`, expected a number",
            "F:4: `[3]` is no object",
            "F:5: this is no JSON: expected ident at line 1 column 2",
            "F:6: `y` has the shape [1], and [2] in the rows before",
            "F:7: `x` is `1e+60`, expected a number",
            "F:8: `y` is `[1,[2]]`, expected a number",
        ]
    );
    let deep = format!("{{\"x\": {}1{}}}\n", "[".repeat(10_000), "]".repeat(10_000));
    let error = one(SourceKind::Jsonl, deep, &[], &[("x", REAL)]).expect_err("it is deep");
    assert!(error.message.starts_with("F:1: this is no JSON: recursion limit exceeded"), "{error}");
    let ragged = "{\"x\": [[1, 2], [3]]}\n";
    let error = one(SourceKind::Jsonl, ragged, &[], &[("x", REAL)]).expect_err("it is ragged");
    assert_eq!(error.message, "F:1: `x` is `[[1,2],[3]]`, expected lists of one length");
}

#[test]
fn lines_of_text_are_rows() {
    let asked = [("text", As::Texts)];
    let read = |bytes: &[u8]| one(SourceKind::Text, bytes, &[], &asked);
    assert_eq!(texts(&read("a\r\n\nb\rc\n\0d".as_bytes()).expect("it is text"), "text"), ["a", "", "b\rc", "\0d"]);
    assert_eq!(read(b"").expect("nothing is text").rows(), 0);
    let error = read(b"fine\nno\xFFt\nfine\n\xC3").expect_err("two lines are no text");
    assert_eq!(error.notes, ["F:2: this is not text in UTF-8\nF:4: this is not text in UTF-8"]);
    let error = one(SourceKind::Text, b"fine\nno\xFFt\n", &[], &[("text", As::Documents)]).expect_err("it is no text");
    assert_eq!(error.message, "F:2: this is not text in UTF-8");
    let error = one(SourceKind::Text, "a", &[], &[("label", REAL)]).expect_err("there are no labels");
    assert_eq!(error.message, "F has no column `label`");
}

/// Records of CIFAR: labels, then a picture whose bytes are all the same.
fn records(labels: usize, count: u8) -> Vec<u8> {
    (0..count)
        .flat_map(|k| (0..labels as u8).map(move |l| 10 * l + k).chain(std::iter::repeat_n(100 + k, 3072)))
        .collect()
}

#[test]
fn cifar_has_ten_or_a_hundred_classes() {
    let dir = Scratch::new();
    let folder = dir.path("cifar");
    std::fs::create_dir(&folder).expect("it can be made");
    dir.file("cifar/data_batch_2.bin", records(1, 1));
    dir.file("cifar/data_batch_1.bin", records(1, 3));
    dir.file("cifar/test_batch.bin", records(1, 2));
    dir.file("cifar/batches.meta.txt", "airplane\n");
    dir.file("hundred.bin", records(2, 2));
    dir.file("cut", &records(1, 2)[..6000]);
    let read = |paths: &[&str]| read(&source(SourceKind::Cifar, paths, &[]), &dir.path(""), None);
    let ten = read(&["cifar"]).expect("it is sound");
    assert_eq!(tensor(&ten, "pixels").shape(), [4, 3, 32, 32]);
    assert_eq!(tensor(&ten, "label").bytes(), [0, 1, 2, 0]);
    assert_eq!(tensor(&ten, "pixels").bytes()[3 * 3072], 100);
    assert!(ten.get("coarse").is_none());
    assert_eq!(read(&["cifar/test_batch.bin"]).expect("it is sound").rows(), 2);
    let hundred = read(&["hundred.bin"]).expect("it is sound");
    assert_eq!(tensor(&hundred, "label").bytes(), [10, 11]);
    assert_eq!(tensor(&hundred, "coarse").bytes(), [0, 1]);
    let error = read(&["cut"]).expect_err("it is cut short");
    assert!(error.message.contains("6000 bytes are no whole number of records"), "{error}");
    let error = read(&["hundred.bin", "cifar/test_batch.bin"]).expect_err("they differ");
    assert!(error.message.ends_with("has 1 labels a picture, unlike the file before it"), "{error}");
    let error = read(&["."]).expect_err("it has none");
    assert!(error.message.ends_with("has no files called data_batch_1.bin and so on, nor train.bin"), "{error}");
}

#[test]
fn gzipped_files_come_unpacked() {
    use std::io::Write;
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(b"{\"x\": 1}\n{\"x\": 2}\n").expect("memory can be written");
    let packed = packed.finish().expect("memory can be written");
    let read = one(SourceKind::Jsonl, &packed, &[], &[("x", WHOLE)]).expect("it is sound");
    assert_eq!(tensor(&read, "x").view::<i64>().expect("whole"), [1, 2]);
    assert!(one(SourceKind::Jsonl, &packed[..20], &[], &[("x", WHOLE)]).is_err());
}

#[test]
fn what_columns_there_are_is_seen_at_the_beginning() {
    let dir = Scratch::new();
    dir.file("a.tsv", "sentence\tlabel\nx\t1\n");
    dir.file("a.jsonl", "{\"a\": {\"b\": \"one\", \"c\": [[1, 2]]}, \"n\": 1, \"t\": true, \"z\": null}\nrest");
    let known = |kind, path: &str| -> Vec<String> {
        let columns = columns(&source(kind, &[path], &[]), &dir.path("")).expect("it is sound");
        let texts = |texts| match texts {
            Texts::Never => "",
            Texts::Always => " text",
            Texts::AsUsed => " or text",
        };
        columns.iter().map(|c| format!("{}: {}{:?}{}", c.name, c.dtype, c.row, texts(c.texts))).collect()
    };
    assert_eq!(known(SourceKind::Tsv, "a.tsv"), ["sentence: f32[] or text", "label: f32[] or text"]);
    assert_eq!(known(SourceKind::Jsonl, "a.jsonl"), ["a.b: u8[] text", "a.c: f32[1, 2]", "n: f32[]", "t: bool[]"]);
}

/// The folder of pictures that PIL made and decoded.
fn pictures() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/pictures")
}

fn golden() -> dlc::weights::file::TensorFile {
    dlc::weights::file::TensorFile::open(&pictures().with_extension("safetensors")).expect("it is committed")
}

fn golden_tensor(name: &str) -> Tensor {
    golden().read(name).unwrap_or_else(|| panic!("{name} is there")).expect("it is sound")
}

/// The greatest difference between bytes, and their mean one.
fn apart(a: &[u8], b: &[u8]) -> (u8, f64) {
    assert_eq!(a.len(), b.len());
    let differences = || a.iter().zip(b).map(|(a, b)| a.abs_diff(*b));
    (differences().max().unwrap_or(0), differences().map(f64::from).sum::<f64>() / a.len() as f64)
}

#[test]
fn pictures_are_what_pil_makes_of_them() {
    let dir = Scratch::new();
    for class in ["blue", "red"] {
        std::fs::create_dir(dir.path(class)).expect("it can be made");
        for name in Scratch::names_in(&pictures().join(class)) {
            std::fs::copy(pictures().join(class).join(&name), dir.path(class).join(&name)).expect("it can be copied");
        }
        std::fs::write(dir.path(class).join("notes.txt"), "no picture").expect("it can be written");
    }
    let source = source(SourceKind::Images, &["."], &[]);
    let read = read(&source, &dir.path(""), None).expect("they are sound");
    assert_eq!(tensor(&read, "label").view::<i64>().expect("i64"), [0, 0, 0, 0, 1, 1, 1, 1, 1]);
    let (found, expected) = (tensor(&read, "pixels"), golden_tensor("pixels"));
    assert_eq!(found.shape(), expected.shape());
    let each = found.bytes().len() / 9;
    for (k, (found, expected)) in found.bytes().chunks(each).zip(expected.bytes().chunks(each)).enumerate() {
        let (most, mean) = apart(found, expected);
        // PNG has one meaning; decoders of JPEG round in their own ways, and smooth what is subsampled in theirs.
        let allowed = if k < 5 {
            (0, 0.0)
        } else if k < 8 {
            (3, 0.5)
        } else {
            (12, 1.5)
        };
        assert!(most <= allowed.0 && mean <= allowed.1, "picture {k}: {most}, {mean}");
    }
    let known = columns(&source, &dir.path("")).expect("they are sound");
    assert_eq!(known[0].row, [3, 12, 16]);
}

#[test]
fn pictures_of_other_sizes_are_made_to_fit() {
    let dir = odd();
    let read = |args: &[(&str, Arg)]| read(&source(SourceKind::Images, &["."], args), &dir.path(""), None);
    let odd = |how: &str, height: i64, width: i64| {
        let args = [("height", Arg::Int(height)), ("width", Arg::Int(width)), ("fit", Arg::Text(how.into()))];
        read(&args).expect("they fit")
    };
    for (columns, kind) in
        [(odd("stretch", 12, 16), "stretch"), (odd("crop", 12, 16), "crop"), (odd("crop", 8, 8), "square")]
    {
        let found = tensor(&columns, "pixels");
        let each = found.bytes().len() / 2;
        for (name, found) in ["tall", "wide"].iter().zip(found.bytes().chunks(each)) {
            let (most, mean) = apart(found, golden_tensor(&format!("{name}.{kind}")).bytes());
            assert!(most <= 1 && mean < 0.1, "{name}.{kind}: {most}, {mean}");
        }
    }
    let error = read(&[]).expect_err("they differ");
    assert!(error.message.ends_with("wide.png is 17 high and 40 wide; the others are 30 and 22"), "{error}");
    assert_eq!(error.help, ["`images(\"..\", height = 30, width = 22, fit = \"crop\")` or \"stretch\""]);
}

/// A folder with a folder with the two pictures that have sizes of their own.
fn odd() -> Scratch {
    let dir = Scratch::new();
    std::fs::create_dir(dir.path("odd")).expect("it can be made");
    for name in ["tall.png", "wide.png"] {
        std::fs::copy(pictures().join("odd").join(name), dir.path("odd").join(name)).expect("it can be copied");
    }
    dir
}

#[test]
fn broken_pictures_are_named() {
    let dir = Scratch::new();
    std::fs::create_dir(dir.path("a")).expect("it can be made");
    let read = || read(&source(SourceKind::Images, &["."], &[("size", Arg::Int(12))]), &dir.path(""), None);
    let error = read().expect_err("there are none");
    assert!(error.message.ends_with("has no folders with pictures called .png, .jpg or .jpeg"), "{error}");
    let bytes = std::fs::read(pictures().join("blue/a.png")).expect("it is committed");
    let mut claims = bytes.clone();
    // The height and the width: 2^31 - 1 each.
    claims[16..24].copy_from_slice(&[0x7F, 0xFF, 0xFF, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF]);
    // What is allowed, and can still not be in so few bytes.
    let mut vast = bytes.clone();
    vast[16..24].copy_from_slice(&[0, 0, 0x40, 0, 0, 0, 0x20, 0]);
    let jpeg = std::fs::read(pictures().join("red/b.jpg")).expect("it is committed");
    for broken in [&b"GIF89a"[..], b"", &bytes[..100], &bytes[..30], &claims, &vast, &jpeg[..200], &jpeg[..3]] {
        dir.file("a/1.png", broken);
        let error = read().expect_err("it is broken");
        assert_eq!(error.code, "E0610");
        assert!(error.message.contains("a/1.png is not a sound picture: "), "{error}");
    }
}

/// A few hundred bytes that say they are 66 million pixels get no memory for them.
#[test]
fn a_jpeg_that_claims_to_be_vast_is_refused() {
    let mut bytes = std::fs::read(pictures().join("red/b.jpg")).expect("it is committed");
    let frame = bytes.windows(2).position(|w| matches!(w, [0xFF, 0xC0 | 0xC2])).expect("a frame");
    for (height, width) in [(2366_u16, 28141_u16), (2000, 2000)] {
        bytes[frame + 5..frame + 7].copy_from_slice(&height.to_be_bytes());
        bytes[frame + 7..frame + 9].copy_from_slice(&width.to_be_bytes());
        let (found, most) = crate::memory::largest(|| dlc::data::images::decode(&bytes));
        let expected = format!("it says that it is {height} high and {width} wide, and has {} bytes", bytes.len());
        assert_eq!(found, Err(expected));
        assert!(most < 1 << 20, "{most} bytes at once");
    }
}

/// Whatever is done to a picture's bytes, it is decoded or refused.
#[test]
fn no_picture_is_too_odd() {
    for name in ["blue/a.png", "blue/c.png", "red/a.png", "red/b.jpg", "red/c.JPEG", "red/d.jpg", "red/e.jpg"] {
        let sound = std::fs::read(pictures().join(name)).expect("it is committed");
        assert!(dlc::data::images::decode(&sound).is_ok());
        for at in 0..sound.len() {
            for change in [0x00, 0xFF, sound[at] ^ 0x01, sound[at] ^ 0x80] {
                let mut odd = sound.clone();
                odd[at] = change;
                if let Ok(picture) = dlc::data::images::decode(&odd) {
                    assert_eq!(picture.rgb.len(), 3 * picture.height * picture.width);
                }
            }
            let _ = dlc::data::images::decode(&sound[..at]);
        }
    }
}

/// A kind of file, a sound one, and what is asked of it.
type Kind<'a> = (SourceKind, &'a [u8], &'a [(&'a str, As)]);

/// Whatever is done to a file's bytes, it is read or refused.
#[test]
fn no_file_is_too_odd() {
    let dir = Scratch::new();
    let idx = [&[0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 2][..], &[1, 2, 3, 4]].concat();
    let files: [Kind; 6] = [
        (SourceKind::Csv, b"a,b\n1,x\n2,\"y\nz\"\n", &[("a", REAL), ("b", As::Texts)]),
        (SourceKind::Tsv, b"a\tb\n1\tx\n2\ty\n", &[("a", WHOLE)]),
        (SourceKind::Jsonl, b"{\"a\": {\"b\": [1, 2]}, \"c\": \"x\"}\n{\"a\": {\"b\": [3, 4]}}\n", &[("a.b", REAL)]),
        (SourceKind::Text, "eins\nzwei Übel\n".as_bytes(), &[("text", As::Texts)]),
        (SourceKind::Idx, &idx, &[("pixels", REAL)]),
        (SourceKind::Tokens, &[1, 0, 2, 0, 3, 0], &[]),
    ];
    for (kind, sound, asked) in files {
        let asked = wanted(asked);
        let source = source(kind, &["f"], &[]);
        let open = |bytes: &[u8]| {
            dir.file("f", bytes);
            let _ = columns(&source, &dir.path(""));
            read(&source, &dir.path(""), Some(&asked))
        };
        let rows = open(sound).expect("it is sound").rows();
        for at in 0..sound.len() {
            for change in [0x00, 0xFF, sound[at] ^ 0x01, sound[at] ^ 0x80, b'"', b'\n'] {
                let mut odd = sound.to_vec();
                odd[at] = change;
                if let Ok(columns) = open(&odd) {
                    assert!(
                        columns.rows() <= 10 * (rows + 1),
                        "{kind:?}: {} rows of {} bytes",
                        columns.rows(),
                        odd.len()
                    );
                }
            }
            let _ = open(&sound[..at]);
        }
    }
}

#[test]
fn arrays_of_numpy_are_columns() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/weights");
    let source = source(SourceKind::Npz, &["stored.npz"], &[]);
    let known = columns(&source, &folder).expect("it is sound");
    let name =
        known.iter().find(|c| !c.row.is_empty() && c.dtype == dlc_plan::DType::F32).expect("a matrix").name.clone();
    let read = read(&source, &folder, Some(&wanted(&[(&name, REAL)]))).expect("it is sound");
    assert_eq!(tensor(&read, &name).shape()[1..], known.iter().find(|c| c.name == name).expect("it is there").row);
}

#[test]
fn classes_that_are_held_out_are_those_that_are_trained_on() {
    use dlc::data::read_like;
    let dir = Scratch::new();
    for folder in ["train/ant", "train/bee", "train/cat", "valid/cat", "other/dog"] {
        std::fs::create_dir_all(dir.path(folder)).expect("it can be made");
        std::fs::copy(pictures().join("blue/a.png"), dir.path(folder).join("1.png")).expect("it can be copied");
    }
    let open = |name: &str, like: Option<&Columns>| {
        read_like(&source(SourceKind::Images, &[name], &[]), &dir.path(""), None, like)
    };
    let train = open("train", None).expect("it is sound");
    let valid = open("valid", Some(&train)).expect("it is sound");
    assert_eq!(tensor(&valid, "label").view::<i64>().expect("i64"), [2]);
    let error = open("other", Some(&train)).expect_err("there is no dog");
    assert!(error.message.ends_with("other/dog is no class of the pictures that are trained on"), "{error}");
    assert_eq!(error.notes, ["these are ant, bee, cat"]);
}

/// EXIF with one entry: its tag, type, count and value; the low byte first or the high one.
fn exif(low_first: bool, entry: (u16, u16, u32, u16)) -> Vec<u8> {
    let two = |n: u16| if low_first { n.to_le_bytes() } else { n.to_be_bytes() };
    let four = |n: u32| if low_first { n.to_le_bytes() } else { n.to_be_bytes() };
    let (tag, kind, count, value) = entry;
    let head = [if low_first { &b"II"[..] } else { b"MM" }, &two(42), &four(8), &two(1)].concat();
    let entry = [&two(tag)[..], &two(kind), &four(count), &two(value), &[0, 0], &four(0)].concat();
    [head, entry].concat()
}

/// A grey PNG of two rows of three pixels, with this EXIF before its pixels or after them.
fn six(exif: &[u8], before: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 3, 2);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().expect("memory can be written");
    writer.write_image_data(&[0, 1, 2, 3, 4, 5]).expect("memory can be written");
    writer.finish().expect("memory can be written");
    let named = [b"eXIf", exif].concat();
    let mut sum = flate2::Crc::new();
    sum.update(&named);
    let chunk = [&(exif.len() as u32).to_be_bytes()[..], &named, &sum.sum().to_be_bytes()].concat();
    // Behind the header, or before the end.
    let at = if before { 33 } else { bytes.len() - 12 };
    bytes.splice(at..at, chunk);
    bytes
}

/// The height, the width and the red pixels of the only picture of a folder.
fn only(dir: &Scratch) -> (usize, usize, Vec<u8>) {
    let read = read(&source(SourceKind::Images, &["."], &[]), &dir.path(""), None).expect("it is sound");
    let pixels = tensor(&read, "pixels");
    let [1, 3, height, width] = *pixels.shape() else { panic!("{:?}", pixels.shape()) };
    (height, width, pixels.bytes()[..height * width].to_vec())
}

#[test]
fn pictures_are_turned_as_their_exif_says() {
    let dir = Scratch::new();
    std::fs::create_dir(dir.path("a")).expect("it can be made");
    // What PIL's `exif_transpose` makes of them.
    let turned: [(u16, usize, [u8; 6]); 9] = [
        (0, 2, [0, 1, 2, 3, 4, 5]),
        (1, 2, [0, 1, 2, 3, 4, 5]),
        (2, 2, [2, 1, 0, 5, 4, 3]),
        (3, 2, [5, 4, 3, 2, 1, 0]),
        (4, 2, [3, 4, 5, 0, 1, 2]),
        (5, 3, [0, 3, 1, 4, 2, 5]),
        (6, 3, [3, 0, 4, 1, 5, 2]),
        (7, 3, [5, 2, 4, 1, 3, 0]),
        (8, 3, [2, 5, 1, 4, 0, 3]),
    ];
    for (number, height, expected) in turned {
        for (low_first, before) in [(true, true), (false, true), (true, false), (false, false)] {
            dir.file("a/1.png", six(&exif(low_first, (0x0112, 3, 1, number)), before));
            assert_eq!(only(&dir), (height, 6 / height, expected.to_vec()), "{number} {low_first} {before}");
        }
    }
    // A JPEG has it in a segment of its own.
    let plain = std::fs::read(pictures().join("red/b.jpg")).expect("it is committed");
    dir.file("a/1.png", &plain);
    let (height, width, upright) = only(&dir);
    let exif_6 = [b"Exif\0\0", &exif(false, (0x0112, 3, 1, 6))[..]].concat();
    let segment = [&[0xFF, 0xE1][..], &(exif_6.len() as u16 + 2).to_be_bytes(), &exif_6].concat();
    dir.file("a/1.png", [&plain[..2], &segment, &plain[2..]].concat());
    let (tall, wide, found) = only(&dir);
    assert_eq!((tall, wide), (width, height));
    let expected = (0..tall * wide).map(|i| upright[(height - 1 - i % wide) * width + i / wide]);
    assert!(found.iter().copied().eq(expected));
}

#[test]
fn exif_that_makes_no_sense_says_nothing() {
    let dir = Scratch::new();
    std::fs::create_dir(dir.path("a")).expect("it can be made");
    let good = exif(true, (0x0112, 3, 1, 6));
    let far = [&good[..4], &u32::MAX.to_le_bytes(), &good[8..]].concat();
    let itself = [&good[..4], &0_u32.to_le_bytes(), &good[8..]].concat();
    let many = [&good[..8], &[0xFF, 0xFF], &[0; 24]].concat();
    let hostile = [Vec::new(), b"II".to_vec(), b"XX*\0".to_vec(), b"II+\0".to_vec(), far, itself, many];
    let cut = (0..20).map(|length| good[..length].to_vec());
    let odd = [(0x0112, 3, 2, 6), (0x0112, 7, 1, 6), (0x0112, 3, 1, 9), (0x0112, 3, 1, 0xFFFF), (0x0113, 3, 1, 6)];
    for exif in hostile.into_iter().chain(cut).chain(odd.map(|entry| exif(true, entry))) {
        dir.file("a/1.png", six(&exif, true));
        assert_eq!(only(&dir), (2, 3, vec![0, 1, 2, 3, 4, 5]), "{exif:?}");
    }
}

#[test]
fn what_lies_beside_pictures_is_counted_and_moves_no_label() {
    let dir = Scratch::new();
    for folder in ["p/a/within", "p/b", "p/c", "p/.hidden", "q/a", "q/b", "q/d"] {
        std::fs::create_dir_all(dir.path(folder)).expect("it can be made");
    }
    let picture = six(&[], true);
    for name in ["p/a/1.png", "p/a/2.PNG", "p/c/1.png", "p/a/within/1.png", "p/.hidden/1.png", "q/a/1.png"] {
        dir.file(name, &picture);
    }
    for name in ["p/a/x.webp", "p/c/y.BMP", "p/c/z.bmp", "p/c/none", "p/readme.txt", "p/a/.DS_Store"] {
        dir.file(name, "no picture");
    }
    let all = |folder: &str| source(SourceKind::Images, &[folder], &[]);
    let of_p = read(&all("p"), &dir.path(""), None).expect("they are sound");
    assert_eq!(of_p.classes(), ["a", "c"]);
    assert_eq!(tensor(&of_p, "label").view::<i64>().expect("i64"), [0, 0, 1]);
    let shown = dir.path("p").display().to_string();
    assert_eq!(
        of_p.notes(),
        [format!(
            "{shown}: left out: 4 files in a format that is not read (1 without an ending, 2 .bmp, 1 .webp), 1 folder within a \
             class, 1 file beside the classes, 1 folder without pictures (b)"
        )]
    );
    // Another source has the same classes; a folder without pictures need not be one.
    let of_q = dlc::data::read_like(&all("q"), &dir.path(""), None, Some(&of_p)).expect("they are sound");
    assert_eq!((of_q.classes(), tensor(&of_q, "label").view::<i64>().expect("i64")), (of_p.classes(), &[0][..]));
    dir.file("q/b/1.png", &picture);
    let error = dlc::data::read_like(&all("q"), &dir.path(""), None, Some(&of_p)).expect_err("b is no class");
    assert!(error.message.ends_with("b is no class of the pictures that are trained on"), "{error}");
    // Where nothing is read, what is there is said.
    std::fs::create_dir_all(dir.path("r/a")).expect("it can be made");
    dir.file("r/a/1.webp", "no picture");
    let error = read(&all("r"), &dir.path(""), None).expect_err("there is none");
    assert!(error.notes[0].ends_with("1 file in a format that is not read (1 .webp), 1 folder without pictures (a)"));
}
