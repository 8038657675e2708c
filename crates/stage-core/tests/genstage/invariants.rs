//! What holds for a stage that runs whatever happens, disputed or not.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::deeds::Deeds;

/// Keeps count of what was asked for.
#[derive(Default)]
pub(crate) struct Invariants {
    asked: BTreeMap<String, u64>,
    last: BTreeMap<String, u64>,
    /// Whether what was remembered may be overtaken.
    has_accumulated: bool,
    /// Whether events may be equal.
    repeats: bool,
}

impl Invariants {
    pub(crate) fn of(options: &Value) -> Self {
        Self {
            // Also what was fed may be emitted later than what was made after it.
            has_accumulated: options["demand"] == "accumulate"
                || options["producer"]["policy"] == "queue",
            repeats: options["handler"]["repeat"].as_u64() > Some(1),
            ..Self::default()
        }
    }

    pub(crate) fn check(&mut self, step: &Value, found: &Deeds) -> Result<(), String> {
        if step["op"] == "ask" {
            let who = step["consumer"].as_str().unwrap().to_owned();
            *self.asked.entry(who).or_default() += step["count"].as_u64().unwrap();
        }
        self.has_accumulated |= step["mode"] == "accumulate";
        for (to, batches) in &found.sent {
            let events = batches.concat();
            let asked = self.asked.entry(to.clone()).or_default();
            *asked = asked
                .checked_sub(events.len() as u64)
                .ok_or_else(|| format!("{to} is sent more than it asked for"))?;
            for event in events {
                let last = self.last.insert(to.clone(), event);
                let ordered = last < Some(event) || self.repeats && last == Some(event);
                if !ordered && !self.has_accumulated {
                    return Err(format!("{to} is sent {event} after {last:?}"));
                }
            }
        }
        Ok(())
    }
}
