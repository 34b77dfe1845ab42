//! Times of parts of dlc: `cargo bench -p dlc-benches --bench stages`, `machine_code` or `gemm`.
