//! Plain data that compiler and runtime share: sizes, kernels, plans, and the rules both must agree on.

pub mod random;
