//! Room in the cache for what nobody knows the size of beforehand.

/// So many bytes are written before it is looked at again how large everything is.
const GRAIN: u64 = 64 << 20;

/// Has room made as bytes come.
pub(super) struct Room<'a> {
    make: &'a dyn Fn(),
    unseen: u64,
}

impl<'a> Room<'a> {
    /// `make` throws away what is too much.
    pub fn new(make: &'a dyn Fn()) -> Room<'a> {
        Room { make, unseen: 0 }
    }

    /// More bytes have been written.
    pub fn filled(&mut self, bytes: u64) {
        self.unseen += bytes;
        if self.unseen >= GRAIN {
            self.unseen = 0;
            (self.make)();
        }
    }
}
