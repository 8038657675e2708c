use std::{
    io,
    ops::Range,
    sync::{Mutex, PoisonError},
};

use kinesis_source::Record;
use stage_core::{Acknowledge, Outcome};

use super::*;

/// Takes so many bytes, and has them only once they are flushed; then its reader has gone.
#[derive(Clone, Default)]
struct Pipe {
    unflushed: Vec<u8>,
    written: Arc<Mutex<Vec<u8>>>,
    room: usize,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.unflushed.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if written.len() + self.unflushed.len() > self.room {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        written.append(&mut self.unflushed);
        Ok(())
    }
}

#[derive(Default)]
struct Outcomes(Mutex<Vec<(Range<u64>, Outcome)>>);

impl Acknowledge for Outcomes {
    fn settle(&self, numbers: Range<u64>, outcome: Outcome) {
        self.0.lock().unwrap().push((numbers, outcome));
    }
}

impl Outcomes {
    fn count(&self, outcome: Outcome) -> u64 {
        let settled = self.0.lock().unwrap();
        let matching = settled.iter().filter(|(_, other)| *other == outcome);
        matching
            .map(|(numbers, _)| numbers.end - numbers.start)
            .sum()
    }
}

fn batch(data: &[&'static str]) -> (Batch<Record>, Arc<Outcomes>) {
    let record = |(number, data): (u128, &&'static str)| {
        Record::new("shard".into(), number.into(), data.as_bytes())
    };
    let mut batch: Batch<Record> = (0..).zip(data).map(record).collect();
    let outcomes = Arc::<Outcomes>::default();
    batch.track(outcomes.clone(), 0);
    (batch, outcomes)
}

fn printer(room: usize, decode: Decode, most: u64) -> (Printer<Pipe>, Arc<Mutex<Vec<u8>>>) {
    let pipe = Pipe {
        room,
        ..Pipe::default()
    };
    let written = Arc::clone(&pipe.written);
    (Printer::new(LineSink::new(pipe), decode, most), written)
}

fn lines(written: &Mutex<Vec<u8>>) -> usize {
    let written = written.lock().unwrap();
    written.iter().filter(|&&byte| byte == b'\n').count()
}

#[tokio::test]
async fn what_is_printed_is_acked() {
    let (mut printer, written) = printer(usize::MAX, Decode::Utf8, u64::MAX);
    let (mut batch, outcomes) = batch(&["1", "2", "3"]);
    printer.consume(&mut batch).await.unwrap();
    assert_eq!(lines(&written), 3);
    assert_eq!(outcomes.count(Outcome::Acked), 3);
}

#[tokio::test]
async fn enough_is_exactly_as_many_as_asked_for() {
    let (mut printer, written) = printer(usize::MAX, Decode::Utf8, 4);
    let enough = printer.enough();
    for _ in 0..3 {
        let (mut batch, _) = batch(&["1", "2", "3"]);
        printer.consume(&mut batch).await.unwrap();
    }
    enough.notified().await;
    assert_eq!(lines(&written), 4);
}

#[tokio::test]
async fn what_comes_when_it_is_enough_is_nacked_at_the_end() {
    let (mut printer, _) = printer(usize::MAX, Decode::Utf8, 2);
    let (mut batch, outcomes) = batch(&["1", "2", "3"]);
    printer.consume(&mut batch).await.unwrap();
    drop(batch);
    assert_eq!(outcomes.count(Outcome::Acked), 2);
    assert_eq!(outcomes.count(Outcome::Nacked), 0);
    drop(printer);
    assert_eq!(outcomes.count(Outcome::Nacked), 1);
}

#[tokio::test]
async fn a_reader_who_goes_is_no_failure_and_acks_nothing() {
    let (mut printer, written) = printer(10, Decode::Utf8, u64::MAX);
    let (mut batch, outcomes) = batch(&["1", "2"]);
    let enough = printer.enough();
    printer.consume(&mut batch).await.unwrap();
    enough.notified().await;
    drop((batch, printer));
    assert_eq!(lines(&written), 0);
    assert_eq!(outcomes.count(Outcome::Nacked), 2);
}

#[tokio::test]
async fn what_comes_before_a_record_that_cannot_be_decoded_is_printed_and_acked() {
    let (mut printer, written) = printer(usize::MAX, Decode::Json, u64::MAX);
    let (mut batch, outcomes) = batch(&["1", "2", "?", "4"]);
    let error = printer.consume(&mut batch).await.unwrap_err();
    assert!(
        error.to_string().starts_with("record 2 of shard"),
        "{error}"
    );
    drop((batch, printer));
    assert_eq!(lines(&written), 2);
    assert_eq!(outcomes.count(Outcome::Acked), 2);
    assert_eq!(outcomes.count(Outcome::Nacked), 2);
}
