//! A recipe as a Rust expression that makes it again.

use dlc_plan::recipe::{
    Adapted, Arg, Data, Encoder, Encoding, Length, Lora, Model, Part, Recipe, Share, Source, Stop, Weights,
};
use std::fmt::Write;

/// The function `recipe` that makes the recipe.
pub fn recipe(r: &Recipe) -> String {
    let mut out = String::from("fn recipe() -> Recipe {\n    Recipe {\n");
    let mut line = |s: String| {
        let _ = writeln!(out, "        {s},");
    };
    line(format!("name: {}", text(&r.name)));
    line(format!("model: {}", model(&r.model)));
    line(format!("data: {}", optional(r.data.as_ref().map(data))));
    line(format!("weights: {}", optional(r.weights.as_ref().map(weights))));
    line(format!("lora: {}", optional(r.lora.as_ref().map(lora))));
    line(match r.length {
        Length::Epochs(n) => format!("length: Length::Epochs({n})"),
        Length::Steps(n) => format!("length: Length::Steps({n})"),
    });
    line(format!("accumulate: {}", r.accumulate));
    line(format!("seed: {}", r.seed));
    line(format!("interval: {:?}", r.interval));
    line(format!("metrics: {}", texts(&r.metrics)));
    line(format!("stop: {}", optional(r.stop.as_ref().map(stop))));
    out.push_str("    }\n}\n");
    out
}

fn text(s: &str) -> String {
    format!("{s:?}.into()")
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("vec![{}]", items.collect::<Vec<_>>().join(", "))
}

fn texts(items: &[String]) -> String {
    list(items.iter().map(|s| text(s)))
}

fn optional(item: Option<String>) -> String {
    item.map_or("None".into(), |s| format!("Some({s})"))
}

fn model(m: &Model) -> String {
    let (name, inputs, outputs) = (text(&m.name), texts(&m.inputs), texts(&m.outputs));
    format!("Model {{ name: {name}, inputs: {inputs}, outputs: {outputs} }}")
}

fn lora(l: &Lora) -> String {
    let adapted = |a: &Adapted| {
        format!(
            "Adapted {{ weight: {}, label: {}, params: {}, rank: {}, scale: {:?}, dropout: {:?}, block: {}, inner_first: {}, \
             form: Form::{:?}, bias: {} }}",
            text(&a.weight),
            text(&a.label),
            texts(&a.params),
            a.rank,
            a.scale,
            a.dropout,
            text(&a.block),
            a.inner_first,
            a.form,
            optional(a.bias.as_ref().map(|s| text(s)))
        )
    };
    format!(
        "Lora {{ name: {}, finish: Finish::{:?}, file: {}, prefix: {}, residual: {}, adapted: {} }}",
        text(&l.name),
        l.finish,
        optional(l.file.as_ref().map(|s| text(s))),
        text(&l.prefix),
        l.residual,
        list(l.adapted.iter().map(adapted))
    )
}

fn stop(s: &Stop) -> String {
    format!("Stop {{ metric: {}, patience: {}, falling: {} }}", text(&s.metric), s.patience, s.falling)
}

/// What a `weights` item says.
pub fn weights(w: &Weights) -> String {
    let rename = list(w.rename.iter().map(|(a, b)| format!("({}, {})", text(a), text(b))));
    format!(
        "Weights {{ name: {}, file: {}, missing: {}, ignore: {}, rename: {rename}, dtype: {} }}",
        text(&w.name),
        text(&w.file),
        texts(&w.missing),
        texts(&w.ignore),
        optional(w.dtype.map(|dtype| format!("DType::{dtype:?}")))
    )
}

fn data(d: &Data) -> String {
    let share = |(part, share): &(Part, Share)| format!("(Part::{part:?}, Share::{share:?})");
    format!(
        "Data {{ name: {}, source: {}, valid: {}, test: {}, split: {}, batch: Batch::{:?}, shuffle: {}, drop_last: {}, \
         encodings: {} }}",
        text(&d.name),
        source(&d.source),
        optional(d.valid.as_ref().map(source)),
        optional(d.test.as_ref().map(source)),
        list(d.split.iter().map(share)),
        d.batch,
        d.shuffle,
        d.drop_last,
        list(d.encodings.iter().map(encoding))
    )
}

fn encoding(e: &Encoding) -> String {
    let by = match &e.by {
        Encoder::File(path) => format!("Encoder::File({})", text(path)),
        Encoder::Characters(alphabet) => format!("Encoder::Characters({})", optional(alphabet.as_deref().map(text))),
        Encoder::Ids => "Encoder::Ids".into(),
    };
    format!(
        "Encoding {{ of: {}, by: {by}, max: {:?}, special: {}, rows: EncodedRows::{:?}, length: {}, columns: {} }}",
        texts(&e.of),
        e.max,
        e.special,
        e.rows,
        text(&e.length),
        texts(&e.columns)
    )
}

fn source(s: &Source) -> String {
    let arg = |(name, value): &(String, Arg)| {
        let value = match value {
            Arg::Int(n) => format!("Arg::Int({n})"),
            Arg::Float(x) => format!("Arg::Float({x:?})"),
            Arg::Bool(b) => format!("Arg::Bool({b})"),
            Arg::Text(t) => format!("Arg::Text({})", text(t)),
        };
        format!("({}, {value})", text(name))
    };
    let args = list(s.args.iter().map(arg));
    format!("Source {{ kind: SourceKind::{:?}, paths: {}, args: {args} }}", s.kind, texts(&s.paths))
}
