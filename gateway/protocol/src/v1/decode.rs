//! Bodies to tensors: requests for the serving side, answers for the calling side.

use super::Form;
use super::column::{Column, Place, is_named};
use super::guess::Guess;
use crate::error::{Error, Result, Shown};
use crate::infer::InferRequest;
use crate::json::{Cursor, Fault, Parsed, set};
use crate::model::{ModelSpec, TensorSpec};
use crate::tensor::Tensor;

const PREDICTIONS: &str = "predictions";

/// The one signature that a model has here, as TensorFlow Serving calls it.
const SIGNATURE: &str = "serving_default";

/// Reads a prediction request for a model.
///
/// - `{"instances": […]}`, rows: each is the one input's row, or an object with the row of every input by name. Rows make
///   up dimension 0; where the model fixes that, they must be as many.
/// - `{"inputs": …}`, columns: the one input's whole tensor, or an object with every input's tensor by name.
///
/// Elements of `BYTES` are strings, or `{"b64": …}`. Keys that nobody knows are ignored, as KServe does.
pub fn decode_request(body: &[u8], spec: &ModelSpec) -> Result<(InferRequest, Form)> {
    let mut cursor = Cursor::new(body);
    let mut given = None;
    let mut signature = None;
    cursor.object(|cursor, key| {
        let at = cursor.at();
        match key {
            "instances" | "inputs" if given.is_some() => {
                return Err(Fault::new(at, "is a second set of inputs: give either instances or inputs, once"));
            }
            "instances" => given = Some(instances(cursor, &spec.inputs)?),
            "inputs" => given = Some(inputs(cursor, &spec.inputs)?),
            "signature_name" => set(&mut signature, at, read_signature(cursor)?)?,
            _ => {
                cursor.skip()?;
            }
        }
        Ok(())
    })?;
    cursor.end()?;
    let (inputs, form) = given.ok_or_else(|| {
        Fault::new(
            cursor.at(),
            "has neither instances nor inputs: give one of them, and for V2 call /v2/models/…/infer",
        )
    })?;
    Ok((InferRequest { inputs, ..Default::default() }, form))
}

/// Reads the `predictions` of another server's answer, for the outputs that its model has. What is wrong with it is that
/// server's fault.
pub fn decode_response(body: &[u8], spec: &ModelSpec) -> Result<Vec<Tensor>> {
    let unreadable = |error: Error| Error::engine(format!("the replica's answer can't be read: {error}"));
    read_predictions(body, &spec.outputs).map_err(|fault| unreadable(fault.into()))
}

/// The same for a model of which nobody knows the outputs: their datatypes and shapes are seen from how they are written.
/// An output that has no name is called `output-0`.
pub fn decode_undescribed(body: &[u8]) -> Result<Vec<Tensor>> {
    let unreadable = |error: Error| Error::engine(format!("the replica's answer can't be read: {error}"));
    let read = |cursor: &mut Cursor<'_>| {
        let Guess { specs, by_rows } = Guess::of(cursor)?;
        read_outputs(cursor, &specs, by_rows)
    };
    predictions(body, read).map_err(|fault| unreadable(fault.into()))
}

fn read_predictions(body: &[u8], specs: &[TensorSpec]) -> Parsed<Vec<Tensor>> {
    predictions(body, |cursor| {
        let by_rows = specs.len() != 1 && cursor.peek() == Some(b'[');
        read_outputs(cursor, specs, by_rows)
    })
}

fn read_outputs(cursor: &mut Cursor<'_>, specs: &[TensorSpec], by_rows: bool) -> Parsed<Vec<Tensor>> {
    let place = Place { key: PREDICTIONS, role: "output", by_rows, named: false };
    Ok(if by_rows { rows(cursor, specs, place)?.0 } else { columns(cursor, specs, place)?.0 })
}

/// Goes to the predictions of an answer.
fn predictions<T>(body: &[u8], mut read: impl FnMut(&mut Cursor<'_>) -> Parsed<T>) -> Parsed<T> {
    let mut cursor = Cursor::new(body);
    let mut found = None;
    cursor.object(|cursor, key| {
        let at = cursor.at();
        if key != PREDICTIONS {
            return cursor.skip().map(drop);
        }
        let read = read(cursor)?;
        set(&mut found, at, read)
    })?;
    cursor.end()?;
    found.ok_or_else(|| Fault::new(cursor.at(), "is missing").in_field(PREDICTIONS))
}

fn read_signature(cursor: &mut Cursor<'_>) -> Parsed<()> {
    let at = cursor.at();
    if cursor.literal("null") {
        return Ok(());
    }
    let name = cursor.string()?;
    if name.is_empty() || name == SIGNATURE {
        return Ok(());
    }
    let text = format!("'{}' is not known: the model has {SIGNATURE} alone, so leave it out", Shown(&name));
    Err(Fault::new(at, text))
}

fn instances(cursor: &mut Cursor<'_>, specs: &[TensorSpec]) -> Parsed<(Vec<Tensor>, Form)> {
    let place = Place { key: "instances", role: "input", by_rows: true, named: false };
    let (tensors, rows) = rows(cursor, specs, place)?;
    Ok((tensors, Form { rows, outputs: false }))
}

fn inputs(cursor: &mut Cursor<'_>, specs: &[TensorSpec]) -> Parsed<(Vec<Tensor>, Form)> {
    let place = Place { key: "inputs", role: "input", by_rows: false, named: false };
    let (tensors, named) = columns(cursor, specs, place)?;
    let rows = tensors.first().and_then(|tensor| tensor.shape.first()).copied().unwrap_or(1);
    Ok((tensors, Form { rows, outputs: named }))
}

/// Reads a list of rows; also returns how many there were. Whether they are objects is seen at the first.
fn rows(cursor: &mut Cursor<'_>, specs: &[TensorSpec], place: Place) -> Parsed<(Vec<Tensor>, usize)> {
    let start = cursor.at();
    let mut columns = Vec::new();
    let mut named = false;
    let mut count = 0;
    cursor.array(|cursor, index| {
        count = index + 1;
        if index == 0 {
            named = is_by_name(cursor, specs);
            columns = start_columns(specs, Place { named, ..place });
        }
        match columns.first_mut() {
            Some(only) if !named => only.read(cursor),
            _ => fields(cursor, &mut columns),
        }
    })?;
    if count == 0 {
        return Err(Fault::new(start, "is empty: give at least one row"));
    }
    Ok((finish(columns, start)?, count))
}

/// Reads whole tensors; also returns whether they were given by name.
fn columns(cursor: &mut Cursor<'_>, specs: &[TensorSpec], place: Place) -> Parsed<(Vec<Tensor>, bool)> {
    let start = cursor.at();
    let named = is_by_name(cursor, specs);
    let mut columns = start_columns(specs, Place { named, ..place });
    match columns.first_mut() {
        Some(only) if !named => only.read(cursor)?,
        _ => fields(cursor, &mut columns)?,
    }
    Ok((finish(columns, start)?, named))
}

/// Whether tensors come as fields of an object: several always do, and one may.
fn is_by_name(cursor: &mut Cursor<'_>, specs: &[TensorSpec]) -> bool {
    match specs {
        [only] => is_named(cursor, only),
        _ => true,
    }
}

fn start_columns(specs: &[TensorSpec], place: Place) -> Vec<Column<'_>> {
    specs.iter().map(|spec| Column::new(spec, place)).collect()
}

fn finish(columns: Vec<Column<'_>>, at: usize) -> Parsed<Vec<Tensor>> {
    columns.into_iter().map(|column| column.finish(at)).collect()
}

/// Reads an object that holds each tensor, or a row of each, once.
fn fields(cursor: &mut Cursor<'_>, columns: &mut [Column<'_>]) -> Parsed<()> {
    let start = cursor.at();
    let before = columns.first().map_or(0, Column::visits);
    if cursor.peek() != Some(b'{') {
        return Err(cursor.expected(&format!("an object with {}", names(columns))));
    }
    cursor.object(|cursor, key| {
        let at = cursor.at();
        match columns.iter_mut().find(|column| column.name() == key) {
            Some(column) if column.visits() > before => Err(Fault::new(at, "is given twice")),
            Some(column) => column.read(cursor),
            None => Err(unknown(at, columns)),
        }
    })?;
    match columns.iter().find(|column| column.visits() == before) {
        None => Ok(()),
        Some(missing) => Err(Fault::new(start, "is missing").in_field(missing.name())),
    }
}

#[cold]
fn unknown(at: usize, columns: &[Column<'_>]) -> Fault {
    Fault::new(at, format!("is not known: the model has {}", names(columns)))
}

fn names(columns: &[Column<'_>]) -> String {
    let names: Vec<_> = columns.iter().map(|column| format!("'{}'", column.name())).collect();
    if names.is_empty() { "no tensors".to_owned() } else { names.join(", ") }
}
