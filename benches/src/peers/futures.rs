use futures_channel::mpsc::{Receiver, Sender, channel};
use futures_util::{SinkExt, StreamExt};

use crate::channels::{Channel, Item, ManySenders};

/// Its channel as a sink and a stream.
pub(crate) struct Futures;

impl Channel for Futures {
    type Tx<T: Item> = Sender<T>;
    type Rx<T: Item> = Receiver<T>;

    fn open<T: Item>(capacity: usize) -> (Self::Tx<T>, Self::Rx<T>) {
        // Each sender has a place of its own besides.
        channel(capacity - 1)
    }

    async fn send<T: Item>(tx: &mut Self::Tx<T>, item: T) -> bool {
        tx.send(item).await.is_ok()
    }

    async fn receive<T: Item>(rx: &mut Self::Rx<T>) -> Option<T> {
        rx.next().await
    }
}

impl ManySenders for Futures {
    fn another_sender<T: Item>(tx: &Self::Tx<T>) -> Self::Tx<T> {
        tx.clone()
    }
}
