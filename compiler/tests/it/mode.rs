//! Modules that a training computes as they are outside of it.

use crate::lower::{Named, close, run};
use crate::support::golden::Golden;
use crate::support::spec::{Columns, compile, mistakes, shown};
use dlc_compiler::pipeline::{Compiled, Goal};
use dlc_compiler::program::interp::Tensor;
use dlc_compiler::program::{Role, Weight};
use dlc_plan::HostState;

fn compiled(text: &str) -> Compiled {
    let done = compile(text, Goal::Train { item: None }, &[], &mut Columns(Vec::new()), &mut |_, _| {});
    done.unwrap_or_else(|f| panic!("{}", shown(&f).join("\n")))
}

/// The weights that a step gives new values without gradients: states.
fn updated(c: &Compiled) -> Vec<String> {
    let outputs = c.program.entry("accumulate").unwrap().outputs.iter();
    let rows = outputs.filter_map(|role| if let Role::Weight(row) = role { Some(row) } else { None });
    rows.flat_map(|row| row.iter()).map(|w| c.program.weights[w.0 as usize].name.clone()).collect()
}

/// PyTorch's gradients of a layer in both modes, and who keeps running statistics.
#[test]
fn norms_have_pytorchs_gradients_in_a_training_in_either_mode() {
    let golden = Golden::read("golden/prelude.safetensors").all();
    for (layer, case) in
        [("BatchNorm", "batch_norm.2"), ("InstanceNorm(affine = true, track = true)", "instance_norm.track_2")]
    {
        for (rule, case, states) in [("", case.to_string(), true), ("evaluate \"l\"", format!("{case}_eval"), false)] {
            let c = compiled(&format!(
                "model M()(dy: [2, 3, 3, 4]) -> total: f32[] {{
                   x: param [2, 3, 3, 4] = zeros
                   return sum((x -> l: {layer}) * dy)
                 }}
                 train t {{ model = M() loss = total optimizer = SGD(lr = 0) max_steps = 1 {rule} }}"
            ));
            let of = |(name, t): (&String, _)| Some((name.strip_prefix(&format!("{case}/"))?.to_string(), t));
            let case: Named = golden.iter().filter_map(|(name, t)| of((name, t.clone()))).collect();
            let found = run(&c, "grad", &HostState::default(), &case);
            for name in ["x", "l.weight", "l.bias"] {
                close(name, &found[name], &case[&format!("d{name}")], 1e-4);
            }
            assert_eq!(!updated(&c).is_empty(), states, "{layer} {rule}: {:?}", updated(&c));
        }
    }
}

/// A stack of four blocks with a norm that keeps statistics, and random sites in the blocks and around them.
fn stack(rules: &str) -> String {
    format!(
        "block Part(p)(x: [B, D]) -> [B, D] {{ return x -> fc: Linear(D) -> n: BatchNorm -> dropout(p) }}
         model M()(x: [B, 3]) -> total: f32[] {{
           h = x
           repeat 4 as i {{ h = h -> layers.{{i}}: Part(0.5) }}
           return sum(x * (h -> dropout(0.5) -> n: BatchNorm))
         }}
         train t {{ model = M() loss = total optimizer = SGD(lr = 0) max_steps = 1 {rules} }}"
    )
}

/// The loss at a step, of which random numbers are a function.
fn loss(c: &Compiled, step: u64) -> f64 {
    let some = |shape: &[usize]| {
        let n = shape.iter().product();
        Tensor::new(shape, (0..n).map(|i: usize| 1.5 + (i as f64).sin()).collect::<Vec<_>>())
    };
    let sizes = |w: &Weight| w.ty.shape.iter().map(|n| n.known().unwrap() as usize).collect::<Vec<_>>();
    let mut given: Named = c.program.weights.iter().map(|w| (w.name.clone(), some(&sizes(w)))).collect();
    given.insert("x".into(), some(&[5, 3]));
    run(c, "grad", &HostState { step, ..HostState::default() }, &given)["loss"].data[0]
}

#[test]
fn a_glob_says_which_modules_are_evaluated() {
    let n = |of: &[&str]| of.iter().map(|m| format!("{m}n.running_mean")).collect::<Vec<_>>();
    let all = ["layers.0.", "layers.1.", "layers.2.", "layers.3.", ""];
    for (rules, expected, random) in [
        ("", &all[..], true),
        ("evaluate \"**.n\"", &[], true),
        ("evaluate \"n\"", &all[..4], true),
        ("evaluate \"layers\"", &all[4..], true),
        ("evaluate \"layers.{1,2}\"", &[all[0], all[3], all[4]], true),
        ("evaluate \"layers.1\", \"layers.2.n\"", &[all[0], all[3], all[4]], true),
        ("evaluate \"layers.*.fc\"", &all[..], true),
        ("evaluate \"layers\" evaluate \"layers.3\" evaluate \"n\" if 1 < 0", &all[4..], true),
        ("evaluate \"**\"", &[], false),
    ] {
        let c = compiled(&stack(rules));
        let mut means = updated(&c);
        means.retain(|name| name.ends_with("running_mean"));
        means.sort_by_key(|name| (name.starts_with("n."), name.clone()));
        assert_eq!(means, n(expected), "{rules}");
        assert_eq!(loss(&c, 0) != loss(&c, 1), random, "{rules}");
    }
}

#[test]
fn mistakes_are_told() {
    let told = |rules: &str| mistakes(&stack(rules), &mut Columns(Vec::new()));
    assert_eq!(
        told("evaluate \"layer.*.n\""),
        ["E0501 7:92 `\"layer.*.n\"`: this `evaluate` matches no module | help: near it: layers.*.n (4 modules)"]
    );
    assert_eq!(
        told("evaluate \"n\", \"**.n.weight\""),
        [
            "E0501 7:97 `\"**.n.weight\"`: this `evaluate` matches no module | help: it names weights, and not what holds them"
        ]
    );
    assert_eq!(
        told("evaluate \"n\" { p = 0 }"),
        ["E0505 7:83 `evaluate`: `evaluate` takes globs and not entries of its own"]
    );
}

/// The states that a plan says to be read by nothing but what makes their own next values.
fn unread(text: &str, goal: Goal) -> Vec<String> {
    let done = compile(text, goal, &[], &mut Columns(Vec::new()), &mut |_, _| {});
    let plan = done.unwrap_or_else(|f| panic!("{}", shown(&f).join("\n"))).plan;
    plan.weights.into_iter().filter(|w| w.unread).map(|w| w.name).collect()
}

#[test]
fn states_that_no_answer_is_made_of_are_known() {
    let run = Goal::Run { model: None, training: false };
    let train = Goal::Train { item: None };
    let counters =
        ["layers.0", "layers.1", "layers.2", "layers.3"].map(|layer| format!("{layer}.n.num_batches_tracked"));
    let expected: Vec<String> = counters.into_iter().chain(["n.num_batches_tracked".to_owned()]).collect();
    for goal in [run, train] {
        assert_eq!(unread(&stack(""), goal), expected);
    }
    // Statistics that only a training reads, and those that only what is not read is made of.
    let text = "block Kept()(x: [B, D]) -> [B, D] {
           seen: state f32[] = 0
           twice: state f32[] = 0
           scale: state f32[] = 1
           y = x
           if training {
             seen <- seen + 1
             twice <- twice + 2 * seen
             scale <- 0.9 * scale + 0.1
             y = x * scale
           }
           return y
         }
         model M()(x: [B, 3]) -> total: f32[] {
           w: param [3] = ones
           return sum((x * w) -> a: Kept())
         }
         train t { model = M() loss = total optimizer = SGD(lr = 0) max_steps = 1 }";
    assert_eq!(unread(text, run), ["a.seen", "a.twice", "a.scale"]);
    assert_eq!(unread(text, train), ["a.seen", "a.twice"]);
    // What a loop carries is made of all that any iteration read.
    let carried = text
        .replace("(x * w) -> a: Kept()", "h")
        .replace("return sum", "h = x * w repeat 2 as i { h = h -> l.{i}: Kept() }\n return sum");
    assert_eq!(unread(&carried, train), ["l.0.seen", "l.0.twice", "l.1.seen", "l.1.twice"]);
    let passed_on = carried.replace("y = x * scale", "y = x * scale + seen");
    assert_eq!(unread(&passed_on, train), ["l.0.twice", "l.1.twice"]);
}
