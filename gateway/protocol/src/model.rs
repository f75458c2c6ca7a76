//! What a loaded model takes and gives, and the check of a request against it.

use std::fmt;
use std::sync::Arc;

use crate::call::{Payload, Signature, Work};
use crate::error::{Error, Result, Shown};
use crate::given;
use crate::infer::InferRequest;
use crate::tensor::{Datatype, Tensor};

/// A dimension of a model's tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dim {
    Fixed(usize),
    /// Any length. Dimensions of one name have one length within a call; an empty name promises nothing.
    Dynamic(Arc<str>),
}

impl Dim {
    /// The V2 number: -1 for a dynamic dimension.
    pub fn v2(&self) -> i64 {
        match self {
            Dim::Fixed(size) => i64::try_from(*size).unwrap_or(i64::MAX),
            Dim::Dynamic(_) => -1,
        }
    }

    pub(crate) fn accepts(&self, size: usize) -> bool {
        match self {
            Dim::Fixed(fixed) => *fixed == size,
            Dim::Dynamic(_) => true,
        }
    }
}

/// A model's input or output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    pub name: Arc<str>,
    pub datatype: Datatype,
    pub shape: Vec<Dim>,
}

/// One version of a loaded model: its inputs and outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelSpec {
    /// The number of its version folder; none where the model has no versions.
    pub version: Option<Arc<str>>,
    /// V2 `platform`, as `onnxruntime_onnx`.
    pub platform: &'static str,
    pub inputs: Vec<TensorSpec>,
    pub outputs: Vec<TensorSpec>,
    /// Whether rows of different lengths can share a run: shorter ones are filled up with zeros along dimension 1, the
    /// attention mask's too. Set by whoever loaded the model and saw that its answers stay the same.
    pub pads: bool,
}

/// The input that says which positions of a row count, by the convention of transformer exports.
pub const ATTENTION_MASK: &str = "attention_mask";

/// A shape as V2 writes it, with -1 for dynamic dimensions.
pub(crate) struct ShapeText<'a>(pub &'a [Dim]);

impl fmt::Display for ShapeText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (index, dim) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{}", dim.v2())?;
        }
        f.write_str("]")
    }
}

fn names(specs: &[TensorSpec]) -> String {
    specs.iter().map(|spec| format!("'{}'", spec.name)).collect::<Vec<_>>().join(", ")
}

impl ModelSpec {
    /// Whether calls can be joined along dimension 0: every input and output has a dynamic first dimension, and where
    /// the model names these dimensions, they all have the same name.
    pub fn batchable(&self) -> bool {
        let firsts = self.inputs.iter().chain(&self.outputs).map(|spec| spec.shape.first());
        let mut named = None;
        for first in firsts {
            match first {
                Some(Dim::Dynamic(name)) if name.is_empty() => {}
                Some(Dim::Dynamic(name)) => match named {
                    None => named = Some(name),
                    Some(seen) if seen == name => {}
                    Some(_) => return false,
                },
                Some(Dim::Fixed(_)) | None => return false,
            }
        }
        !self.inputs.is_empty()
    }

    /// Whether padding may work, by the look of the model: it batches, every input is a matrix of integers with one named
    /// length, one of them is the attention mask, and no output has that length.
    pub fn may_pad(&self) -> bool {
        let length = |spec: &TensorSpec| match (spec.datatype, spec.shape.as_slice()) {
            (Datatype::Int64 | Datatype::Int32, [_, Dim::Dynamic(name)]) if !name.is_empty() => Some(name.clone()),
            _ => None,
        };
        let Some(first) = self.inputs.first().and_then(length) else { return false };
        let inner_fixed = |spec: &TensorSpec| spec.shape.iter().skip(1).all(|dim| matches!(dim, Dim::Fixed(_)));
        self.batchable()
            && self.inputs.iter().all(|spec| length(spec).as_ref() == Some(&first))
            && self.inputs.iter().any(|spec| &*spec.name == ATTENTION_MASK)
            && self.outputs.iter().all(inner_fixed)
    }

    /// Checks a request and puts its inputs in the model's order. What fails here is the caller's fault, and reaches
    /// neither a lane nor an engine. Takes the inputs out of the request; the rest of it stays for the encoder. `pinned`:
    /// the caller asked for this version.
    pub fn bind(self: &Arc<Self>, request: &mut InferRequest, pinned: bool) -> Result<(Work, Payload)> {
        if given::is_spec(self) {
            return given::bind(self, request, pinned);
        }
        let outputs = self.bind_outputs(request)?;
        let inputs = self.bind_inputs(std::mem::take(&mut request.inputs))?;
        let batchable = self.batchable();
        let rows = inputs.first().and_then(|input| input.shape.first()).copied().unwrap_or(1);
        let same_rows = inputs.iter().all(|input| input.shape.first() == Some(&rows));
        let shares = batchable && same_rows && rows > 0;
        // All inputs of a model that pads are matrices of one length.
        let length = if shares && self.pads { inputs[0].shape.get(1).copied() } else { None };
        let signature = shares.then(|| Signature {
            version: self.version.clone(),
            dims: match length {
                Some(_) => [].into(),
                None => inputs.iter().flat_map(|input| input.shape[1..].iter().copied()).collect(),
            },
        });
        let work = Work {
            rows: if batchable { rows.max(1) } else { 1 },
            bytes: inputs.iter().map(|input| input.data.len()).sum(),
            signature,
            length,
        };
        Ok((work, Payload::Infer { spec: self.clone(), pinned, inputs, outputs }))
    }

    /// Whether calls for `other` can be run on this one: they differ in the version at most.
    pub fn takes_calls_of(&self, other: &ModelSpec) -> bool {
        (&self.inputs, &self.outputs, self.pads) == (&other.inputs, &other.outputs, other.pads)
    }

    fn bind_inputs(&self, given: Vec<Tensor>) -> Result<Vec<Tensor>> {
        let mut slots: Vec<Option<Tensor>> = self.inputs.iter().map(|_| None).collect();
        for tensor in given {
            let Some(index) = self.inputs.iter().position(|spec| spec.name == tensor.name) else {
                return Err(Error::invalid(format!(
                    "input '{}' is not known: the model's inputs are {}",
                    Shown(&tensor.name),
                    names(&self.inputs)
                )));
            };
            check_input(&self.inputs[index], &tensor)?;
            if slots[index].replace(tensor).is_some() {
                return Err(Error::invalid(format!("input '{}' is given twice", self.inputs[index].name)));
            }
        }
        let mut inputs = Vec::with_capacity(slots.len());
        for (spec, slot) in self.inputs.iter().zip(slots) {
            let missing = || {
                Error::invalid(format!(
                    "input '{}' is missing: the model's inputs are {}",
                    spec.name,
                    names(&self.inputs)
                ))
            };
            inputs.push(slot.ok_or_else(missing)?);
        }
        self.check_symbols(&inputs)?;
        Ok(inputs)
    }

    /// Dimensions of one name must agree, or the engine would fail on them later, with a worse text.
    fn check_symbols(&self, inputs: &[Tensor]) -> Result<()> {
        let mut seen: Vec<(&str, usize, &str)> = Vec::new();
        for (spec, tensor) in self.inputs.iter().zip(inputs) {
            for (dim, &size) in spec.shape.iter().zip(&tensor.shape) {
                let Dim::Dynamic(name) = dim else { continue };
                if name.is_empty() {
                    continue;
                }
                match seen.iter().find(|(known, ..)| *known == &**name) {
                    None => seen.push((name, size, &spec.name)),
                    Some((_, other, _)) if *other == size => {}
                    Some((_, other, first)) => {
                        return Err(Error::invalid(format!(
                            "input '{}' has {size} for dimension '{name}', input '{first}' has {other}: they must agree",
                            spec.name
                        )));
                    }
                }
            }
        }
        Ok(())
    }

    fn bind_outputs(&self, request: &InferRequest) -> Result<Vec<usize>> {
        if request.outputs.is_empty() {
            return Ok((0..self.outputs.len()).collect());
        }
        let mut indices = Vec::with_capacity(request.outputs.len());
        for requested in &request.outputs {
            let index = self.outputs.iter().position(|spec| spec.name == requested.name).ok_or_else(|| {
                Error::invalid(format!(
                    "output '{}' is not known: the model's outputs are {}",
                    Shown(&requested.name),
                    names(&self.outputs)
                ))
            })?;
            if indices.contains(&index) {
                return Err(Error::invalid(format!("output '{}' is asked for twice", requested.name)));
            }
            indices.push(index);
        }
        Ok(indices)
    }
}

fn check_input(spec: &TensorSpec, tensor: &Tensor) -> Result<()> {
    if spec.datatype != tensor.datatype {
        return Err(Error::invalid(format!(
            "input '{}' has datatype {}, the model takes {}",
            spec.name, tensor.datatype, spec.datatype
        )));
    }
    let fits = spec.shape.len() == tensor.shape.len()
        && spec.shape.iter().zip(&tensor.shape).all(|(dim, &size)| dim.accepts(size));
    if fits && tensor.elements() == 0 && !spec.shape.contains(&Dim::Fixed(0)) {
        // Rows without bytes would let a tiny request claim any amount of work.
        return Err(Error::invalid(format!(
            "input '{}' has shape {:?}, which holds no elements: every dimension must be at least 1",
            spec.name,
            &tensor.shape[..]
        )));
    }
    if !fits {
        return Err(Error::invalid(format!(
            "input '{}' has shape {:?}, the model takes {}",
            spec.name,
            &tensor.shape[..],
            ShapeText(&spec.shape)
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::infer::RequestedOutput;
    use crate::tensor::Shape;

    fn dynamic(name: &str) -> Dim {
        Dim::Dynamic(name.into())
    }

    fn spec(name: &str, datatype: Datatype, shape: &[Dim]) -> TensorSpec {
        TensorSpec { name: name.into(), datatype, shape: shape.to_vec() }
    }

    fn encoder() -> ModelSpec {
        ModelSpec {
            version: None,
            platform: "test",
            inputs: vec![
                spec("ids", Datatype::Int8, &[dynamic("batch"), dynamic("seq")]),
                spec("mask", Datatype::Int8, &[dynamic("batch"), dynamic("seq")]),
            ],
            outputs: vec![
                spec("a", Datatype::Fp32, &[dynamic("batch"), Dim::Fixed(2)]),
                spec("b", Datatype::Fp32, &[dynamic("batch")]),
            ],
            pads: false,
        }
    }

    fn tensor(name: &str, shape: &[usize]) -> Tensor {
        let data = Bytes::from(vec![0; shape.iter().product()]);
        Tensor::new(name, Datatype::Int8, Shape::from_slice(shape), data).unwrap()
    }

    fn signature(dims: &[usize]) -> Signature {
        Signature { version: None, dims: dims.into() }
    }

    fn request(inputs: Vec<Tensor>) -> InferRequest {
        InferRequest { inputs, ..Default::default() }
    }

    #[test]
    fn inputs_come_out_in_the_models_order_with_rows_and_signature() {
        let (work, payload) = Arc::new(encoder())
            .bind(&mut request(vec![tensor("mask", &[2, 3]), tensor("ids", &[2, 3])]), false)
            .unwrap();
        let Payload::Infer { inputs, outputs, .. } = payload;
        assert_eq!(&*inputs[0].name, "ids");
        assert_eq!(outputs, [0, 1]);
        assert_eq!(work, Work { rows: 2, bytes: 12, signature: Some(signature(&[3, 3])), length: None });
    }

    #[test]
    fn wrong_requests_name_the_field_and_what_is_taken() {
        let text = |inputs| Arc::new(encoder()).bind(&mut request(inputs), false).unwrap_err().message().to_owned();
        assert_eq!(text(vec![tensor("ids", &[1, 3])]), "input 'mask' is missing: the model's inputs are 'ids', 'mask'");
        assert!(text(vec![tensor("x", &[1, 3])]).contains("'x' is not known"));
        assert!(text(vec![tensor("ids", &[3])]).contains("has shape [3], the model takes [-1, -1]"));
        assert!(text(vec![tensor("ids", &[1, 3]), tensor("ids", &[1, 3])]).contains("given twice"));
        assert!(text(vec![tensor("ids", &[1, 3]), tensor("mask", &[1, 4])]).contains("dimension 'seq'"));
    }

    #[test]
    fn outputs_are_honoured_in_the_order_asked() {
        let asked = |names: &[&str]| {
            let outputs = names.iter().map(|&name| RequestedOutput { name: name.into(), binary: None }).collect();
            let inputs = vec![tensor("ids", &[1, 1]), tensor("mask", &[1, 1])];
            Arc::new(encoder()).bind(&mut InferRequest { inputs, outputs, ..Default::default() }, false)
        };
        assert!(matches!(asked(&["b", "a"]).unwrap().1, Payload::Infer { outputs, .. } if outputs == [1, 0]));
        assert!(asked(&["c"]).unwrap_err().message().contains("the model's outputs are 'a', 'b'"));
        assert!(asked(&["a", "a"]).is_err());
    }

    #[test]
    fn padding_is_for_integer_matrices_with_a_mask_and_outputs_without_the_length() {
        let mut model = encoder();
        assert!(!model.may_pad(), "no integers of tokens, no mask");
        for input in &mut model.inputs {
            input.datatype = Datatype::Int64;
        }
        assert!(!model.may_pad(), "no mask");
        model.inputs[1].name = ATTENTION_MASK.into();
        assert!(model.may_pad());
        model.outputs[1].shape.push(dynamic("seq"));
        assert!(!model.may_pad(), "an output has the length");
    }

    #[test]
    fn calls_of_a_model_that_pads_share_a_signature_whatever_their_length() {
        let mut model = encoder();
        model.pads = true;
        let model = Arc::new(model);
        let work = |shape: &[usize]| {
            model.bind(&mut request(vec![tensor("ids", shape), tensor("mask", shape)]), false).unwrap().0
        };
        let (short, long) = (work(&[1, 3]), work(&[2, 9]));
        assert_eq!(short.signature, long.signature);
        assert_eq!((short.length, long.length), (Some(3), Some(9)));
    }

    #[test]
    fn only_one_shared_dynamic_first_dimension_batches() {
        assert!(encoder().batchable());
        let mut stateful = encoder();
        stateful.inputs[1].shape[0] = Dim::Fixed(2);
        assert!(!stateful.batchable());
        let mut two_names = encoder();
        two_names.inputs[1].shape[0] = dynamic("other");
        assert!(!two_names.batchable());
        let mut scalar = encoder();
        scalar.inputs[1].shape.clear();
        assert!(!scalar.batchable());
    }
}
