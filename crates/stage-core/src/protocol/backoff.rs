use std::time::Duration;

/// How long to wait before the next try: twice as long each time, up to a maximum.
///
/// ```
/// use stage_core::protocol::Backoff;
/// use std::time::Duration;
///
/// let second = Duration::from_secs(1);
/// let mut backoff = Backoff::new(second, 30 * second);
/// assert_eq!(backoff.wait(0), second);
/// assert_eq!(backoff.wait(4), 16 * second);
/// assert_eq!(backoff.wait(5), 30 * second);
///
/// // With jitter: between the half and the whole, and the same for the same seed.
/// let mut backoff = backoff.jittered(7);
/// let wait = backoff.wait(4);
/// assert!(8 * second <= wait && wait <= 16 * second);
/// ```
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    jitter: Option<Dice>,
}

impl Backoff {
    /// Waits of 100 ms, then twice that, and so on up to 30 s: what is used where nothing else is
    /// said.
    pub const DEFAULT: Self = Self::new(Duration::from_millis(100), Duration::from_secs(30));

    /// Waits of `first`, then twice that, and so on, never more than `longest`.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            jitter: None,
        }
    }

    /// The same, but each wait is drawn from between its half and its whole, so that many who
    /// failed together do not come back together. Give each a seed of its own.
    #[must_use]
    pub const fn jittered(self, seed: u64) -> Self {
        Self {
            jitter: Some(Dice(seed)),
            ..self
        }
    }

    /// The same jitter with other bounds.
    #[must_use]
    pub const fn between(self, first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            ..self
        }
    }

    /// The most that it ever waits.
    pub const fn longest(&self) -> Duration {
        self.longest
    }

    /// How long to wait when there have been `before` waits in a row already.
    pub fn wait(&mut self, before: u32) -> Duration {
        let doubled = self.first.saturating_mul(2_u32.saturating_pow(before));
        let whole = doubled.min(self.longest);
        let Some(dice) = &mut self.jitter else {
            return whole;
        };
        let half = whole / 2;
        let drawn = (whole - half).mul_f64(dice.fraction());
        whole.min(half + drawn)
    }
}

/// SplitMix64: enough to spread waits, and the same everywhere.
#[derive(Clone, Debug)]
struct Dice(u64);

impl Dice {
    /// A number from zero to just below one.
    fn fraction(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        // As many bits as the mantissa has.
        (mixed >> 11) as f64 / (1_u64 << 53) as f64
    }
}
