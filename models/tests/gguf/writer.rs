//! Writes GGUF files as they should be, or as a test wants them.

// The tests of headers and those of networks use a part each.
#![allow(dead_code)]

use weirgate_models::gguf::{Header, TensorType, Value};

/// A file in the making.
#[derive(Clone)]
pub struct Writer {
    pub version: u32,
    pub entries: Vec<(String, Vec<u8>)>,
    pub tensors: Vec<Tensor>,
    /// Instead of the true counts.
    pub counts: Option<(u64, u64)>,
    pub alignment: usize,
    /// Bytes of tensors.
    pub data: usize,
}

#[derive(Clone)]
pub struct Tensor {
    name: String,
    shape: Vec<u64>,
    kind: u32,
    offset: u64,
    bytes: Option<Vec<u8>>,
}

pub fn string(text: &[u8]) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text].concat()
}

impl Writer {
    pub fn new() -> Writer {
        Writer { version: 3, entries: Vec::new(), tensors: Vec::new(), counts: None, alignment: 32, data: 0 }
    }

    /// An entry of a type, with its bytes.
    pub fn raw(mut self, key: &str, kind: u32, bytes: &[u8]) -> Writer {
        self.entries.push((key.to_owned(), [&kind.to_le_bytes()[..], bytes].concat()));
        self
    }

    pub fn u32(self, key: &str, value: u32) -> Writer {
        self.raw(key, 4, &value.to_le_bytes())
    }

    pub fn f32(self, key: &str, value: f32) -> Writer {
        self.raw(key, 6, &value.to_le_bytes())
    }

    pub fn str(self, key: &str, value: &str) -> Writer {
        self.raw(key, 8, &string(value.as_bytes()))
    }

    pub fn array(self, key: &str, kind: u32, count: u64, bytes: &[u8]) -> Writer {
        self.raw(key, 9, &[&kind.to_le_bytes()[..], &count.to_le_bytes(), bytes].concat())
    }

    /// A tensor, wherever it is said to lie.
    pub fn tensor_at(mut self, name: &str, kind: u32, shape: &[u64], offset: u64) -> Writer {
        self.tensors.push(Tensor { name: name.to_owned(), shape: shape.to_vec(), kind, offset, bytes: None });
        self
    }

    /// A tensor of F32 behind the others.
    pub fn tensor(mut self, name: &str, shape: &[u64]) -> Writer {
        let offset = self.data.next_multiple_of(self.alignment);
        self.data = offset + 4 * shape.iter().product::<u64>() as usize;
        self.tensor_at(name, 0, shape, offset as u64)
    }

    /// A tensor with its bytes behind the others.
    pub fn tensor_of(mut self, name: &str, kind: TensorType, shape: &[usize], bytes: Vec<u8>) -> Writer {
        let offset = self.data.next_multiple_of(self.alignment);
        self.data = offset + bytes.len();
        let shape: Vec<u64> = shape.iter().map(|&length| length as u64).collect();
        self = self.tensor_at(name, kind.number(), &shape, offset as u64);
        self.tensors.last_mut().unwrap().bytes = Some(bytes);
        self
    }

    /// An entry as it was read, in the widest type of its kind.
    pub fn value(self, key: &str, value: &Value) -> Writer {
        fn many<T>(numbers: &[T], bytes: impl Fn(&T) -> Vec<u8>) -> (u64, Vec<u8>) {
            (numbers.len() as u64, numbers.iter().flat_map(bytes).collect())
        }
        let (kind, (count, bytes)) = match value {
            Value::Unsigned(number) => return self.raw(key, 10, &number.to_le_bytes()),
            Value::Signed(number) => return self.raw(key, 11, &number.to_le_bytes()),
            Value::Float(number) => return self.raw(key, 12, &number.to_le_bytes()),
            Value::Bool(truth) => return self.raw(key, 7, &[u8::from(*truth)]),
            Value::String(text) => return self.str(key, text),
            Value::Integers(numbers) => (11, many(numbers, |number| number.to_le_bytes().to_vec())),
            Value::Floats(numbers) => (12, many(numbers, |number| number.to_le_bytes().to_vec())),
            Value::Bools(truths) => (7, many(truths, |truth| vec![u8::from(*truth)])),
            Value::Strings(texts) => (8, many(texts, |text| string(text.as_bytes()))),
            Value::Nested => panic!("arrays of arrays are not kept"),
        };
        self.array(key, kind, count, &bytes)
    }

    /// Takes an entry out.
    pub fn without(mut self, key: &str) -> Writer {
        let before = self.entries.len();
        self.entries.retain(|(one, _)| one != key);
        assert!(self.entries.len() < before, "{key} is not there");
        self
    }

    /// Takes a tensor out; its place stays.
    pub fn without_tensor(mut self, name: &str) -> Writer {
        self.tensors.retain(|one| one.name != name);
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let (tensors, entries) = self.counts.unwrap_or((self.tensors.len() as u64, self.entries.len() as u64));
        let mut out =
            [b"GGUF", &self.version.to_le_bytes()[..], &tensors.to_le_bytes(), &entries.to_le_bytes()].concat();
        for (key, value) in &self.entries {
            out.extend(string(key.as_bytes()));
            out.extend(value);
        }
        for tensor in &self.tensors {
            out.extend(string(tensor.name.as_bytes()));
            out.extend((tensor.shape.len() as u32).to_le_bytes());
            tensor.shape.iter().for_each(|length| out.extend(length.to_le_bytes()));
            out.extend(tensor.kind.to_le_bytes());
            out.extend(tensor.offset.to_le_bytes());
        }
        out.resize(out.len().next_multiple_of(self.alignment), 0);
        // Each byte tells where it lies, where a tensor has none of its own.
        let begin = out.len();
        out.extend((0..self.data).map(|at| at as u8));
        for tensor in &self.tensors {
            if let Some(bytes) = &tensor.bytes {
                out[begin + tensor.offset as usize..][..bytes.len()].copy_from_slice(bytes);
            }
        }
        out
    }

    pub fn read(&self) -> Result<Header, String> {
        let bytes = self.bytes();
        Header::read(&*bytes, bytes.len() as u64)
    }

    /// What is said of it when it is refused.
    pub fn refusal(&self) -> String {
        self.read().map(|_| "nothing").unwrap_err()
    }
}

/// A small Llama of two layers, whose tensors are there as far as the header's reader looks at them.
pub fn llama() -> Writer {
    Writer::new()
        .str("general.architecture", "llama")
        .u32("llama.block_count", 2)
        .u32("llama.embedding_length", 8)
        .u32("llama.attention.head_count", 4)
        .u32("llama.attention.head_count_kv", 2)
        .u32("llama.feed_forward_length", 16)
        .u32("llama.context_length", 64)
        .f32("llama.attention.layer_norm_rms_epsilon", 1e-5)
        .tensor("token_embd.weight", &[8, 5])
        .tensor("blk.0.attn_q.weight", &[8, 8])
}
