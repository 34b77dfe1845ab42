//! Files of samples: tables, objects, texts, idx, CIFAR, ids. The first byte says which.
#![no_main]

use dlc::data::{As, Wanted, read, schema};
use dlc_plan::DType;
use dlc_plan::recipe::{Source, SourceKind};

const KINDS: [SourceKind; 7] = [
    SourceKind::Csv,
    SourceKind::Tsv,
    SourceKind::Jsonl,
    SourceKind::Text,
    SourceKind::Idx,
    SourceKind::Cifar,
    SourceKind::Tokens,
];

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let folder = std::env::temp_dir();
    let name = format!("dlc-fuzz-{}", std::process::id());
    std::fs::write(folder.join(&name), bytes).expect("the folder for temporary files can be written");
    let source = Source { kind: KINDS[usize::from(*first) % KINDS.len()], paths: vec![name], args: Vec::new() };
    let _ = read(&source, &folder, None);
    let Ok(columns) = schema::columns(&source, &folder) else { return };
    for as_ in [As::Texts, As::Documents, As::Numbers(Some(DType::F32)), As::Numbers(Some(DType::I64))] {
        let wanted: Vec<Wanted> = columns.iter().map(|c| Wanted { name: c.name.clone(), as_ }).collect();
        let _ = read(&source, &folder, Some(&wanted));
    }
});
