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

    /// A call with one row, over all rows of the workload.
    pub fn lone(&mut self, workload: Workload, time: Duration) -> Result<Rate> {
        self.order("lone", workload, time)?.pop().ok_or_else(|| std::io::Error::other("no rate"))
    }

    /// All ways to batch the workload. Each has its share of `time`, and twice as much in all, as there are many.
    pub fn offline(&mut self, workload: Workload, time: Duration) -> Result<Vec<Rate>> {
        self.order("offline", workload, time * 2)
    }

    fn order(&mut self, what: &str, workload: Workload, time: Duration) -> Result<Vec<Rate>> {
        writeln!(self.orders, "{what} {} {}", workload.label(), time.as_secs_f64())?;
        let line = self.results.next().ok_or_else(|| std::io::Error::other("the baseline process ended"))??;
        Ok(line.split(';').map(Rate::read).collect())
    }
}

/// What one way to run the rows came to.
#[derive(Clone, Debug)]
pub struct Rate {
    pub per_second: f64,
    /// Rows per second of CPU time.
    pub per_cpu_second: f64,
    /// The median time of a run.
    pub p50_us: f64,
    pub method: String,
}

impl Rate {
    fn show(&self) -> String {
        format!("{},{},{},{}", self.per_second, self.per_cpu_second, self.p50_us, self.method)
    }

    fn read(text: &str) -> Rate {
        let mut parts = text.splitn(4, ',');
        let mut number = || parts.next().unwrap().parse().unwrap();
        let (per_second, per_cpu_second, p50_us) = (number(), number(), number());
        Rate { per_second, per_cpu_second, p50_us, method: parts.next().unwrap().to_owned() }
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
            "lone" => println!("{}", lone(&mut session, &workload.rows(), time).show()),
            _ => {
                let rates = offline(&mut session, workload, time);
                println!("{}", rates.iter().map(Rate::show).collect::<Vec<_>>().join(";"));
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

/// Runs the batches in turn for `time`; in `whole_passes`, as a part of a sorted set is not the set.
fn rate(session: &mut Session, batches: &[Batch], method: &str, time: Duration, whole_passes: bool) -> Rate {
    batches.iter().take(16).for_each(|batch| batch.run(session));
    let cpu_time = || process::cpu_time(std::process::id()).unwrap();
    let (started, cpu, mut rows, mut nanos) = (Instant::now(), cpu_time(), 0, Vec::new());
    for (index, batch) in batches.iter().enumerate().cycle() {
        if (index == 0 || !whole_passes) && rows > 0 && started.elapsed() > time {
            break;
        }
        let sent = Instant::now();
        batch.run(session);
        nanos.push(sent.elapsed().as_nanos() as u64);
        rows += batch.shape[0];
    }
    Rate {
        per_second: rows as f64 / started.elapsed().as_secs_f64(),
        per_cpu_second: rows as f64 / (cpu_time() - cpu).as_secs_f64(),
        p50_us: Latencies::new(nanos).p50_us(),
        method: method.to_owned(),
    }
}

fn lone(session: &mut Session, rows: &[Row], time: Duration) -> Rate {
    let batches: Vec<Batch> = rows.iter().map(|row| Batch::of(&[row])).collect();
    rate(session, &batches, "alone", time, false)
}

fn offline(session: &mut Session, workload: Workload, time: Duration) -> Vec<Rate> {
    let methods = methods(workload, &workload.rows());
    let share = time / methods.len() as u32;
    methods.iter().map(|(name, batches)| rate(session, batches, name, share, true)).collect()
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
            methods.extend([8, 16, 32].into_iter().map(|size| (format!("sorted and padded in {size}s"), chunks(size))));
            methods
        }
    }
}
