//! Iterations that are not worked through again, since they do what the one before did, make the same program as iterations
//! that are: each loop here stands beside one in which its variable is asked for by more than labels.

use super::support::spec::{self, Columns};
use dlc_compiler::pipeline::Goal;
use dlc_compiler::program::print;
use dlc_plan::DType;

const BLOCKS: &str = "
block Layer(D)(x: [B, D]) -> [B, D] { return x + (x -> fc: Linear(D) -> tanh -> dropout(0.1)) }
block Deep(D)(x: [B, D]) -> [B, D] {
  repeat 3 as j { x = x -> at.{j}: Layer(D) }
  return x
}
block Counted(D)(x: [B, D]) -> [B, D] {
  seen: state [D] = zeros
  seen <- seen + 1
  return x -> fc: Linear(D)
}
data d { source = safetensors(\"x\")  split { train = 1 }  columns { x = x }  batch = 4 }
";

/// The program of a training whose model has this body, as text, or what is wrong with it.
fn program(body: &str) -> Result<String, Vec<String>> {
    let text = format!(
        "{BLOCKS} model M(D = 5)(x: [B, D]) -> y: [B, D] {{ {body} return x }}
        train t {{ model = M()  data = d  loss = mean(y * y)  optimizer = SGD(lr = 1)  epochs = 1 }}"
    );
    let mut columns = Columns(vec![("x", DType::F32, vec![5])]);
    let made = spec::compile(&text, Goal::Train { item: None }, &[], &mut columns, &mut |_, _| {});
    made.map(|c| print::program(&c.program)).map_err(|f| spec::shown(&f))
}

/// A loop's body, as it is and asking for `i`, gives one program.
#[track_caller]
fn same(before: &str, body: &str) {
    let quick = program(&format!("{before} repeat 7 as i {{ {body} }}")).unwrap_or_else(|e| panic!("{}", e.join("\n")));
    let slow = program(&format!("{before} repeat 7 as i {{ asked = i + 1 {body} }}"));
    let slow = slow.unwrap_or_else(|e| panic!("{}", e.join("\n")));
    assert_eq!(quick, slow);
}

#[test]
fn layers_with_weights_and_random_sites() {
    same("", "x = x -> l.{i}: Layer(D)");
    same("", "x = x -> l.{i}.a: Layer(D) -> l.{i}.b: Linear(D)");
    same("", "x = x -> a.{i}: Layer(D) -> b.{i}.c: Linear(D)");
    same("", "x = x -> l{i + 3}: Layer(D)");
}

#[test]
fn random_numbers_of_an_iterations_own() {
    same("", "x = x -> l.{i}: Linear(D) -> dropout(0.5)");
    same("", "x = x -> dropout(0.5) -> dropout(0.1)");
}

#[test]
fn several_values_that_change_places() {
    same("y = 2 * x", "t = x -> l.{i}: Layer(D)  x = y  y = t");
    same("y = x", "t = x + y  y = x -> l.{i}: Linear(D)  x = t");
}

#[test]
fn layers_that_are_shared_and_values_from_around() {
    same("shared: Linear(D) first = x", "x = (x -> l.{i}: Layer(D) -> shared) + first");
    same("shared: Layer(D)", "x = x -> shared -> l.{i}: Linear(D)");
}

#[test]
fn loops_in_layers_and_loops_in_loops() {
    same("", "x = x -> l.{i}: Deep(D)");
    same("", "repeat 2 as j { x = x -> l.{i}.{j}: Layer(D) }");
}

#[test]
fn states() {
    same("", "x = x -> l.{i}: Counted(D)");
}

#[test]
fn an_iteration_that_finds_other_sizes_is_worked_through() {
    let text = program("repeat 4 as i { x = concat[-1](x, x) } x = x -> out: Linear(D)").expect("a sound model");
    assert!(text.contains("[B, 80]"), "{text}");
}

#[test]
fn a_label_that_is_taken_by_a_later_iteration_is_an_error() {
    let found = program("x = x -> l.5: Layer(D) repeat 7 as i { x = x -> l.{i}: Layer(D) }").unwrap_err();
    assert!(found[0].contains("weight `l.5.fc.weight` is declared twice"), "{found:?}");
    let found = program("repeat 7 as i { x = x -> l.{i}: Layer(D) } x = x -> l.5: Layer(D)").unwrap_err();
    assert!(found[0].contains("weight `l.5.fc.weight` is declared twice"), "{found:?}");
}

#[test]
fn a_loop_variable_that_is_given_another_value() {
    let found = program("repeat 7 as i { i = 3  x = x -> l.{i}: Layer(D) }").unwrap_err();
    assert!(found[0].contains("l.3"), "{found:?}");
}
