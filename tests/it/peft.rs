//! PEFT's files: every key of a configuration, which modules its patterns match, and what a file has besides two matrices.

use crate::lora::{all_weights, apart, golden_folder, of, root, run, training, twin};
use crate::scratch::Scratch;
use dlc::Network;
use dlc::adapters;
use dlc::adapters::config::{Config, Layer};
use dlc::adapters::keys::{KEYS, Policy};
use dlc::jit::network;
use dlc::weights::file::TensorFile;
use dlc_plan::recipe::Lora;

/// What is wrong with a file of an adapter, or with what it says about itself.
fn refused(
    (net, lora): &mut (Network, Lora),
    change: &dyn Fn(&mut serde_json::Map<String, serde_json::Value>),
) -> String {
    let from = golden_folder("distilbert").join("peft");
    let text = std::fs::read_to_string(from.join("adapter_config.json")).expect("it is committed");
    let mut keys = serde_json::from_str(&text).expect("it is JSON");
    change(&mut keys);
    let scratch = Scratch::new();
    scratch.file("adapter_config.json", serde_json::to_vec(&keys).expect("it is JSON"));
    let tensors = "adapter_model.safetensors";
    std::fs::copy(from.join(tensors), scratch.path(tensors)).expect("it is committed");
    let all = all_weights(net);
    let said = match adapters::load(net.engine_mut(), lora, &scratch.0) {
        Ok(notes) => return notes.join("; "),
        Err(error) => error.to_string(),
    };
    assert!(all_weights(net) == all, "what is refused changes nothing");
    said
}

#[test]
fn every_key_of_a_configuration_is_honoured_ignored_or_refused_by_name() {
    let mut twin = twin("distilbert");
    let text =
        std::fs::read_to_string(golden_folder("distilbert").join("peft/adapter_config.json")).expect("it is there");
    let keys: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).expect("it is JSON");
    let known: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
    assert_eq!(known, keys.keys().map(String::as_str).collect::<Vec<_>>(), "these are the keys of PEFT 0.21");
    for key in KEYS.iter().filter(|key| key.policy == Policy::Refused) {
        let said = refused(&mut twin, &|keys| drop(keys.insert(key.name.into(), serde_json::json!({ "on": 1 }))));
        assert!(said.contains(&format!("`{}` is not here: {}", key.name, key.words)), "{said}");
    }
    assert_eq!(refused(&mut twin, &|keys| drop(keys.insert("brand_new".into(), serde_json::Value::Null))), "");
    let cases: [(&str, serde_json::Value, &str); 20] = [
        ("brand_new", serde_json::json!(3), "`brand_new` is not known, and it is active: 3"),
        ("r", serde_json::json!(8), "has rank 8 there and 4 here: `rank = 8`"),
        ("lora_alpha", serde_json::json!(4), "has scale 1 there and 2 here: `scale = 1`"),
        ("use_rslora", serde_json::json!(true), "has scale 4 there and 2 here: `scale = 4`"),
        (
            "alpha_pattern",
            serde_json::json!({ "q_lin": 4 }),
            "`distilbert.transformer.layer.0.attention.q_lin` has scale 1",
        ),
        ("rank_pattern", serde_json::json!({ "^classifier": 1 }), "`classifier` has rank 1 there and 4 here"),
        ("use_dora", serde_json::json!(true), "`use_dora` is true there"),
        ("peft_type", serde_json::json!("LOHA"), "`peft_type` is LOHA, and adapters here are LORA"),
        (
            "init_lora_weights",
            serde_json::json!("pissa_niter_4"),
            "`init_lora_weights` is pissa_niter_4, which takes its part out of the base",
        ),
        ("target_modules", serde_json::json!(["q_lin"]), "`classifier` is no target there"),
        ("exclude_modules", serde_json::json!(["q_lin"]), "attention.q_lin` is no target there"),
        ("target_modules", serde_json::json!(".*_lin|classifier"), "`pre_classifier` is no target there"),
        ("target_modules", serde_json::json!("(?=.*lin|.*fier).*"), ""),
        ("target_modules", serde_json::json!("all-linear"), ""),
        ("target_modules", serde_json::json!("(lin"), "`(lin` is no pattern that can be followed"),
        ("exclude_modules", serde_json::json!(".*q_lin"), "attention.q_lin` is no target there"),
        ("modules_to_save", serde_json::json!(["classifier"]), "`classifier` is no target there"),
        ("rank_pattern", serde_json::json!({ "q_lin": "4" }), "invalid type: string"),
        ("init_lora_weights", serde_json::json!("gaussian"), "its first values were `gaussian`"),
        ("lora_dropout", serde_json::json!(0.1), "it was trained with a dropout of 0.1"),
    ];
    for (key, value, expected) in cases {
        let said = refused(&mut twin, &|keys| drop(keys.insert(key.into(), value.clone())));
        assert!(said.contains(expected), "{key}: {said}");
    }
}

#[test]
fn the_manual_has_the_table_of_keys() {
    let text = std::fs::read_to_string(root().join("docs/lora.md")).expect("it is there");
    let table: Vec<&str> = text.lines().skip_while(|line| *line != "| key | | |").skip(2).collect();
    let line = |key: &dlc::adapters::keys::Key| {
        let done = format!("{:?}", key.policy).to_lowercase();
        format!("| `{}` | {done} | {} |", key.name, key.words)
    };
    let made: Vec<String> = KEYS.iter().map(line).collect();
    assert_eq!(table[..41], made, "docs/lora.md has another table than src/adapters/keys.rs");
    assert!(!table[41].starts_with('|'), "these are all");
}

/// A linear layer with an adapter.
fn layer(module: &str, rank: u64, scale: f64) -> Layer {
    let module = module.to_owned();
    Layer {
        module,
        rank,
        groups: 1,
        scale,
        dropout: 0.0,
        magnitude: false,
        bias: false,
        inner_first: false,
        linear: true,
    }
}

#[test]
fn patterns_match_what_they_match_in_peft() {
    let text = std::fs::read_to_string(golden_folder("patterns.json")).expect("it is committed");
    let cases: Vec<serde_json::Value> = serde_json::from_str(&text).expect("it is JSON");
    let (mut targets, mut others) = (0, 0);
    for case in &cases {
        let text = case["config"].as_str().expect("a configuration is a text");
        let config = Config::parse(text, "PEFT's").expect("it is sound");
        for (module, found) in case["modules"].as_object().expect("an object") {
            let (target, rank, scale) = (&found[0], found[1].as_u64(), found[2].as_f64());
            let layer = layer(module, rank.expect("a rank"), scale.expect("a scale"));
            let said = config.check(&[layer], false).map_err(|error| error.to_string());
            match target.as_bool().expect("a truth") {
                true => assert!(said.is_ok(), "{text}: {module}: {said:?}"),
                false => assert!(
                    said.is_err_and(|said| said.contains("is no target there") && !said.contains(" has ")),
                    "{text}: {module}"
                ),
            }
            *(if target.as_bool() == Some(true) { &mut targets } else { &mut others }) += 1;
        }
    }
    assert!(targets > 50 && others > 50, "{targets} and {others}");
}

#[test]
fn patterns_that_cannot_be_followed_are_told_when_a_configuration_is_read() {
    for keys in [
        r#""rank_pattern": { "(lin": 4 }"#,
        r#""alpha_pattern": { "(lin": 4 }"#,
        r#""target_modules": "(lin""#,
        r#""exclude_modules": "(lin""#,
        r#""modules_to_save": ["(lin"]"#,
        r#""layers_pattern": "(lin""#,
    ] {
        let config = Config::parse(&format!(r#"{{ "peft_type": "LORA", {keys} }}"#), "PEFT's");
        let error = config.expect_err("it is no pattern").to_string();
        assert!(error.contains("`(lin` is no pattern that can be followed"), "{keys}: {error}");
    }
}

#[test]
fn a_configuration_that_is_made_says_of_each_layer_what_it_was_made_of() {
    let layers = [layer("a.0.q", 8, 1.0), layer("a.1.q", 8, 1.0), layer("a.1.v", 4, 3.0)];
    let config = Config::of(&layers, &[], false, None).expect("names are patterns");
    for layer in &layers {
        let rank = config.rank_of(&layer.module).expect("its patterns are sound");
        let scale = config.scale_of(&layer.module, rank).expect("its patterns are sound");
        assert_eq!((rank, scale), (layer.rank as f64, layer.scale), "{}", layer.module);
    }
    assert_eq!(config.check(&layers, false).expect("it is theirs"), Vec::<String>::new());
}

#[test]
fn all_linear_means_the_matrices_of_products() {
    let config =
        Config::parse(r#"{ "peft_type": "LORA", "target_modules": "All-Linear" }"#, "PEFT's").expect("it is sound");
    assert!(config.check(&[layer("any.name", 8, 1.0)], false).is_ok());
    let table = Layer { linear: false, ..layer("any.name", 8, 1.0) };
    let error = config.check(&[table], false).expect_err("a table is no linear layer").to_string();
    assert!(error.contains("`any.name` is no target there"), "{error}");
}

#[test]
fn first_values_that_change_the_base_ask_for_what_they_left() {
    let config = |first: &str| {
        let text = format!(r#"{{ "peft_type": "LORA", "target_modules": ["q"], "init_lora_weights": "{first}" }}"#);
        Config::parse(&text, "PEFT's").expect("it is sound")
    };
    for first in ["pissa", "pissa_niter_16", "olora", "corda", "loftq", "lora_ga"] {
        let error = config(first).check(&[layer("q", 8, 1.0)], false).expect_err("its base is another").to_string();
        assert!(
            error.contains(&format!("`init_lora_weights` is {first}")) && error.contains("`base = residual`"),
            "{error}"
        );
        let notes = config(first).check(&[layer("q", 8, 1.0)], true).expect("its base is there");
        assert_eq!(notes, [format!("its base is what `{first}` has left of another")]);
    }
    let error = config("gaussian").check(&[layer("q", 8, 1.0)], true).expect_err("nothing was taken out").to_string();
    assert!(error.contains("leave `base = residual` out"), "{error}");
    let error = config("brand_new").check(&[], false).expect_err("no one knows it").to_string();
    assert!(error.contains("`init_lora_weights` is brand_new, which is not known"), "{error}");
    // The item says it.
    let text = std::fs::read_to_string(root().join("examples/digits.dl")).expect("it is there");
    let scratch = Scratch::new();
    let spec = "lora A { rank = 2  scale = 1  base = residual  target \"head\" }
train tuned { model = Mlp()  data = digits  lora = A()  loss = mean(logits)  optimizer = SGD(lr = 1)  max_steps = 1 }";
    std::fs::create_dir(scratch.path("data")).expect("the folder can be written");
    std::fs::copy(root().join("examples/data/digits.csv.gz"), scratch.path("data/digits.csv.gz")).expect("it is there");
    let path = scratch.file("spec.dl", format!("{text}\n{spec}"));
    let lora = training(&path, "tuned", &[]).recipe.and_then(|recipe| recipe.lora).expect("it has an adapter");
    assert!(lora.residual);
}

#[test]
fn rows_of_a_table_that_peft_trains_go_into_the_base() {
    let c = training(&root().join("tests/specs/lora.dl"), "gpt2", &[]);
    let lora = c.recipe.as_ref().and_then(|recipe| recipe.lora.clone()).expect("it has an adapter");
    let mut net = network(c.plan, c.recipe, 0).expect("there is machine code");
    crate::lora::fill(&mut net);
    let notes = adapters::load(net.engine_mut(), &lora, &golden_folder("tokens/peft")).expect("it fits");
    assert_eq!(notes, ["3 rows of `wte.weight` are the adapter's from here on; they are not trained"]);
    let file = TensorFile::open(&golden_folder("tokens/golden.safetensors")).expect("it is committed");
    let expected = file.read("logits").expect("it is there").expect("it is sound");
    let off = apart(of(&run(&mut net, "forward"), "logits"), &expected);
    assert!(off <= 1e-5, "logits are {off:e} off");
    // A row that is not there changes nothing.
    let scratch = Scratch::new();
    let from = golden_folder("tokens/peft");
    let config = std::fs::read_to_string(from.join("adapter_config.json")).expect("it is committed");
    let (before, after) = config.split_once("\"trainable_token_indices\": [").expect("it has rows");
    let after = after.split_once(']').expect("a list ends").1;
    scratch.file("adapter_config.json", format!("{before}\"trainable_token_indices\": [2, 5, 53]{after}"));
    let tensors = "adapter_model.safetensors";
    std::fs::copy(from.join(tensors), scratch.path(tensors)).expect("it is committed");
    let all = all_weights(&net);
    let error = adapters::load(net.engine_mut(), &lora, &scratch.0).expect_err("there is no row 53").to_string();
    assert!(error.contains("`wte.weight` has no row 53, which the adapter has"), "{error}");
    assert!(all_weights(&net) == all, "what is refused changes nothing");
}

#[test]
fn an_item_has_a_star_only_where_all_layers_are_meant() {
    let q = |ranks: &[(usize, usize)], config: serde_json::Value, layers: usize| {
        let scratch = Scratch::new();
        let ones = |shape: [usize; 2]| dlc::Tensor::from_f32(shape.to_vec(), vec![1.0; shape[0] * shape[1]]);
        let mut tensors = Vec::new();
        for (layer, rank) in ranks {
            let name = |part: &str| format!("base_model.model.layer.{layer}.q.lora_{part}.weight");
            tensors.push((name("A"), ones([*rank, 8]).expect("as many")));
            tensors.push((name("B"), ones([8, *rank]).expect("as many")));
        }
        let named: Vec<(&str, &dlc::Tensor)> = tensors.iter().map(|(n, t)| (n.as_str(), t)).collect();
        dlc::weights::save(&scratch.path("adapter_model.safetensors"), &named, &Default::default()).expect("it is new");
        scratch.file("adapter_config.json", config.to_string());
        let item = adapters::item::item(&scratch.0, "", "adapter").expect("it is sound");
        let spec = format!(
            "block Layer()(x: [B, D]) -> [B, D] {{ return x -> q: Linear(D) }}
model M(D = 8)(x: [B, D]) -> y: [B, D] {{ repeat {layers} as i {{ x = x -> layer.{{i}}: Layer() }} return x }}
{item}
train t {{ model = M()  lora = Adapter()  loss = mean(y)  optimizer = SGD(lr = 1)  max_steps = 1 }}"
        );
        let c = training(&scratch.file("spec.dl", spec), "t", &[]);
        let lora = c.recipe.as_ref().and_then(|recipe| recipe.lora.clone()).expect("it has an adapter");
        let mut net = network(c.plan, c.recipe, 0).expect("there is machine code");
        adapters::load(net.engine_mut(), &lora, &scratch.0).unwrap_or_else(|e| panic!("{e}\n{item}"));
        item.lines().filter(|line| line.contains("target")).map(|line| line.trim().to_owned()).collect::<Vec<_>>()
    };
    let config = |key: &str, value: serde_json::Value| {
        let mut config = serde_json::json!({ "peft_type": "LORA", "r": 8, "lora_alpha": 8, "target_modules": ["q"] });
        config[key] = value;
        config
    };
    let all = [(0, 8), (1, 8), (2, 8)];
    assert_eq!(q(&all, config("r", 8.into()), 3), ["target \"layer.*.q\""]);
    let ranks = config("rank_pattern", serde_json::json!({ "layer.2.q": 4 }));
    assert_eq!(
        q(&[(0, 8), (1, 8), (2, 4)], ranks, 3),
        ["target \"layer.{0,1}.q\"", "target \"layer.2.q\" { rank = 4 }"]
    );
    let few = config("target_modules", r".*layer\.[01]\.q".into());
    assert_eq!(q(&all[..2], few, 4), ["target \"layer.{0,1}.q\""]);
}

#[test]
fn an_item_made_of_an_adapter_takes_it() {
    let text = std::fs::read_to_string(root().join("tests/specs/lora.dl")).expect("it is there");
    let text = text.replace("../../examples", &root().join("examples").display().to_string());
    let cases = [
        ("distilbert", ""),
        ("bert", ""),
        ("gpt2", "transformer"),
        ("llama2", ""),
        ("table", ""),
        ("dora", ""),
        ("conv", ""),
        ("tied", ""),
        ("biased", ""),
        ("grouped", ""),
    ];
    for (name, prefix) in cases {
        let folder = golden_folder(name).join("peft");
        let item = adapters::item::item(&folder, prefix, &folder.display().to_string())
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        let train = text.split_once(&format!("train {name} {{")).expect("it is trained").1;
        let (own, rest) = train.split_once("lora = ").expect("it has an adapter");
        let train = format!(
            "train made {{{own}lora = Adapter(){}\n}}\n",
            rest.split_once("()").expect("without settings").1.split_once("\n}").expect("it ends").0
        );
        let scratch = Scratch::new();
        let path = scratch.file("made.dl", format!("{text}\n{item}\n{train}"));
        let c = training(&path, "made", &[]);
        let lora = c.recipe.as_ref().and_then(|recipe| recipe.lora.clone()).expect("it has an adapter");
        let mut net = network(c.plan, c.recipe, 0).expect("there is machine code");
        crate::lora::fill(&mut net);
        let file = lora.file.clone().expect("it names the folder");
        adapters::load(net.engine_mut(), &lora, std::path::Path::new(&file))
            .unwrap_or_else(|e| panic!("{name}: {e}\n{item}"));
        let expected = TensorFile::open(&golden_folder(name).join("golden.safetensors")).expect("it is committed");
        let expected = expected.read("logits").expect("it is there").expect("it is sound");
        let off = apart(of(&run(&mut net, "forward"), "logits"), &expected);
        assert!(off <= 1e-5, "{name}: logits are {off:e} off\n{item}");
    }
    let folder = golden_folder("gpt2").join("peft");
    let item = adapters::item::item(&folder, "transformer", "adapter").expect("it is sound");
    assert_eq!(
        item,
        "lora Adapter {
  rank = 3
  scale = 8 / rank
  freeze \"**\"
  target \"h.*.mlp.c_fc\", \"h.*.mlp.c_proj\"
  target \"h.*.attn.c_attn\" { rank = 2 }
  prefix = \"transformer\"
  file = \"adapter\"
}
"
    );
    let error = adapters::item::item(&folder, "model", "adapter").expect_err("names begin otherwise").to_string();
    assert!(error.contains("which does not begin with `model.`"), "{error}");
}
