use std::{collections::VecDeque, mem};

use tokio::sync::mpsc;

use crate::channels::{Channel, Item, ManySenders};

/// tokio's channel: what one writes first.
pub(crate) struct TokioMpsc;

impl Channel for TokioMpsc {
    type Tx<T: Item> = mpsc::Sender<T>;
    type Rx<T: Item> = mpsc::Receiver<T>;

    fn open<T: Item>(capacity: usize) -> (Self::Tx<T>, Self::Rx<T>) {
        mpsc::channel(capacity)
    }

    async fn send<T: Item>(tx: &mut Self::Tx<T>, item: T) -> bool {
        tx.send(item).await.is_ok()
    }

    async fn receive<T: Item>(rx: &mut Self::Rx<T>) -> Option<T> {
        rx.recv().await
    }
}

impl ManySenders for TokioMpsc {
    fn another_sender<T: Item>(tx: &Self::Tx<T>) -> Self::Tx<T> {
        tx.clone()
    }
}

/// The same, whose receiver takes all that is there.
pub(crate) struct RecvMany;

pub(crate) struct Buffered<T> {
    rx: mpsc::Receiver<T>,
    received: VecDeque<T>,
    at_once: usize,
}

impl Channel for RecvMany {
    type Tx<T: Item> = mpsc::Sender<T>;
    type Rx<T: Item> = Buffered<T>;

    fn open<T: Item>(capacity: usize) -> (Self::Tx<T>, Self::Rx<T>) {
        let (tx, rx) = mpsc::channel(capacity);
        let received = VecDeque::with_capacity(capacity);
        let buffered = Buffered {
            rx,
            received,
            at_once: capacity,
        };
        (tx, buffered)
    }

    async fn send<T: Item>(tx: &mut Self::Tx<T>, item: T) -> bool {
        tx.send(item).await.is_ok()
    }

    async fn receive<T: Item>(rx: &mut Self::Rx<T>) -> Option<T> {
        if rx.received.is_empty() {
            let mut received = Vec::from(mem::take(&mut rx.received));
            rx.rx.recv_many(&mut received, rx.at_once).await;
            rx.received = received.into();
        }
        rx.received.pop_front()
    }
}

impl ManySenders for RecvMany {
    fn another_sender<T: Item>(tx: &Self::Tx<T>) -> Self::Tx<T> {
        tx.clone()
    }
}
