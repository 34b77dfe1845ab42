//! Specs that ask for too much are told what of: steps, values, elements, axes. What is long but plain takes time in
//! proportion to its length.

use crate::support::spec::{Columns, compile, shown};
use dlc_compiler::pipeline::{Goal, Request, check};
use std::time::Instant;

/// What is wrong with a text, a line each.
fn found(text: &str) -> Vec<String> {
    let goal = Goal::Run { model: None, training: false };
    shown(&check(&Request { name: "spec.dl", text, sets: &[], goal }, &mut Columns(Vec::new())))
}

#[test]
fn calls_and_loops_that_multiply_are_told_what_grew() {
    let call = |outer: usize| format!("fn d{outer}(x) = {}x{}\n", format!("d{}(", outer - 1).repeat(8), ")".repeat(8));
    let calls: String = (1..7).map(call).collect();
    let bomb = format!("fn d0(x) = x + x\n{calls}model M()(x: [B, 4]) {{ return d6(x) }}");
    let [said] = &found(&bomb)[..] else { panic!("{:?}", found(&bomb)) };
    assert!(said.starts_with("E0117 2:"), "{said}");
    assert!(said.contains("this spec takes more than 1000000 steps to work through"), "{said}");
    assert!(said.contains(" | `d0` is called 1") && said.contains(" | `d1` is called 1"), "{said}");
    assert!(said.contains("DLC_LIMIT_STEPS"), "{said}");

    let loops = "model M()(x: [B, 4]) { repeat 10000 as i {\n repeat 10000 as j { x = x + i * j }\n }\n return x }";
    let [said] = &found(loops)[..] else { panic!("{:?}", found(loops)) };
    assert!(said.starts_with("E0117 2:"), "{said}");
    assert!(said.contains(" | the `repeat` at 2:20 runs "), "{said}");

    let outer = |n: usize| {
        format!(
            "block D{n}()(x) {{\n{}return x\n}}\n",
            (0..8).map(|i| format!("x = x -> l{i}: D{}()\n", n - 1)).collect::<String>()
        )
    };
    let layers: String = (1..9).map(outer).collect();
    let text =
        format!("block D0()(x) {{ return x -> l: Linear(4) }}\n{layers}model M()(x: [B, 4]) {{ return x -> d: D8() }}");
    let [said] = &found(&text)[..] else { panic!("{:?}", found(&text)) };
    assert!(said.starts_with("E0117 ") && said.contains("takes more than 1000000 steps"), "{said}");

    // Iterations that are alike are one, however often they run.
    let alike = "model M()(x: [B, 4]) { repeat 1000 { repeat 1000 { x = x + 1 } } return x }";
    assert!(found(alike).is_empty(), "{:?}", found(alike));
}

#[test]
fn values_that_double_have_an_end() {
    let lists = "model M()(x: [B, 4]) { l = [x, x] repeat 60 { l = [l, l] } return l[0][0] }";
    let layers = "block S(a = none, b = none)(x) { return x }
model M()(x: [B, 4]) { s = S repeat 60 { s = S(s, s) } return x -> c: s }";
    for text in [lists, layers] {
        let [said] = &found(text)[..] else { panic!("{:?}", found(text)) };
        assert!(said.starts_with("E0117 ") && said.ends_with("this is made of more than 65536 values"), "{said}");
    }
}

#[test]
fn sizes_that_no_tensor_can_have_are_mistakes() {
    let long = "an axis of 4000000000 is longer than 2147483647";
    let cases = [
        ("x: [B, 4000000000]", "return sum[-1](x)", "4000000000", long),
        ("x: [B, T]", "return pad[1](x, 0, 4000000000)", "4000000000", long),
        ("x: [B, 3]", "return x -> l: Linear(4000000000)", "4000000000", long),
        ("x: [B, 3]", "return iota(4000000000)", "4000000000", long),
        (
            "x: [B, 4]",
            "repeat 70 { x = concat[1](x, x) } return x",
            "concat[1](x, x)",
            "an axis of 2147483648 is longer than 2147483647, in [B, 2147483648]",
        ),
        (
            "x: [B, 4]",
            "repeat 70 { x = concat[0](x, x) } return x",
            "concat[0](x, x)",
            "an axis of 2147483648 * B is longer than 2147483647, in [2147483648 * B, 4]",
        ),
        (
            "x: [B, 4]",
            "n = 2000000000 return x[:, 0] -> [B => B, n, n]",
            "[B => B, n, n]",
            "[B, 2000000000, 2000000000] has more than 9007199254740992 elements",
        ),
        (
            "x: [B, T]",
            "return x[:, ::4000000000]",
            "::4000000000",
            "a slice's step is from 1 to 2147483647, got 4000000000",
        ),
        (
            "x: [B, 4]",
            "z[b] = sum[i < 1](x[b, i * 4000000000]) return z",
            "i * 4000000000",
            "`i * 4000000000` goes on in steps of 4000000000, longer than any axis",
        ),
        (
            "x: [B, 4]",
            "repeat 70 { x = stack[0](x) } return x",
            "stack[0](x)",
            "this has 65 axes, and a tensor has at most 64",
        ),
        ("x: [B, 4]", "return x[:, -1:-3]", "-1:-3", "this slice of 4 begins at 3 and ends at 1"),
        ("x: [B, 4]", "l = [1, 2] repeat 3 as i { repeat l[i] { x = x + 1 } } return x", "i", "there is no element 2"),
        ("x: [B, 4]", "l = [1, -1] repeat 2 as i { repeat l[i] { x = x + 1 } } return x", "l[i]", "got -1"),
    ];
    for (input, body, place, message) in cases {
        let text = format!("model M()({input}) {{ {body} }}");
        let said = found(&text);
        let [said] = &said[..] else { panic!("{text}\n{said:?}") };
        assert!(said.contains(message), "{text}\n{said}");
        assert!(said.contains(&format!("`{place}`: ")), "{text}\n{said}");
    }
}

/// Twice as many iterations that differ take about twice the time, not four times.
#[test]
fn a_repeat_takes_time_in_proportion_to_its_iterations() {
    let text = |n: usize| {
        format!(
            "model M()(x: [B, 8]) {{ y = x
  repeat {n} as i {{ x = x * i  y = y + x -> l.{{i}}: Linear(8 + i) -> m.{{i}}: Linear(8) }}
  return y }}"
        )
        .replace("y + x ->", "y + (x ->")
        .replace("m.{i}: Linear(8) }", "m.{i}: Linear(8)) }")
    };
    let time = |n: usize| {
        let start = Instant::now();
        let goal = Goal::Run { model: None, training: false };
        let said = check(&Request { name: "spec.dl", text: &text(n), sets: &[], goal }, &mut Columns(Vec::new()));
        assert!(shown(&said).is_empty(), "{:?}", shown(&said));
        start.elapsed().as_secs_f64()
    };
    // What else the machine does adds to a time and takes nothing away.
    let least = |n: usize| (0..3).map(|_| time(n)).fold(f64::INFINITY, f64::min);
    let (short, long) = (least(60), least(480));
    assert!(long < 20.0 * short, "60 iterations take {short:.3} s, 480 take {long:.3} s");
}

#[test]
fn a_loop_that_fails_late_fails_for_what_is_after_it_too() {
    let text = "model M(depths = [2, -1])(x: [B, 4]) -> y: [B, 4] {
  n = 0
  repeat 2 as s { repeat depths[s] as b { x = x -> l.{n}: Linear(4)  n = n + 1 } }
  return x
}";
    let goal = Goal::Run { model: None, training: false };
    let failed = compile(text, goal, &[], &mut Columns(Vec::new()), &mut |_, _| {}).unwrap_err();
    assert_eq!(shown(&failed), ["E0111 3:26 `depths[s]`: a `repeat` has 0 to 10000 iterations, got -1"]);
    // A state that an iteration before the failing one has changed.
    let text = "block C()(x: [B, D]) { n: state f32[] = 0  n <- n + 1  return x }
model M()(x: [B, 4]) { c: C  repeat 3 as i { x = c(x)  y = [1, 2][i] } return x }";
    let said = found(text);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("there is no element 2 in a list of 2"), "{said:?}");
}
