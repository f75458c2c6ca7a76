//! One ONNX session: loading, running, stopping.

use std::path::Path;
use std::sync::Arc;

use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{RunOptions, Session, SessionInputValue};
use smallvec::SmallVec;
use weirgate_protocol::{ModelSpec, Tensor};

use super::convert::{self, Input};
use super::padding;
use super::runtime::{environment, one_line};
use crate::model::{Interrupt, LoadError, Model, RunError};

/// How a session runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnnxOptions {
    /// Threads that share one operator's work, the calling thread included.
    pub intra_threads: usize,
}

/// A loaded ONNX model.
pub struct OnnxModel {
    session: Session,
    spec: Arc<ModelSpec>,
    run: Arc<RunControl>,
}

impl OnnxModel {
    pub fn load(path: &Path, version: Option<Arc<str>>, options: OnnxOptions) -> Result<OnnxModel, LoadError> {
        let environment = environment()?;
        let shown = path.display();
        let refuse = |error: &str| LoadError(format!("{shown} can't be loaded: {}", one_line(error)));
        let builder = Session::builder(environment).map_err(|error| refuse(error.message()))?;
        let mut builder = configure(builder, options).map_err(|error| refuse(error.message()))?;
        let session = builder.commit_from_file(path).map_err(|error| refuse(error.message()))?;
        let spec = ModelSpec {
            version,
            platform: "onnxruntime_onnx",
            inputs: session.inputs().iter().map(convert::tensor_spec).collect::<Result<_, _>>()?,
            outputs: session.outputs().iter().map(convert::tensor_spec).collect::<Result<_, _>>()?,
            pads: false,
        };
        let options = RunOptions::new().map_err(|error| refuse(error.message()))?;
        let mut model = OnnxModel { session, spec: Arc::new(spec), run: Arc::new(RunControl { options }) };
        if padding::holds(&mut model) {
            model.spec = Arc::new(ModelSpec { pads: true, ..ModelSpec::clone(&model.spec) });
        }
        Ok(model)
    }
}

/// Threads never spin: on a shared machine a spinning pool takes the time its neighbours need.
#[expect(clippy::result_large_err, reason = "ort's builder errors carry the builder; this runs once per load")]
fn configure(builder: SessionBuilder, options: OnnxOptions) -> Result<SessionBuilder, ort::Error<SessionBuilder>> {
    builder
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(options.intra_threads)?
        .with_inter_threads(1)?
        .with_intra_op_spinning(false)?
        .with_inter_op_spinning(false)
}

impl Model for OnnxModel {
    fn spec(&self) -> &Arc<ModelSpec> {
        &self.spec
    }

    fn run(&mut self, inputs: &[Tensor], outputs: &[usize]) -> Result<Vec<Tensor>, RunError> {
        let memory = inputs.iter().map(Input::new).collect::<Result<SmallVec<[Input<'_>; 4]>, _>>()?;
        let values = memory
            .iter()
            .zip(inputs)
            .map(|(memory, tensor)| memory.value(&tensor.shape))
            .collect::<Result<SmallVec<[SessionInputValue<'_>; 4]>, _>>()?;
        let mut results =
            self.session.run_with_options(&values[..], &self.run.options).map_err(|error| run_error(&error))?;
        outputs
            .iter()
            .map(|&index| {
                let spec = &self.spec.outputs[index];
                let value = results
                    .remove(&spec.name)
                    .ok_or_else(|| RunError::Engine(format!("output '{}' is missing", spec.name)))?;
                convert::tensor(spec, value)
            })
            .collect()
    }

    fn interrupt(&self) -> Arc<dyn Interrupt> {
        self.run.clone()
    }
}

struct RunControl {
    options: RunOptions,
}

impl Interrupt for RunControl {
    fn stop(&self) {
        if let Err(error) = self.options.terminate() {
            tracing::warn!(%error, "a run could not be stopped");
        }
    }

    fn reset(&self) {
        if let Err(error) = self.options.unterminate() {
            tracing::warn!(%error, "a stopped run could not be reset");
        }
    }
}

/// ONNX Runtime says `InvalidArgument` where the values are at fault, as an index out of a table's range. It has no code
/// for a run that was stopped, only a text.
fn run_error(error: &ort::Error) -> RunError {
    let text = one_line(error.message());
    if text.contains("terminate flag") {
        return RunError::Interrupted;
    }
    match error.code() {
        ort::ErrorCode::InvalidArgument => RunError::Input(text),
        _ => RunError::Engine(text),
    }
}
