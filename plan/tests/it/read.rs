//! Texts of plans.

use dlc_plan::Plan;
const TEXT: &str = "
        sizes B, \"length of x\"
        weights
          \"odd \\\"name\\\"\" = h.*.other: f16[3, 4] in frozen at 16
        states m
          m of \"odd \\\"name\\\"\": [4] at 0

        entry forward
          in x: i64[B, floor((B + 3) / (4))] below 7 or -100 = b0
          require <=([B], 1e300) else \"at most\\n\\\"much\\\"\"
          repeat 2 downwards  // layers.*
            kernel 0 b0 f32(row0(inf, -0.5)) i32(seed_low()) [B, 2] rows B sum i32 [1] b0 by b1 for each segment
          order.down of B rows of 5 from b0 to b1 [2]
          b0: i32[B * \"length of x\" - 2] arena 0..2
          b1: u8[5] b0, slot (i0 + 1) % 2 of 3 * B  // a // b

        kernels
          kernel rows($0) cols($1, 3) bufs(b0: mut i32) uniforms(u0: f32, u1: i32) extents 2: row 2, sweep 4 fold0 sum i32 over all
";

#[test]
fn a_text_that_was_read_is_written_the_same() {
    let plan: Plan = TEXT.parse().unwrap_or_else(|wrong| panic!("{wrong}"));
    let written = plan.outline().to_string();
    let lines = |text: &str| text.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>();
    assert_eq!(lines(&written)[..], lines(TEXT)[1..]);
    assert_eq!(written.parse().as_ref(), Ok(&plan));
    assert_eq!(plan.weights[0].name, "odd \"name\"");
    assert_eq!(plan.entries[0].guards[0].message, "at most\n\"much\"");
    assert_eq!(plan.entries[0].inputs[0].shape[1].eval(&[6, 0]), 2);
    assert_eq!(plan.entries[0].buffers[1].note, "a // b");
}

/// Each piece of the text taken away or put twice: never a panic, and what is read is read the same again.
#[test]
fn damaged_texts_are_refused_or_read() {
    let pieces: Vec<&str> = TEXT.split_inclusive([' ', '(', '[', ',']).collect();
    let mut refused = 0;
    for at in 0..pieces.len() {
        for times in [0, 2] {
            let damaged: String =
                pieces.iter().enumerate().map(|(i, piece)| piece.repeat(if i == at { times } else { 1 })).collect();
            match damaged.parse::<Plan>() {
                Ok(plan) => assert_eq!(plan.outline().to_string().parse().as_ref(), Ok(&plan), "{damaged}"),
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > pieces.len(), "{refused} of {}", 2 * pieces.len());
}

#[test]
fn what_is_wrong_is_told() {
    let wrong = |from: &str, to: &str| TEXT.replace(from, to).parse::<Plan>().expect_err(to).to_string();
    assert_eq!(
        wrong("repeat 2", "repat 2"),
        "line 11 of the plan: a step is expected, and not `repat 2 downwards  // layers.*`"
    );
    assert_eq!(
        wrong("[B, 2]", "[C, 2]"),
        "line 12 of the plan: a size is expected, and not `C, 2] rows B sum i32 [1] b0 by b1 for ea`"
    );
    assert_eq!(wrong("weights", "wights"), "line 18 of the plan: it has no `weights`");
    assert_eq!(
        wrong("m of", "n of"),
        "line 6 of the plan: a state is expected, and not ` of \"odd \\\"name\\\"\": [4] at 0`"
    );
}

/// Sizes and weights may be called like numbers, buffers and words of the text.
#[test]
fn names_are_told_from_all_else() {
    use dlc_plan::plan::{Entry, Gemm, Matrix, Port, Product, Step, Weight};
    use dlc_plan::{DType, Size};
    let names = ["0.lora.rank", "b3", "x", "over", "a b", "-", "", "é", "\"#\\", "floor", "rows", "b", "in", "//", "B"];
    let dims: Vec<String> = names.iter().map(|name| name.to_string()).collect();
    let of = |n: usize| Size::dim((n % names.len()) as u16);
    let sum = |n: usize| of(n).plus(&of(n + 1).times(&of(n + 2))).minus(&of(n + 3)).plus(&Size::from(-7));
    let matrix = |n: usize| Matrix {
        buf: 0,
        offset: sum(n),
        row: sum(n + 1),
        col: of(n + 2),
        rows: vec![(of(n), sum(n))],
        cols: vec![],
        batch: vec![of(n + 3)],
    };
    let gemm = |n: usize| {
        let product = |k: usize| Product { k: sum(k), a: matrix(k), b: matrix(k + 1) };
        let terms = vec![product(n), product(n + 1)];
        let note = "+ b1[2] // 3".into();
        let (c, batch) = (matrix(n), vec![of(n)]);
        Step::Gemm(Box::new(Gemm { m: of(n), n: sum(n), terms, c, batch, accumulate: true, then: None, note }))
    };
    let (weights, inputs) = dims
        .iter()
        .map(|name| {
            let (dtype, store) = (DType::F32, dlc_plan::plan::Store::Frozen);
            let weight = Weight {
                name: name.clone(),
                aliases: vec![name.clone()],
                shape: vec![],
                dtype,
                store,
                offset: 0,
                unread: store == dlc_plan::plan::Store::Frozen,
            };
            (weight, Port { name: name.clone(), dtype, shape: vec![sum(2)], buffer: 0, limit: None, default: None })
        })
        .unzip();
    let entry = Entry { name: "e".into(), inputs, steps: (0..names.len()).map(gemm).collect(), ..Entry::default() };
    let plan = Plan { states: dims.clone(), dims, weights, entries: vec![entry], ..Plan::default() };
    let text = plan.outline().to_string();
    assert_eq!(text.parse().as_ref(), Ok(&plan), "{text}");
}
