//! Memory for weights, keys and values: noughts from the system, in huge pages where it has them.
//!
//! A step reads all weights once. In pages of 4 KiB the processor looks up where each page lies for every 64 lines of it that it
//! reads, and on a virtual machine it looks twice; huge pages make that rare. Matrices are smaller than a huge page, so they lie
//! one behind the other in large areas.

use std::io;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;

use bytemuck::Zeroable;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// An array that begins as noughts. The system gives the memory as it is first written to.
pub struct Memory<T> {
    first: NonNull<T>,
    len: usize,
}

// SAFETY: it owns its elements, as a `Vec` does.
unsafe impl<T: Send> Send for Memory<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Memory<T> {}

impl<T: Zeroable> Memory<T> {
    pub fn noughts(len: usize) -> io::Result<Memory<T>> {
        // Pages are aligned to more than any element here.
        const { assert!(align_of::<T>() <= 4096 && size_of::<T>() > 0 && !std::mem::needs_drop::<T>()) };
        let bytes = len.checked_mul(size_of::<T>()).ok_or(io::ErrorKind::OutOfMemory)?;
        if bytes == 0 {
            return Ok(Memory { first: NonNull::dangling(), len: 0 });
        }
        // SAFETY: a new area, at a place that the system chooses.
        let area = unsafe {
            mmap_anonymous(std::ptr::null_mut(), bytes, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)?
        };
        #[cfg(target_os = "linux")]
        // SAFETY: the area is this one's own. Where there are no huge pages, small ones do.
        let _ = unsafe { rustix::mm::madvise(area, bytes, rustix::mm::Advice::LinuxHugepage) };
        let first = NonNull::new(area.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Memory { first, len })
    }
}

impl<T> Deref for Memory<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the area has as many elements, and noughts are valid ones.
        unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for Memory<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and it is borrowed alone.
        unsafe { std::slice::from_raw_parts_mut(self.first.as_ptr(), self.len) }
    }
}

impl<T> Drop for Memory<T> {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: the area is this one's own, and nobody borrows it any more.
            let _ = unsafe { munmap(self.first.as_ptr().cast(), self.len * size_of::<T>()) };
        }
    }
}

/// 64 bytes, aligned, so that no vector of weights straddles two cache lines.
#[derive(Clone, Copy, Zeroable)]
#[repr(C, align(64))]
pub struct Line(pub [u8; 64]);

/// Where matrices get their memory, one behind the other. Areas live as long as a matrix in them.
#[derive(Default)]
pub struct Arena {
    area: Option<Arc<Memory<Line>>>,
    /// Lines of the area that are given away.
    used: usize,
}

/// Lines of an area that nobody else has.
pub struct Lines {
    first: NonNull<Line>,
    len: usize,
    /// Keeps the area.
    _area: Arc<Memory<Line>>,
}

// SAFETY: the lines are this one's own.
unsafe impl Send for Lines {}
// SAFETY: as above.
unsafe impl Sync for Lines {}

/// Lines of an area, 64 MiB. What is not used at its end was never written to, and takes no memory.
const AREA: usize = 1 << 20;

impl Arena {
    /// So many lines of noughts.
    pub fn take(&mut self, lines: usize) -> io::Result<Lines> {
        let area = match self.area.take() {
            Some(area) if area.len - self.used >= lines => area,
            _ => {
                self.used = 0;
                Arc::new(Memory::noughts(lines.max(AREA))?)
            }
        };
        // SAFETY: the area has at least as many behind those that are given away.
        let first = unsafe { area.first.add(self.used) };
        self.used += lines;
        self.area = Some(area.clone());
        Ok(Lines { first, len: lines, _area: area })
    }
}

impl Deref for Lines {
    type Target = [Line];

    fn deref(&self) -> &[Line] {
        // SAFETY: they lie in the area, which lives, and nobody else writes to them.
        unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.len) }
    }
}

impl DerefMut for Lines {
    fn deref_mut(&mut self) -> &mut [Line] {
        // SAFETY: as above, and they are borrowed alone.
        unsafe { std::slice::from_raw_parts_mut(self.first.as_ptr(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_noughts_apart_and_outlive_their_arena() {
        let mut arena = Arena::default();
        let mut all: Vec<Lines> = [3, 0, AREA - 5, 3, AREA + 1, 2].map(|lines| arena.take(lines).unwrap()).into();
        drop(arena);
        for (number, lines) in all.iter_mut().enumerate() {
            assert!(lines.iter().all(|line| line.0 == [0; 64]));
            lines.iter_mut().for_each(|line| line.0 = [number as u8 + 1; 64]);
        }
        // What is dropped leaves the others of its area alone.
        all.swap_remove(0);
        for lines in &all {
            assert!(lines.iter().all(|line| line.0 == lines[0].0 && line.0[0] > 1));
        }
        assert_eq!(all.iter().map(|lines| lines.len()).collect::<Vec<_>>(), [2, 0, AREA - 5, 3, AREA + 1]);
    }

    #[test]
    fn memory_that_there_is_not_is_an_error() {
        assert!(Memory::<u16>::noughts(1 << 60).is_err());
        assert!(Memory::<u16>::noughts(usize::MAX).is_err());
        assert!(Memory::<u16>::noughts(0).unwrap().is_empty());
    }
}
