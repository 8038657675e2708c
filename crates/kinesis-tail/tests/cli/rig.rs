//! A Kinesis to call, and the program to run against it.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::{Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use kinesis_fake::{Builder, Fake, Server};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines},
    net::TcpListener,
    process::{Child, ChildStderr, ChildStdout, Command},
    time::timeout,
};

/// For whatever must happen in the end. No test waits that long unless it fails.
const PATIENCE: Duration = Duration::from_secs(180);

/// An embedded Kinesis within the test, with one stream.
pub(crate) struct Kinesis {
    pub(crate) fake: Fake,
    pub(crate) endpoint: String,
}

impl Kinesis {
    /// With a stream `orders` of so many shards.
    pub(crate) async fn new(shards: u32) -> Self {
        Self::of(Fake::builder().shards(shards)).await
    }

    pub(crate) async fn of(builder: Builder) -> Self {
        let fake = builder.instant().wall_clock().name("orders").build();
        let server = Server::bind("127.0.0.1:0".parse().unwrap(), fake.clone());
        let server = server.await.unwrap();
        let endpoint = format!("http://{}", server.local_addr());
        tokio::spawn(server.run());
        Self { fake, endpoint }
    }

    /// The program, set up to call this Kinesis.
    pub(crate) fn tail(&self, arguments: &[&str]) -> Command {
        tail(&self.endpoint, arguments)
    }

    /// Every record that is kept: its sequence number, by shard and in order.
    pub(crate) fn stored(&self) -> BTreeMap<String, Vec<String>> {
        let shards = self.fake.records().into_iter().map(|(shard, records)| {
            let numbers = records.iter().map(|r| r.sequence_number.to_string());
            (shard.to_string(), numbers.collect())
        });
        shards
            .filter(|(_, records): &(_, Vec<_>)| !records.is_empty())
            .collect()
    }
}

/// The program, with nothing of the environment but what it takes to call `endpoint`.
pub(crate) fn tail(endpoint: &str, arguments: &[&str]) -> Command {
    let mut command = without_credentials(arguments);
    command
        .env("AWS_ENDPOINT_URL", endpoint)
        .env("AWS_ACCESS_KEY_ID", "nobody")
        .env("AWS_SECRET_ACCESS_KEY", "nothing");
    command
}

pub(crate) fn without_credentials(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kinesis-tail"));
    command
        .args(arguments)
        .env_clear()
        .env("HOME", env!("CARGO_TARGET_TMPDIR"))
        .env("AWS_REGION", "us-east-1")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// The command, run by a shell that redirects what it reads and writes.
pub(crate) fn redirected(command: &Command, redirection: &str) -> Command {
    let mut shell = shell(command, &format!("exec \"$0\" \"$@\" {redirection}"));
    shell.stdin(Stdio::null());
    shell
}

/// The command, run by a shell after what is said there, and with its output piped.
pub(crate) fn in_shell(command: &Command, script: &str) -> Command {
    let mut shell = shell(command, script);
    shell
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    shell
}

fn shell(command: &Command, script: &str) -> Command {
    let command = command.as_std();
    let mut shell = Command::new("/bin/sh");
    shell
        .arg("-c")
        .arg(script)
        .arg(command.get_program())
        .args(command.get_args())
        .env_clear()
        .kill_on_drop(true);
    for (name, value) in command.get_envs() {
        shell.env(name, value.unwrap_or_default());
    }
    shell
}

/// Where a server listens that answers everything with 403.
pub(crate) async fn forbidding_server() -> String {
    const ANSWER: &[u8] =
        b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut connection, _) = listener.accept().await.unwrap();
            // These requests have no body: one that has come to its empty line is complete.
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                if connection.read_buf(&mut request).await.unwrap_or(0) == 0 {
                    break;
                }
            }
            // Whoever has gone needs no answer.
            let _ = connection.write_all(ANSWER).await;
        }
    });
    format!("http://{address}")
}

/// A path of its own for each call.
pub(crate) fn new_path(name: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let file = format!("{}-{count}-{name}", std::process::id());
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(file);
    let _ = std::fs::remove_file(&path);
    path.to_str().unwrap().to_owned()
}

pub(crate) async fn within_patience<T>(work: impl Future<Output = T>) -> T {
    timeout(PATIENCE, work).await.expect("this takes too long")
}

/// Runs a command to its end.
pub(crate) async fn run(mut command: Command) -> Finished {
    Finished::of(within_patience(command.output()).await.unwrap())
}

/// Runs a command to its end, whose standard error goes elsewhere.
pub(crate) async fn run_unheard(mut command: Command) -> Finished {
    let child = command.spawn().unwrap();
    // Or the command's own copy would keep that open.
    drop(command);
    let output = within_patience(child.wait_with_output());
    Finished::of(output.await.unwrap())
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// It did well and had nothing to say: its lines.
    #[track_caller]
    pub(crate) fn quiet_lines(&self) -> Vec<Value> {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""), "{self:?}");
        self.lines()
    }

    pub(crate) fn lines(&self) -> Vec<Value> {
        self.stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// It failed with that code, and its last line is one sentence with these words.
    #[track_caller]
    pub(crate) fn fails_with(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        let sentences: Vec<&str> = self
            .stderr
            .lines()
            .filter(|line| line.starts_with("kinesis-tail: "))
            .collect();
        assert_eq!(sentences.len(), 1, "{self:?}");
        assert_eq!(
            self.stderr.lines().last(),
            sentences.first().copied(),
            "{self:?}"
        );
        for word in words {
            assert!(sentences[0].contains(word), "no {word:?} in {self:?}");
        }
    }
}

/// A command that runs, and whose lines are read one by one.
pub(crate) struct Running {
    child: Child,
    lines: Option<Lines<BufReader<ChildStdout>>>,
    /// Once they have been asked for.
    logs: Option<Lines<BufReader<ChildStderr>>>,
}

impl Running {
    pub(crate) fn new(mut command: Command) -> Self {
        Self::of(command.spawn().unwrap())
    }

    pub(crate) fn of(mut child: Child) -> Self {
        let stdout = child.stdout.take();
        Self {
            child,
            lines: stdout.map(|stdout| BufReader::new(stdout).lines()),
            logs: None,
        }
    }

    /// The next line of its output, or `None` at its end.
    pub(crate) async fn line(&mut self) -> Option<String> {
        let lines = self.lines.as_mut().expect("the pipe is open");
        within_patience(lines.next_line()).await.unwrap()
    }

    pub(crate) async fn records(&mut self, count: usize) -> Vec<Value> {
        let mut records = Vec::new();
        while records.len() < count {
            let line = self.line().await.expect("more lines were expected");
            records.push(serde_json::from_str(&line).unwrap());
        }
        records
    }

    /// All lines to the end of its output. The last one may be cut off by a kill.
    pub(crate) async fn rest(&mut self) -> Vec<Value> {
        let mut records = Vec::new();
        while let Some(line) = self.line().await {
            match serde_json::from_str(&line) {
                Ok(record) => records.push(record),
                Err(_) => assert_eq!(self.line().await, None, "a broken line: {line}"),
            }
        }
        records
    }

    /// Waits until it says that on standard error: the line.
    pub(crate) async fn logs(&mut self, words: &str) -> String {
        let stderr = self.child.stderr.take();
        let unread = || BufReader::new(stderr.expect("the pipe is open")).lines();
        let logs = self.logs.get_or_insert_with(unread);
        within_patience(async {
            loop {
                let line = logs.next_line().await.unwrap();
                let line = line.expect("it ends without a word");
                if line.contains(words) {
                    break line;
                }
            }
        })
        .await
    }

    /// Stops reading its output.
    pub(crate) fn close_pipe(&mut self) {
        self.lines = None;
    }

    /// Sends a signal, as `TERM`.
    pub(crate) async fn signal(&self, name: &str) {
        let id = self.child.id().expect("it runs").to_string();
        let sent = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(id)
            .status();
        assert!(sent.await.unwrap().success());
    }

    /// The exit code, and what it said on standard error.
    pub(crate) async fn end(mut self) -> Finished {
        let stdout = self.lines.take();
        let output = within_patience(self.child.wait_with_output())
            .await
            .unwrap();
        drop(stdout);
        Finished::of(output)
    }
}

/// Printed records' sequence numbers, by shard and in the order of printing.
pub(crate) fn by_shard(records: &[Value]) -> BTreeMap<String, Vec<String>> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut shards = BTreeMap::<String, Vec<String>>::new();
    for record in records {
        let of_shard = shards.entry(text(&record["shard_id"])).or_default();
        of_shard.push(text(&record["sequence_number"]));
    }
    shards
}
