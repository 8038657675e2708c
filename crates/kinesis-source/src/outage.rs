use std::{mem, time::Duration};

use tokio::time::Instant;

/// Whether something that is tried again and again fails, and which changes of that are news.
///
/// Pure: it is told what became of each try, and the time. It is over once nothing has failed for
/// [`CALM`]: what fails every second time is to be said once, and not each time.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    failures: u64,
    last: Option<Instant>,
}

/// Whatever goes wrong now and then is over when nothing has gone wrong for so long.
pub(crate) const CALM: Duration = Duration::from_secs(60);

impl Outage {
    /// A try has failed. Whether that is news.
    pub(crate) fn failed(&mut self, now: Instant) -> bool {
        self.failures = self.failures.saturating_add(1);
        self.last.replace(now).is_none()
    }

    /// Nothing fails just now. After how many failures, if it is news that they are over.
    pub(crate) fn succeeded(&mut self, now: Instant) -> Option<u64> {
        let is_over = |last: &mut Instant| now.saturating_duration_since(*last) >= CALM;
        self.last.take_if(is_over)?;
        Some(mem::take(&mut self.failures))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Begin and end are told in turn, the end after a minute without failures and with how many there
        /// were.
        #[test]
        fn an_outage_is_told_once_and_its_end_once(
            tries in prop::collection::vec((any::<bool>(), 0..90u64), 0..80),
        ) {
            let mut outage = Outage::default();
            let mut now = Instant::now();
            let (mut failures, mut last) = (0, now);
            for (fails, after) in tries {
                now += Duration::from_secs(after);
                if fails {
                    prop_assert_eq!(outage.failed(now), failures == 0);
                    failures += 1;
                    last = now;
                } else {
                    let is_over = failures > 0 && now - last >= CALM;
                    prop_assert_eq!(outage.succeeded(now), is_over.then_some(failures));
                    failures = if is_over { 0 } else { failures };
                }
            }
        }
    }
}
