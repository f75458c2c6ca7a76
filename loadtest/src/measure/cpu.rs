//! What the calling thread has had of the machine's cores.

use std::ops::{AddAssign, Sub};
use std::time::Duration;

/// Since the thread began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cpu {
    /// On a core.
    pub on: Duration,
    /// Ready to run, while others had the core.
    pub waited: Duration,
}

impl Cpu {
    /// None where the system doesn't tell. Linux does, with scheduler statistics.
    pub fn of_this_thread() -> Option<Cpu> {
        Cpu::read(&std::fs::read_to_string("/proc/thread-self/schedstat").ok()?)
    }

    /// The first two numbers of `schedstat`, in nanoseconds.
    fn read(text: &str) -> Option<Cpu> {
        let mut numbers = text.split_ascii_whitespace().map(|number| number.parse().map(Duration::from_nanos));
        Some(Cpu { on: numbers.next()?.ok()?, waited: numbers.next()?.ok()? })
    }
}

impl Sub for Cpu {
    type Output = Cpu;

    fn sub(self, before: Cpu) -> Cpu {
        Cpu { on: self.on.saturating_sub(before.on), waited: self.waited.saturating_sub(before.waited) }
    }
}

impl AddAssign for Cpu {
    fn add_assign(&mut self, more: Cpu) {
        self.on += more.on;
        self.waited += more.waited;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedstat_is_read() {
        let cpu = Cpu { on: Duration::from_nanos(154_215_674), waited: Duration::from_nanos(7_790_309) };
        assert_eq!(Cpu::read("154215674 7790309 383\n"), Some(cpu));
        assert_eq!(Cpu::read(""), None);
        assert_eq!(Cpu::read("12"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_thread_that_works_is_on_a_core() {
        let before = Cpu::of_this_thread().unwrap();
        let mut sum = 0_u64;
        for number in 0..3_000_000_u64 {
            sum = std::hint::black_box(sum.wrapping_add(number));
        }
        assert!((Cpu::of_this_thread().unwrap() - before).on > Duration::ZERO);
    }
}
