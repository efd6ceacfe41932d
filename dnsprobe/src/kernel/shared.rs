//! An array map as memory shared with the kernel programs.

use std::{
    cell::OnceCell,
    io,
    os::fd::{AsFd, AsRawFd},
    ptr::{self, NonNull},
};

use aya::maps::{Map, MapData};

use super::session::SessionError;

/// Elements that are mapped at once: with any size that is a multiple of 8 a
/// multiple of the usual page.
const PART: usize = 512;

/// The elements of an array map, mapped in parts when they are first looked at: a
/// map's memory counts as this process's once it is. Programs write them at any time:
/// what is read is only as consistent as the reader makes sure of.
pub(crate) struct SharedArray<T> {
    parts: Vec<OnceCell<NonNull<T>>>,
    len: usize,
    /// Keeps the map open; `None`: the memory is somebody else's.
    map: Option<MapData>,
}

// SAFETY: the memory is shared with the kernel, so no thread owns any of it; all
// access is through pointers.
unsafe impl<T> Send for SharedArray<T> {}

impl<T> SharedArray<T> {
    /// Takes an array map of `len` elements; it stays open as long. It has to be made
    /// with `BPF_F_MMAPABLE` (5.5), of elements whose size is a multiple of 8. Its
    /// first part is mapped now, so that one that cannot be is known.
    pub(crate) fn of(map: Map, name: &'static str, len: usize) -> Result<Self, SessionError> {
        const { assert!(size_of::<T>().is_multiple_of(8)) };
        let Map::Array(map) = map else { return Err(SessionError::Object(name)) };
        let parts = vec![OnceCell::new(); len.div_ceil(PART)];
        let array = Self { parts, len, map: Some(map) };
        match array.get(0) {
            Ok(_) => Ok(array),
            Err(source) => Err(SessionError::Table { name, source }),
        }
    }

    /// The same over other memory.
    #[cfg(test)]
    pub(crate) fn over(elements: &mut [T]) -> Self {
        let len = elements.len();
        let parts = elements.chunks_mut(PART).map(|part| NonNull::new(part.as_mut_ptr()).unwrap());
        Self { parts: parts.map(OnceCell::from).collect(), len, map: None }
    }

    /// An element, valid as long as `self`; `None` beyond the end.
    ///
    /// # Errors
    /// When its part cannot be mapped.
    pub(crate) fn get(&self, index: usize) -> io::Result<Option<*mut T>> {
        if index >= self.len {
            return Ok(None);
        }
        let part = &self.parts[index / PART];
        let memory = match part.get() {
            Some(memory) => *memory,
            None => *part.get_or_init({
                let memory = self.map_part(index / PART)?;
                move || memory
            }),
        };
        // SAFETY: the address is inside the part.
        Ok(Some(unsafe { memory.as_ptr().add(index % PART) }))
    }

    /// What is mapped so far: the first element of each part, and how many there are.
    pub(crate) fn mapped(&self) -> impl Iterator<Item = (*mut T, usize)> {
        let parts = self.parts.iter().enumerate();
        parts.filter_map(|(part, memory)| Some((memory.get()?.as_ptr(), self.len_of(part))))
    }

    fn map_part(&self, part: usize) -> io::Result<NonNull<T>> {
        let map = self.map.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let offset = libc::off_t::try_from(part * PART * size_of::<T>())
            .map_err(|_| io::ErrorKind::InvalidInput)?;
        // SAFETY: asks for a new mapping of a part that the map has (aya made it from
        // the same object), at no particular address.
        let memory = unsafe {
            libc::mmap(
                ptr::null_mut(),
                self.bytes_of(part),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                map.fd().as_fd().as_raw_fd(),
                offset,
            )
        };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        NonNull::new(memory.cast()).ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }

    fn len_of(&self, part: usize) -> usize {
        (self.len - part * PART).min(PART)
    }

    fn bytes_of(&self, part: usize) -> usize {
        self.len_of(part) * size_of::<T>()
    }
}

impl<T> Drop for SharedArray<T> {
    fn drop(&mut self) {
        if self.map.is_none() {
            return;
        }
        for (part, memory) in self.parts.iter().enumerate() {
            if let Some(memory) = memory.get() {
                // SAFETY: mapped in `map_part` with that size; nothing refers to it any
                // more.
                unsafe { libc::munmap(memory.as_ptr().cast(), self.bytes_of(part)) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_of_all_parts_are_found_and_none_beyond() {
        let mut elements: Vec<u64> = (0..2 * PART as u64 + 3).collect();
        let array = SharedArray::over(&mut elements);
        for index in [0, 1, PART - 1, PART, 2 * PART, 2 * PART + 2] {
            let element = array.get(index).unwrap().unwrap();
            // SAFETY: in `elements`, which is still there.
            assert_eq!(unsafe { *element }, index as u64);
        }
        assert_eq!(array.get(2 * PART + 3).unwrap(), None);
        let lengths: Vec<usize> = array.mapped().map(|(_, len)| len).collect();
        assert_eq!(lengths, [PART, PART, 3]);
        assert_eq!(array.bytes_of(2), 3 * size_of::<u64>());
    }
}
