//! Mistakes in `train`, `data` and `weights` items, word for word, and what sound ones become.

use crate::support::spec::{Columns, compile, deep_columns, mistakes, shown, text, train};
use dlc_compiler::emit;
use dlc_compiler::pipeline::{Goal, Stage};
use dlc_plan::DType;
use dlc_plan::recipe::{Arg, Batch, Length, Part, Share, SourceKind, Stop};

const MODEL: &str = "model M(D = 4)(x: [B, 3]) -> y: [B, D] { return x -> fc: Linear(8) -> relu -> head: Linear(D) }\n";
const DATA: &str =
    "data d { source = csv(\"a.csv\", x = 3, label = 1)  columns { x = x / 2  label = i64(label) }  batch = 8 }\n";

/// The mistakes in a training of `M` on `d` with these entries.
fn of_train(entries: &str) -> Vec<String> {
    let rest = if entries.contains("loss =") { "" } else { "loss = cross_entropy(y, label)" };
    mistakes(&format!("{MODEL}{DATA}train t {{ model = M()  data = d  {rest}\n{entries} }}"), &mut Columns(vec![]))
}

const FINE: &str = "optimizer = SGD(lr = 0.1)  epochs = 1";

#[test]
fn keys() {
    assert_eq!(of_train(FINE), Vec::<String>::new());
    assert_eq!(
        of_train("optimiser = SGD(lr = 0.1)  epochs = 1  lora = A()"),
        [
            "E0504 3:7 `t`: `train t` has no `optimizer` | help: `optimizer = AdamW(lr = 1e-3)`",
            "E0502 4:1 `optimiser`: `train t` has no key `optimiser` | help: did you mean `optimizer`?",
            "E0102 4:47 `A`: no `lora` item is called `A`",
        ]
    );
    assert_eq!(
        of_train(&format!("{FINE}  max_steps = 3  clip = 1  clip = 2")),
        [
            "E0506 4:40 `max_steps`: a training ends after `epochs` or after `max_steps`",
            "E0506 4:65 `clip`: `clip` is given twice",
        ]
    );
    assert_eq!(
        of_train("optimizer = SGD(lr = 0.1)"),
        ["E0504 3:7 `t`: `train t` has no `epochs` | help: `epochs = 10`"]
    );
}

#[test]
fn values() {
    let cases = [
        ("optimizer = SGD(lr = 0.1)  epochs = 1.5", "4:37 `1.5`: `epochs` is a whole number, 0 or more, got 1.5"),
        (
            "optimizer = SGD(lr = 0.1)  epochs = step",
            "4:37 `step`: `epochs` is a whole number, 0 or more, got a number of the step",
        ),
        ("optimizer = SGD(lr = 0.1)  epochs = 1  clip = \"a\"", "4:47 `\"a\"`: `clip` is a number, got \"a\""),
        (
            "optimizer = SGD(lr = 0.1)  epochs = 1  accumulate = 0",
            "4:53 `0`: `accumulate` is a whole number, 1 or more, got 0",
        ),
        ("optimizer = SGD(lr = 0.1)  epochs = 1  precision = f64", "4:52 `f64`: `precision` is f32 or bf16"),
    ];
    for (entries, message) in cases {
        assert_eq!(of_train(entries), [format!("E0507 {message}")]);
    }
    assert_eq!(
        of_train("optimizer = SGD(lr = 0.1)  epochs = epoks"),
        ["E0102 4:37 `epoks`: nothing is called `epoks`"]
    );
    assert_eq!(
        of_train("optimizer = Adm(lr = 0.1)  epochs = 1"),
        ["E0102 4:13 `Adm`: no function or layer `Adm` | help: did you mean `Adam`?"]
    );
    assert_eq!(
        of_train("optimizer = SGD(lrr = 0.1)  epochs = 1"),
        ["E0105 4:17 `lrr`: `SGD` has no setting `lrr` | help: did you mean `lr`?"]
    );
    assert_eq!(
        of_train("optimizer = Linear(3)  epochs = 1"),
        ["E0508 4:13 `Linear(3)`: `optimizer` names one of the optimizers, and `Linear` is a block"]
    );
}

#[test]
fn what_a_loss_and_a_metric_are() {
    let cases = [
        ("loss = y", "E0511 4:8 `y`: a loss is one number, got [B, 4] | help: `mean(..)` makes one of many"),
        ("loss = 3", "E0511 4:8 `3`: a loss is a real number made of tensors, got 3"),
        (
            "loss = cross_entropy(y, lable)",
            "E0102 4:25 `lable`: nothing is called `lable` | help: did you mean `label`?",
        ),
        (
            "loss = cross_entropy(label, y)",
            "E0402 4:22 `label`: `logits` must be float, got i64[B] | help: swap the arguments",
        ),
    ];
    for (loss, message) in cases {
        assert_eq!(of_train(&format!("{loss}  {FINE}")), [message]);
    }
    assert_eq!(
        of_train(&format!("{FINE}  metrics {{ a = y  b = y[0, 0] == label[0]  c = argmax[-1](y) }}")),
        [
            "E0511 4:54 `y`: a metric is one number, got [B, 4] | help: `mean(..)` makes one of many",
            "E0511 4:86 `argmax[-1](y)`: a metric is one number, got i64[B] | help: `mean(..)` makes one of many",
        ]
    );
    assert_eq!(
        of_train(&format!("{FINE}  stop {{ metric = acuracy  patience = 2 }}  metrics {{ accuracy = mean(y) }}")),
        ["E0102 4:56 `acuracy`: no metric is called `acuracy` | help: did you mean `accuracy`?"]
    );
}

#[test]
fn groups_choose_weights() {
    let cases = [
        (
            "group \"**.bais\" { lr = 1 }",
            "E0501 4:46 `\"**.bais\"`: this `group` matches no weight | help: near it: **.bias (2 weights)",
        ),
        (
            "freeze \"{fc,haed}.weight\"",
            "E0501 4:47 `\"{fc,haed}.weight\"`: this `freeze` matches no weight as `haed.weight` | help: near it: head.weight (1 weight)",
        ),
        ("freeze \"**..w\"", "E0503 4:47 `\"**..w\"`: `**..w` has an empty segment"),
        (
            "group \"**\" { beta1 = 1 }",
            "E0105 4:53 `beta1`: `SGD` has no setting `beta1` | help: a group may set lr, momentum, dampening, nesterov, weight_decay, l2, l1, prox_l1",
        ),
        (
            "group \"**\" { momentum = 1 }",
            "E0509 4:13 `SGD(lr = 0.1)`: `momentum` is no number here, so groups cannot override it | help: give `SGD` one for all weights, such as `momentum = 0`",
        ),
        ("group \"**\" { clip = 1 }", "E0509 4:53 `clip`: `clip` is about all weights together"),
        (
            "group \"**\"",
            "E0505 4:40 `group`: this `group` changes nothing | help: `group \"**.bias\" { weight_decay = 0 }`",
        ),
        ("freeze \"**\" { lr = 1 }", "E0505 4:40 `freeze`: `freeze` takes globs and not entries of its own"),
        ("unfreeze \"fc\" => \"gc\"", "E0505 4:57 `\"gc\"`: `unfreeze` takes globs and not another name"),
    ];
    for (rule, message) in cases {
        assert_eq!(of_train(&format!("{FINE}  {rule}")), [message]);
    }
}

#[test]
fn items_are_found_by_name() {
    let with = |entries: &str| {
        let text = format!(
            "{MODEL}{DATA}weights w {{ file = \"w\" }}\ntrain t {{ model = M()  {entries}  loss = mean(y)  {FINE} }}"
        );
        mistakes(&text, &mut Columns(vec![]))
    };
    assert_eq!(with("data = e"), ["E0102 4:31 `e`: no `data` item is called `e` | help: there is d"]);
    assert_eq!(with("data = w"), ["E0508 4:31 `w`: `data` names a `data` item, and `w` is a `weights` item"]);
    assert_eq!(with("data = d  weights = v"), ["E0102 4:44 `v`: no `weights` item is called `v` | help: there is w"]);
    assert_eq!(with("data = d(a = 1)"), ["E0105 4:33 `a`: `data d` has no parameter `a`"]);
}

#[test]
fn data_items() {
    let of = |entries: &str| mistakes(&format!("data d {{ batch = 1\n{entries} }}"), &mut deep_columns());
    let cases = [
        ("source = csvv(\"a\")", "E0102 2:10 `csvv`: no source is called `csvv` | help: did you mean `csv`?"),
        (
            "source = parquet(\"a\")",
            "E0102 2:10 `parquet`: no source is called `parquet` | help: there is csv, tsv, jsonl, text, safetensors, npz, idx, cifar, images, tokens",
        ),
        (
            "source = \"a.csv\"",
            "E0507 2:10 `\"a.csv\"`: a source is a kind of file and where it is | help: `csv(\"data.csv\")`",
        ),
        ("source = csv()", "E0107 2:10 `csv()`: `csv` needs a path"),
        ("source = csv(3)", "E0507 2:14 `3`: `the path of a source` is a text, got 3"),
        (
            "source = csv(\"a\")  split { train = 0.9  valid = 0.2 }",
            "E0507 2:20 `split`: the parts of this split add up to 1.1, more than everything",
        ),
        (
            "source = csv(\"a\")  split { train = 1.5 }",
            "E0507 2:36 `1.5`: `train` is a fraction like 0.8 or a number of rows, got 1.5",
        ),
        (
            "source = csv(\"a\")  split { rest = 1 }",
            "E0502 2:28 `rest`: `split` has no key `rest` | help: did you mean `test`?",
        ),
        ("source = csv(\"a\")  shuffle = 1", "E0507 2:30 `1`: `shuffle` is true or false, got 1"),
        ("source = csv(\"a\")  columns { a = x  a = label }", "E0506 2:37 `a`: `a` is given twice"),
        ("split { train = 1 }", "E0504 1:6 `d`: `data d` has no `source` | help: `source = csv(\"data.csv\")`"),
    ];
    for (entries, message) in cases {
        assert_eq!(of(entries), [message], "{entries}");
    }
}

#[test]
fn columns_of_a_batch() {
    let of = |columns: &str, loss: &str| {
        let data =
            format!("data d {{ source = csv(\"a.csv\", x = 3, label = 1)  batch = 8\ncolumns {{ {columns} }} }}\n");
        mistakes(
            &format!("{MODEL}{data}train t {{ model = M()  data = d  loss = {loss}  {FINE} }}"),
            &mut Columns(vec![]),
        )
    };
    let cases = [
        ("x = z", "mean(y)", "E0102 3:15 `z`: `a.csv` has no column `z` | help: its columns are x, label"),
        (
            "x = x - mean[1, keep](x) + zz",
            "mean(y)",
            "E0102 3:38 `zz`: `a.csv` has no column `zz` | help: its columns are x, label",
        ),
        ("x = labell", "mean(y)", "E0102 3:15 `labell`: `a.csv` has no column `labell` | help: did you mean `label`?"),
        ("x = sum(x)", "mean(y)", "E0509 3:15 `sum(x)`: a column has a row for each sample, got f32[]"),
        ("z = x", "mean(y)", "E0510 2:6 `d`: `M` takes `x`, and `d` has no such column"),
        (
            "x = x  y = label",
            "mean(y)",
            "E0115 3:18 `y`: `y` is both a column and an output of the model | help: rename one of them",
        ),
    ];
    for (columns, loss, message) in cases {
        assert_eq!(of(columns, loss), [message], "{columns}");
    }
}

#[test]
fn weights_items() {
    let of = |entries: &str| {
        let text = format!(
            "{MODEL}{DATA}weights w {{ {entries} }}\ntrain t {{ model = M()  data = d  weights = w  loss = mean(y)  {FINE} }}"
        );
        mistakes(&text, &mut Columns(vec![]))
    };
    assert_eq!(
        of("file = \"a\"  missing \"head\"  ignore \"vocab_*\"  rename \"**.gamma\" => \"**.weight\""),
        Vec::<String>::new()
    );
    let cases = [
        ("missing \"head\"", "E0504 3:9 `w`: `weights w` has no `file` | help: `file = \"model.safetensors\"`"),
        (
            "file = \"a\"  missing \"haed\"",
            "E0501 3:33 `\"haed\"`: this `missing` matches no weight | help: near it: head (1 module)",
        ),
        ("file = \"a\"  rename \"a.*\" => \"*.*\"", "E0503 3:41 `\"*.*\"`: `*.*` has more wildcards than `a.*`"),
        (
            "file = \"a\"  rename \"a\"",
            "E0505 3:25 `rename`: `rename` takes one name and another | help: `rename \"**.gamma\" => \"**.weight\"`",
        ),
        ("file = 3", "E0507 3:20 `3`: `file` is a text, got 3"),
    ];
    for (entries, message) in cases {
        assert_eq!(of(entries), [message], "{entries}");
    }
}

#[test]
fn what_is_random_and_frozen_cannot_learn() {
    let text = format!(
        "{MODEL}{DATA}weights w {{ file = \"a\"  missing \"head\" }}\ntrain t {{ model = M()  data = d  weights = w  loss = mean(y)  {FINE}\nfreeze \"**\" }}"
    );
    let expected = "W0801 5:8 `\"**\"`: `head` is random and frozen: it can never learn | help: `unfreeze \"head\"`, or take it out of `freeze`";
    assert_eq!(mistakes(&text, &mut Columns(vec![])), [expected]);
    let text = text.replace("freeze \"**\"", "freeze \"**\"  unfreeze \"head\"");
    assert_eq!(mistakes(&text, &mut Columns(vec![])), Vec::<String>::new());
}

#[test]
fn optimizers_take_what_they_can_use() {
    let with = |optimizer: &str, settings: &str| {
        let text = format!(
            "{optimizer}\n{MODEL}{DATA}train t {{ model = M()  data = d  loss = mean(y)  epochs = 1\noptimizer = {settings} }}"
        );
        mistakes(&text, &mut Columns(vec![]))
    };
    let of = |body: &str| with(&format!("optimizer N(lr)(theta, grad) {{ {body} }}"), "N(lr = 1)");
    assert_eq!(of("theta <- theta - lr * grad / sqrt(sum(grad ^ 2))"), Vec::<String>::new());
    let expected = "E0509 1:54 `bernoulli[..](grad, 0.5)`: `N` draws random numbers, and an optimizer cannot";
    assert_eq!(of("theta <- theta - lr * bernoulli[..](grad, 0.5)"), [expected]);
    let expected = "E0509 1:32 `n`: `n` is i64, and a state of an optimizer is f32";
    assert_eq!(of("n: state i64[1] = zeros"), [expected]);
    let expected = "E0204 1:42 `_`: `_` and `..` are axes of the weight, which is [8], and this is no shape like it | \
                    help: `[.., _, 1]` is as long as all axes but the last";
    assert_eq!(of("n: state [_, _] = zeros"), [expected]);
    let one = "optimizer O(lr)(theta) { theta <- theta - lr }";
    let expected = "E0107 5:13 `O(lr = 1)`: `O` takes 1 inputs, and an optimizer takes the weight, its gradient and the step | help: `optimizer O(..)(theta, grad, t)`";
    assert_eq!(with(one, "O(lr = 1)"), [expected]);
    let rate = "optimizer R(rate)(theta, grad) { theta <- theta - rate * grad }";
    let expected = "E0509 5:13 `R(rate = 1)`: `prox_l1` goes by the setting `lr`, which `R` does not have";
    assert_eq!(with(rate, "R(rate = 1)  prox_l1 = 1"), [expected]);
}

#[test]
fn what_nothing_uses_is_checked_too() {
    let of = |text: &str| mistakes(text, &mut Columns(vec![]));
    assert_eq!(
        of("block A(D)(x: [B, D]) { return x -> fc: Linear(D) -> gleu }\nfn f(x, k = kk) = x * k + C\nconst C = 3 * d"),
        [
            "E0102 1:54 `gleu`: nothing is called `gleu` | help: did you mean `gelu`?",
            "E0102 2:13 `kk`: nothing is called `kk`",
            "E0102 3:15 `d`: nothing is called `d`",
        ]
    );
    let fine = "block A(D)(x: [B, T, D]) { repeat 2 as i { x = x -> n.{i}: LayerNorm } return x[:, 0] }\n";
    assert_eq!(of(fine), Vec::<String>::new());
    assert_eq!(of(&format!("{fine}{MODEL}")), Vec::<String>::new());
    // What does not parse has a name all the same: nothing more is said about those who use it.
    assert_eq!(
        of("fn f(x) = x +\nmodel M()(x: [B]) { return f(x) }\nblock N()(x: [B]) { return f(x) }"),
        ["E0005 1:14 ``: expected an expression, found the next item, `model`"]
    );
}

#[test]
fn one_of_several_items_is_named() {
    let two = format!("{MODEL}model K()(x: [B]) -> y: [B] {{ return x }}\n");
    let failed = |text: &str, goal| {
        let done = compile(text, goal, &[], &mut Columns(vec![]), &mut |_, _| {});
        shown(&done.expect_err("this cannot be compiled"))
    };
    let run = |model| Goal::Run { model, training: false };
    assert_eq!(
        failed(&two, run(None)),
        ["E0512: the spec has several `model` items: `M`, `K` | help: name one of them"]
    );
    assert_eq!(failed(&two, run(Some("Mm"))), ["E0512: no `model` item is called `Mm` | help: there is `M`, `K`"]);
    assert_eq!(failed(&two, Goal::Train { item: None }), ["E0512: the spec has no `train` item"]);
    let done = compile(&two, run(Some("K")), &[], &mut Columns(vec![]), &mut |_, _| {}).unwrap();
    assert_eq!((done.model.name.as_str(), done.recipe), ("K", None));
}

#[test]
fn settings_replace_defaults_and_are_checked() {
    let text = text("examples/digits.dl");
    let of = |sets: &[(&str, &str)]| match compile(
        &text,
        Goal::Train { item: Some("fit") },
        sets,
        &mut Columns(vec![]),
        &mut |_, _| {},
    ) {
        Ok(done) => Ok(done.program.weights[0].ty.shape[0].known()),
        Err(findings) => Err(shown(&findings)),
    };
    assert_eq!(of(&[("Mlp.hidden", "[7, 5]")]), Ok(Some(7)));
    let failed = |sets: &[(&str, &str)]| of(sets).expect_err("these settings are wrong");
    let cases = [
        ("fit.lrr", "`fit` has no parameter or entry `lrr` | help: did you mean `lr`?"),
        ("fit.epohcs", "`fit` has no parameter or entry `epohcs` | help: did you mean `epochs`?"),
        ("digits.split.vald", "`digits.split` has no entry `vald` | help: did you mean `valid`?"),
        ("Mlp.hiden", "`Mlp` has no parameter `hiden` | help: did you mean `hidden`?"),
        (
            "digits.split",
            "`split` is no single value | help: a path goes on to a value: `digits.split.train`, `fit.optimizer.lr`",
        ),
        ("fit.epochs.lr", "`epochs` is a value without settings of its own"),
    ];
    for (path, message) in cases {
        assert_eq!(failed(&[(path, "1")]), [format!("E0513 1:1 `{path}`: {message}")]);
    }
    assert_eq!(failed(&[("fit.epochs", "0.5")]), ["E0507 1:12 `0.5`: `epochs` is a whole number, 0 or more, got 0.5"]);
    assert_eq!(
        failed(&[("fit.optimizer.lrr", "1")]),
        ["E0105 1:15 `lrr`: `AdamW` has no setting `lrr` | help: did you mean `lr`?"]
    );
    assert_eq!(failed(&[("fti.lr", "1")]), ["E0513 1:1 `fti.lr`: no item is called `fti` | help: did you mean `fit`?"]);
    let help = "help: `--set ITEM.PARAMETER=VALUE`, such as `--set fit.lr=1e-3`";
    assert_eq!(failed(&[("lr", "1")]), [format!("E0513 1:1 `lr`: `lr` is no parameter of an item | {help}")]);
    assert_eq!(failed(&[("fit.lr", "(1")]), ["E0004 1:8 `(`: this `(` is never closed"]);
    assert_eq!(failed(&[("fit.lr", "lrr")]), ["E0102 1:8 `lrr`: nothing is called `lrr`"]);
}

#[test]
fn settings_reach_entries_and_the_text_keeps_its_comments() {
    let text = "// above\nconst N = 2 // two\nmodel M(D = N)(x: [B, 3]) -> y: [B, D] { return x -> fc: Linear(D) }\n\
        data d {\n  source = csv(\"a.csv\", x = 3) // here\n  split { train = 0.5 }\n  columns { x = x }\n  batch = 8\n}\n\
        train t {\n  model = M\n  data = d\n  loss = mean(y)\n  optimizer = SGD(lr = 1) // slow\n  epochs = 1 // once\n}\n";
    let sets = [
        ("N", "5"),
        ("d.batch", "2 * 2"),
        ("d.split.valid", "0.25"),
        ("d.shuffle", "true"),
        ("t.model.D", "7"),
        ("t.optimizer.lr", "0.5"),
        ("t.optimizer.momentum", "0.5"),
        ("t.epochs", "3 // thrice"),
        ("t.epochs", "4"),
    ];
    let done = compile(text, Goal::Train { item: None }, &sets, &mut Columns(vec![]), &mut |_, _| {});
    let done = done.unwrap_or_else(|f| panic!("{}", shown(&f).join("\n")));
    assert_eq!(done.program.weights[0].ty.shape[0].known(), Some(7));
    let recipe = done.recipe.expect("it is a training");
    let data = recipe.data.expect("it has data");
    assert_eq!((data.batch, data.shuffle, recipe.length), (Batch::Rows(4), true, Length::Epochs(4)));
    assert_eq!(data.split, [(Part::Train, Share::Fraction(0.5)), (Part::Valid, Share::Fraction(0.25))]);
    let sets: Vec<(String, String)> = sets.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    let written = dlc_compiler::lower::with_sets(text, &sets).expect("the settings can be written");
    for part in [
        "// above\nconst N = 5 // two\n",
        "csv(\"a.csv\", x = 3) // here\n",
        "batch = 2 * 2",
        "valid = 0.25",
        "shuffle = true",
        "model = M(D = 7)",
        "optimizer = SGD(lr = 0.5, momentum = 0.5) // slow",
        "epochs = 4 // once",
    ] {
        assert!(written.contains(part), "`{part}` is not in:\n{written}");
    }
}

#[test]
fn a_recipe_says_all_that_a_training_needs() {
    let recipe = train("examples/digits.dl", &[]).recipe.unwrap();
    let data = recipe.data.unwrap();
    assert_eq!((data.source.kind, data.source.paths), (SourceKind::Csv, vec!["data/digits.csv.gz".to_string()]));
    assert_eq!(data.source.args, [("pixels".to_string(), Arg::Int(64)), ("label".to_string(), Arg::Int(1))]);
    assert_eq!(data.split, [(Part::Train, Share::Fraction(0.8)), (Part::Valid, Share::Fraction(0.2))]);
    assert_eq!((data.batch, data.shuffle, data.drop_last), (Batch::Rows(32), true, false));
    assert_eq!((recipe.length, recipe.accumulate, recipe.seed), (Length::Epochs(20), 1, 42));
    assert_eq!((recipe.model.inputs, recipe.model.outputs), (vec!["pixels".to_string()], vec!["logits".to_string()]));
    assert_eq!(recipe.metrics, ["accuracy"]);

    let text = format!(
        "{MODEL}{DATA}train t {{ model = M()  data = d  loss = mean(y)  optimizer = SGD(lr = 1)  max_steps = 7  interval = 3\nmetrics {{ m = mean(y) }}  stop {{ metric = m  patience = 2  falling = true }} }}"
    );
    let done = compile(&text, Goal::Train { item: None }, &[], &mut Columns(vec![]), &mut |_, _| {}).unwrap();
    let recipe = done.recipe.unwrap();
    assert_eq!((recipe.length, recipe.interval), (Length::Steps(7), Some(3)));
    assert_eq!(recipe.stop, Some(Stop { metric: "m".into(), patience: 2, falling: true }));
    // Less of the loss is better, and more of anything else.
    let falls = |metric: &str, falling: &str| {
        let text = format!(
            "{MODEL}{DATA}train t {{ model = M()  data = d  loss = mean(y + 1)  optimizer = SGD(lr = 1)  epochs = 1
             metrics {{ own = mean( y  + 1)  other = mean(y) }}  stop {{ metric = {metric}  patience = 2 {falling} }} }}"
        );
        let done = compile(&text, Goal::Train { item: None }, &[], &mut Columns(vec![]), &mut |_, _| {}).unwrap();
        done.recipe.unwrap().stop.unwrap().falling
    };
    assert!(falls("own", "") && !falls("own", "falling = false"));
    assert!(!falls("other", "") && falls("other", "falling = true"));
}

#[test]
fn columns_that_only_the_file_knows() {
    let text = text("tests/specs/deep.dl");
    assert_eq!(mistakes(&text, &mut Columns(vec![])), Vec::<String>::new(), "without the file, what can be checked is");
    assert_eq!(mistakes(&text, &mut deep_columns()), Vec::<String>::new());
    let mut wrong = Columns(vec![("x", DType::F32, vec![9]), ("label", DType::I64, vec![])]);
    let expected = "E0308 19:5 `x`: `x` must be [B, I]: axis 1 is I = 8, got 9 in [B, 9]";
    assert_eq!(mistakes(&text, &mut wrong), [expected]);
    let done = compile(&text, Goal::Train { item: None }, &[], &mut Columns(vec![]), &mut |_, _| {});
    assert_eq!(
        shown(&done.expect_err("there is no file")),
        ["E0514 16:12 `safetensors(\"deep.safetensors\")`: there is no file"]
    );
}

#[test]
fn every_stage_has_a_text() {
    let mut seen = Vec::new();
    let done = compile(
        &text("examples/digits.dl"),
        Goal::Train { item: None },
        &[],
        &mut Columns(vec![]),
        &mut |stage, show| {
            seen.push((stage, show()));
        },
    );
    let done = done.unwrap();
    for (stage, shown) in seen {
        match stage {
            Stage::Ast | Stage::Model | Stage::Graph | Stage::Grad | Stage::Plan => {
                insta::assert_snapshot!(format!("digits_{stage:?}").to_lowercase(), shown);
            }
            Stage::Pass(_) => assert!(!shown.is_empty(), "{stage:?}"),
        }
    }
    #[cfg(feature = "jit")]
    {
        use dlc_compiler::back::clif::clif_text;
        let clif: String = done.plan.kernels.iter().map(|kernel| clif_text(kernel) + "\n").collect();
        insta::assert_snapshot!("digits_clif", clif);
    }
    insta::assert_snapshot!("digits_rust", emit::one(&mut Default::default(), "fit", "", &done));
}
