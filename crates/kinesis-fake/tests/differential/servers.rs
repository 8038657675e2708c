use std::{
    env,
    fmt::Display,
    io::{self, Write},
    path::PathBuf,
    process::Stdio,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use kinesis_fake::{Fake, Limits, Server};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    time::{sleep, timeout},
};

use crate::differences::Other;

/// Our server, and one that others wrote. They end with this value.
pub(crate) struct Servers {
    pub(crate) other: Other,
    pub(crate) ours: String,
    pub(crate) theirs: String,
    runs: AtomicU32,
    _process: Child,
}

impl Servers {
    /// `None` where the other one is not installed.
    ///
    /// # Panics
    ///
    /// If that is so in CI, or it does not start.
    pub(crate) async fn start(other: Other) -> Option<Self> {
        let (process, theirs) = match other {
            Other::Kinesalite => kinesalite().await?,
            Other::Moto => moto().await?,
        };
        let mut limits = Limits::default();
        // Neither knows them.
        limits.get_records_per_second = None;
        limits.read_bytes_per_second = None;
        limits.get_shard_iterator_per_second = None;
        limits.write_bytes_per_second = None;
        limits.write_records_per_second = None;
        limits.list_shards_per_second = None;
        limits.describe_stream_per_second = None;
        limits.describe_stream_summary_per_second = None;
        limits.control_per_second = None;
        let fake = Fake::builder()
            .instant()
            .without_stream()
            .wall_clock()
            .limits(limits);
        let server = Server::on_loopback(fake.build()).await.unwrap();
        let ours = address(&server.endpoint());
        tokio::spawn(server.run());
        Some(Self {
            other,
            ours,
            theirs,
            runs: AtomicU32::new(0),
            _process: process,
        })
    }

    /// A stream's name that no run had.
    pub(crate) fn new_name(&self) -> String {
        format!("run-{}", self.runs.fetch_add(1, Ordering::Relaxed))
    }
}

fn address(endpoint: &str) -> String {
    endpoint.trim_start_matches("http://").to_owned()
}

/// Kinesalite on a free port of the loopback. When this process is killed, it ends with its standard
/// input.
async fn kinesalite() -> Option<(Child, String)> {
    const SERVE: &str = "
        const server = require(process.argv[1])(JSON.parse(process.argv[2]))
        server.listen(0, '127.0.0.1', () => console.log(server.address().port))
        process.stdin.on('end', () => process.exit()).resume()
    ";
    const OPTIONS: &str =
        r#"{"createStreamMs":20,"updateStreamMs":20,"deleteStreamMs":20,"shardLimit":1000}"#;
    let program = installed("KINESALITE", "node_modules/kinesalite/cli.js");
    if !program.is_file() {
        return skip(format_args!(
            "{} is no file: run .ci/kinesalite",
            program.display()
        ));
    }
    let mut process = Command::new("node")
        .args(["--eval", SERVE])
        .arg(program.parent().unwrap())
        .arg(OPTIONS)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let stdout = process.stdout.take().unwrap();
    let mut lines = BufReader::new(stdout).lines();
    let port = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap();
    let address = format!(
        "127.0.0.1:{}",
        port.expect("kinesalite ends before it listens")
    );
    Some((process, address))
}

async fn moto() -> Option<(Child, String)> {
    let program = installed("MOTO", "clients/venv/bin/moto_server");
    if !program.is_file() {
        return skip(format_args!(
            "{} is no file: run .ci/clients install",
            program.display()
        ));
    }
    let address = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let process = Command::new(program)
        .args(["--host", "127.0.0.1", "--port"])
        .arg(address.port().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let listening = async {
        while TcpStream::connect(address).await.is_err() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, listening).await.expect("moto listens");
    Some((process, address.to_string()))
}

fn installed(variable: &str, path: &str) -> PathBuf {
    let work = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.ci/work");
    let usual = || PathBuf::from(work).join(path);
    let path = env::var_os(variable).map_or_else(usual, PathBuf::from);
    // `require` would take a relative path for the name of a package.
    path.canonicalize().unwrap_or(path)
}

fn skip<T>(why: impl Display) -> Option<T> {
    assert!(env::var_os("CI").is_none(), "differential: {why}");
    // Not by a macro, whose output is shown for tests that fail only. A line that nobody can be
    // shown is no reason to fail.
    let _ = writeln!(io::stderr(), "differential: skipped: {why}");
    None
}

/// Python takes its time.
const PATIENCE: Duration = Duration::from_secs(60);
