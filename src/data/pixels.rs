//! The bytes of a set's images: in memory, in a file that is mapped into it, or picked from the images of another set.

use std::fmt;
use std::fs::File;
use std::io;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, OnceLock};

use memmap2::Mmap;

/// Bytes that read as one slice wherever they are. A clone shares them; a write copies them into memory first.
#[derive(Clone)]
pub struct Pixels(Arc<Held>);

enum Held {
    Here(Vec<u8>),
    /// A file from a byte on. The system reads what is accessed, and reclaims that memory when it needs it.
    Mapped(Mmap, usize),
    /// Images of `size` bytes, picked from others by their indices. They are put together only when somebody wants all
    /// of them as one slice.
    Picked {
        from: Pixels,
        size: usize,
        rows: Vec<u32>,
        together: OnceLock<Vec<u8>>,
    },
}

impl Pixels {
    /// The bytes of a file from `skip` on, which no one may change as long as they are in use.
    ///
    /// # Errors
    /// What the system says; not every file system can map.
    pub fn map(file: &File, skip: usize) -> io::Result<Pixels> {
        // SAFETY: only bytes are read through the map, and every byte value is valid. Shortening the file meanwhile
        // ends the program with a signal, as unplugging the disk does; a run's checkpoint survives that.
        let map = unsafe { Mmap::map(file)? };
        if skip > map.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Pixels(Arc::new(Held::Mapped(map, skip))))
    }

    /// How many bytes there are, without putting images together.
    pub fn len(&self) -> usize {
        match &*self.0 {
            Held::Here(bytes) => bytes.len(),
            Held::Mapped(map, skip) => map.len() - skip,
            Held::Picked { size, rows, .. } => size * rows.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The `i`-th image of `size` bytes. If images were picked in another size, all of them are put together first.
    ///
    /// # Panics
    /// Where there is none, like indexing a slice.
    pub fn image(&self, i: usize, size: usize) -> &[u8] {
        match &*self.0 {
            Held::Picked { from, size: own, rows, .. } if *own == size => from.image(rows[i] as usize, size),
            _ => &self[i * size..][..size],
        }
    }

    /// Images of `size` bytes at `rows`, in that order: shared where they are mapped from a file, else copied.
    ///
    /// # Panics
    /// Where there is no such image, like indexing a slice.
    pub fn pick(&self, rows: &[usize], size: usize) -> Pixels {
        if let Held::Mapped(..) = &*self.0 {
            let count = self.len() / size.max(1);
            let rows: Vec<u32> = rows
                .iter()
                .map(|row| {
                    assert!(*row < count, "image {row} of {count}");
                    *row as u32
                })
                .collect();
            let (from, together) = (self.clone(), OnceLock::new());
            return Pixels(Arc::new(Held::Picked { from, size, rows, together }));
        }
        let mut picked = Vec::with_capacity(rows.len() * size);
        rows.iter().for_each(|row| picked.extend_from_slice(self.image(*row, size)));
        picked.into()
    }
}

impl Deref for Pixels {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match &*self.0 {
            Held::Here(bytes) => bytes,
            Held::Mapped(map, skip) => &map[*skip..],
            Held::Picked { from, size, rows, together } => together.get_or_init(|| {
                let mut bytes = Vec::with_capacity(rows.len() * size);
                rows.iter().for_each(|row| bytes.extend_from_slice(from.image(*row as usize, *size)));
                bytes
            }),
        }
    }
}

impl DerefMut for Pixels {
    fn deref_mut(&mut self) -> &mut [u8] {
        if !matches!(Arc::get_mut(&mut self.0), Some(Held::Here(_))) {
            *self = self.to_vec().into();
        }
        match Arc::get_mut(&mut self.0) {
            Some(Held::Here(bytes)) => bytes,
            _ => unreachable!("it was just made so"),
        }
    }
}

impl From<Vec<u8>> for Pixels {
    fn from(bytes: Vec<u8>) -> Pixels {
        Pixels(Arc::new(Held::Here(bytes)))
    }
}

impl FromIterator<u8> for Pixels {
    fn from_iter<I: IntoIterator<Item = u8>>(bytes: I) -> Pixels {
        bytes.into_iter().collect::<Vec<u8>>().into()
    }
}

impl Default for Pixels {
    fn default() -> Pixels {
        Vec::new().into()
    }
}

impl PartialEq for Pixels {
    fn eq(&self, other: &Pixels) -> bool {
        **self == **other
    }
}

impl Eq for Pixels {}

impl fmt::Debug for Pixels {
    // Derived, it would print every byte when a test fails.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn mapped(bytes: &[u8], skip: usize) -> Pixels {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Pixels::map(&file, skip).unwrap()
    }

    #[test]
    fn mapped_bytes_read_as_those_in_memory_do() {
        let bytes: Vec<u8> = (0..=255).cycle().take(10_000).collect();
        let (here, there) = (Pixels::from(bytes[16..].to_vec()), mapped(&bytes, 16));
        assert!(here == there);
        for size in [1, 7, 96] {
            assert_eq!(here.image(9, size), there.image(9, size));
            let rows = [3, 0, 3, 103];
            let (copied, shared) = (here.pick(&rows, size), there.pick(&rows, size));
            assert_eq!(shared.image(3, size), there.image(103, size));
            assert_eq!(copied.len(), shared.len());
            assert!(copied == shared);
        }
        assert!(Pixels::map(&tempfile::tempfile().unwrap(), 1).is_err());
    }

    #[test]
    fn picked_images_can_be_looked_at_in_another_size() {
        let shared = mapped(&(0..12).collect::<Vec<u8>>(), 0).pick(&[3, 0, 5, 5], 2);
        assert_eq!(shared.image(1, 2), [0, 1]);
        assert_eq!(shared.image(0, 4), [6, 7, 0, 1]);
        assert_eq!(shared.image(1, 4), [10, 11, 10, 11]);
        assert_eq!(*shared.pick(&[1], 4), [10, 11, 10, 11]);
    }

    #[test]
    fn what_is_written_to_is_a_copy() {
        let first = mapped(&[1, 2, 3], 0);
        let mut second = first.clone();
        second[1] = 9;
        assert_eq!((&*first, &*second), (&[1, 2, 3][..], &[1, 9, 3][..]));
        let mut third = second.clone();
        third.fill(0);
        assert_eq!(*second, [1, 9, 3]);
    }

    #[test]
    #[should_panic(expected = "image 3 of 3")]
    fn an_image_that_is_not_there_is_not_picked() {
        mapped(&[1, 2, 3], 0).pick(&[3], 1);
    }
}
