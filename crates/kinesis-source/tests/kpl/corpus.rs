use std::{
    env,
    fs::File,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use kinesis_source::HashRange;
use serde::Deserialize;

/// A record as a consumer would get it, and what is to be made of it.
#[derive(Deserialize)]
pub(crate) struct Line {
    pub(crate) id: String,
    pub(crate) case: String,
    data: String,
    pub(crate) expect: Expect,
    /// Set where libraries differ.
    pub(crate) policy: Option<String>,
    shard_range: Option<Range>,
    pub(crate) expect_in_range: Option<InRange>,
}

#[derive(Deserialize)]
pub(crate) struct Expect {
    pub(crate) aggregated: bool,
    pub(crate) records: Records,
    pub(crate) count: Option<u64>,
    pub(crate) first: Option<User>,
    pub(crate) last: Option<User>,
    pub(crate) sha256_all: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Records {
    List(Vec<User>),
    Word(Word),
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Word {
    Same,
    Digest,
}

#[derive(Deserialize)]
pub(crate) struct User {
    pub(crate) pk: String,
    pub(crate) ehk: Option<String>,
    pub(crate) sub: u64,
    pub(crate) len: usize,
    pub(crate) data: Option<String>,
    pub(crate) sha256: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum InRange {
    All,
    None,
}

#[derive(Deserialize)]
struct Range {
    start: String,
    end: String,
}

impl Line {
    pub(crate) fn data(&self) -> Bytes {
        STANDARD.decode(&self.data).unwrap().into()
    }

    pub(crate) fn shard_range(&self) -> Option<HashRange> {
        self.shard_range.as_ref().map(|range| HashRange {
            start: range.start.parse().unwrap(),
            end: range.end.parse().unwrap(),
        })
    }
}

/// The lines of the file that `KPL_CORPUS` names, or else of the one that is kept here. It may be
/// compressed.
pub(crate) fn lines() -> Vec<Line> {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kpl/dev.jsonl.gz");
    read(&env::var_os("KPL_CORPUS").map_or(kept, PathBuf::from))
}

fn read(path: &Path) -> Vec<Line> {
    let open = File::open(path);
    let mut file = BufReader::new(open.unwrap_or_else(|error| panic!("{path:?}: {error}")));
    let is_gzip = file.fill_buf().unwrap().starts_with(&[0x1F, 0x8B]);
    let reader: Box<dyn Read> = if is_gzip {
        Box::new(MultiGzDecoder::new(file))
    } else {
        Box::new(file)
    };
    let lines = BufReader::new(reader).lines().map(Result::unwrap);
    let lines = lines.filter(|line| !line.trim().is_empty());
    let lines: Vec<Line> = (1..)
        .zip(lines)
        .map(|(n, line)| {
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("line {n}: {error}"))
        })
        .collect();
    assert!(!lines.is_empty(), "{path:?} is empty");
    lines
}
