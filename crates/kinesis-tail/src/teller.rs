//! Lines for standard error, written by a thread of their own.

use std::{
    collections::VecDeque,
    io::{self, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

/// Takes lines and has them written, in order, by a thread of its own. Nobody who tells something waits for
/// whoever is to read it, or learns that it could not be written: a terminal may stand still, and a disk be full.
#[derive(Clone, Debug, Default)]
pub(crate) struct Teller(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Told when something has come, or all is written.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    lines: VecDeque<Vec<u8>>,
    /// How many there was no room for, since the last time that was told.
    lost: u64,
    is_writing: bool,
}

/// So many lines wait at most.
const MOST: usize = 1_000;

/// How long the end of the program waits for what is to be written.
const PATIENCE: Duration = Duration::from_secs(1);

impl Teller {
    /// Has lines written to `writer`, each with one call.
    ///
    /// # Errors
    ///
    /// If there can be no thread for it.
    pub(crate) fn start(writer: impl Write + Send + 'static) -> io::Result<Self> {
        let teller = Self::default();
        let shared = Arc::clone(&teller.0);
        thread::Builder::new()
            .name("teller".to_owned())
            .spawn(move || shared.write_all(writer))?;
        Ok(teller)
    }

    /// Has a line written, with its line break. If too many wait already, it is lost, which is told later.
    pub(crate) fn tell(&self, line: Vec<u8>) {
        let mut queue = self.0.lock();
        if queue.lines.len() < MOST {
            queue.lines.push_back(line);
        } else {
            queue.lost += 1;
        }
        drop(queue);
        self.0.changed.notify_all();
    }

    /// Waits until all that was told is written, for a second at most.
    pub(crate) fn flush(&self) {
        let queue = self.0.lock();
        let is_left = |queue: &mut Queue| !queue.is_done();
        // Who has waited in vain has waited long enough.
        let _ = self.0.changed.wait_timeout_while(queue, PATIENCE, is_left);
    }
}

impl Shared {
    fn write_all(&self, mut writer: impl Write) {
        loop {
            let queue = self.lock();
            let waited = self.changed.wait_while(queue, |queue| !queue.has_some());
            let mut queue = waited.unwrap_or_else(PoisonError::into_inner);
            let lines = std::mem::take(&mut queue.lines);
            let lost = std::mem::take(&mut queue.lost);
            queue.is_writing = true;
            drop(queue);
            let left_out = (lost > 0).then(|| {
                let line = format!("{lost} more lines were left out: standard error took none\n");
                line.into_bytes()
            });
            for line in lines.into_iter().chain(left_out) {
                // Nothing depends on what a person sees.
                let _ = writer.write_all(&line).and_then(|()| writer.flush());
            }
            self.lock().is_writing = false;
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn has_some(&self) -> bool {
        !self.lines.is_empty() || self.lost > 0
    }

    fn is_done(&self) -> bool {
        !self.has_some() && !self.is_writing
    }
}

impl Write for Teller {
    /// Takes whole lines. It never fails.
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        self.tell(lines.to_vec());
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Passes on what is written, once it may.
    struct Gate {
        open: mpsc::Receiver<()>,
        written: mpsc::Sender<String>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // For ever, if nobody opens it any more.
            if self.open.recv().is_err() {
                return Err(io::Error::other("the disk is full"));
            }
            self.written
                .send(String::from_utf8_lossy(bytes).into_owned())
                .unwrap();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn gate() -> (mpsc::SyncSender<()>, mpsc::Receiver<String>, Teller) {
        let (opening, open) = mpsc::sync_channel(2 * MOST);
        let (written, read) = mpsc::channel();
        (
            opening,
            read,
            Teller::start(Gate { open, written }).unwrap(),
        )
    }

    #[test]
    fn lines_are_written_in_order_and_waited_for() {
        let (opening, read, teller) = gate();
        for number in 0..10 {
            teller.tell(format!("{number}\n").into_bytes());
            opening.send(()).unwrap();
        }
        teller.flush();
        let lines: Vec<_> = read.try_iter().collect();
        assert_eq!(lines, Vec::from_iter((0..10).map(|it| format!("{it}\n"))));
    }

    #[test]
    fn nobody_waits_for_a_reader_and_what_is_lost_is_counted() {
        let (opening, read, teller) = gate();
        teller.tell(b"first\n".to_vec());
        // The thread has that, and stands still with it.
        while !teller.0.lock().is_writing {
            thread::yield_now();
        }
        for number in 0..MOST + 7 {
            teller.tell(format!("{number}\n").into_bytes());
        }
        for _ in 0..MOST + 2 {
            opening.send(()).unwrap();
        }
        teller.flush();
        let lines: Vec<_> = read.try_iter().collect();
        assert_eq!(lines.len(), MOST + 2);
        assert_eq!(lines[MOST], format!("{}\n", MOST - 1));
        assert!(lines[MOST + 1].starts_with("7 more lines"), "{lines:?}");
    }

    #[test]
    fn who_waits_in_vain_goes_on_and_what_cannot_be_written_is_not() {
        let (opening, read, teller) = gate();
        teller.tell(b"lost\n".to_vec());
        teller.flush();
        assert!(!teller.0.lock().is_done(), "it stands still");
        drop(opening);
        teller.tell(b"lost as well\n".to_vec());
        teller.flush();
        assert!(teller.0.lock().is_done());
        assert_eq!(read.try_iter().count(), 0);
    }
}
