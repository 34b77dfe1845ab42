//! What becomes of convolutions, pooling and batch norm: their plans, held against the interpreter. Steps and kernels are
//! counted, as these are what makes them quick.

use crate::equations::{check_plan, model, with_gradients};
use dlc_compiler::program::interp::Tensor;
use dlc_compiler::program::{Entry, FnId, Program, Role};
use dlc_plan::kernel::Ext;
use dlc_plan::plan::{Place, Step};
use dlc_plan::{DType, Plan};

/// Inputs of a function at these dynamic sizes; no two elements are equal, and all are above zero.
fn inputs(p: &Program, f: FnId, dims: &[i64]) -> Vec<Tensor> {
    let tensor = |(i, q): (usize, &dlc_compiler::program::Param)| {
        let shape: Vec<usize> = q.ty.shape.iter().map(|s| s.eval(dims) as usize).collect();
        let len = shape.iter().product::<usize>();
        let of = |k: usize| match q.ty.dtype {
            DType::F32 => ((k * 61 + i * 17) % 1009) as f64 / 1009.0 + 1.0 / 4096.0,
            _ => 3.0,
        };
        Tensor::new(shape, (0..len).map(of).collect::<Vec<_>>())
    };
    p.function(f).params.iter().enumerate().map(tensor).collect()
}

/// The plan of a model as it is evaluated.
fn forward(text: &str, dims: &[i64]) -> Plan {
    let (mut p, f, names) = model(text);
    let named = |names: Vec<String>| names.into_iter().map(Role::Named).collect();
    let outputs = named(vec!["y".into()]);
    p.entries = vec![Entry {
        name: "forward".into(),
        function: f,
        inputs: named(names),
        outputs,
        guards: Vec::new(),
        defaults: Vec::new(),
    }];
    check_plan(&p, &inputs(&p, f, dims))
}

/// The plan of a model and its gradients.
fn both(text: &str, dims: &[i64]) -> Plan {
    let (p, f, _) = model(text);
    let (p, _) = with_gradients(p, f);
    check_plan(&p, &inputs(&p, p.entries[0].function, dims))
}

/// What kind the steps are: a product, one with something after it, or a kernel.
fn steps(plan: &Plan) -> Vec<&'static str> {
    let kind = |s: &Step| match s {
        Step::Gemm(g) if g.then.is_some() => "product and more",
        Step::Gemm(_) => "product",
        Step::Kernel(_) => "kernel",
        other => panic!("{other:?}"),
    };
    plan.entries[0].steps.iter().map(kind).collect()
}

#[test]
fn batch_norm_and_relu_end_the_product_of_their_convolution() {
    for (dims, text) in [
        (vec![2], "model M()(x: [B, 3, 9, 20]) { return x -> c: Conv2d(5, 3, bias = false) -> n: BatchNorm -> relu }"),
        (
            vec![2, 7, 11],
            "model M()(x: [B, 3, H, W]) { return x -> c: Conv2d(5, 1, bias = false) -> n: BatchNorm -> relu }",
        ),
        (vec![3], "model M()(x: [B, 3, 40]) { return x -> c: Conv1d(5, 3, stride = 2) -> n: BatchNorm -> relu }"),
    ] {
        let plan = forward(text, &dims);
        assert_eq!(steps(&plan), ["product and more"], "{text}\n{plan}");
    }
}

#[test]
fn zeros_around_a_batch_norm_and_what_comes_before_them_are_one_kernel() {
    let text = "model M()(x: [B, 3, 9, 20]) {
      return x -> a: Conv2d(5, 3, bias = false) -> n: BatchNorm -> relu -> b: Conv2d(4, 3, padding = 1) }";
    let plan = forward(text, &[2]);
    let kinds = steps(&plan);
    assert_eq!((kinds.len(), kinds.last()), (3, Some(&"product and more")), "{plan}");
}

/// A statistic of all pixels and its gradient read the image, and keep nothing of its size but the image.
#[test]
fn a_normalisation_keeps_the_image_and_nothing_else_of_its_size() {
    let text = "model M()(x: [B, 3, 8, 20], k: [5, 3, 3, 3], g: [5]) {
      z[b, o, h, w] = sum[c, i, j](x[b, c, h + i, w + j] * k[o, c, i, j])
      mu[c] = mean[b, h, w](z[b, c, h, w])
      var[c] = mean[b, h, w]((z[b, c, h, w] - mu[c]) ^ 2)
      y[b, c, h, w] = (z[b, c, h, w] - mu[c]) * rsqrt(var[c] + 1e-5) * g[c]
      return relu(y) }";
    let plan = both(text, &[2]);
    let entry = &plan.entries[0];
    let ports: Vec<u32> = entry.inputs.iter().chain(&entry.outputs).map(|p| p.buffer).collect();
    let large = |(i, b): &(usize, &dlc_plan::plan::Buffer)| {
        let temporary = matches!(b.place, Place::Arena { .. }) && !ports.contains(&(*i as u32));
        temporary && b.len.eval(&[2]) >= 2 * 5 * 6 * 18
    };
    let notes: Vec<&str> = entry.buffers.iter().enumerate().filter(large).map(|(_, b)| b.note.as_str()).collect();
    // The convolution, its gradient, and that gradient with zeros around it.
    assert_eq!(notes, ["matmul", "+", "copy"], "{plan}");
}

/// The vector axis of every kernel is a long one, forward and backward.
#[test]
fn kernels_of_small_windows_go_along_the_image() {
    let texts = [
        "model M()(x: [B, 3, 16, 24]) { return x -> relu -> max_pool(2) }",
        "model M()(x: [B, 3, 17, 25]) { return x -> avg_pool(2) }",
        "model M()(x: [B, 3, 16, 24], k: [4, 3, 3, 3]) {
          y[b, o, h, w] = sum[c, i, j](x[b, c, 2 * h + i, 2 * w + j] * k[o, c, i, j]) return y }",
    ];
    for text in texts {
        let plan = both(text, &[2]);
        for kernel in &plan.kernels {
            let last = kernel.cols.last();
            assert!(matches!(last, Some(Ext::Const(8..) | Ext::Arg(_))), "{last:?} in\n{plan}");
        }
    }
}

#[test]
fn padding_that_keeps_the_size_takes_images_of_any_size() {
    for (h, w) in [(7, 8), (9, 12), (1, 3)] {
        let layer = "Conv2d(4, 3, stride = 2, padding = \"same\", kw = 5)";
        let known = format!("model M()(x: [B, 3, {h}, {w}]) {{ return x -> c: {layer} }}");
        let dynamic = format!("model M()(x: [B, 3, H, W]) {{ return x -> c: {layer} }}");
        let shape = |plan: &Plan, dims: &[i64]| {
            plan.entries[0].outputs[0].shape.iter().map(|s| s.eval(dims)).collect::<Vec<_>>()
        };
        let expected = shape(&forward(&known, &[2]), &[2]);
        assert_eq!(expected, [2, 4, (h + 1) / 2, (w + 1) / 2]);
        assert_eq!(shape(&forward(&dynamic, &[2, h, w]), &[2, h, w]), expected);
    }
}
