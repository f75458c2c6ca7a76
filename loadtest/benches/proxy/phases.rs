//! What is asked of each proxy.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use weirgate_loadtest::client::Client;
use weirgate_loadtest::closed::{self, Callers, Plan, Report, Until};
use weirgate_loadtest::process::{Cores, Server};
use weirgate_loadtest::request::{Answer, Protocol, Request};
use weirgate_loadtest::synthetic::Synthetic;
use weirgate_loadtest::{Result, process};

use super::rivals::{MODELS, Rival};

/// Of a streamed answer.
pub const CHUNKS: u32 = 64;
/// A user's message, of a length that is common.
const WORDS: usize = 60;
/// How long idle streams may take to be opened.
const OPEN: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// 16 callers, whole answers.
    Json,
    /// 16 callers, streamed answers: each chunk counts.
    Stream,
    /// One caller, whole answers.
    Lone,
}

impl Way {
    pub const ALL: [Way; 3] = [Way::Json, Way::Stream, Way::Lone];

    pub const fn label(self) -> &'static str {
        match self {
            Way::Json => "json chat",
            Way::Stream => "streamed chunk",
            Way::Lone => "lone json chat",
        }
    }

    const fn callers(self) -> usize {
        match self {
            Way::Json | Way::Stream => 16,
            Way::Lone => 1,
        }
    }
}

/// One phase's numbers.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Of the proxy, per call, or per chunk of a stream.
    pub cpu_us: f64,
    pub per_second: f64,
    pub p50_us: f64,
}

fn requests(streams: bool) -> Arc<[Request]> {
    let request = |model: &&str| {
        let message = json!({"role": "user", "content": "word ".repeat(WORDS)});
        let mut body = json!({"model": model, "messages": [message], "max_tokens": CHUNKS, "temperature": 0.7});
        if streams {
            body["stream"] = true.into();
        }
        Request { streams, ..Request::new(Protocol::Chat, "/v1/chat/completions", body.to_string()) }
    };
    MODELS.iter().map(request).collect()
}

/// Whole means with the text that the upstream gives, or with all of its chunks.
fn is_right(answer: &Answer) -> bool {
    match &answer.stream {
        Some(stream) => stream.whole && stream.parts == CHUNKS,
        None => answer.body.windows(9).any(|text| text == b"word word"),
    }
}

fn plan(way: Way, address: SocketAddr) -> Plan {
    Plan {
        address,
        requests: requests(way == Way::Stream),
        callers: way.callers(),
        shared_connections: None,
        check: Some(Arc::new(|_, answer| is_right(answer))),
    }
}

/// Loads one proxy for `time`.
pub fn load(way: Way, server: &Server, time: Duration) -> Result<Sample> {
    closed::runtime()?.block_on(async {
        let mut all = Callers::connect(plan(way, server.data)).await?;
        all.run(Until::After(time / 10)).await?.all_well()?;
        let before = server.cpu_time()?;
        let report: Report = all.run(Until::After(time)).await?.all_well()?;
        let cpu = server.cpu_time()? - before;
        all.close().await;
        let parts = if way == Way::Stream { f64::from(CHUNKS) } else { 1.0 };
        let cpu_us = cpu.as_secs_f64() * 1e6 / report.answered() as f64 / parts;
        Ok(Sample { cpu_us, per_second: report.per_second(), p50_us: report.latencies.p50_us() })
    })
}

/// The median in µs of a lone caller without a proxy.
pub fn direct(upstream: SocketAddr, time: Duration) -> Result<f64> {
    closed::runtime()?.block_on(async {
        let mut all = Callers::connect(plan(Way::Lone, upstream)).await?;
        all.run(Until::After(time / 10)).await?.all_well()?;
        let report = all.run(Until::After(time)).await?.all_well()?;
        all.close().await;
        Ok(report.latencies.p50_us())
    })
}

/// Bytes of resident memory that one idle stream takes: its first chunk has come, and then nothing.
pub fn memory(rival: Rival, upstream: &Synthetic, streams: usize, cores: Cores) -> Result<f64> {
    let server = rival.start("proxy-idle", upstream.address(), cores.server)?;
    closed::runtime()?.block_on(async {
        // What the first call allocates once and for all is not a stream's.
        let mut open = JoinSet::new();
        hold(&mut open, &server, upstream, 1).await?;
        let before = process::memory(server.pid())?.resident;
        hold(&mut open, &server, upstream, streams).await?;
        let after = process::memory(server.pid())?.resident;
        open.shutdown().await;
        Ok((after as f64 - before as f64) / streams as f64)
    })
}

/// Opens so many streams, and waits until each is under way.
async fn hold(open: &mut JoinSet<()>, server: &Server, upstream: &Synthetic, count: usize) -> Result<()> {
    let client = Client::plain(server.data)?;
    let requests = requests(true);
    let wanted = upstream.counts().requests + count as u64;
    for index in 0..count {
        let (client, request) = (client.clone(), requests[index % requests.len()].clone());
        open.spawn(async move {
            let mut drivers = JoinSet::new();
            if let Ok(mut connection) = client.connect(Protocol::Chat, &mut drivers).await {
                connection.call(&request, false).await;
            }
        });
    }
    let settled = async {
        while upstream.counts().requests < wanted {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // The first chunks are on their way.
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    tokio::time::timeout(OPEN, settled).await.map_err(|_| std::io::Error::other("streams do not come to the upstream"))
}
