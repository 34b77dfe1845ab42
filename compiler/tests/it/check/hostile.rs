//! No text makes the checker panic, run away or exhaust its stack.

use super::check;
use crate::support::random::Dice;
use dlc_compiler::program::verify::verify;

macro_rules! specs {
    ($($name:literal),*) => {
        [$(include_str!(concat!("../../../../grammar/tests/specs/", $name, ".dl"))),*]
    };
}

/// Words, numbers and marks of a text.
fn tokens(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let word = |c: char| c.is_alphanumeric() || c == '_';
        let len = match word(c) {
            true => rest.find(|c| !word(c)).unwrap_or(rest.len()),
            false => c.len_utf8(),
        };
        found.push(&rest[..len]);
        rest = &rest[len..];
    }
    found
}

#[test]
fn texts_with_slips_are_told_about_or_mean_something() {
    let specs = specs!("digits", "distilbert", "gpt2", "llama2", "palm", "resnet20", "minilm", "std", "edge");
    let mut dice = Dice(11);
    let mut pick = |n: usize| ((dice.real() + 4.0) * 1e6) as usize % n;
    for round in 0..ROUNDS {
        let text = specs[round % specs.len()];
        // The models alone: data and trainings are other stages'.
        let text = text.split("\nweights ").next().unwrap().split("\ndata ").next().unwrap();
        let mut words = tokens(text);
        for _ in 0..1 + pick(3) {
            let (i, j) = (pick(words.len()), pick(words.len()));
            match pick(4) {
                0 => drop(words.remove(i)),
                1 => words.swap(i, j),
                2 => words[i] = words[j],
                _ => words.insert(i, words[j]),
            }
        }
        let text = words.concat();
        let checked = check(&text);
        let failed = checked.checker.failed();
        assert!(failed || !checked.models.is_empty() || !text.contains("\nmodel"), "{text}");
        if let Err(e) = verify(&checked.checker.program) {
            panic!("{e}\n{text}");
        }
    }
}

const ROUNDS: usize = 80;

/// The codes of the mistakes in a text, on a thread with little stack.
fn codes(text: String) -> Vec<&'static str> {
    let work = move || check(&text).checker.diagnostics.iter().map(|d| d.code).collect();
    std::thread::Builder::new().stack_size(2 << 20).spawn(work).unwrap().join().unwrap()
}

#[test]
fn calls_that_nest_without_end() {
    let chain: String = (0..2000).map(|i| format!("fn f{}(x) = f{i}(x) + 1\n", i + 1)).collect();
    let text = format!("fn f0(x) = x\n{chain} model M(D = 4)(x: [B, D]) {{ return f2000(x) }}");
    assert_eq!(codes(text), ["E0109"]);
    let chain: String = (0..300).map(|i| format!("block N{}()(x) {{ return x -> a: N{i} }}\n", i + 1)).collect();
    let text = format!("block N0()(x) {{ return x }}\n{chain} model M(D = 4)(x: [B, D]) {{ return x -> a: N300 }}");
    assert_eq!(codes(text), ["E0109"]);
    let wrap = |n: usize| format!("{}x{}", "(".repeat(n), ")".repeat(n));
    let deep: String = (0..60).map(|i| format!("fn g{}(x) = g{i}({})\n", i + 1, wrap(60))).collect();
    let text = format!("fn g0(x) = x\n{deep} model M(D = 4)(x: [B, D]) {{ return g60(x) }}");
    assert!(codes(text).iter().all(|c| *c == "E0109"));
    let sums = |n: usize| format!("x{}", " + 1".repeat(n));
    let wide: String = (0..60).map(|i| format!("fn h{}(x) = h{i}({})\n", i + 1, sums(200))).collect();
    let text = format!("fn h0(x) = x\n{wide} model M(D = 4)(x: [B, D]) {{ return h60(x) }}");
    assert!(codes(text).iter().all(|c| *c == "E0109"));
}

#[test]
fn recursion_is_refused() {
    assert_eq!(codes("fn f(x) = g(x) fn g(x) = f(x) model M(D = 4)(x: [B, D]) { return f(x) }".into()), ["E0109"]);
    assert_eq!(
        codes("block N()(x) { return x -> a: N } model M(D = 4)(x: [B, D]) { return x -> a: N }".into()),
        ["E0109"]
    );
    assert_eq!(codes("const A = B const B = A + 1 model M(D = A)(x: [C, D]) { return x }".into()), ["E0109"]);
}

#[test]
fn numbers_that_grow_without_end() {
    let text = "model M(D = 4)(x: [B, T, D]) {
      n = B + T
      repeat 64 { n = n * n + B }
      return x * n
    }";
    assert_eq!(codes(text.into()), ["E0311"]);
    let text = "model M(D = 4)(x: [B, T, D]) {
      n = T
      repeat 5000 { n = floor((n + 1) / 3) }
      return x * n
    }";
    assert_eq!(codes(text.into()), ["E0311"]);
    assert_eq!(codes("model M(D = 4)(x: [B, D]) { repeat 1_000_000_000 { x = x + 1 } return x }".into()), ["E0111"]);
    assert_eq!(codes("model M(D = 9_000_000_000)(x: [B, D]) { return x -> a: Linear(D * D * D) }".into()), ["E0303"]);
    assert_eq!(
        codes("model M(D = 2)(x: [B, D]) { return x * (D ^ 400) * (1 / 0) * (D % 0) }".into()),
        Vec::<&str>::new()
    );
    assert_eq!(codes("model M(D = 2)(x: [B, D]) { return x -> [B, (D, 0, K) => B, D, K] }".into()), ["E0303"]);
}

#[test]
fn shapes_that_are_out_of_hand() {
    let axes = ", none".repeat(40);
    assert_eq!(codes(format!("model M(D = 4)(x: [B, D]) {{ return x[:{axes}] }}")), ["E0311"]);
    let ones = ", 1".repeat(300);
    let text = format!("model M(D = 4)(x: [B, D]) {{ y = x -> [B, D => B, D{ones}] return y @ y.t }}");
    assert_eq!(codes(text), ["E0303"]);
    assert_eq!(
        codes("model M(D = 4)(x: [B, D]) { return x[:, 3:1] + x[:, 9] + x[:, -5] }".into()),
        ["E0311", "E0311", "E0311"]
    );
}
