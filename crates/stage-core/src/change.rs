use crate::{protocol::End, subscription::SubscriptionInfo};

/// A subscription has come or gone.
#[derive(Debug)]
pub(crate) enum Change {
    /// A subscription is there. Nothing of it came before.
    Opened(SubscriptionInfo),
    /// A subscription has gone. Nothing more of it comes.
    Ended(SubscriptionInfo, End),
}
