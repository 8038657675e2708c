use std::{io::Write, sync::Arc};

use kinesis_source::Record;
use stage_core::{Batch, Consumer, DrainWithReceipts, Receipt};
use tokio::sync::Notify;

use crate::{
    output::{Decode, LineFormat, Undecodable},
    stdout::{LineSink, WriteError},
};

/// Prints records, and acks those whose lines have been written and flushed.
#[derive(Debug)]
pub(crate) struct Printer<W> {
    sink: LineSink<W>,
    format: LineFormat,
    lines: Vec<u8>,
    /// How many more to print.
    left: u64,
    enough: Arc<Notify>,
    /// Of records that came when enough had been printed. Dropped at the end and not at once:
    /// the source would begin to read them again.
    unprinted: Vec<Receipt>,
}

/// Records could not be printed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PrintError {
    #[error(transparent)]
    Undecodable(#[from] Undecodable),
    #[error(transparent)]
    Unwritable(#[from] WriteError),
}

/// How long the lines may get that are written at once. A batch of large records is written in
/// parts, so that its lines need not fit into memory as well.
const PART: usize = 1_024 * 1_024;

impl<W: Write + Send + 'static> Printer<W> {
    /// Prints at most so many records.
    pub(crate) fn new(sink: LineSink<W>, decode: Decode, most: u64) -> Self {
        Self {
            sink,
            format: LineFormat::new(decode),
            lines: Vec::new(),
            left: most,
            enough: Arc::default(),
            unprinted: Vec::new(),
        }
    }

    /// Notified when nothing more will be printed: that was enough, or nobody reads it.
    pub(crate) fn enough(&self) -> Arc<Notify> {
        Arc::clone(&self.enough)
    }

    /// Fills `lines`, and returns the receipts of the records that they are of. Stops at a record
    /// that cannot be decoded.
    fn fill(
        &mut self,
        records: &mut DrainWithReceipts<'_, Record>,
    ) -> (Vec<Receipt>, Result<(), Undecodable>) {
        let mut receipts = Vec::new();
        while self.left > 0 && self.lines.len() < PART {
            let Some((event, receipt)) = records.next() else {
                break;
            };
            if let Err(error) = self.format.write(&mut self.lines, &event) {
                self.unprinted.push(receipt);
                return (receipts, Err(error));
            }
            receipts.push(receipt);
            self.left -= 1;
        }
        (receipts, Ok(()))
    }

    /// Writes `lines` and acks their records.
    async fn print(&mut self, receipts: Vec<Receipt>) -> Result<(), WriteError> {
        match self.sink.write(std::mem::take(&mut self.lines)).await {
            Ok(storage) => {
                self.lines = storage;
                receipts.into_iter().for_each(Receipt::ack);
            }
            Err(WriteError::Closed) => {
                self.left = 0;
                self.unprinted.extend(receipts);
            }
            Err(error) => return Err(error),
        }
        if self.left == 0 {
            self.enough.notify_one();
        }
        Ok(())
    }
}

impl<W: Write + Send + 'static> Consumer<Record> for Printer<W> {
    type Error = PrintError;

    async fn consume(&mut self, batch: &mut Batch<Record>) -> Result<(), PrintError> {
        let mut records = batch.drain_with_receipts();
        loop {
            let (receipts, filled) = self.fill(&mut records);
            if !receipts.is_empty() {
                self.print(receipts).await?;
            } else if filled.is_ok() {
                break;
            }
            filled?;
        }
        self.unprinted.extend(records.map(|(_, receipt)| receipt));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
