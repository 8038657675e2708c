//! crossfire has a channel of its own for each number of senders and receivers.

use std::sync::Once;

use crossfire::{AsyncRx, AsyncTx, MAsyncRx, MAsyncTx, detect_backoff_cfg, mpmc, mpsc, spsc};

use crate::channels::{Channel, Item, ManyReceivers, ManySenders};

pub(crate) struct Spsc;

pub(crate) struct Mpsc;

pub(crate) struct Mpmc;

/// Its authors ask for this on virtual machines.
fn detect() {
    static DETECT: Once = Once::new();
    DETECT.call_once(detect_backoff_cfg);
}

impl Channel for Spsc {
    type Tx<T: Item> = AsyncTx<spsc::Array<T>>;
    type Rx<T: Item> = AsyncRx<spsc::Array<T>>;

    fn open<T: Item>(capacity: usize) -> (Self::Tx<T>, Self::Rx<T>) {
        detect();
        spsc::bounded_async(capacity)
    }

    async fn send<T: Item>(tx: &mut Self::Tx<T>, item: T) -> bool {
        tx.send(item).await.is_ok()
    }

    async fn receive<T: Item>(rx: &mut Self::Rx<T>) -> Option<T> {
        rx.recv().await.ok()
    }
}

impl Channel for Mpsc {
    type Tx<T: Item> = MAsyncTx<mpsc::Array<T>>;
    type Rx<T: Item> = AsyncRx<mpsc::Array<T>>;

    fn open<T: Item>(capacity: usize) -> (Self::Tx<T>, Self::Rx<T>) {
        detect();
        mpsc::bounded_async(capacity)
    }

    async fn send<T: Item>(tx: &mut Self::Tx<T>, item: T) -> bool {
        tx.send(item).await.is_ok()
    }

    async fn receive<T: Item>(rx: &mut Self::Rx<T>) -> Option<T> {
        rx.recv().await.ok()
    }
}

impl ManySenders for Mpsc {
    fn another_sender<T: Item>(tx: &Self::Tx<T>) -> Self::Tx<T> {
        tx.clone()
    }
}

impl Channel for Mpmc {
    type Tx<T: Item> = MAsyncTx<mpmc::Array<T>>;
    type Rx<T: Item> = MAsyncRx<mpmc::Array<T>>;

    fn open<T: Item>(capacity: usize) -> (Self::Tx<T>, Self::Rx<T>) {
        detect();
        mpmc::bounded_async(capacity)
    }

    async fn send<T: Item>(tx: &mut Self::Tx<T>, item: T) -> bool {
        tx.send(item).await.is_ok()
    }

    async fn receive<T: Item>(rx: &mut Self::Rx<T>) -> Option<T> {
        rx.recv().await.ok()
    }
}

impl ManyReceivers for Mpmc {
    fn another_receiver<T: Item>(rx: &Self::Rx<T>) -> Self::Rx<T> {
        rx.clone()
    }
}
