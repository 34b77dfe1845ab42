//! The standard library, as text of the language: one file for each kind of thing.
//!
//! To add an activation, a norm, a layer or a loss, write it into its file with a `///` that gives its formula and where
//! it comes from. Nothing in Rust names it.

/// The files of the prelude: name and text.
pub const FILES: &[(&str, &str)] = &[
    ("activations.dl", include_str!("activations.dl")),
    ("augment.dl", include_str!("augment.dl")),
    ("attention.dl", include_str!("attention.dl")),
    ("convolution.dl", include_str!("convolution.dl")),
    ("initializers.dl", include_str!("initializers.dl")),
    ("layers.dl", include_str!("layers.dl")),
    ("lora.dl", include_str!("lora.dl")),
    ("losses.dl", include_str!("losses.dl")),
    ("norms.dl", include_str!("norms.dl")),
    ("optimizers.dl", include_str!("optimizers.dl")),
    ("regularization.dl", include_str!("regularization.dl")),
    ("schedules.dl", include_str!("schedules.dl")),
    ("training.dl", include_str!("training.dl")),
];
