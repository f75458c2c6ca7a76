//! A model whose answers tell what it was given and who ran it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use weirgate_models::{Interrupt, LoadError, Model, RunError};
use weirgate_protocol::{Datatype, Dim, ModelSpec, Shape, Tensor, TensorSpec};
use weirgate_replicas::Versions;
use weirgate_replicas::local::Loader;

/// Rows with these values upset the model.
pub const REFUSED: u64 = u64::MAX;
pub const FAILS: u64 = u64::MAX - 1;
pub const PANICS: u64 = u64::MAX - 2;

/// Answers each row with itself and something more, and counts how often it ran each value.
pub struct Adds {
    pub more: u64,
    spec: Arc<ModelSpec>,
    stop: Arc<Flag>,
    runs: Arc<Mutex<HashMap<u64, usize>>>,
    pace: Duration,
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Interrupt for Flag {
    fn stop(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn reset(&self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

pub fn spec() -> Arc<ModelSpec> {
    let tensor = |name: &str| TensorSpec {
        name: name.into(),
        datatype: Datatype::Uint64,
        shape: vec![Dim::Dynamic("batch".into()), Dim::Dynamic("n".into())],
    };
    Arc::new(ModelSpec {
        version: None,
        platform: "test",
        inputs: vec![tensor("x")],
        outputs: vec![tensor("y")],
        pads: false,
    })
}

pub fn values(tensor: &Tensor) -> Vec<u64> {
    tensor.data.chunks_exact(8).map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap())).collect()
}

pub fn tensor(name: &str, shape: &[usize], values: &[u64]) -> Tensor {
    let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Tensor::new(name, Datatype::Uint64, Shape::from_slice(shape), data.into()).unwrap()
}

impl Model for Adds {
    fn spec(&self) -> &Arc<ModelSpec> {
        &self.spec
    }

    fn run(&mut self, inputs: &[Tensor], _: &[usize]) -> Result<Vec<Tensor>, RunError> {
        let values = values(&inputs[0]);
        {
            let mut runs = self.runs.lock().unwrap();
            for &value in &values {
                *runs.entry(value).or_default() += 1;
            }
        }
        let until = Instant::now() + self.pace;
        while Instant::now() < until {
            if self.stop.0.load(Ordering::SeqCst) {
                return Err(RunError::Interrupted);
            }
            std::thread::yield_now();
        }
        if values.contains(&PANICS) {
            panic!("asked to");
        } else if values.contains(&FAILS) {
            return Err(RunError::Engine("asked to".to_owned()));
        } else if values.contains(&REFUSED) {
            return Err(RunError::Input("asked to".to_owned()));
        }
        let sums: Vec<u64> = values.iter().map(|value| value + self.more).collect();
        Ok(vec![tensor("y", &inputs[0].shape, &sums)])
    }

    fn interrupt(&self) -> Arc<dyn Interrupt> {
        self.stop.clone()
    }
}

/// What ran, and how often a model was loaded.
#[derive(Clone, Default)]
pub struct Record {
    pub runs: Arc<Mutex<HashMap<u64, usize>>>,
    pub loads: Arc<AtomicUsize>,
}

/// Loads models that add `more` and take `pace` for each batch.
pub fn loader(more: u64, pace: Duration, record: &Record) -> Arc<Loader> {
    let Record { runs, loads } = record.clone();
    Arc::new(move || {
        loads.fetch_add(1, Ordering::SeqCst);
        let model = Adds { more, spec: spec(), stop: Arc::default(), runs: runs.clone(), pace };
        let model: Box<dyn Model> = Box::new(model);
        Ok::<Versions, LoadError>(model.into())
    })
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Asks until it is so.
pub async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < patience, "it never came to be that {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
