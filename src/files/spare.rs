//! Memory for vectors of a file that is used again.
//!
//! The system clears every page that it gives to a program, and that takes longer than to copy a file into it. An import reads
//! gigabytes, piece by piece, and needs few of the pieces at a time.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use arrow::buffer::{Buffer, ScalarBuffer};
use bytes::Bytes;

/// Pieces that nobody uses.
#[derive(Debug, Default)]
pub(super) struct Spare(Arc<Home>);

type Home = Mutex<Vec<Vec<f32>>>;

impl Spare {
    /// So many numbers, whatever they are.
    pub(super) fn take(&self, count: usize) -> Vec<f32> {
        let spare = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        // One that is too small is not worth growing: what it holds would be copied.
        let mut numbers =
            spare.filter(|spare| spare.len() >= count).unwrap_or_else(|| vec![0.0; count]);
        numbers.truncate(count);
        numbers
    }

    /// Pieces that wait here.
    #[cfg(test)]
    pub(super) fn pieces(&self) -> usize {
        self.0.lock().expect("whole").len()
    }

    /// Numbers as an Arrow buffer, from which they come back when it is not used any more.
    pub(super) fn lend(&self, numbers: Vec<f32>) -> ScalarBuffer<f32> {
        let lent = Lent { numbers, home: Arc::downgrade(&self.0) };
        ScalarBuffer::from(Buffer::from(Bytes::from_owner(lent)))
    }
}

struct Lent {
    numbers: Vec<f32>,
    home: Weak<Home>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.numbers)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // Once the file is read there is no home, and they go.
        if let Some(home) = self.home.upgrade() {
            home.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(std::mem::take(&mut self.numbers));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_uses_any_more_is_used_again() {
        let spare = Spare::default();
        let mut numbers = spare.take(1_000);
        numbers.fill(7.0);
        let place = numbers.as_ptr();
        let lent = spare.lend(numbers);
        let slice = lent.slice(10, 5);
        drop(lent);
        assert_eq!(spare.pieces(), 0, "a part of it is in use");
        assert_eq!(&*slice, &[7.0; 5]);
        drop(slice);
        assert_eq!(spare.pieces(), 1);
        let again = spare.take(900);
        assert_eq!((again.as_ptr(), again.len()), (place, 900));
    }

    #[test]
    fn larger_pieces_are_new_and_late_ones_go() {
        let spare = Spare::default();
        drop(spare.lend(spare.take(10)));
        assert_eq!(spare.take(11), vec![0.0; 11]);
        let late = spare.lend(vec![1.0; 3]);
        drop(spare);
        assert_eq!(&*late, &[1.0; 3]);
    }

    #[test]
    fn nothing_is_lent_too() {
        let spare = Spare::default();
        assert!(spare.lend(spare.take(0)).is_empty());
    }
}
