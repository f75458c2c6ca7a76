//! Types of tensors, and where a tensor lies.

/// How a tensor's numbers are kept: the types that a network can be run from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TensorType {
    F32,
    F16,
    Bf16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
    Iq4Nl,
    Iq4Xs,
}

/// Types that the format has besides, so that a refusal can name what it found.
const UNSUPPORTED: [(u32, &str); 20] = [
    (9, "Q8_1"),
    (10, "Q2_K"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (24, "I8"),
    (25, "I16"),
    (26, "I32"),
    (27, "I64"),
    (28, "F64"),
    (29, "IQ1_M"),
    (34, "TQ1_0"),
    (35, "TQ2_0"),
    (39, "MXFP4"),
    (40, "NVFP4"),
    (41, "Q1_0"),
];

impl TensorType {
    pub const ALL: [TensorType; 14] = [
        TensorType::F32,
        TensorType::F16,
        TensorType::Bf16,
        TensorType::Q4_0,
        TensorType::Q4_1,
        TensorType::Q5_0,
        TensorType::Q5_1,
        TensorType::Q8_0,
        TensorType::Q3K,
        TensorType::Q4K,
        TensorType::Q5K,
        TensorType::Q6K,
        TensorType::Iq4Nl,
        TensorType::Iq4Xs,
    ];

    /// Its number in the file, its name, the elements of a block and the bytes of a block.
    const fn row(self) -> (u32, &'static str, u64, u64) {
        match self {
            TensorType::F32 => (0, "F32", 1, 4),
            TensorType::F16 => (1, "F16", 1, 2),
            TensorType::Bf16 => (30, "BF16", 1, 2),
            // A scale (and a minimum) in half precision, then 4, 5 or 8 bits an element.
            TensorType::Q4_0 => (2, "Q4_0", 32, 2 + 16),
            TensorType::Q4_1 => (3, "Q4_1", 32, 2 + 2 + 16),
            TensorType::Q5_0 => (6, "Q5_0", 32, 2 + 4 + 16),
            TensorType::Q5_1 => (7, "Q5_1", 32, 2 + 2 + 4 + 16),
            TensorType::Q8_0 => (8, "Q8_0", 32, 2 + 32),
            // Scales of scales, then the elements.
            TensorType::Q3K => (11, "Q3_K", 256, 32 + 64 + 12 + 2),
            TensorType::Q4K => (12, "Q4_K", 256, 2 + 2 + 12 + 128),
            TensorType::Q5K => (13, "Q5_K", 256, 2 + 2 + 12 + 32 + 128),
            TensorType::Q6K => (14, "Q6_K", 256, 128 + 64 + 16 + 2),
            // Each four bits choose one of sixteen numbers that are the same for all files.
            TensorType::Iq4Nl => (20, "IQ4_NL", 32, 2 + 16),
            TensorType::Iq4Xs => (23, "IQ4_XS", 256, 2 + 2 + 4 + 128),
        }
    }

    pub(super) fn of(number: u32) -> Result<TensorType, String> {
        TensorType::ALL.into_iter().find(|one| one.number() == number).ok_or_else(|| {
            let known = UNSUPPORTED.iter().find(|(known, _)| *known == number).map(|(_, name)| *name);
            let found = known.map_or_else(|| format!("number {number}"), str::to_owned);
            let supported = TensorType::ALL.map(TensorType::name).join(", ");
            format!("is of type {found}, and supported are {supported}: use a file that is quantized to one of these")
        })
    }

    /// Its number in a file.
    pub const fn number(self) -> u32 {
        self.row().0
    }

    /// As the format's own tools call it.
    pub const fn name(self) -> &'static str {
        self.row().1
    }

    /// Elements that are kept together. A row's length is a multiple of it.
    pub const fn block(self) -> u64 {
        self.row().2
    }

    /// Bytes of a block.
    pub const fn block_bytes(self) -> u64 {
        self.row().3
    }
}

/// One tensor of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    pub name: String,
    /// The innermost dimension first, as the file has them: a matrix that maps `n` numbers to `m` has `[n, m]`.
    pub shape: Vec<usize>,
    pub kind: TensorType,
    /// Where it begins, in bytes from the file's begin.
    pub offset: u64,
    pub bytes: u64,
}
