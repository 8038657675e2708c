use std::{fmt, sync::Arc};

use crate::{link::Link, protocol::End};

/// A subscription has come or gone.
pub(crate) enum Change<E> {
    /// A subscription is there. Nothing of it came before.
    Opened(Arc<Link<E>>),
    /// A subscription has gone. Nothing more of it comes.
    Ended(Arc<Link<E>>, End),
}

impl<E> fmt::Debug for Change<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opened(link) => f.debug_tuple("Opened").field(link.info()).finish(),
            Self::Ended(link, end) => f
                .debug_tuple("Ended")
                .field(link.info())
                .field(end)
                .finish(),
        }
    }
}
