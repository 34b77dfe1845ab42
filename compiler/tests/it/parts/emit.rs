//! What `model!` says of a text that cannot be compiled.

use dlc_compiler::emit::items_of_text;
use std::path::Path;
#[test]
fn what_cannot_be_compiled_is_said() {
    let text = "model M()(x: [B, 2]) -> y: [B, 1] { return x -> fc: Linear(1) }
data rows { source = safetensors(\"none.safetensors\") batch = 4 }
train fit { model = M() data = rows loss = mse(y[:, 0], t) optimizer = SGD(lr = 0.1) epochs = 1 }";
    let findings = items_of_text(text, Path::new("nowhere")).expect_err("there is no such file");
    let codes: Vec<&str> = findings.diagnostics.iter().map(|d| d.code).collect();
    assert_eq!(codes, ["E0514"]);
    assert!(findings.diagnostics[0].message.contains("none.safetensors cannot be used"), "{findings:?}");
}
