//! Weights that a loop takes from iteration to iteration are one parameter: nothing grows with how often it runs, and what
//! they compute and learn is what they do by themselves, however else they are used and whatever part of them is trained.

use super::lower::{Named, close, run};
use super::support::spec::{self, Columns};
use dlc_compiler::pipeline::{Compiled, Goal};
use dlc_compiler::program::Op;
use dlc_compiler::program::interp::Tensor;
use dlc_plan::plan::Step;
use dlc_plan::{DType, HostState};

const HEAD: &str = "block Layer(D)(x: [B, D]) -> [B, D] { return x + tanh(x -> fc: Linear(D)) }
data d { source = safetensors(\"x\")  split { train = 1 }  columns { x = x }  batch = 4 }\n";

/// A training of a model's body, by the mean square of its output.
fn training(body: &str, rules: &str) -> Compiled {
    training_by(body, "mean(y * y)", rules)
}

fn training_by(body: &str, loss: &str, rules: &str) -> Compiled {
    let model = format!("model M(D = 5)(x: [B, D]) -> y: [B, D] {{ {body} return x }}");
    let train =
        format!("train t {{ model = M()  data = d  loss = {loss}  optimizer = SGD(lr = 1)  epochs = 1  {rules} }}");
    let mut columns = Columns(vec![("x", DType::F32, vec![5])]);
    spec::compile(&format!("{HEAD}{model}\n{train}"), Goal::Train { item: None }, &[], &mut columns, &mut |_, _| {})
        .unwrap_or_else(|f| panic!("{}", spec::shown(&f).join("\n")))
}

/// Numbers for all weights and a batch, which depend on nothing but names.
fn numbers(c: &Compiled) -> Named {
    let fill = |name: &str, shape: Vec<usize>| {
        let seed: usize = name.bytes().fold(7, |h, b| (h * 31 + usize::from(b)) % 1009);
        let count = shape.iter().product();
        let data: Vec<f64> = (0..count).map(|i| ((i * 37 + seed) % 101) as f64 / 101.0 - 0.5).collect();
        Tensor::new(shape, data)
    };
    let weights = c.program.weights.iter().map(|w| {
        let shape = w.ty.shape.iter().map(|s| s.known().unwrap() as usize).collect();
        (w.name.clone(), fill(&w.name, shape))
    });
    weights.chain([("x".to_string(), fill("x", vec![4, 5]))]).collect()
}

/// The loss and the gradients, by the interpreter; machine code gives the same.
fn gradients(c: &Compiled) -> Named {
    let given = numbers(c);
    let found = run(c, "grad", &HostState::default(), &given);
    #[cfg(feature = "jit")]
    {
        use dlc_runtime::tensor::Tensor as Given;
        let single = |t: &Tensor| Given::from_f32(t.shape.clone(), t.data.iter().map(|x| *x as f32).collect()).unwrap();
        let mut engine = super::machine::engine(&c.plan, 2);
        for w in &c.program.weights {
            engine.stores_mut().set_weight(&w.name, &single(&given[&w.name])).unwrap();
        }
        let x = single(&given["x"]);
        for (name, t) in engine.run("grad", &HostState::default(), &[("x", &x)]).unwrap() {
            let t = Tensor::new(t.shape().to_vec(), t.to_f32_vec().iter().map(|x| f64::from(*x)).collect::<Vec<_>>());
            close(&name, &t, &found[&name], 1e-5);
        }
    }
    found
}

/// Two trainings have the same loss, and the same gradients of what both train.
#[track_caller]
fn same(a: &Compiled, b: &Compiled) {
    let (a, b) = (gradients(a), gradients(b));
    let both: Vec<&String> = a.keys().filter(|name| b.contains_key(*name)).collect();
    assert!(both.len() > 1, "{both:?}");
    for name in both {
        close(name, &a[name], &b[name], 1e-12);
    }
}

/// Six layers, not in a loop.
fn flat() -> String {
    (0..6).map(|i| format!("x = x -> l.{i}: Layer(D) ")).collect()
}

const LOOP: &str = "repeat 6 as i { x = x -> l.{i}: Layer(D) }";

#[test]
fn a_loop_of_many_layers_takes_as_many_parameters_as_one_of_few() {
    let sizes = |layers: usize| {
        let layers = layers.to_string();
        let c = spec::train("tests/specs/deep.dl", &[("Deep.L", &layers)]);
        let nodes: usize = c.program.functions.iter().map(|f| f.nodes.len()).sum();
        let taken: Vec<usize> = c.program.entries.iter().map(|e| e.inputs.len()).collect();
        let steps = |name: &str| {
            let entry = c.plan.entries.iter().find(|e| e.name == name).unwrap();
            (entry.buffers.len(), entry.steps.len())
        };
        (nodes, taken, steps("forward"), steps("accumulate"), steps("update"), steps("init"), c.plan.kernels.len())
    };
    let (few, many) = (sizes(4), sizes(64));
    // Gradients by name are one result for each weight.
    assert!(few.0 < many.0 && many.0 < few.0 + 4 * 60 * 6, "{} nodes, {} nodes", few.0, many.0);
    assert_eq!((few.1, few.2, few.3, few.4, few.5, few.6), (many.1, many.2, many.3, many.4, many.5, many.6));
}

#[test]
fn weights_of_a_loop_learn_what_they_do_by_themselves() {
    same(&training(LOOP, ""), &training(&flat(), ""));
}

#[test]
fn a_weight_of_a_loop_is_read_elsewhere_too() {
    let loss = "mean(y * y) + sum(tensor(\"l.2.fc.weight\") ^ 2) + sum(tensor(\"l.4.fc.bias\"))";
    same(&training_by(LOOP, loss, ""), &training_by(&flat(), loss, ""));
}

#[test]
fn weights_of_a_loop_are_used_again_in_another_order() {
    let layers: String = ["a", "b", "c"].iter().map(|name| format!("{name}: Layer(D) ")).collect();
    let looped = "repeat [a, b, c] as l { x = x -> l } repeat [c, a, b] as l { x = x -> l } repeat [a, b, c] as l { x = x -> l }";
    let flat = "x = x -> a -> b -> c -> c -> a -> b -> a -> b -> c";
    same(&training(&format!("{layers}{looped}"), ""), &training(&format!("{layers}{flat}"), ""));
}

#[test]
fn loops_in_loops_take_stacks_of_stacks() {
    let nested = "repeat 2 as i { repeat 3 as j { x = x -> l.{i}.{j}: Layer(D) } x = x * 0.5 }";
    let step = |i: usize| {
        let inner: String = (0..3).map(|j| format!("x = x -> l.{i}.{j}: Layer(D) ")).collect();
        format!("{inner} x = x * 0.5 ")
    };
    same(&training(nested, ""), &training(&format!("{}{}", step(0), step(1)), ""));
    for rules in ["freeze \"l.0\"", "freeze \"l.*.1\""] {
        same(&training(nested, rules), &training(nested, ""));
    }
}

#[test]
fn layers_below_all_that_is_trained_are_not_differentiated() {
    let (some, all) = (training(LOOP, "freeze \"l.{0,1,2,3}\""), training(LOOP, ""));
    same(&some, &all);
    // Two loops forward, of which the second alone goes back.
    let loops = |c: &Compiled| {
        let steps = &c.plan.entries.iter().find(|e| e.name == "accumulate").unwrap().steps;
        let count = |s: &Step| if let Step::Repeat(r) = s { Some((r.count, r.reverse)) } else { None };
        steps.iter().filter_map(count).collect::<Vec<_>>()
    };
    assert_eq!(loops(&all), [(6, false), (6, true)]);
    assert_eq!(loops(&some), [(4, false), (2, false), (2, true)]);
}

#[test]
fn any_part_of_a_loop_is_trained() {
    for frozen in ["l.0", "l.5", "l.{1,2}", "l.{0,2,4}", "l.*.fc.bias", "l.{0,1}.fc.weight"] {
        let c = training(LOOP, &format!("freeze \"{frozen}\""));
        assert_eq!(c.program.arena(), c.program.segments().1, "{frozen}");
        same(&c, &training(&flat(), ""));
    }
    let c = training(LOOP, "freeze \"l.3\"");
    let stacks = |op: &Op| matches!(op, Op::Concat(_));
    let gathered = c.program.functions.iter().flat_map(|f| &f.nodes).filter(|n| stacks(&n.op)).count();
    assert_eq!(gathered, 0, "nothing is put together for a step");
}
