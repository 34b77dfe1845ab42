//! Which tensor of a file is which weight of a model, and what is said where they do not fit.

use crate::scratch::Scratch;
use dlc::weights::file::TensorFile;
use dlc::weights::names::{Assignment, Slot, assign};
use dlc::{DType, Error, Tensor};
use dlc_plan::recipe::Weights;
use std::collections::BTreeMap;

fn slot(name: &str, shape: &[usize]) -> Slot {
    Slot { name: name.to_owned(), aliases: Vec::new(), shape: shape.to_vec(), real: true, unread: false }
}

/// Writes a file with these shapes and assigns it; `W` stands for its path in what comes back.
fn try_assign(slots: &[Slot], in_file: &[(&str, &[usize])], rules: &Weights) -> Result<Assignment, Error> {
    let dir = Scratch::new();
    let path = dir.path("w.safetensors");
    let zeros = |shape: &[usize]| Tensor::zeros(DType::F32, shape).expect("small");
    let tensors: Vec<(&str, Tensor)> = in_file.iter().map(|(name, shape)| (*name, zeros(shape))).collect();
    let tensors: Vec<(&str, &Tensor)> = tensors.iter().map(|(name, tensor)| (*name, tensor)).collect();
    dlc::weights::save(&path, &tensors, &BTreeMap::new()).expect("it can be written");
    let shown = path.display().to_string();
    let mut done = assign(slots, &TensorFile::open(&path).expect("it is sound"), rules);
    if let Ok(done) = &mut done {
        done.warnings.iter_mut().for_each(|text| *text = text.replace(&shown, "W"));
    }
    done.map_err(|mut error| {
        error.message = error.message.replace(&shown, "W");
        error.notes.iter_mut().for_each(|note| *note = note.replace(&shown, "W"));
        error
    })
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn weights_are_found_under_their_names_and_by_the_rules() {
    let slots = [slot("a.weight", &[2, 3]), slot("norm.weight", &[2]), slot("new.bias", &[4])];
    let in_file: &[(&str, &[usize])] =
        &[("a.weight", &[2, 3]), ("norm.gamma", &[2]), ("vocab_head", &[9]), ("old.b", &[1])];
    let rules = Weights {
        missing: strings(&["new"]),
        ignore: strings(&["vocab_*", "old", "never"]),
        rename: vec![("**.gamma".into(), "**.weight".into()), ("x.*".into(), "y.*".into())],
        ..Weights::default()
    };
    let done = try_assign(&slots, in_file, &rules).expect("it fits");
    assert_eq!(done.found, [(0, "a.weight".to_owned()), (1, "norm.gamma".to_owned())]);
    assert_eq!(done.missing, [2]);
    assert_eq!(done.warnings, ["`ignore \"never\"` matches nothing in W", "`rename \"x.*\"` matches nothing in W"]);
}

#[test]
fn each_alternative_of_a_rule_has_to_match() {
    let slots = [slot("a.weight", &[2]), slot("b.weight", &[2])];
    let in_file: &[(&str, &[usize])] =
        &[("a.gamma", &[2]), ("b.gamma", &[2]), ("vocab.weight", &[9]), ("c.gamma.x", &[1])];
    let rules = Weights {
        ignore: strings(&["{vocab,vokab}.weight", "c"]),
        rename: vec![("{a,b,c}.gamma".into(), "{a,b,c}.weight".into())],
        ..Weights::default()
    };
    let of = |rename: &[(&str, &str)]| {
        let rename = rename.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect();
        try_assign(&slots, in_file, &Weights { rename, ..rules.clone() }).expect("it fits").warnings
    };
    let vokab = "`ignore \"{vocab,vokab}.weight\"` matches nothing in W as `vokab.weight`; near it: `vocab.weight`";
    assert_eq!(of(&[("*.gamma", "*.weight")]), [vokab]);
    let c = "`rename \"**.{gamma,gama}\"` matches nothing in W as `**.gama`";
    assert_eq!(of(&[("**.{gamma,gama}", "**.weight")]), [vokab, c]);
}

/// States that nothing reads need not be there; PyTorch before 0.4 wrote a scalar as one element.
#[test]
fn counters_may_be_absent_or_have_an_axis() {
    let seen = Slot { real: false, unread: true, ..slot("n.seen", &[]) };
    let slots = [slot("n.weight", &[2]), seen.clone()];
    let done = try_assign(&slots, &[("n.weight", &[2])], &Weights::default()).expect("nothing reads it");
    assert_eq!((done.found.len(), done.missing), (1, vec![1]));
    let read = [slot("n.weight", &[2]), Slot { unread: false, ..seen }];
    assert!(try_assign(&read, &[("n.weight", &[2])], &Weights::default()).is_err());
    let scalar = [slot("scale", &[])];
    assert_eq!(try_assign(&scalar, &[("scale", &[1])], &Weights::default()).expect("it is one number").found.len(), 1);
    assert!(try_assign(&scalar, &[("scale", &[2])], &Weights::default()).is_err());
}

#[test]
fn an_alias_may_be_absent_and_must_be_equal() {
    let tied = Slot { aliases: strings(&["head.weight"]), ..slot("emb.weight", &[2]) };
    let slots = [tied];
    let found = |in_file: &[(&str, &[usize])]| try_assign(&slots, in_file, &Weights::default());
    assert_eq!(found(&[("emb.weight", &[2])]).expect("it fits").found, [(0, "emb.weight".to_owned())]);
    assert_eq!(found(&[("head.weight", &[2])]).expect("it fits").found, [(0, "head.weight".to_owned())]);
    assert!(found(&[("head.weight", &[2]), ("emb.weight", &[2])]).is_ok());
    let error = found(&[("head.weight", &[3]), ("emb.weight", &[2])]).expect_err("they differ");
    assert_eq!(error.message, "`emb.weight` and `head.weight` are one weight here and differ in W");
    // Equal shapes are not enough.
    let dir = Scratch::new();
    let path = dir.path("w.safetensors");
    let [one, two] = [1.0, 2.0].map(|last| Tensor::from_f32(vec![2], vec![0.0, last]).expect("two numbers"));
    dlc::weights::save(&path, &[("emb.weight", &one), ("head.weight", &two)], &BTreeMap::new()).expect("it is written");
    let error = assign(&slots, &TensorFile::open(&path).expect("it is sound"), &Weights::default());
    assert_eq!(error.expect_err("they differ").code, "E0602");
}

#[test]
fn another_prefix_is_recognised() {
    let slots = [slot("emb.weight", &[2]), slot("fc.weight", &[3]), slot("fc.bias", &[1])];
    let bert: &[(&str, &[usize])] = &[("bert.emb.weight", &[2]), ("bert.fc.weight", &[3]), ("bert.fc.bias", &[1])];
    let error = try_assign(&slots, bert, &Weights::default()).expect_err("no name fits");
    assert_eq!((error.code, error.message.as_str()), ("E0601", "0 of 3 names found in W"));
    assert_eq!(error.help, ["all 3 would with `rename \"bert.**\" => \"**\"`"]);
    let rules = Weights { rename: vec![("bert.**".into(), "**".into())], ..Weights::default() };
    assert_eq!(try_assign(&slots, bert, &rules).expect("the help helps").found.len(), 3);

    let inside = [slot("encoder.emb.weight", &[2]), slot("encoder.fc.weight", &[3])];
    let error = try_assign(&inside, &[("emb.weight", &[2])], &Weights::default()).expect_err("no name fits");
    assert_eq!(error.help, ["1 would with `rename \"**\" => \"encoder.**\"`"]);
}

#[test]
fn all_that_does_not_fit_is_in_one_table() {
    let slots = [
        slot("body.fc.weight", &[2, 3]),
        slot("body.fc.bias", &[2]),
        slot("pre_classifier.weight", &[5]),
        slot("pre_classifier.bias", &[6]),
        slot("classifier.weight", &[7]),
    ];
    let in_file: &[(&str, &[usize])] =
        &[("body.fc.weight", &[3, 2]), ("body.fc.bias", &[2]), ("clasifier.weight", &[7]), ("vocab", &[1])];
    let error = try_assign(&slots, in_file, &Weights::default()).expect_err("names differ");
    assert_eq!(error.code, "E0603");
    assert_eq!(
        error.message,
        "3 weights are not in the file: `pre_classifier.*`, `classifier.*`; 2 tensors of the file are not in the model; \
         1 has another shape"
    );
    assert_eq!(
        error.notes,
        ["in W:\n  \
          not in the file   pre_classifier.weight [5]\n  \
          not in the file   pre_classifier.bias [6]\n  \
          not in the file   classifier.weight [7]; the file has clasifier.weight\n  \
          not in the model  clasifier.weight\n  \
          not in the model  vocab\n  \
          does not fit      `body.fc.weight` is [2, 3] here and [3, 2] in W"]
    );
    assert_eq!(error.help, ["if they are new: `missing \"pre_classifier\", \"classifier\"`"]);
}

#[test]
fn one_transposed_weight_is_explained() {
    let slots = [slot("c_attn.weight", &[6, 2]), slot("c_attn.bias", &[6])];
    let in_file: &[(&str, &[usize])] = &[("c_attn.weight", &[2, 6]), ("c_attn.bias", &[6])];
    let error = try_assign(&slots, in_file, &Weights::default()).expect_err("it is transposed");
    assert_eq!(error.code, "E0602");
    assert_eq!(error.message, "`c_attn.weight` is [6, 2] here and [2, 6] in W");
    assert!(error.help[0].starts_with("the file stores it as [in, out], transposed."));
}

#[test]
fn integers_are_no_weights() {
    let slots = [Slot { real: false, ..slot("steps", &[]) }];
    let error = try_assign(&slots, &[("steps", &[])], &Weights::default()).expect_err("they are real in the file");
    assert_eq!(error.message, "`steps` has integers here and f32 in W");
}

#[test]
fn unused_tensors_and_clashes_are_errors() {
    let slots = [slot("a", &[1])];
    let error = try_assign(&slots, &[("a", &[1]), ("b", &[1])], &Weights::default()).expect_err("b is left over");
    assert_eq!((error.code, error.message.as_str()), ("E0603", "1 tensor of the file is not in the model"));
    assert_eq!(error.help, ["if the model has no use for them: `ignore \"b\"`"]);
    let rules = Weights { rename: vec![("b".into(), "a".into())], ..Weights::default() };
    let error = try_assign(&slots, &[("a", &[1]), ("b", &[1])], &rules).expect_err("both are a");
    assert_eq!(error.message, "`a` and `b` of W would both be `a`");
    let rules = Weights { ignore: strings(&["{"]), ..Weights::default() };
    assert!(try_assign(&slots, &[("a", &[1])], &rules).is_err());
}

#[test]
fn layers_that_differ_by_their_number_are_one_line() {
    let ours: Vec<String> = (0..48).flat_map(|i| [format!("h.{i}.ln.weight"), format!("h.{i}.fc.weight")]).collect();
    let slots: Vec<Slot> = ours.iter().map(|name| slot(name, &[2])).collect();
    let theirs: Vec<String> = (0..48).flat_map(|i| [format!("h.{i}.ln.gamma"), format!("h.{i}.fc.weight")]).collect();
    let mut in_file: Vec<(&str, &[usize])> = theirs.iter().map(|name| (name.as_str(), &[2][..])).collect();
    in_file[5] = ("h.2.fc.weight", &[3]);
    in_file[9] = ("h.4.fc.weight", &[3]);
    let error = try_assign(&slots, &in_file, &Weights::default()).expect_err("names differ");
    assert!(error.message.ends_with("48 tensors of the file are not in the model; 2 have another shape"), "{error}");
    assert_eq!(
        error.notes,
        ["in W:\n  \
          not in the file   h.{0..47}.ln.weight [2]; the file has h.{0..47}.ln.gamma\n  \
          not in the model  h.{0..47}.ln.gamma\n  \
          does not fit      `h.{2,4}.fc.weight` is [2] here and [3] in W"]
    );
}
