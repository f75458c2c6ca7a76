//! One tensor of a V1 body: its elements, and its shape, which is how their arrays nest.

use crate::json::{Cursor, Fault, Parsed, base64, elements};
use crate::model::{Dim, ShapeText, TensorSpec};
use crate::tensor::{Datatype, Tensor};

/// Where the tensors of a body are, for the texts of refusals.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// The body's key, as `instances`.
    pub key: &'static str,
    /// `input` or `output`.
    pub role: &'static str,
    /// Each visit reads one row, so that dimension 0 is the number of visits.
    pub by_rows: bool,
    /// The tensors are fields of objects.
    pub named: bool,
}

/// A tensor as far as it has been read.
pub(super) struct Column<'s> {
    spec: &'s TensorSpec,
    place: Place,
    /// The length of the first array at each depth, which all others there must have.
    sizes: Vec<Option<usize>>,
    data: Vec<u8>,
    visits: usize,
}

impl<'s> Column<'s> {
    pub fn new(spec: &'s TensorSpec, place: Place) -> Self {
        Column { spec, place, sizes: vec![None; spec.shape.len()], data: Vec::new(), visits: 0 }
    }

    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// How often it has been read.
    pub fn visits(&self) -> usize {
        self.visits
    }

    /// Reads one row, or the whole tensor where it does not come by rows.
    pub fn read(&mut self, cursor: &mut Cursor<'_>) -> Parsed<()> {
        if self.place.by_rows && self.spec.shape.is_empty() {
            let text =
                format!("{} '{}' is a scalar, and has no rows: give it in inputs", self.place.role, self.spec.name);
            return Err(Fault::new(cursor.at(), text));
        }
        self.visits += 1;
        let axis = usize::from(self.place.by_rows);
        elements::read(cursor, self.spec.datatype, Nested { column: self, axis })
    }

    /// The tensor. `at` is where the body's value begins.
    pub fn finish(mut self, at: usize) -> Parsed<Tensor> {
        if self.place.by_rows {
            self.agree(0, self.visits, at)?;
        }
        let shape = self.sizes.into_iter().map(Option::unwrap_or_default).collect();
        // All arrays of a depth are as long as each other, so that the elements are as many as the shape asks for.
        Ok(Tensor { name: self.spec.name.clone(), datatype: self.spec.datatype, shape, data: self.data.into() })
    }

    /// Holds the length of an array at a depth against the model and against the first array there.
    fn agree(&mut self, axis: usize, size: usize, at: usize) -> Parsed<()> {
        let first = *self.sizes[axis].get_or_insert(size);
        let fits = self.spec.shape[axis].accepts(size);
        let empty = size == 0 && self.spec.shape[axis] != Dim::Fixed(0);
        if first == size && fits && !empty { Ok(()) } else { Err(self.misfit(axis, size, first, at)) }
    }

    #[cold]
    fn misfit(&self, axis: usize, size: usize, first: usize, at: usize) -> Fault {
        let unit = if axis == 0 { "rows" } else { "elements" };
        let text = match self.spec.shape[axis] {
            Dim::Fixed(fixed) if fixed != size => format!("has {size} {unit}, {} takes {fixed}", self.described()),
            _ if size == 0 => format!("is empty: every dimension of {} must be at least 1", self.described()),
            _ => format!("has {size} {unit}, {} has {first}", self.first_at(axis)),
        };
        Fault::new(at, text)
    }

    /// The path of the first array at a depth.
    fn first_at(&self, axis: usize) -> String {
        let Place { key, by_rows, named, .. } = self.place;
        let row = if by_rows { "[0]" } else { "" };
        let (dot, name) = if named { (".", self.name()) } else { ("", "") };
        format!("{key}{row}{dot}{name}{}", "[0]".repeat(axis.saturating_sub(usize::from(by_rows))))
    }

    fn described(&self) -> String {
        format!("{} '{}' of shape {}", self.place.role, self.spec.name, ShapeText(&self.spec.shape))
    }
}

/// Reads arrays that nest as deep as the model's shape has dimensions, from `axis` on.
struct Nested<'c, 's> {
    column: &'c mut Column<'s>,
    axis: usize,
}

impl<'a> elements::Elements<'a> for Nested<'_, '_> {
    type Read = ();

    fn numbers<T>(self, cursor: &mut Cursor<'a>, read: impl Fn(&mut Cursor<'a>) -> Parsed<T>) -> Parsed<()>
    where
        T: bytemuck::NoUninit + Send + 'static,
    {
        self.column.walk(cursor, self.axis, &|cursor, data| {
            data.extend_from_slice(bytemuck::bytes_of(&read(cursor)?));
            Ok(())
        })
    }

    fn strings(self, cursor: &mut Cursor<'a>) -> Parsed<()> {
        self.column.walk(cursor, self.axis, &|cursor, data| match cursor.peek() {
            Some(b'{') => base64_element(cursor, data),
            _ => elements::string(cursor, data),
        })
    }
}

impl Column<'_> {
    /// Appends each element with `element`.
    fn walk<'a, E>(&mut self, cursor: &mut Cursor<'a>, axis: usize, element: &E) -> Parsed<()>
    where
        E: Fn(&mut Cursor<'a>, &mut Vec<u8>) -> Parsed<()>,
    {
        if axis == self.sizes.len() {
            return element(cursor, &mut self.data).map_err(|fault| self.not_an_element(cursor, fault));
        }
        if cursor.peek() != Some(b'[') {
            return Err(cursor.expected(&format!("an array for {}", self.described())));
        }
        let at = cursor.at();
        let mut size = 0;
        cursor.array(|cursor, index| {
            size = index + 1;
            self.walk(cursor, axis + 1, element)
        })?;
        self.agree(axis, size, at)
    }

    /// Says of arrays that nest too deep what the matter is.
    #[cold]
    fn not_an_element(&self, cursor: &mut Cursor<'_>, fault: Fault) -> Fault {
        match cursor.peek() {
            Some(b'[') => cursor.expected(&format!("an element for {}", self.described())),
            _ => fault,
        }
    }
}

/// Whether an object comes next that holds the one tensor by its name, and is not an element of `BYTES` in base64.
pub(super) fn is_named(cursor: &mut Cursor<'_>, spec: &TensorSpec) -> bool {
    let mut ahead = cursor.clone();
    let may_be_element = spec.datatype == Datatype::Bytes && &*spec.name != BASE64;
    ahead.eat(b'{') && !(may_be_element && ahead.string().is_ok_and(|key| key == BASE64))
}

/// Whether an object comes next that is an element of `BYTES` in base64.
pub(super) fn is_base64(cursor: &Cursor<'_>) -> bool {
    let mut ahead = cursor.clone();
    ahead.eat(b'{') && ahead.string().is_ok_and(|key| key == BASE64)
}

/// The key of an element of `BYTES` that is not text, by TensorFlow Serving's convention.
const BASE64: &str = "b64";

fn base64_element(cursor: &mut Cursor<'_>, data: &mut Vec<u8>) -> Parsed<()> {
    let at = cursor.at();
    let mut given = false;
    elements::prefixed(at, data, |data| {
        cursor.object(|cursor, key| {
            let at = cursor.at();
            if key != BASE64 || std::mem::replace(&mut given, true) {
                return Err(Fault::new(
                    at,
                    "is not expected: an element of BYTES is a string, or an object with b64 alone",
                ));
            }
            base64::decode(at, &cursor.string()?, data)
        })
    })?;
    if given { Ok(()) } else { Err(Fault::new(at, "is an object without b64: give a string for BYTES, or b64")) }
}
