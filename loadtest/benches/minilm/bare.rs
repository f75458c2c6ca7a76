//! The baseline: the bare `ort` call in a process of its own, told over its standard input what to run.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::TensorRef;
use weirgate_loadtest::stats::Latencies;
use weirgate_loadtest::{Result, process, record};

use crate::workload::{Row, Workload};

/// The baseline process, seen from outside.
pub struct Bare {
    child: Child,
    orders: ChildStdin,
    results: Lines<BufReader<ChildStdout>>,
}

impl Bare {
    pub fn start(core: usize) -> Result<Bare> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--bare").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = process::spawn_on(Some(core), command)?;
        let (orders, results) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Ok(Bare { child, orders, results: BufReader::new(results).lines() })
    }

    /// The median time of a call with one row, in µs.
    pub fn lone(&mut self, workload: Workload, time: Duration) -> Result<f64> {
        Ok(self.order("lone", workload, time)?.0)
    }

    /// The best rate in rows/s over all ways to batch the workload, and which it was. Each has its share of `time`, and
    /// twice as much in all, as there are many.
    pub fn offline(&mut self, workload: Workload, time: Duration) -> Result<(f64, String)> {
        self.order("offline", workload, time * 2)
    }

    fn order(&mut self, what: &str, workload: Workload, time: Duration) -> Result<(f64, String)> {
        writeln!(self.orders, "{what} {} {}", workload.label(), time.as_secs_f64())?;
        let line = self.results.next().ok_or_else(|| std::io::Error::other("the baseline process ended"))??;
        let (number, text) = line.split_once(' ').unwrap();
        Ok((number.parse().unwrap(), text.to_owned()))
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The baseline process itself.
pub fn serve(model: &Path) -> Result<()> {
    let builder = ort::init_from(record::onnxruntime()).unwrap();
    let environment = builder.with_name("bare").with_telemetry(false).build().unwrap();
    let mut builder = Session::builder(&environment)
        .unwrap()
        .with_optimization_level(GraphOptimizationLevel::All)
        .unwrap()
        .with_intra_threads(1)
        .unwrap()
        .with_inter_threads(1)
        .unwrap()
        .with_intra_op_spinning(false)
        .unwrap()
        .with_inter_op_spinning(false)
        .unwrap();
    let mut session = builder.commit_from_file(model).unwrap();
    for line in std::io::stdin().lines() {
        let line = line?;
        let [what, workload, seconds] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("an order: {line}") };
        let workload = Workload::ALL.into_iter().find(|known| known.label() == workload).unwrap();
        let time = Duration::from_secs_f64(seconds.parse().unwrap());
        match what {
            "lone" => println!("{} alone", lone(&mut session, &workload.rows(), time)),
            _ => {
                let (rate, method) = offline(&mut session, workload, time);
                println!("{rate} {method}");
            }
        }
    }
    Ok(())
}

/// A batch, joined and padded beforehand.
struct Batch {
    shape: [usize; 2],
    ids: Vec<i64>,
    mask: Vec<i64>,
    types: Vec<i64>,
}

impl Batch {
    fn of(rows: &[&Row]) -> Batch {
        let length = rows.iter().map(|row| row.0.len()).max().unwrap();
        let mut batch = Batch { shape: [rows.len(), length], ids: Vec::new(), mask: Vec::new(), types: Vec::new() };
        for row in rows {
            let padding = length - row.0.len();
            batch.ids.extend(row.0.iter().copied().chain(std::iter::repeat_n(0, padding)));
            batch.mask.extend(std::iter::repeat_n(1, row.0.len()).chain(std::iter::repeat_n(0, padding)));
        }
        batch.types = vec![0; batch.ids.len()];
        batch
    }

    fn run(&self, session: &mut Session) {
        let input = |data| TensorRef::<i64>::from_array_view((&self.shape[..], data)).unwrap();
        let inputs = ort::inputs![
            "input_ids" => input(&self.ids[..]),
            "attention_mask" => input(&self.mask[..]),
            "token_type_ids" => input(&self.types[..]),
        ];
        let outputs = session.run(inputs).unwrap();
        let (shape, _) = outputs[0].try_extract_tensor::<f32>().unwrap();
        assert_eq!(shape[0], self.shape[0] as i64);
    }
}

fn lone(session: &mut Session, rows: &[Row], time: Duration) -> f64 {
    let batches: Vec<Batch> = rows.iter().map(|row| Batch::of(&[row])).collect();
    batches.iter().take(16).for_each(|batch| batch.run(session));
    let (started, mut nanos) = (Instant::now(), Vec::new());
    for batch in batches.iter().cycle() {
        let sent = Instant::now();
        batch.run(session);
        nanos.push(sent.elapsed().as_nanos() as u64);
        if started.elapsed() > time {
            break;
        }
    }
    Latencies::new(nanos).p50_us()
}

fn offline(session: &mut Session, workload: Workload, time: Duration) -> (f64, String) {
    let rows = workload.rows();
    let methods = methods(workload, &rows);
    let share = time / methods.len() as u32;
    let rate = |batches: &Vec<Batch>| {
        batches[0].run(&mut *session);
        let (started, mut passes) = (Instant::now(), 0);
        // Whole passes only: a part of a sorted set is not the set.
        while passes == 0 || started.elapsed() < share {
            batches.iter().for_each(|batch| batch.run(&mut *session));
            passes += 1;
        }
        (passes * rows.len()) as f64 / started.elapsed().as_secs_f64()
    };
    let mut rate = rate;
    let rates = methods.into_iter().map(|(name, batches)| (rate(&batches), name));
    rates.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap()
}

fn methods(workload: Workload, rows: &[Row]) -> Vec<(String, Vec<Batch>)> {
    let mut sorted: Vec<&Row> = rows.iter().collect();
    sorted.sort_by_key(|row| row.0.len());
    let chunks = |size: usize| -> Vec<Batch> { sorted.chunks(size).map(Batch::of).collect() };
    match workload {
        Workload::Equal => {
            [1, 2, 4, 8, 16, 32].into_iter().map(|size| (format!("batches of {size}"), chunks(size))).collect()
        }
        Workload::Mixed => {
            let same = sorted.chunk_by(|a, b| a.0.len() == b.0.len());
            let grouped: Vec<Batch> = same.flat_map(|group| group.chunks(32)).map(Batch::of).collect();
            let mut methods = vec![("alone".to_owned(), chunks(1)), ("grouped by length".to_owned(), grouped)];
            methods.extend([8, 16, 32].into_iter().map(|size| (format!("sorted, padded, in {size}s"), chunks(size))));
            methods
        }
    }
}
