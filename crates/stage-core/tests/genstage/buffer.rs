//! GenStage's buffer against `Buffer`.

use std::{iter, panic, sync::LazyLock};

use serde_json::{Value, json};
use stage_core::protocol::{Buffer, Mark};

use crate::{
    tally::Tally,
    trace::{number, numbers, steps},
};

static SIZE_ZERO_IS_REFUSED: LazyLock<bool> =
    LazyLock::new(|| panic::catch_unwind(|| Buffer::<u64>::keep_last(0)).is_err());

struct Store {
    buffer: Buffer<u64>,
    is_bounded: bool,
    /// How many events have come and not gone.
    events: usize,
}

pub(crate) fn replay(scenario: &Value, tally: &mut Tally) -> Result<(), String> {
    tally.scenarios += 1;
    let size = scenario["options"]["size"]
        .as_u64()
        .map(|size| size as usize);
    if size == Some(0) {
        let refused = *SIZE_ZERO_IS_REFUSED;
        let recorded = scenario["error"] == "bad_argument" && steps(scenario).is_empty();
        return (refused && recorded)
            .then_some(())
            .ok_or_else(|| "size zero".to_owned());
    }
    let keeps_last = scenario["options"]["keep"] == "last";
    let mut store = Store {
        buffer: match size {
            None => Buffer::unbounded(),
            Some(size) if keeps_last => Buffer::keep_last(size),
            Some(size) => Buffer::keep_first(size),
        },
        is_bounded: size.is_some(),
        events: 0,
    };
    for (at, step) in steps(scenario).iter().enumerate() {
        let found = store.perform(step);
        if found != *step {
            return Err(format!("step {at}: {found} is found, recorded {step}"));
        }
        if store.events != store.buffer.len() || size.is_some_and(|size| store.events > size) {
            return Err(format!("step {at}: {} events", store.buffer.len()));
        }
        tally.count(&[]);
    }
    Ok(())
}

impl Store {
    /// The step with what came of it. Events and notices are taken from the buffer when GenStage's
    /// caller takes them; a stage of ours lets a notice pass as soon as no event is before it.
    fn perform(&mut self, step: &Value) -> Value {
        let mut found = match step["op"].as_str().unwrap() {
            "store" => self.store(&step["events"]),
            "store_permanent" => self.mark(&step["msg"]),
            _ => self.take(step["count"].as_u64().unwrap() as usize),
        };
        let marks = if self.is_bounded {
            0
        } else {
            self.buffer.marks()
        };
        found["size"] = json!(self.buffer.len() + marks);
        found
    }

    fn store(&mut self, events: &Value) -> Value {
        let batch = numbers(events);
        self.events += batch.len();
        let excess = self.buffer.store(batch.into());
        self.events -= excess;
        // Only a buffer that keeps the last can have emptied its front.
        let perms = if self.is_bounded {
            self.pass()
        } else {
            Vec::new()
        };
        json!({ "op": "store", "events": events, "excess": excess, "perms": perms })
    }

    fn mark(&mut self, msg: &Value) -> Value {
        let is_empty = self.buffer.is_empty() && self.buffer.marks() == 0;
        self.buffer.mark(Mark(number(msg)));
        if is_empty {
            assert_eq!(self.pass(), [msg.as_str().unwrap()]);
        }
        let result = if is_empty { "empty" } else { "stored" };
        json!({ "op": "store_permanent", "msg": msg, "result": result })
    }

    fn take(&mut self, count: usize) -> Value {
        if count == 0 || self.buffer.is_empty() && self.buffer.marks() == 0 {
            return json!({ "op": "take", "count": count, "result": "empty" });
        }
        let events = self.buffer.front().take(count).into_vec();
        self.events -= events.len();
        let remaining = count - events.len();
        let perms = match self.is_bounded {
            true => self.pass(),
            false if remaining > 0 => self.buffer.pass().map(name).into_iter().collect(),
            false => Vec::new(),
        };
        json!({
            "op": "take", "count": count, "result": "ok",
            "remaining": remaining, "events": events, "perms": perms,
        })
    }

    /// Lets pass what can.
    fn pass(&mut self) -> Vec<String> {
        iter::from_fn(|| self.buffer.pass()).map(name).collect()
    }
}

fn name(mark: Mark) -> String {
    format!("i{}", mark.0)
}
