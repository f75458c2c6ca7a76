//! Joining the rows of several calls into one run, and giving each caller its own rows back.

use bytes::Bytes;
use weirgate_protocol::tensor::BytesElements;
use weirgate_protocol::{Shape, Tensor};

/// Joins tensors along dimension 0. They must agree in datatype and inner dimensions, as calls of one signature do.
/// A single one is passed on without a copy.
pub(crate) fn join(parts: &[&Tensor]) -> Tensor {
    let first = parts[0];
    if parts.len() == 1 {
        return first.clone();
    }
    let mut shape = first.shape.clone();
    shape[0] = parts.iter().map(|part| part.shape[0]).sum();
    let mut data = Vec::with_capacity(parts.iter().map(|part| part.data.len()).sum());
    for part in parts {
        debug_assert_eq!((part.datatype, &part.shape[1..]), (first.datatype, &first.shape[1..]));
        data.extend_from_slice(&part.data);
    }
    Tensor { name: first.name.clone(), datatype: first.datatype, shape, data: data.into() }
}

/// Joins matrices whose rows differ in length: shorter rows are filled up with zeros to `length`.
pub(crate) fn join_padded(parts: &[&Tensor], length: usize) -> Tensor {
    let first = parts[0];
    let size = first.datatype.size().unwrap_or(1);
    let rows: usize = parts.iter().map(|part| part.shape[0]).sum();
    let mut data = Vec::with_capacity(rows * length * size);
    for part in parts {
        let own = part.shape[1] * size;
        if own == 0 {
            data.resize(data.len() + part.shape[0] * length * size, 0);
            continue;
        }
        for row in part.data.chunks_exact(own) {
            data.extend_from_slice(row);
            data.resize(data.len() + length * size - own, 0);
        }
    }
    Tensor {
        name: first.name.clone(),
        datatype: first.datatype,
        shape: Shape::from_slice(&[rows, length]),
        data: data.into(),
    }
}

/// Splits an output into runs of rows, without copying. `None` where its first dimension is not the sum of `rows`: then
/// the model does not keep rows apart, and must not be batched.
pub(crate) fn split(output: &Tensor, rows: &[usize]) -> Option<Vec<Tensor>> {
    let total: usize = rows.iter().sum();
    if output.shape.first() != Some(&total) {
        return None;
    }
    let per_row: usize = output.shape[1..].iter().product();
    let mut cuts = Cuts::new(output, per_row);
    let mut parts = Vec::with_capacity(rows.len());
    for &rows in rows {
        let mut shape: Shape = output.shape.clone();
        shape[0] = rows;
        let data = cuts.next(rows)?;
        parts.push(Tensor { name: output.name.clone(), datatype: output.datatype, shape, data });
    }
    Some(parts)
}

/// Walks the bytes of an output, some rows at a time.
struct Cuts<'a> {
    data: &'a Bytes,
    at: usize,
    per_row: usize,
    /// Bytes per element; `None` for `BYTES`, whose elements are walked.
    element: Option<usize>,
}

impl<'a> Cuts<'a> {
    fn new(output: &'a Tensor, per_row: usize) -> Self {
        Cuts { data: &output.data, at: 0, per_row, element: output.datatype.size() }
    }

    fn next(&mut self, rows: usize) -> Option<Bytes> {
        let elements = rows * self.per_row;
        let length = match self.element {
            Some(size) => elements * size,
            None => {
                let mut walk = BytesElements::new(&self.data[self.at..]).take(elements);
                walk.try_fold(0, |length, element| Some(length + 4 + element.ok()?.len()))?
            }
        };
        let start = self.at;
        self.at += length;
        (self.at <= self.data.len()).then(|| self.data.slice(start..self.at))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use weirgate_protocol::Datatype;
    use weirgate_protocol::tensor::push_bytes_element;

    use super::*;

    fn tensor(datatype: Datatype, rows: usize, inner: usize, seed: u8) -> Tensor {
        let mut data = Vec::new();
        for element in 0..rows * inner {
            match datatype.size() {
                Some(size) => data.extend(std::iter::repeat_n(seed.wrapping_add(element as u8), size)),
                None => push_bytes_element(&mut data, &vec![seed; element % 5]).unwrap(),
            }
        }
        Tensor::new("t", datatype, Shape::from_slice(&[rows, inner]), data.into()).unwrap()
    }

    proptest! {
        /// Each caller gets exactly its own rows back, for any mix of rows and any datatype.
        #[test]
        fn split_undoes_join(
            datatype in prop::sample::select(Datatype::ALL.to_vec()),
            rows in prop::collection::vec(0usize..5, 1..8),
            inner in 0usize..4,
        ) {
            let parts: Vec<_> =
                rows.iter().enumerate().map(|(seed, &rows)| tensor(datatype, rows, inner, seed as u8)).collect();
            let joined = join(&parts.iter().collect::<Vec<_>>());
            prop_assert_eq!(split(&joined, &rows), Some(parts));
            let mut wrong = rows.clone();
            wrong.push(1);
            prop_assert_eq!(split(&joined, &wrong), None);
        }
    }

    #[test]
    fn shorter_rows_are_filled_with_zeros() {
        let bytes = |shape: &[usize], data: &[u8]| {
            Tensor::new("t", Datatype::Int8, Shape::from_slice(shape), data.to_vec().into()).unwrap()
        };
        let parts = [bytes(&[2, 1], &[1, 2]), bytes(&[1, 3], &[3, 4, 5]), bytes(&[1, 0], &[])];
        let joined = join_padded(&parts.iter().collect::<Vec<_>>(), 3);
        assert_eq!(&joined.data[..], [1, 0, 0, 2, 0, 0, 3, 4, 5, 0, 0, 0]);
        assert_eq!(&joined.shape[..], [4, 3]);
    }

    #[test]
    fn a_single_call_is_not_copied() {
        let one = tensor(Datatype::Fp32, 2, 3, 7);
        assert_eq!(join(&[&one]).data.as_ptr(), one.data.as_ptr());
        assert_eq!(split(&one, &[2]).unwrap()[0].data.as_ptr(), one.data.as_ptr());
    }
}
