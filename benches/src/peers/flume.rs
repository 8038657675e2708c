use flume::{Receiver, Sender, bounded};

use crate::channels::{Channel, Item, ManyReceivers, ManySenders};

pub(crate) struct Flume;

impl Channel for Flume {
    type Tx<T: Item> = Sender<T>;
    type Rx<T: Item> = Receiver<T>;

    fn open<T: Item>(capacity: usize) -> (Self::Tx<T>, Self::Rx<T>) {
        bounded(capacity)
    }

    async fn send<T: Item>(tx: &mut Self::Tx<T>, item: T) -> bool {
        tx.send_async(item).await.is_ok()
    }

    async fn receive<T: Item>(rx: &mut Self::Rx<T>) -> Option<T> {
        rx.recv_async().await.ok()
    }
}

impl ManySenders for Flume {
    fn another_sender<T: Item>(tx: &Self::Tx<T>) -> Self::Tx<T> {
        tx.clone()
    }
}

impl ManyReceivers for Flume {
    fn another_receiver<T: Item>(rx: &Self::Rx<T>) -> Self::Rx<T> {
        rx.clone()
    }
}
