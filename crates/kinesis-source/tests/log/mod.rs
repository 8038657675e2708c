//! What is logged, as data.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

type Also = dyn Fn(&Line) + Send + Sync;

/// Remembers the lines of this crate.
#[derive(Clone, Default)]
pub(crate) struct Log {
    lines: Arc<Mutex<Vec<Line>>>,
    /// What is done with each besides.
    also: Option<Arc<Also>>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Line {
    pub(crate) message: String,
    fields: Vec<(&'static str, String)>,
}

impl Log {
    /// One that does something with each line besides, in the thread that logs it.
    #[allow(dead_code)] // Each test uses its own part.
    pub(crate) fn and(also: impl Fn(&Line) + Send + Sync + 'static) -> Self {
        Self {
            also: Some(Arc::new(also)),
            ..Self::default()
        }
    }

    #[allow(dead_code)] // The same.
    pub(crate) fn lines(&self) -> Vec<Line> {
        self.lines.lock().unwrap().clone()
    }
}

impl Line {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        let field = fields.find(|(field, _)| *field == name);
        field.map(|(_, value)| value.as_str())
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("kinesis_source")
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        if let Some(also) = &self.also {
            also(&line);
        }
        self.lines.lock().unwrap().push(line);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let value = format!("{value:?}");
        if field.name() == "message" {
            self.message = value;
        } else {
            self.fields.push((field.name(), value));
        }
    }
}
