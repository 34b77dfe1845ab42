//! `model!`: tokens in, tokens out.
