//! Tensors to bodies: answers for the serving side, requests for the calling side.

use bytes::Bytes;

use super::Form;
use crate::error::{Error, Result};
use crate::infer::{InferRequest, InferResponse};
use crate::json::write::{self, Strings, Unfit};
use crate::tensor::{BytesElements, Datatype, Tensor};

/// Writes the answer to a request of this form.
///
/// `predictions` holds one entry for each row: the output's row, or an object with the row of every output by name. A
/// single output is written whole, whatever its shape. Where there are several, and one of them has not as many rows as
/// the inputs had, there are no entries to write, and `predictions` is an object of whole tensors by name.
///
/// After inputs in columns and by name there is `outputs` besides: the one output's whole tensor, or an object by name.
pub fn encode_response(response: &InferResponse, form: Form) -> Result<Bytes> {
    let outputs = &response.outputs;
    let size: usize = outputs.iter().map(|output| write::estimate(output) + output.name.len() + 8).sum();
    let mut out = Vec::with_capacity((1 + usize::from(form.outputs)) * size + 64);
    let unfit = |(tensor, unfit): (&Tensor, Unfit)| {
        Error::invalid(format!(
            "output '{}' element {} {}, which JSON can't carry: call /v2/models/{}/infer, and ask for it in binary",
            tensor.name, unfit.element, unfit.problem, response.model_name
        ))
    };
    out.push(b'{');
    if form.outputs {
        out.extend_from_slice(br#""outputs":"#);
        columns(&mut out, outputs).map_err(unfit)?;
        out.push(b',');
    }
    out.extend_from_slice(br#""predictions":"#);
    rows(&mut out, outputs, form.rows).map_err(unfit)?;
    out.push(b'}');
    Ok(out.into())
}

/// Writes a request in rows, for another server. All inputs must have as many rows.
pub fn encode_request(request: &InferRequest) -> Result<Bytes> {
    let inputs = &request.inputs;
    let count = inputs.first().and_then(|input| input.shape.first()).copied().unwrap_or(0);
    if count == 0 || !have_rows(inputs, count) {
        return Err(Error::invalid("the inputs have not all the same number of rows, which V1's instances need"));
    }
    let mut out = Vec::with_capacity(inputs.iter().map(write::estimate).sum::<usize>() + 64);
    out.extend_from_slice(br#"{"instances":"#);
    rows(&mut out, inputs, count).map_err(|(tensor, unfit)| {
        let Unfit { element, problem } = unfit;
        Error::invalid(format!("input '{}' element {element} {problem}, which JSON can't carry", tensor.name))
    })?;
    out.push(b'}');
    Ok(out.into())
}

/// `GET /`.
pub fn alive() -> Bytes {
    Bytes::from_static(br#"{"status":"alive"}"#)
}

type Written<'t> = Result<(), (&'t Tensor, Unfit)>;

fn have_rows(tensors: &[Tensor], count: usize) -> bool {
    tensors.iter().all(|tensor| tensor.shape.first() == Some(&count))
}

/// Appends a list of rows, if that is what the tensors are.
fn rows<'t>(out: &mut Vec<u8>, tensors: &'t [Tensor], count: usize) -> Written<'t> {
    if tensors.len() == 1 || !have_rows(tensors, count) {
        return columns(out, tensors);
    }
    let mut writers: Vec<_> = tensors.iter().map(Writer::new).collect();
    out.push(b'[');
    for row in 0..count {
        separate(out, row);
        object(out, &mut writers, |writer, out| writer.value(out, &writer.tensor.shape[1..]))?;
    }
    out.push(b']');
    Ok(())
}

/// Appends the one tensor, or an object of all by name.
fn columns<'t>(out: &mut Vec<u8>, tensors: &'t [Tensor]) -> Written<'t> {
    let whole = |writer: &mut Writer<'t>, out: &mut Vec<u8>| writer.value(out, &writer.tensor.shape);
    match tensors {
        [only] => whole(&mut Writer::new(only), out),
        _ => object(out, &mut tensors.iter().map(Writer::new).collect::<Vec<_>>(), whole),
    }
}

fn object<'t>(
    out: &mut Vec<u8>,
    writers: &mut [Writer<'t>],
    value: impl Fn(&mut Writer<'t>, &mut Vec<u8>) -> Written<'t>,
) -> Written<'t> {
    out.push(b'{');
    for (index, writer) in writers.iter_mut().enumerate() {
        separate(out, index);
        write::string(out, &writer.tensor.name);
        out.push(b':');
        value(writer, out)?;
    }
    out.push(b'}');
    Ok(())
}

fn separate(out: &mut Vec<u8>, index: usize) {
    if index > 0 {
        out.push(b',');
    }
}

/// A tensor that is written piece by piece.
struct Writer<'t> {
    tensor: &'t Tensor,
    /// The raw elements that are still to be written.
    left: &'t [u8],
    written: usize,
    strings: Strings,
}

impl<'t> Writer<'t> {
    fn new(tensor: &'t Tensor) -> Self {
        let text = |element: Result<&[u8]>| element.is_ok_and(|bytes| std::str::from_utf8(bytes).is_ok());
        // All elements of a tensor look alike, so that clients need not look at each.
        let binary = tensor.datatype == Datatype::Bytes && !BytesElements::new(&tensor.data).all(text);
        let strings = if binary { Strings::Base64 } else { Strings::Text };
        Writer { tensor, left: &tensor.data, written: 0, strings }
    }

    /// Appends the next elements, nested as a tensor of this shape.
    fn value(&mut self, out: &mut Vec<u8>, shape: &[usize]) -> Written<'t> {
        let Some((&size, inner)) = shape.split_first() else { return self.list(out, 1) };
        out.push(b'[');
        if inner.is_empty() {
            self.list(out, size)?;
        } else {
            for index in 0..size {
                separate(out, index);
                self.value(out, inner)?;
            }
        }
        out.push(b']');
        Ok(())
    }

    /// Appends so many elements with commas between them.
    fn list(&mut self, out: &mut Vec<u8>, count: usize) -> Written<'t> {
        let data = self.take(count);
        let first = self.written;
        self.written += count;
        write::list(out, self.tensor.datatype, data, self.strings)
            .map_err(|unfit| (self.tensor, Unfit { element: first + unfit.element, ..unfit }))
    }

    fn take(&mut self, count: usize) -> &'t [u8] {
        let length = match self.tensor.datatype.size() {
            Some(size) => count * size,
            None => BytesElements::new(self.left).take(count).map(|element| 4 + element.map_or(0, <[u8]>::len)).sum(),
        };
        let (data, left) = self.left.split_at(length.min(self.left.len()));
        self.left = left;
        data
    }
}
