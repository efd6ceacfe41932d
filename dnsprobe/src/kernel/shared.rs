//! An array map as memory shared with the kernel programs.

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
    ptr::{self, NonNull},
};

use aya::maps::{Map, MapData};

use super::session::SessionError;

/// The elements of an array map. Programs write them at any time: what is read is
/// only as consistent as the reader makes sure of.
pub(crate) struct SharedArray<T> {
    memory: NonNull<T>,
    len: usize,
    /// Keeps the map open; `None`: the memory is somebody else's.
    mapped: Option<MapData>,
}

// SAFETY: the memory is shared with the kernel, so no thread owns any of it; all
// access is through pointers.
unsafe impl<T> Send for SharedArray<T> {}

impl<T> SharedArray<T> {
    /// Maps an array map of `len` elements into this process; the map stays open as
    /// long. It has to be made with `BPF_F_MMAPABLE` (5.5), of elements whose size
    /// is a multiple of 8.
    pub(crate) fn map(map: Map, name: &'static str, len: usize) -> Result<Self, SessionError> {
        const { assert!(size_of::<T>().is_multiple_of(8)) };
        let Map::Array(map) = map else { return Err(SessionError::Object(name)) };
        // SAFETY: asks for a new mapping of a size that the map has (aya made it
        // from the same object), at no particular address.
        let memory = unsafe {
            libc::mmap(
                ptr::null_mut(),
                len * size_of::<T>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                map.fd().as_fd().as_raw_fd(),
                0,
            )
        };
        if memory == libc::MAP_FAILED {
            return Err(SessionError::Table { name, source: io::Error::last_os_error() });
        }
        let memory = NonNull::new(memory.cast()).ok_or(SessionError::Object(name))?;
        Ok(Self { memory, len, mapped: Some(map) })
    }

    /// The same over other memory.
    #[cfg(test)]
    pub(crate) fn over(elements: &mut [T]) -> Self {
        let len = elements.len();
        Self { memory: NonNull::new(elements.as_mut_ptr()).unwrap(), len, mapped: None }
    }

    /// An element, valid as long as `self`.
    pub(crate) fn get(&self, index: usize) -> Option<*mut T> {
        // SAFETY: the address is inside the mapping.
        (index < self.len).then(|| unsafe { self.memory.as_ptr().add(index) })
    }
}

impl<T> Drop for SharedArray<T> {
    fn drop(&mut self) {
        if self.mapped.is_some() {
            // SAFETY: mapped in `map` with that size; nothing refers to it any more.
            unsafe { libc::munmap(self.memory.as_ptr().cast(), self.len * size_of::<T>()) };
        }
    }
}
