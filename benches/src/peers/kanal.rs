use kanal::{AsyncReceiver, AsyncSender, bounded_async};

use crate::channels::{Channel, Item, ManyReceivers, ManySenders};

/// With a window of one it holds two: one in its buffer, one in the hand of who sends.
pub(crate) struct Kanal;

impl Channel for Kanal {
    type Tx<T: Item> = AsyncSender<T>;
    type Rx<T: Item> = AsyncReceiver<T>;

    fn open<T: Item>(capacity: usize) -> (Self::Tx<T>, Self::Rx<T>) {
        bounded_async(capacity)
    }

    async fn send<T: Item>(tx: &mut Self::Tx<T>, item: T) -> bool {
        tx.send(item).await.is_ok()
    }

    async fn receive<T: Item>(rx: &mut Self::Rx<T>) -> Option<T> {
        rx.recv().await.ok()
    }
}

impl ManySenders for Kanal {
    fn another_sender<T: Item>(tx: &Self::Tx<T>) -> Self::Tx<T> {
        tx.clone()
    }
}

impl ManyReceivers for Kanal {
    fn another_receiver<T: Item>(rx: &Self::Rx<T>) -> Self::Rx<T> {
        rx.clone()
    }
}
