//! The likeliest mistakes, word for word: each text marks with ‹ › the place that the message is about.

use super::check;
use dlc_grammar::Diagnostic;

/// The messages about a text, and the place that it marks.
fn told(marked: &str) -> (Vec<Diagnostic>, std::ops::Range<usize>, String) {
    let start = marked.find('‹').expect("the text marks a place");
    let end = marked.find('›').expect("the text marks its end") - '‹'.len_utf8();
    let text = marked.replace(['‹', '›'], "");
    let checked = check(&text);
    (checked.checker.diagnostics, start..end, text)
}

/// The text has one mistake: this one, there.
#[track_caller]
fn mistake(marked: &str, code: &str, message: &str, help: &str) {
    let (found, place, text) = told(marked);
    let [d] = &found[..] else { panic!("one mistake was expected: {found:#?}") };
    let span = d.span().expect("a mistake has a place").range();
    assert_eq!((d.code, d.message.as_str()), (code, message));
    assert_eq!(&text[span.clone()], &text[place.clone()], "at {span:?}");
    assert_eq!(span, place);
    let helps = d.help.iter().map(String::as_str).collect::<Vec<_>>();
    assert_eq!(helps, if help.is_empty() { vec![] } else { vec![help] });
}

#[test]
fn e0102_a_name_that_is_nothing() {
    mistake(
        "model M(D = 8)(x: [B, D]) { return x -> ‹gleu› }",
        "E0102",
        "no function or layer `gleu`",
        "did you mean `gelu`?",
    );
    mistake("model M(D = 8)(x: [B, D]) { return ‹y› }", "E0102", "nothing is called `y`", "");
}

#[test]
fn e0103_a_name_of_a_loop_is_used_after_it() {
    mistake(
        "model M(D = 8)(x: [B, D]) { repeat 2 as i { y = x } return ‹y› }",
        "E0103",
        "`y` exists only inside the `repeat`",
        "give `y` a value before it",
    );
}

#[test]
fn e0104_an_input_where_a_layer_is_configured() {
    mistake(
        "model M(D = 8)(x: [B, D]) { ln: LayerNorm(‹x›) return ln(x) }",
        "E0104",
        "the first parentheses configure a layer; `x` is an input",
        "`x -> ln: LayerNorm`",
    );
}

#[test]
fn e0105_a_setting_that_is_not_there() {
    mistake(
        "model M(D = 8)(x: [B, D]) { return x -> a: Linear(D, ‹bais› = false) }",
        "E0105",
        "`Linear` has no setting `bais`",
        "did you mean `bias`?",
    );
}

#[test]
fn e0201_a_layer_without_a_name() {
    mistake(
        "model M(D = 8)(x: [B, D]) { return x -> ‹Linear(D)› }",
        "E0201",
        "this layer has weights and no name",
        "`x -> proj: Linear(D)`",
    );
}

#[test]
fn e0202_a_name_that_is_taken() {
    mistake(
        "model M(D = 8)(x: [B, D]) { return x -> a: Linear(D) -> ‹a›: Linear(D) }",
        "E0202",
        "weight `a.weight` is declared twice (first at 1:41)",
        "rename it, or declare `a: ..` once and call it twice to share",
    );
}

#[test]
fn e0203_a_label_without_the_loop_variable() {
    mistake(
        "model M(D = 8, L = 6)(x: [B, D]) { repeat L as i { x = x -> ‹layer›: Linear(D) } return x }",
        "E0203",
        "all 6 iterations would be called `layer`",
        "`layer.{i}:`; to share weights declare it above",
    );
}

#[test]
fn e0204_a_weight_of_a_dynamic_size() {
    mistake(
        "model M()(x: [B, T]) { return x -> ‹fc›: Linear(3) }",
        "E0204",
        "`fc.weight` would be [3, T], and T is known only at run time",
        "make T a parameter (`model M(T = 128)`) or pool over T first",
    );
}

#[test]
fn e0205_a_shared_layer_with_two_sizes() {
    mistake(
        "model M()(x: [B, 4], y: [B, 5]) { f: Linear(3) return f(x) + ‹f(y)› }",
        "E0205",
        "shared `f.weight` is [3, 4] for `x` and [3, 5] for `y`",
        "two layers, or one size",
    );
}

#[test]
fn e0301_shapes_that_do_not_add_up() {
    mistake(
        "model M(D = 768, F = 3072)(x: [B, T, D]) {
           f = x -> ffn.lin1: Linear(F) -> gelu -> ffn.lin2: Linear(F)
           return ‹x + f›
         }",
        "E0301",
        "cannot add [B, T, D = 768] and [B, T, F = 3072]",
        "project back: `ffn.lin2: Linear(D)`",
    );
}

#[test]
fn e0302_inner_sizes_that_differ() {
    mistake(
        "model M(D = 768, O = 3072)(x: [B, D]) { w: param [O, D] = zeros return x ‹@› w }",
        "E0302",
        "inner sizes differ: D = 768 and O = 3072",
        "weights are [out, in]: `x @ w.t`",
    );
}

#[test]
fn e0303_a_size_that_does_not_divide() {
    mistake(
        "model M(D = 770, H = 12)(x: [B, T, D]) { return x -> [B, T, ‹(H, K)› => B, H, T, K] }",
        "E0303",
        "D = 770 is not divisible by H = 12",
        "D = 768 or 780",
    );
}

#[test]
fn e0304_a_reduction_that_dropped_an_axis() {
    mistake(
        "model M(D = 8)(x: [B, T, D]) { return x ‹-› mean[-1](x) }",
        "E0304",
        "[B, T, D] and [B, T] do not line up: the mean dropped an axis",
        "`mean[-1, keep](x)`",
    );
}

#[test]
fn e0305_a_size_from_nowhere() {
    mistake(
        "model M(D = 8)(x: [B, D]) { return x -> [B, D => B, D, ‹N›] }",
        "E0305",
        "`N` is not on the left and has no size",
        "bind it, or write the number",
    );
}

#[test]
fn e0306_an_axis_name_that_stands_twice() {
    mistake(
        "model M(H = 2)(x: [B, H, T, T]) { return x -> softmax[‹T›] }",
        "E0306",
        "two axes are called T",
        "`softmax[-1]`, or give one of them another name",
    );
}

#[test]
fn e0308_results_that_are_not_as_declared() {
    mistake(
        "model M(D = 8, C = 3)(x: [B, T, D]) -> logits: ‹[B, C]› { return x -> a: Linear(C) }",
        "E0308",
        "declared [B, C], returned [B, T, C]",
        "pool `-> mean[1]` or take one of them: `x[:, 0]`",
    );
}

#[test]
fn e0401_real_numbers_where_integers_are_wanted() {
    mistake(
        "model M(V = 10, D = 8)(x: [B, T]) { return ‹x› -> emb: Embedding(V, D) }",
        "E0401",
        "`ids` must be i64, `x` is float",
        "declare the input `x: i64[B, T]`",
    );
}

#[test]
fn e0402_integers_where_real_numbers_are_wanted() {
    mistake(
        "model M(C = 3)(logits: [B, C], label: i64[B]) { return cross_entropy(‹label›, logits) }",
        "E0402",
        "`logits` must be float, got i64[B]",
        "swap the arguments",
    );
}

#[test]
fn w0802_a_softmax_too_many() {
    mistake(
        "model M(C = 3)(x: [B, C], label: i64[B]) { return cross_entropy(‹softmax(x)›, label) }",
        "W0802",
        "cross_entropy takes logits; this is already a softmax",
        "drop the softmax",
    );
}

#[test]
fn e0309_an_index_of_two_sizes() {
    mistake(
        "model M(D = 8, E = 9)(x: [B, D], w: [E]) { y[b] = sum[d](x[b, d] * w[‹d›]) return y }",
        "E0309",
        "`d` runs over 8 in `x` and 9 in `w`",
        "give the second axis its own index",
    );
    mistake(
        "model M()(x: [B, T], w: [S]) { y[b, t] = x[b, t] * w[‹t›] return y }",
        "E0309",
        "`t` runs over T in `x` and S in `w`",
        "give the second axis its own index",
    );
}

#[test]
fn e0309_an_equation_that_leaves_something_open() {
    mistake(
        "model M(D = 8)(x: [B, D]) { y[b, ‹k›] = sum[d](x[b, d]) return y }",
        "E0309",
        "nothing says what `k` runs over",
        "index an axis with it: `x[k]`; a reducer can say it: `sum[k < 2]`",
    );
    mistake(
        "model M(D = 8)(x: [B, D], w: [D]) { y[b, d] = x[b, d] * ‹w› return y }",
        "E0309",
        "no index says which element of [D] is meant",
        "`w[..]` is all of it",
    );
    mistake(
        "model M(D = 8)(x: [B, D]) { y[b] = ‹x[b]› return y }",
        "E0311",
        "[B, D] has 2 axes, and this index speaks of 1",
        "`..` stands for the remaining axes",
    );
    mistake(
        "model M(D = 8)(x: [B, D]) { y[b] = ‹x[b, ..]› return y }",
        "E0309",
        "`..` stands for [D] here and not on the left",
        "write `..` on the left too",
    );
    mistake(
        "model M(D = 8)(x: [B, D]) { y[b, ‹b›] = x[b, b] return y }",
        "E0309",
        "`b` stands twice on the left",
        "give each axis its own index",
    );
}

#[test]
fn e0311_an_index_that_may_leave_its_axis() {
    mistake(
        "model M(T = 8)(x: [B, T]) { y[b, t] = x[b, t] - x[b, ‹t - 1›] return y }",
        "E0311",
        "`t - 1` runs from -1 to 6, and the axis T = 8 begins at 0",
        "`pad` makes room at an axis' ends: `x -> pad[1](1, 0)`",
    );
    mistake(
        "model M()(x: [B, T]) { y[b, t] = x[b, t] + x[b, ‹t + 1›] return y }",
        "E0311",
        "`t + 1` runs from 1 to T, and the axis T ends before T",
        "`pad` makes room at an axis' ends: `x -> pad[1](1, 0)`",
    );
    mistake(
        "model M(T = 8)(x: [B, T]) { y[b, t] = sum[i < 3](x[b, ‹t / 2› + i]) return y }",
        "E0311",
        "`/` cannot stand in an index",
        "split the axis first: `x -> [B, (T, 2) => B, T, 2]`",
    );
    mistake(
        "model M(T = 8)(x: [B, T]) { y[b, t] = x[b, ‹t % 2›] return y }",
        "E0311",
        "`%` cannot stand in an index",
        "split the axis first: `x -> [B, (T, 2) => B, T, 2]`",
    );
    mistake(
        "model M(T = 8)(x: [B, T]) { y[b, i, j] = x[b, ‹i * j›] return y }",
        "E0311",
        "an index is a sum of index variables times numbers",
        "",
    );
}

#[test]
fn e0309_what_an_equation_is_no_place_for() {
    mistake(
        "model M(T = 8)(x: [B, T, T]) { y[b, i] = sum(‹concat[0](x[b, i, ..], x[b, i, ..])›) return y }",
        "E0309",
        "`concat` takes whole tensors, and this is an element of an equation",
        "do it before the equation, or after it",
    );
}

#[test]
fn all_mistakes_of_a_text_are_told() {
    let text = "model M(D = 8)(x: [B, D]) {
      a = x -> gleu
      b = x -> l: Linear(D, bais = false)
      c = a + b
      return c -> Linear(D)
    }
    model N(D = 8)(x: [B, D]) { return y }";
    let codes: Vec<&str> = check(text).checker.diagnostics.iter().map(|d| d.code).collect();
    assert_eq!(codes, ["E0102", "E0105", "E0102"]);
}
