//! On what terms a stage of a trace subscribes.

use serde_json::{Value, json};
use stage_core::{Mode, Window};

pub(crate) struct Terms {
    pub(crate) window: Window,
    pub(crate) mode: Mode,
    /// Whether somebody asks by hand.
    pub(crate) by_hand: bool,
}

impl Terms {
    /// The terms of a step that subscribes; none if it is refused, as is recorded.
    ///
    /// # Errors
    ///
    /// If something else is recorded.
    pub(crate) fn of_step(step: &Value) -> Result<Option<Self>, String> {
        let terms = Self::of(&step["opts"]);
        let result = match terms {
            Ok(_) => json!("ok"),
            Err(_) => json!({ "error": "bad_opts" }),
        };
        match result == step["result"] {
            true => Ok(terms.ok()),
            false => Err(format!("{result} is found, recorded {step}")),
        }
    }

    /// # Errors
    ///
    /// If there can be no such subscription.
    fn of(opts: &Value) -> Result<Self, &'static str> {
        let count = |key: &str, default: usize| match opts.get(key) {
            Some(count) => count.as_u64().map(|count| count as usize),
            None => Some(default),
        };
        // What is no number of events cannot be written down.
        let max = count("max_demand", 1000).ok_or("max_demand")?;
        let min = count("min_demand", max / 2).ok_or("min_demand")?;
        let window = Window::try_new(max, min).map_err(|_| "a window like this")?;
        let mode = match opts.get("cancel").and_then(Value::as_str) {
            None | Some("permanent") => Mode::Permanent,
            Some("transient") => Mode::Transient,
            Some("temporary") => Mode::Temporary,
            Some(_) => return Err("cancel"),
        };
        let by_hand = opts.get("mode").is_some_and(|mode| mode == "manual");
        Ok(Self {
            window,
            mode,
            by_hand,
        })
    }
}
