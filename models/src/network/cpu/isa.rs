//! Which instruction set a processor has, and running a kernel in it.

use super::portable::Portable;
use super::simd::Simd;

/// An instruction set that kernels are compiled for, and that this processor has. All give the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Isa(Set);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Set {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2Vnni,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Portable,
}

/// A kernel with its arguments.
pub trait Kernel {
    type Output;

    /// Runs it. The value of `S` proves that the processor has its instructions. Implementations are `#[inline(always)]`, and so
    /// is what they call, as only inside [`Isa::run`] may the compiler use these instructions.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

impl Isa {
    /// Plain Rust, which every processor runs.
    pub const PORTABLE: Isa = Isa(Set::Portable);

    /// The fastest one.
    pub fn best() -> Isa {
        Isa::all().next().unwrap_or(Isa::PORTABLE)
    }

    /// All that this processor has, the fastest first.
    pub fn all() -> impl Iterator<Item = Isa> {
        let sets = [
            #[cfg(target_arch = "x86_64")]
            Set::Avx512,
            #[cfg(target_arch = "x86_64")]
            Set::Avx2Vnni,
            #[cfg(target_arch = "x86_64")]
            Set::Avx2,
            Set::Portable,
        ];
        sets.into_iter().filter(|set| set.is_here()).map(Isa)
    }

    /// Runs a kernel.
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
        unsafe fn avx512<K: Kernel>(kernel: K) -> K::Output {
            // SAFETY: the caller says that the processor has the instructions.
            kernel.run(unsafe { super::avx512::Avx512::new() })
        }

        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avxvnni,avx2,fma,f16c")]
        unsafe fn avx2_vnni<K: Kernel>(kernel: K) -> K::Output {
            // SAFETY: as above.
            kernel.run(unsafe { super::avx2::Avx2::<true>::new() })
        }

        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma,f16c")]
        unsafe fn avx2<K: Kernel>(kernel: K) -> K::Output {
            // SAFETY: as above.
            kernel.run(unsafe { super::avx2::Avx2::<false>::new() })
        }

        match self.0 {
            // SAFETY: only sets that are here are ever in an `Isa`.
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => unsafe { avx512(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Set::Avx2Vnni => unsafe { avx2_vnni(kernel) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => unsafe { avx2(kernel) },
            Set::Portable => kernel.run(Portable),
        }
    }
}

impl Set {
    fn is_here(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vnni")
                    && Set::Avx2.is_here()
            }
            #[cfg(target_arch = "x86_64")]
            Set::Avx2Vnni => is_x86_feature_detected!("avxvnni") && Set::Avx2.is_here(),
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => {
                is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c")
            }
            Set::Portable => true,
        }
    }
}
