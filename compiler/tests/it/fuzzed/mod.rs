//! Random valid specs through the whole pipeline, for a few seconds: `DLC_FUZZ=1000` tries so many, `DLC_FUZZ_SEED=7` begins
//! with that one. The fuzz target `pipeline` is the same without an end.

pub mod dice;
pub mod judge;
pub mod mutate;
pub mod noise;
pub mod run;
pub mod shrink;
pub mod spec;
pub mod write;

use dice::Dice;
use spec::Spec;
use write::ALLOWED;

/// Sizes of the batch and of the length: none, one, below the constants of specs, around a row of lanes, many rows.
pub const SIZES: [[i64; 2]; 16] = [
    [2, 3],
    [0, 2],
    [1, 1],
    [2, 0],
    [3, 5],
    [15, 2],
    [16, 1],
    [17, 3],
    [1, 16],
    [2, 15],
    [1, 17],
    [0, 0],
    [5, 2],
    [257, 1],
    [1, 257],
    [4, 16],
];

/// A run is to compute no more elements than these, but for one in six.
const WORK: i64 = 3000;

/// The spec of a seed, and the sizes that it is tried on.
pub fn of(dice: &mut Dice) -> (Spec, Vec<[i64; 2]>) {
    let spec = write::spec(dice, ALLOWED);
    let most = if dice.one_in(6) { 8 * WORK } else { WORK };
    let fits: Vec<[i64; 2]> = SIZES.into_iter().filter(|sizes| spec.work(*sizes) <= most).collect();
    let sizes = (0..2).map(|_| if fits.is_empty() { SIZES[2] } else { dice.pick(&fits) }).collect();
    (spec, sizes)
}

#[cfg(test)]
mod tests {
    use super::judge::{Count, judge, judge_text};
    use super::mutate::{checked, mutated, settings};
    use super::shrink::shrunk;
    use super::*;
    use dlc_compiler::lower::with_sets;
    use std::panic::{UnwindSafe, catch_unwind};

    fn number(name: &str, or: u64) -> u64 {
        std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(or)
    }

    /// What is wrong, a panic too.
    fn caught<T>(run: impl FnOnce() -> Result<T, String> + UnwindSafe) -> Result<T, String> {
        let panic = |e: Box<dyn std::any::Any + Send>| {
            let text = e.downcast_ref::<String>().cloned();
            text.or(e.downcast_ref::<&str>().map(|s| s.to_string())).unwrap_or_default()
        };
        catch_unwind(run).unwrap_or_else(|e| Err(format!("panic: {}", panic(e))))
    }

    /// Tries seeds; `DLC_FUZZ_ALL` says to print what is wrong and go on.
    fn each(count: u64, mut one: impl FnMut(u64) -> Result<(), String>) {
        let first = number("DLC_FUZZ_SEED", 0);
        for seed in first..first + number("DLC_FUZZ", count) {
            match one(seed) {
                Ok(()) => {}
                Err(why) if std::env::var("DLC_FUZZ_ALL").is_ok() => println!("=== seed {seed}: {why}"),
                Err(why) => panic!("seed {seed}: {why}"),
            }
        }
    }

    #[test]
    fn random_specs_hold() {
        let mut sum = Count::default();
        each(40, |seed| {
            let (spec, sizes) = of(&mut Dice::seeded(seed));
            let count = caught(|| judge(&spec, &sizes, seed)).map_err(|why| smallest(&spec, &sizes, seed, why))?;
            sum.add(count);
            Ok(())
        });
        // Most runs are compared, and some losses are smooth enough to have slopes.
        assert!(sum.compared > 3 * sum.unsound && sum.compared > 3 * sum.refused && sum.slopes > 5, "{sum:?}");
    }

    /// What is wrong with the smallest part of a spec that has it.
    fn smallest(spec: &Spec, sizes: &[[i64; 2]], seed: u64, why: String) -> String {
        let (spec, why) = shrunk(spec, why, &|spec| caught(|| judge(spec, sizes, seed)).err());
        format!("{why}\nsizes {sizes:?}\n{}", spec.text())
    }

    /// What was found once, in its smallest form, and the sizes at which it showed.
    const FOUND: [(&str, [i64; 2]); 5] = [
        // The gradient of the mean is a scalar that a copy reads by its place in memory, where it was not stored.
        (
            "model M()(x: [B, T, 8, 5]) -> y: [B, 1, 8, 5] {
  w: param [5] = uniform(0.5, 1.5)
  y, at = top_k[3](mean[1, keep](x * w), 5)
  return y
}
train fit { model = M()  loss = mean(0.5 * y)  optimizer = SGD(lr = 0.1)  epochs = 1 }",
            [2, 3],
        ),
        // A fold that is written out reads the padding at a place before the weight.
        (
            "model M()(x: [B, 5, 2]) -> y: [B, 5, 3] {
  w: param [2] = uniform(0.5, 1.5)
  return pad[2](x * w, 1, 0)
}
train fit { model = M()  loss = soft_cross_entropy(y, softmax(0.5 * y))  optimizer = SGD(lr = 0.1)  epochs = 1 }",
            [4, 1],
        ),
        // No rows are sorted: nothing is gathered of nothing.
        (
            "model M()(x: [B], ids: i64[B]) -> (y: [B], at: i64[B], k: i64[B]) {
  w: param [1] = uniform(0.5, 1.5)
  y, at = sort[0](x * w)
  k, places = sort[0](ids, true)
  return y, at, k
}
train fit { model = M()  loss = sum(y)  optimizer = SGD(lr = 0.1)  epochs = 1 }",
            [0, 1],
        ),
        (
            "model M()(x: [B, 4]) -> (y: [B, 1], at: i64[B, 1]) {
  w: param [4] = uniform(0.5, 1.5)
  y, at = top_k[1](x * w, 1)
  return y, at
}
train fit { model = M()  loss = sum(y)  optimizer = SGD(lr = 0.1)  epochs = 1 }",
            [0, 1],
        ),
        // The place of the greatest of none.
        (
            "model M()(x: [B, 3]) -> (y: [B, 3], at: i64[3], row: i64[B]) {
  w: param [3] = uniform(0.5, 1.5)
  y = x * w
  return y, argmax[0](y) * 2, argmax[1](y[:, :0])
}
train fit { model = M()  loss = sum(y)  optimizer = SGD(lr = 0.1)  epochs = 1 }",
            [0, 1],
        ),
    ];

    #[test]
    fn what_was_found_stays_right() {
        for (text, sizes) in FOUND {
            if let Err(why) = judge_text(text, &[sizes], 1, &run::by_ports) {
                panic!("{why}\n{text}");
            }
        }
    }

    #[test]
    fn what_is_wrong_is_shrunk_to_what_matters() {
        let (spec, _) = of(&mut Dice::seeded(5));
        let has = |spec: &Spec| spec.text().contains("tanh").then(|| "it has it".to_string());
        let wide = (0..200).map(|seed| of(&mut Dice::seeded(seed)).0).find(|s| has(s).is_some() && s.stmts.len() > 8);
        let wide = wide.unwrap_or(spec);
        let (small, _) = shrunk(&wide, "it has it".into(), &has);
        assert!(has(&small).is_some() && small.stmts.len() < 5, "{}", small.text());
    }

    #[test]
    fn specs_that_are_almost_valid_are_refused_without_a_panic() {
        each(150, |seed| {
            let mut dice = Dice::seeded(seed);
            let text = mutated(&write::spec(&mut dice, ALLOWED).text(), &mut dice);
            let fine = caught(|| judge::printed(&text).and_then(|()| checked(&text, &[])));
            fine.map_err(|why| format!("{why}\n{text}"))
        });
    }

    #[test]
    fn settings_of_any_sort_are_set_or_refused() {
        let text = crate::support::spec::text("fuzz/settings.dl");
        each(40, |seed| {
            let sets = settings(&mut Dice::seeded(seed));
            let set = || {
                checked(&text, &sets)?;
                // What can be set can be written as well, and is then as sound.
                with_sets(&text, &sets).map_or(Ok(()), |written| checked(&written, &[]))
            };
            caught(set).map_err(|why| format!("{why}\n{sets:?}"))
        });
    }

    #[test]
    fn a_seed_says_all_of_a_spec() {
        let text = |seed| of(&mut Dice::seeded(seed)).0.text();
        assert!((0..20).all(|seed| text(seed) == text(seed) && text(seed) != text(seed + 1)));
        // Every spec gives something, and bytes that are spent end it.
        assert!((0..300).all(|seed| !of(&mut Dice::seeded(seed)).0.outputs.is_empty()));
        let zeros_but_one = |at: usize| (0..35).map(|k| if k == at { 0x46 } else { 0 }).collect::<Vec<u8>>();
        assert!((0..35).all(|at| !of(&mut Dice::of(&zeros_but_one(at))).0.outputs.is_empty()));
        assert!(of(&mut Dice::of(&[])).0.text().lines().count() < 20);
    }
}
