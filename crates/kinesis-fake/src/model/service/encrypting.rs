use super::{Service, find};
#[cfg(feature = "serve")]
use crate::model::iterator::Ticket;
use crate::model::{EncryptedRecords, Moment, Operation, Refusal};

impl Service {
    /// Says of a stream's records to come that they are encrypted with a key, which takes
    /// [`encrypt`](crate::model::Durations::encrypt). Nothing is encrypted, and the key may be any.
    ///
    /// # Errors
    ///
    /// `ResourceNotFound` without such a stream; `ResourceInUse` unless it is active; `LimitExceeded`
    /// for more than 25 times in 24 hours and for too many calls.
    pub fn start_stream_encryption(
        &mut self,
        stream: &str,
        key: &str,
        now: Moment,
    ) -> Result<(), Refusal> {
        let key = Some(key.to_owned());
        self.change_encryption(Operation::StartStreamEncryption, stream, key, now)
    }

    /// Says no longer of a stream's records to come that they are encrypted, which takes
    /// [`encrypt`](crate::model::Durations::encrypt).
    ///
    /// # Errors
    ///
    /// As [`start_stream_encryption`](Self::start_stream_encryption).
    pub fn stop_stream_encryption(&mut self, stream: &str, now: Moment) -> Result<(), Refusal> {
        self.change_encryption(Operation::StopStreamEncryption, stream, None, now)
    }

    fn change_encryption(
        &mut self,
        operation: Operation,
        stream: &str,
        key: Option<String>,
        now: Moment,
    ) -> Result<(), Refusal> {
        self.admit(operation, now)?;
        self.forget_if_gone(stream, now);
        let settings = &self.settings;
        let stream = find(&mut self.streams, settings, stream, now)?;
        stream.check_active()?;
        let most = settings.limits.encryption_changes_per_day;
        let encryption = &mut stream.encryption;
        let changes = match key {
            Some(_) => &mut encryption.starts,
            None => &mut encryption.stops,
        };
        if !changes.admit(most, now) {
            return Err(Refusal::limit_exceeded(format!(
                "Stream {} has had as many of {operation} as it may have in 24 hours.",
                stream.name
            )));
        }
        stream.encrypt(key, settings.durations.encrypt, now);
        Ok(())
    }

    /// The same of the stream that an iterator reads.
    #[cfg(feature = "serve")]
    pub(crate) fn encrypted_by(&mut self, iterator: &str, now: Moment) -> EncryptedRecords {
        let ticket = Ticket::open(&self.seal, iterator);
        let stream = ticket.map(|ticket| ticket.stream).unwrap_or_default();
        self.encrypted_records(&stream, now)
    }

    /// Which of a stream's records are said to be encrypted; none if there is no such stream. It is no
    /// call: nothing is counted.
    pub fn encrypted_records(&mut self, stream: &str, now: Moment) -> EncryptedRecords {
        let stream = self.stream(stream, now);
        stream.map_or_else(
            |_| EncryptedRecords::default(),
            |stream| stream.encryption.records().clone(),
        )
    }
}
