//! Columns of ids: what `columns` makes of texts, as the recipe has it, and the mistakes to make there.

use crate::support::spec::{Columns, compile, mistakes, shown};
use dlc_compiler::pipeline::{Compiled, Goal};
use dlc_plan::DType;
use dlc_plan::recipe::{EncodedRows, Encoder, Encoding};

const MODEL: &str = "model M()(ids: i64[B, T], mask: i64[B, T]) -> y: [B, 3] {
  x = ids -> emb: Embedding(50, 4)
  return mean[1](x * f32(mask)[:, :, none]) -> fc: Linear(3)
}
model Next()(ids: i64[B, T]) -> logits: [B, T, 50] { return ids -> emb: Embedding(50, 4) -> fc: Linear(50) }
";

fn spec(model: &str, source: &str, columns: &str, loss: &str) -> String {
    format!(
        "{MODEL}data d {{ source = {source}\ncolumns {{ {columns} }} batch = 8 }}
train t {{ model = {model} data = d loss = {loss} optimizer = SGD(lr = 0.1) epochs = 1 }}"
    )
}

fn compiled(text: &str, files: &mut Columns) -> Compiled {
    compile(text, Goal::Train { item: None }, &[], files, &mut |_, _| {})
        .unwrap_or_else(|f| panic!("{}", shown(&f).join("\n")))
}

fn encodings(c: &Compiled) -> Vec<Encoding> {
    c.recipe.as_ref().and_then(|r| r.data.as_ref()).expect("there is data").encodings.clone()
}

fn inputs(c: &Compiled, entry: &str) -> Vec<String> {
    let entry = c.plan.entries.iter().find(|e| e.name == entry).expect("it is there");
    entry.inputs.iter().map(|port| port.name.clone()).collect()
}

fn encoding(of: &[&str], by: Encoder, length: &str, columns: &[&str]) -> Encoding {
    let owned = |names: &[&str]| names.iter().map(|n| n.to_string()).collect();
    let (rows, length) = (EncodedRows::Padded(None), length.to_string());
    Encoding { of: owned(of), by, max: None, special: true, rows, length, columns: owned(columns) }
}

#[test]
fn ids_go_by_the_models_lengths() {
    let columns = "ids, mask = tokenize(sentence, \"t.json\", max = 16)  label = i64(label)";
    let c = compiled(&spec("M()", "tsv(\"a.tsv\")", columns, "cross_entropy(y, label)"), &mut Columns(Vec::new()));
    let by = Encoder::File("t.json".into());
    assert_eq!(encodings(&c), [Encoding { max: Some(16), ..encoding(&["sentence"], by, "T", &["ids", "mask"]) }]);
    assert_eq!(inputs(&c, "columns"), ["label"]);
    assert_eq!(inputs(&c, "accumulate"), ["ids", "mask", "label"]);
}

#[test]
fn members_of_members_are_columns() {
    let columns =
        "ids, mask, kinds = a.b.text -> tokenize(c, \"t.json\", pad = 9, special = false)  label = i64(a.label)";
    let c = compiled(
        &spec("M()", "jsonl(\"a.jsonl\")", columns, "cross_entropy(y, label) + mean(f32(kinds))"),
        &mut Columns(Vec::new()),
    );
    let by = Encoder::File("t.json".into());
    let made = encoding(&["a.b.text", "c"], by, "T", &["ids", "mask", "kinds"]);
    assert_eq!(encodings(&c), [Encoding { special: false, rows: EncodedRows::Padded(Some(9)), ..made }]);
    assert_eq!(inputs(&c, "columns"), ["a.label"]);
}

#[test]
fn lengths_that_the_model_does_not_name_are_their_own() {
    let columns = "ids, mask = tokenize(a, \"t\")  other = tokenize(b, \"t\")  label = i64(label)";
    let c = compiled(
        &spec("M()", "csv(\"a.csv\")", columns, "cross_entropy(y, label) + mean(f32(other))"),
        &mut Columns(Vec::new()),
    );
    let lengths: Vec<String> = encodings(&c).into_iter().map(|e| e.length).collect();
    assert_eq!(lengths, ["T", "length of other"]);
}

#[test]
fn windows_are_all_there_is() {
    let columns = "ids, next = windows(characters(text), 16, stride = 4)";
    let c =
        compiled(&spec("Next()", "text(\"a.txt\")", columns, "cross_entropy(logits, next)"), &mut Columns(Vec::new()));
    let made = encoding(&["text"], Encoder::Characters(None), "T", &["ids", "next"]);
    assert_eq!(encodings(&c), [Encoding { rows: EncodedRows::Windows { length: 16, stride: 4 }, ..made }]);
    assert!(!c.plan.entries.iter().any(|e| e.name == "columns"), "nothing is computed");
    let columns = "ids, next = windows(tokens, 16)";
    let source = "tokens(\"a.bin\", dtype = u32)";
    let c = compiled(&spec("Next()", source, columns, "cross_entropy(logits, next)"), &mut Columns(Vec::new()));
    assert_eq!(
        (&encodings(&c)[0].by, encodings(&c)[0].rows),
        (&Encoder::Ids, EncodedRows::Windows { length: 16, stride: 16 })
    );
}

#[test]
fn ids_may_be_augmented() {
    let text =
        spec("Next()", "text(\"a.txt\")", "ids, next = windows(characters(text), 16)", "cross_entropy(logits, next)");
    let text = text.replace("batch = 8", "augment { ids = where(bernoulli[..](ids, 0.1) == 1, 0, ids) } batch = 8");
    let c = compiled(&text, &mut Columns(Vec::new()));
    assert_eq!(inputs(&c, "augment"), ["ids"]);
}

#[test]
fn mistakes_with_texts() {
    let of = |source: &str, columns: &str| {
        let text = spec("M()", source, columns, "mean(y)");
        let known = Columns(vec![("n", DType::F32, Vec::new())]);
        mistakes(&text, &mut if source.starts_with("safetensors") { known } else { Columns(Vec::new()) })
    };
    let text = "text(\"a\")";
    let cases = [
        (
            text,
            "ids, mask = tokenize(text)",
            "E0107 7:23 `tokenize(text)`: `tokenize` takes a text, perhaps a second one, and a file; got 1 | help: `tokenize(sentence, \"tokenizer.json\", max = 128)`",
        ),
        (
            text,
            "ids, mask = tokenize(text, 3)",
            "E0112 7:38 `3`: a tokenizer is a file in quotes, got 3 | help: `\"tokenizer.json\"`",
        ),
        (
            text,
            "ids, mask = tokenize(text, \"t\", maxx = 3)",
            "E0105 7:43 `maxx`: `tokenize` has no setting `maxx` | help: did you mean `max`?",
        ),
        (
            text,
            "ids, mask = tokenize(text, \"t\", max = 0)",
            "E0112 7:49 `0`: `max` of `tokenize` is a whole number, 1 or more, got 0",
        ),
        (
            text,
            "ids, mask, more = tokenize(text, \"t\")",
            "E0312 7:29 `tokenize(text, \"t\")`: 3 names, and texts are ids and a mask",
        ),
        (
            text,
            "ids, mask = tokenize(txt, \"t\")",
            "E0102 7:32 `txt`: `a` has no column `txt` | help: did you mean `text`?",
        ),
        (text, "ids = text", "E0509 7:17 `text`: a column has a row for each sample, got a column of texts"),
        (
            text,
            "ids, next = windows(text, 3)",
            "E0112 7:31 `text`: `windows` cuts ids, got a column of texts | help: `tokenize(text, \"tokenizer.json\")` or `characters(text)` makes ids of texts",
        ),
        (
            text,
            "ids, next = windows(characters(text, max = 2), 3)",
            "E0112 7:31 `characters(text, max = 2)`: `windows` cuts whole texts: without `max` or `pad`, no pairs, and once",
        ),
        (
            text,
            "ids, next = windows(characters(text), 3)  mask = characters(text)",
            "E0509 7:60 `characters(text)`: where texts are cut into windows, the windows are the rows, and nothing else has as many",
        ),
        (text, "ids, mask = characters(text, alphabet = 3)", "E0112 7:51 `3`: an alphabet is a text, got 3"),
        (
            "safetensors(\"a\")",
            "ids, mask = tokenize(n, \"t\")",
            "E0112 7:32 `n`: ids are made of texts, and `n` has numbers",
        ),
        (
            "csv(\"a\")",
            "ids = tokenize(n, \"t\") + 1  mask = ids",
            "E0112 7:17 `tokenize(n, \"t\")`: ids that have no name yet cannot be calculated with",
        ),
        ("text(\"a\", n = 3)", "ids = text", "E0105 6:29 `n`: `text` has no setting `n`"),
        ("images(\"a\", fit = \"zoom\")", "ids = text", "E0507 6:37 `\"zoom\"`: `fit` is \"stretch\" or \"crop\""),
        (
            "images(\"a\", siz = 3)",
            "ids = text",
            "E0105 6:31 `siz`: `images` has no setting `siz` | help: did you mean `size`?",
        ),
        ("tokens(\"a\", dtype = f32)", "ids = tokens", "E0507 6:39 `f32`: `dtype` is u8, u16, i32, u32 or i64"),
        ("csv(\"a\", n = 0)", "ids = n", "E0507 6:32 `0`: `n` is how many values of a line a column has, 1 or more"),
    ];
    for (source, columns, message) in cases {
        assert_eq!(of(source, columns), [message], "{columns}");
    }
}

/// Inside of a crate, `model!` finds the columns of `idx` files in their headers.
#[test]
fn headers_of_idx_are_read_inside_of_a_crate() {
    let folder = std::env::temp_dir().join(format!("dlc-idx-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let header = |extents: &[u32]| {
        let extents = extents.iter().flat_map(|n| n.to_be_bytes());
        [0, 0, 8, extents.clone().count() as u8 / 4].into_iter().chain(extents).collect::<Vec<u8>>()
    };
    std::fs::write(folder.join("images"), header(&[5, 4, 3])).unwrap();
    std::fs::write(folder.join("labels"), header(&[5])).unwrap();
    std::fs::write(folder.join("packed"), [0x1F, 0x8B, 8, 0]).unwrap();
    let text = |images: &str| {
        format!(
            "model M()(x: [B, 4, 3]) -> y: [B, 7] {{ return x -> [B, H, W => B, (H, W)] -> fc: Linear(7) }}
data d {{ source = idx(\"{images}\", \"labels\") columns {{ x = f32(pixels)  label = i64(label) }} batch = 2 }}
train fit {{ model = M() data = d loss = cross_entropy(y, label) optimizer = SGD(lr = 0.1) epochs = 1 }}"
        )
    };
    let items = |images: &str| dlc_compiler::emit::items_of_text(&text(images), &folder);
    assert!(items("images").unwrap_or_else(|f| panic!("{}", shown(&f).join("\n"))).text.contains("struct Fit"));
    let refused = |images: &str| shown(&items(images).unwrap_err()).join("\n");
    assert!(refused("packed").contains("its header is not that of idx, or it is packed"), "{}", refused("packed"));
    assert!(refused("none").contains("E0514"), "{}", refused("none"));
    std::fs::remove_dir_all(&folder).unwrap();
}
