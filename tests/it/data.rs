//! Data files, good and bad; splits and batches.

use crate::scratch::Scratch;
use dlc::data::batches::{Batches, Position};
use dlc::data::schema::{Column, columns};
use dlc::data::split::{permutation, shares};
use dlc::data::{As, Columns, Wanted, read};
use dlc::error::Kind;
use dlc::{DType, Error, Tensor};
use dlc_plan::recipe::{Arg, Batch, Data, Part, Share, Source, SourceKind};
use std::io::Write;

fn source(kind: SourceKind, paths: &[&str], args: &[(&str, i64)]) -> Source {
    Source {
        kind,
        paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        args: args.iter().map(|(name, width)| ((*name).to_owned(), Arg::Int(*width))).collect(),
    }
}

fn wanted(names: &[(&str, Option<dlc_plan::DType>)]) -> Vec<Wanted> {
    names.iter().map(|(name, dtype)| Wanted { name: (*name).to_owned(), as_: As::Numbers(*dtype) }).collect()
}

/// Reads a csv file with this text; `F` stands for its path in what an error says.
fn csv(text: impl AsRef<[u8]>, args: &[(&str, i64)], asked: Option<&[Wanted]>) -> Result<Columns, Error> {
    let dir = Scratch::new();
    let path = dir.file("f.csv", text).display().to_string();
    read(&source(SourceKind::Csv, &["f.csv"], args), &dir.path(""), asked).map_err(|mut error| {
        error.message = error.message.replace(&path, "F");
        error.notes.iter_mut().for_each(|note| *note = note.replace(&path, "F"));
        error
    })
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(bytes).expect("memory can be written");
    packed.finish().expect("memory can be written")
}

fn column<'a>(columns: &'a Columns, name: &str) -> &'a Tensor {
    columns.get(name).unwrap_or_else(|| panic!("{name} is there"))
}

#[test]
fn csv_columns_are_whole_or_real_numbers() {
    let text =
        "\u{feff}id, height ,name,late\r\n7,1.5,Ann,1\r\n-9007199254740993, 2 ,\"B, C\",2.5\r\n\r\n3,1e-3,,3\r\n";
    let columns = csv(text, &[], None).expect("it is sound");
    assert_eq!(columns.rows(), 3);
    assert_eq!(columns.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["id", "height", "late"]);
    assert_eq!(column(&columns, "id").view::<i64>().expect("whole"), [7, -9_007_199_254_740_993, 3]);
    assert_eq!(column(&columns, "height").as_f32().expect("real"), [1.5, 2.0, 1e-3]);
    assert_eq!(column(&columns, "late").as_f32().expect("real"), [1.0, 2.5, 3.0]);
}

#[test]
fn csv_columns_come_in_the_wanted_order_and_type() {
    let asked = wanted(&[("b", Some(dlc_plan::DType::F32)), ("a", Some(dlc_plan::DType::I32))]);
    let columns = csv("a,c,b\n1,x,2\n3,y,4\n", &[], Some(&asked)).expect("it is sound");
    assert_eq!(columns.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["b", "a"]);
    assert_eq!(column(&columns, "b").as_f32().expect("real"), [2.0, 4.0]);
    assert_eq!(column(&columns, "a").view::<i32>().expect("whole"), [1, 3]);
    let error = csv("a,b\n1,2\n", &[], Some(&wanted(&[("c", None)]))).expect_err("there is no c");
    assert_eq!((error.code, error.message.as_str()), ("E0612", "F has no column `c`"));
    assert_eq!(error.notes, ["its columns are a, b"]);
}

#[test]
fn widths_stand_for_a_line_of_names() {
    let text = "1,2,3,0\n4,5,6,1\n";
    let columns = csv(text, &[("pixels", 3), ("label", 1)], None).expect("it is sound");
    assert_eq!(column(&columns, "pixels").shape(), [2, 3]);
    assert_eq!(column(&columns, "pixels").view::<i64>().expect("whole"), [1, 2, 3, 4, 5, 6]);
    assert_eq!(column(&columns, "label").shape(), [2]);
    let packed = csv(gzipped(text.as_bytes()), &[("pixels", 3), ("label", 1)], None).expect("it is sound");
    assert_eq!(packed, columns);
    let error = csv("a,b\n1,2\n", &[("a", 1), ("b", 1)], Some(&wanted(&[("a", None), ("b", None)])));
    let error = error.expect_err("the first line is names");
    assert_eq!(error.message, "F:1: column `a` has `a`, expected a number");
    assert_eq!(error.help, ["if the first line names the columns, leave the widths out: `csv(\"..\")`"]);
    assert!(csv(text, &[("a", 0)], None).is_err());
    assert!(csv(text, &[("a", 2), ("a", 2)], None).is_err());
    let error = csv(text, &[("a", i64::MAX), ("b", i64::MAX)], None).expect_err("no row is so long");
    assert_eq!(
        error.notes[0],
        "F:1: 4 values, expected 18446744073709551614\nF:2: 4 values, expected 18446744073709551614"
    );
}

#[test]
fn all_bad_rows_are_named() {
    let asked = wanted(&[("x", Some(dlc_plan::DType::F32)), ("y", Some(dlc_plan::DType::I64))]);
    let text = "x,y\n1,2\n1\nabc,3\n2,3.5\n,4\nnan,4\n5,6,7\n\"a\nb\",1\n8,9\n";
    let error = csv(text, &[], Some(&asked)).expect_err("seven rows are bad");
    assert_eq!((error.kind, error.code), (Kind::Files, "E0611"));
    assert_eq!(error.message, "7 rows of F cannot be read");
    let lines: Vec<&str> = error.notes[0].lines().collect();
    assert_eq!(
        lines[..6],
        [
            "F:3: 1 values, expected 2",
            "F:4: column `x` has `abc`, expected a number",
            "F:5: column `y` has `3.5`, expected a whole number",
            "F:6: column `x` has nothing, expected a number",
            "F:7: column `x` has `nan`, expected a number",
            "F:8: 3 values, expected 2",
        ]
    );
    let many = format!("x,y\n{}", "a,1\n".repeat(1000));
    let error = csv(many, &[], Some(&asked)).expect_err("all rows are bad");
    assert_eq!(error.message, "1000 rows of F cannot be read");
    assert_eq!(error.notes[0].lines().count(), 11);
    assert!(error.notes[0].ends_with("\nand 990 more"));
    let error = csv("p,q,r\n1,2,3\n", &[("pixels", 3)], Some(&wanted(&[("pixels", None)]))).expect_err("names");
    assert_eq!(error.message, "F:1: column `pixels`, value 1, has `p`, expected a number");
    let error = csv(b"x,y\n\xFF\x1B[31m,1\n", &[], Some(&asked)).expect_err("no number");
    assert_eq!(error.message, "F:2: column `x` has `\u{fffd}\\u{1b}[31m`, expected a number");
}

#[test]
fn broken_csv_files_are_refused() {
    assert_eq!(
        csv("", &[], None).expect_err("it is empty").message,
        "F is empty; its first line should name the columns"
    );
    let error = csv("1,1,2\n3,4,5\n", &[], None).expect_err("no names");
    assert_eq!(error.message, "F:1: two columns are called `1`");
    assert_eq!(error.help.len(), 1);
    let packed = gzipped("a\n1\n2\n".repeat(100).as_bytes());
    let error = csv(&packed[..packed.len() / 2], &[], None).expect_err("it is cut short");
    assert_eq!(error.code, "E0620");
    assert_eq!(csv("a,b\n", &[], None).expect("no rows are rows").rows(), 0);
    let dir = Scratch::new();
    let error = read(&source(SourceKind::Csv, &["none.csv"], &[]), &dir.path(""), None).expect_err("there is none");
    assert_eq!(error.message, format!("cannot read {}: no such file or directory", dir.path("none.csv").display()));
}

#[test]
fn a_file_that_unpacks_without_end_is_not_read_to_it() {
    let long = format!("a,b\n{}", format!("1,{}\n", "x".repeat(65_536)).repeat(320));
    let packed = gzipped(long.as_bytes());
    assert!(packed.len() * 100 < long.len(), "{} bytes of {}", packed.len(), long.len());
    let error = csv(&packed, &[], Some(&wanted(&[("a", None)]))).expect_err("it grows a hundredfold");
    let said = format!("its {} bytes unpack to more than 100 times as many", packed.len());
    assert!(error.message.starts_with("cannot read F: ") && error.message.contains(&said), "{error}");
    assert!(error.message.contains("DLC_LIMIT_UNPACKED"), "{error}");
    // What is small may grow as it likes.
    let short = format!("a\n{}", "1\n".repeat(50_000));
    assert!(gzipped(short.as_bytes()).len() * 100 < short.len());
    assert_eq!(csv(gzipped(short.as_bytes()), &[], None).expect("it is sound").rows(), 50_000);
}

#[test]
fn several_csv_files_are_one() {
    let dir = Scratch::new();
    dir.file("a.csv", "x,y\n1,2\n");
    dir.file("b.csv", "x,y\n3,4\n");
    dir.file("c.csv", "y,x\n3,4\n");
    let read = |paths: &[&str]| read(&source(SourceKind::Csv, paths, &[]), &dir.path(""), None);
    let both = read(&["a.csv", "b.csv"]).expect("they fit");
    assert_eq!(column(&both, "x").view::<i64>().expect("whole"), [1, 3]);
    let error = read(&["a.csv", "c.csv"]).expect_err("other columns");
    assert!(error.message.ends_with("has other columns than the file before it"), "{error}");
}

fn idx_file(kind: u8, extents: &[u32], elements: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, kind, extents.len() as u8];
    extents.iter().for_each(|extent| bytes.extend(extent.to_be_bytes()));
    bytes.extend(elements);
    bytes
}

#[test]
fn idx_files_are_pixels_and_labels() {
    let dir = Scratch::new();
    dir.file("images", idx_file(0x08, &[2, 2, 2], &[1, 2, 3, 4, 5, 6, 7, 8]));
    dir.file("labels", gzipped(&idx_file(0x0C, &[2], &[0, 0, 0, 5, 0xFF, 0xFF, 0xFF, 0xFE])));
    let both = source(SourceKind::Idx, &["images", "labels"], &[]);
    let columns = read(&both, &dir.path(""), None).expect("they are sound");
    assert_eq!(columns.rows(), 2);
    assert_eq!(column(&columns, "pixels").dtype(), DType::U8);
    assert_eq!(column(&columns, "pixels").shape(), [2, 2, 2]);
    assert_eq!(column(&columns, "label").view::<i32>().expect("whole"), [5, -2]);
    let asked = wanted(&[("label", Some(dlc_plan::DType::I64)), ("pixels", Some(dlc_plan::DType::F32))]);
    let columns = read(&both, &dir.path(""), Some(&asked)).expect("they are sound");
    assert_eq!(column(&columns, "label").view::<i64>().expect("whole"), [5, -2]);
    assert_eq!(column(&columns, "pixels").as_f32().expect("real")[7], 8.0);
}

#[test]
fn hostile_idx_files_are_refused() {
    let dir = Scratch::new();
    let cases: [(Vec<u8>, &str); 8] = [
        (vec![], "it starts with []"),
        (vec![1, 0, 8, 1, 0, 0, 0, 0], "it starts with [01, 00, 08, 01]"),
        (idx_file(0x07, &[1], &[1]), "it has elements of the unknown type 0x07"),
        (idx_file(0x08, &[], &[]), "it has 0 axes"),
        (vec![0, 0, 8, 3, 0, 0], "it is cut short"),
        (idx_file(0x0E, &[u32::MAX; 8], &[]), "its shape [4294967295,"),
        (idx_file(0x08, &[4_000_000_000], &[1]), "[4000000000] u8 take 4000000000 bytes, and 1 follow the header"),
        (idx_file(0x08, &[2], &[1, 2, 3]), "[2] u8 take 2 bytes, and more follow the header"),
    ];
    for (bytes, why) in cases {
        let path = dir.file("images", bytes);
        let error = read(&source(SourceKind::Idx, &["images"], &[]), &dir.path(""), None).expect_err(why);
        let start = format!("{} is not a sound idx file: {why}", path.display());
        assert!(error.message.starts_with(&start), "{error}");
    }
    dir.file("images", idx_file(0x08, &[2], &[1, 2]));
    dir.file("labels", idx_file(0x08, &[3], &[1, 2, 3]));
    let error = read(&source(SourceKind::Idx, &["images", "labels"], &[]), &dir.path(""), None);
    assert_eq!(error.expect_err("rows differ").message, "`pixels` has 2 rows and `label` has 3");
}

#[test]
fn tensors_are_columns() {
    let dir = Scratch::new();
    let x = Tensor::from_f32(vec![2, 2], vec![1.0, 2.0, 3.0, 4.0]).expect("four numbers");
    let ids = Tensor::from_i32(vec![2], vec![7, 8]).expect("two numbers");
    let scalar = Tensor::from_f32(vec![], vec![1.0]).expect("one number");
    let save = |name: &str, tensors: &[(&str, &Tensor)]| {
        dlc::weights::save(&dir.path(name), tensors, &Default::default()).expect("it can be written");
    };
    save("a", &[("x", &x), ("ids", &ids)]);
    save("b", &[("x", &x), ("scalar", &scalar)]);
    let open =
        |name, asked: Option<&[Wanted]>| read(&source(SourceKind::Safetensors, &[name], &[]), &dir.path(""), asked);
    let columns = open("a", Some(&wanted(&[("ids", Some(dlc_plan::DType::I64))]))).expect("it is sound");
    assert_eq!(column(&columns, "ids").view::<i64>().expect("whole"), [7, 8]);
    assert_eq!(columns.get("x"), None);
    assert_eq!(
        open("a", None).expect("it is sound").select(&[1, 1, 0]).expect("they are there").get("x"),
        Some(&Tensor::from_f32(vec![3, 2], vec![3.0, 4.0, 3.0, 4.0, 1.0, 2.0]).expect("six numbers"))
    );
    assert_eq!(open("b", None).expect_err("no rows").message, "`scalar` is a single number; a column has rows");
    let error = open("a", Some(&wanted(&[("x", Some(dlc_plan::DType::I64))]))).expect_err("x is real");
    assert!(error.message.contains("cannot be i64: the tensor's type is f32"), "{error}");
}

#[test]
fn a_permutation_has_every_row_once() {
    for count in [0, 1, 2, 17, 1000] {
        let mut order = permutation(count, 3, "test", 5);
        assert_eq!(order, permutation(count, 3, "test", 5));
        order.sort_unstable();
        assert!(order.into_iter().eq(0..count));
    }
    assert_ne!(permutation(100, 3, "test", 5), permutation(100, 3, "test", 6));
    assert_ne!(permutation(100, 3, "test", 5), permutation(100, 4, "test", 5));
    // Every place is about equally likely for row 0: 1,000 rounds over 10 places, far from 100 only by chance below 1e-9.
    let mut places = [0; 10];
    for round in 0..1000 {
        let order = permutation(10, 0, "test", round);
        places[order.iter().position(|&row| row == 0).expect("row 0 is there")] += 1;
    }
    assert!(places.iter().all(|&n| (40..160).contains(&n)), "{places:?}");
}

#[test]
fn shares_take_every_row_once() {
    let parts = |rows, split: &[(Part, Share)]| shares("d", rows, split);
    let sizes = |rows, split: &[(Part, Share)]| {
        let parts = parts(rows, split).expect("they fit");
        let mut all: Vec<u32> = parts.iter().flat_map(|(_, rows)| rows).copied().collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
        parts.iter().map(|(part, rows)| (part.name(), rows.len())).collect::<Vec<_>>()
    };
    let (train, valid, test) = (Part::Train, Part::Valid, Part::Test);
    assert_eq!(sizes(10, &[]), [("train", 10)]);
    let fractions = [(train, Share::Fraction(0.8)), (valid, Share::Fraction(0.1)), (test, Share::Fraction(0.1))];
    assert_eq!(sizes(1797, &fractions), [("train", 1438), ("valid", 179), ("test", 180)]);
    assert_eq!(sizes(3, &fractions), [("train", 2), ("valid", 1), ("test", 0)]);
    assert_eq!(sizes(100, &[(valid, Share::Fraction(0.2))]), [("train", 80), ("valid", 20)]);
    assert_eq!(
        sizes(60_000, &[(train, Share::Rows(55_000)), (valid, Share::Rows(5_000))]),
        [("train", 55_000), ("valid", 5_000)]
    );
    let error = parts(10, &[(train, Share::Rows(8)), (valid, Share::Rows(3))]).expect_err("too many");
    assert_eq!(
        (error.code, error.message.as_str()),
        ("E0613", "the split of `d` does not fit: it asks for 11 rows, and there are 10")
    );
    assert!(parts(10, &[(train, Share::Fraction(0.9)), (valid, Share::Fraction(0.2))]).is_err());
    assert!(parts(10, &[(train, Share::Fraction(-0.5))]).is_err());
    assert!(parts(10, &[(train, Share::Fraction(f64::NAN))]).is_err());
    assert!(parts(10, &[(train, Share::Rows(u64::MAX)), (valid, Share::Rows(u64::MAX))]).is_err());
}

fn data(batch: Batch, shuffle: bool, drop_last: bool) -> Data {
    let source = source(SourceKind::Csv, &[], &[]);
    Data {
        name: "d".into(),
        source,
        valid: None,
        test: None,
        split: Vec::new(),
        batch,
        shuffle,
        drop_last,
        encodings: Vec::new(),
    }
}

fn epoch(batches: &mut Batches) -> Vec<Vec<u32>> {
    std::iter::from_fn(|| batches.next_batch().map(<[u32]>::to_vec)).collect()
}

#[test]
fn batches_keep_a_short_last_one() {
    let mut batches = Batches::new(vec![5, 6, 7, 8, 9], &data(Batch::Rows(2), false, false), 1);
    assert_eq!(batches.per_epoch(), 3);
    assert_eq!(epoch(&mut batches), [vec![5, 6], vec![7, 8], vec![9]]);
    assert_eq!(batches.position(), Position { epoch: 1, row: 0 });
    let mut batches = Batches::new(vec![5, 6, 7, 8, 9], &data(Batch::Rows(2), false, true), 1);
    assert_eq!(batches.per_epoch(), 2);
    assert_eq!(epoch(&mut batches), [vec![5, 6], vec![7, 8]]);
    let mut batches = Batches::new(vec![5, 6, 7], &data(Batch::All, false, false), 1);
    assert_eq!(epoch(&mut batches), [vec![5, 6, 7]]);
    let mut batches = Batches::new(Vec::new(), &data(Batch::All, true, false), 1);
    assert_eq!((batches.per_epoch(), epoch(&mut batches).len()), (0, 0));
}

#[test]
fn a_position_is_enough_to_go_on() {
    let all: Vec<u32> = (0..50).collect();
    let settings = data(Batch::Rows(8), true, false);
    let mut batches = Batches::new(all.clone(), &settings, 9);
    let first = epoch(&mut batches);
    let second = epoch(&mut batches);
    assert_ne!(first, second);
    let mut sorted: Vec<u32> = second.concat();
    sorted.sort_unstable();
    assert_eq!(sorted, all);
    let mut again = Batches::new(all, &settings, 9);
    again.seek(Position { epoch: 1, row: 16 });
    assert_eq!(epoch(&mut again), second[2..]);
}

#[test]
fn columns_are_known_from_the_beginnings_of_files() {
    let dir = Scratch::new();
    let known = |kind, paths: &[&str], args: &[(&str, i64)]| {
        let columns = columns(&source(kind, paths, args), &dir.path("")).expect("they are sound");
        let show = |column: Column| format!("{}: {}{:?}", column.name, column.dtype, column.row);
        columns.into_iter().map(show).collect::<Vec<_>>()
    };
    dir.file("f.csv", "a, b\nnot read");
    assert_eq!(known(SourceKind::Csv, &["f.csv"], &[]), ["a: f32[]", "b: f32[]"]);
    assert_eq!(known(SourceKind::Csv, &["none"], &[("p", 64), ("l", 1)]), ["p: f32[64]", "l: f32[]"]);
    dir.file("images", idx_file(0x08, &[2, 3, 4], &[]));
    dir.file("labels", idx_file(0x0B, &[2], &[]));
    assert_eq!(known(SourceKind::Idx, &["images", "labels"], &[]), ["pixels: u8[3, 4]", "label: i32[]"]);
    let x = Tensor::zeros(DType::F64, &[5, 7]).expect("small");
    let ids = Tensor::zeros(DType::U32, &[5]).expect("small");
    dlc::weights::save(&dir.path("x"), &[("x", &x), ("ids", &ids)], &Default::default()).expect("it can be written");
    assert_eq!(known(SourceKind::Safetensors, &["x"], &[]), ["ids: i64[]", "x: f32[7]"]);
    assert!(columns(&source(SourceKind::Csv, &["none"], &[]), &dir.path("")).is_err());
}
