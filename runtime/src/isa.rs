//! The instruction sets that the runtime has code for, and which of them this machine runs best.

/// An instruction set; what is compiled for it may run only where [`Isa::is_here`] holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// x86-64 with AVX-512 F, BW, DQ and VL, AVX2 and FMA: every AVX-512 machine but the first.
    Avx512,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// What the program was compiled for; on aarch64 this has NEON.
    Baseline,
}

impl Isa {
    /// All of them, the best first.
    pub const ALL: [Isa; 3] = [Isa::Avx512, Isa::Avx2, Isa::Baseline];

    /// Whether this machine has the instructions. The processor is asked once, so this is cheap.
    pub fn is_here(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        let avx2 = || is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && avx2()
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => avx2(),
            #[cfg(not(target_arch = "x86_64"))]
            Isa::Avx512 | Isa::Avx2 => false,
            Isa::Baseline => true,
        }
    }

    /// The best one of this machine.
    pub fn best() -> Isa {
        Isa::ALL.into_iter().find(|isa| isa.is_here()).unwrap_or(Isa::Baseline)
    }
}
