use std::time::{Duration, Instant};

/// Chooses which pieces of work are measured: to look at the clock costs as much as handing a batch over.
///
/// It is real time that counts: what matters is how long a thread was in use.
#[derive(Debug, Default)]
pub(crate) struct Sampler {
    calls: u32,
}

/// One of so many is measured.
const ONE_OF: u32 = 16;

/// Work that takes longer is worth a change of tasks.
pub(crate) const LONG: Duration = Duration::from_micros(20);

impl Sampler {
    /// Work begins. When, if it is to be measured.
    #[inline]
    pub(crate) fn start(&mut self) -> Option<Instant> {
        self.calls = self.calls.wrapping_add(1);
        (self.calls % ONE_OF == 1).then(now)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a paused clock says nothing of a thread in use"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_then_one_of_sixteen_is_measured() {
        let mut sampler = Sampler::default();
        let measured: Vec<_> = (0..40).filter(|_| sampler.start().is_some()).collect();
        assert_eq!(measured, [0, 16, 32]);
    }
}
