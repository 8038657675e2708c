use std::{fmt, sync::Arc};

/// What the events of a subscription weigh, and how much of it may be on its way.
pub(crate) struct Scale<E> {
    pub(crate) limit: usize,
    weigh: Arc<dyn Fn(&E) -> usize + Send + Sync>,
}

impl<E> Scale<E> {
    pub(crate) fn new(limit: usize, weigh: impl Fn(&E) -> usize + Send + Sync + 'static) -> Self {
        let weigh = Arc::new(weigh);
        Self { limit, weigh }
    }

    pub(crate) fn weigh(&self, events: &[E]) -> Vec<usize> {
        events.iter().map(|event| (self.weigh)(event)).collect()
    }
}

impl<E> Clone for Scale<E> {
    fn clone(&self) -> Self {
        Self {
            limit: self.limit,
            weigh: Arc::clone(&self.weigh),
        }
    }
}

impl<E> fmt::Debug for Scale<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scale")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}
