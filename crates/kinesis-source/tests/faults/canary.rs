//! I10: what is put is in no log, and logs do not flood.

use std::{
    io,
    sync::{Arc, Mutex},
};

use tracing::subscriber::DefaultGuard;
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

/// It is in the data and the keys of every record.
pub(crate) const CANARY: &str = "CANARY-7f3a";

/// All that is logged on this thread as long as it lives, at every level.
pub(crate) struct Ear {
    heard: Heard,
    _guard: DefaultGuard,
}

#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<u8>>>);

impl io::Write for Heard {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Heard {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Ear {
    pub(crate) fn new() -> Self {
        let heard = Heard::default();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new("kinesis_source=trace,stage_core=debug"))
            .with_ansi(false)
            .without_time()
            .with_writer(heard.clone())
            .finish();
        Self {
            heard,
            _guard: tracing::subscriber::set_default(subscriber),
        }
    }

    fn text(&self) -> String {
        String::from_utf8(self.heard.0.lock().unwrap().clone()).unwrap()
    }

    /// The lines that somebody sees who has not asked for more.
    pub(crate) fn lines(&self) -> Vec<String> {
        let text = self.text();
        let lines = text.lines().map(str::trim_start);
        let seen = |line: &&str| {
            ["INFO", "WARN", "ERROR"]
                .iter()
                .any(|level| line.starts_with(level))
        };
        lines.filter(seen).map(str::to_owned).collect()
    }

    /// Nothing of what was put is in it, however it is written.
    pub(crate) fn assert_nothing_leaked(&self) {
        assert_no_canary(&self.text());
    }
}

pub(crate) fn assert_no_canary(text: &str) {
    use base64::{Engine, prelude::BASE64_STANDARD};

    let hex: String = CANARY.bytes().map(|byte| format!("{byte:02x}")).collect();
    // Its beginning, as data begins with it.
    let base64 = BASE64_STANDARD.encode(&CANARY[..9]);
    for form in [CANARY, &hex, &hex.to_uppercase(), &base64] {
        let line = text.lines().find(|line| line.contains(form));
        assert_eq!(line, None, "data or keys are in the log");
    }
}
