use std::{hint::black_box, sync::OnceLock, time::Instant};

use bytes::Bytes;

/// What is moved. Each has its number in it.
///
/// Numbers are made one by one, as what a source reads is: that is what [`black_box`] is for.
/// Without it, the compiler makes several with one instruction, and a loop without any hand-over
/// takes a fifth of a nanosecond for each. What a consumer can do with a whole batch, it may.
pub trait Event: Clone + Unpin + Send + Sync + 'static {
    /// Its name in tables and JSON.
    const NAME: &'static str;
    /// What [`mapped`](Self::mapped) adds to the number.
    const MAPPED: u64;

    /// Makes one.
    fn new(number: u64) -> Self;

    /// Takes one in.
    fn number(&self) -> u64;

    /// What a stage between makes of it.
    #[must_use]
    fn mapped(self) -> Self;
}

impl Event for u64 {
    const NAME: &'static str = "u64";
    const MAPPED: Self = 1;

    #[inline]
    fn new(number: u64) -> Self {
        black_box(number)
    }

    #[inline]
    fn number(&self) -> u64 {
        *self
    }

    #[inline]
    fn mapped(self) -> Self {
        self.wrapping_add(1)
    }
}

/// A kibibyte in an allocation of its own.
#[derive(Clone, Debug)]
pub struct Bytes1k(Bytes);

const TEMPLATE: [u8; 1024] = [0xa5; 1024];

impl Event for Bytes1k {
    const NAME: &'static str = "bytes-1k";
    const MAPPED: u64 = 0;

    #[inline]
    fn new(number: u64) -> Self {
        let mut payload = TEMPLATE.to_vec();
        payload[..8].copy_from_slice(&number.to_le_bytes());
        Self(Bytes::from(payload))
    }

    #[inline]
    fn number(&self) -> u64 {
        let (number, _) = self.0.split_first_chunk().expect("there are 1024");
        u64::from_le_bytes(*number)
    }

    #[inline]
    fn mapped(self) -> Self {
        self
    }
}

/// An event that is work to make and to take in.
#[derive(Clone, Debug)]
pub struct Toil(u64);

/// An event that is work to take in only.
#[derive(Clone, Debug)]
pub struct ToilAtEnd(u64);

impl Event for Toil {
    const NAME: &'static str = "u64";
    const MAPPED: u64 = 0;

    fn new(number: u64) -> Self {
        toil();
        Self(number)
    }

    fn number(&self) -> u64 {
        toil();
        self.0
    }

    fn mapped(self) -> Self {
        self
    }
}

impl Event for ToilAtEnd {
    const NAME: &'static str = "u64";
    const MAPPED: u64 = 0;

    fn new(number: u64) -> Self {
        Self(number)
    }

    fn number(&self) -> u64 {
        toil();
        self.0
    }

    fn mapped(self) -> Self {
        self
    }
}

const TOIL_NS: f64 = 350.0;

/// Works for as long as [`TOIL_NS`] says, on an idle processor.
fn toil() {
    static TURNS: OnceLock<u64> = OnceLock::new();
    turn(*TURNS.get_or_init(turns));
}

/// How many turns that takes: by the best of many tries.
#[allow(clippy::disallowed_methods)] // It measures real time.
fn turns() -> u64 {
    const TURNS: u64 = 20_000;
    let tries = (0..100).map(|_| {
        let start = Instant::now();
        turn(TURNS);
        start.elapsed().as_secs_f64() * 1e9
    });
    let best = tries.fold(f64::INFINITY, f64::min);
    (TOIL_NS * TURNS as f64 / best).round() as u64
}

fn turn(turns: u64) {
    let mut x = black_box(1_u64);
    for _ in 0..turns {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    }
    black_box(x);
}
