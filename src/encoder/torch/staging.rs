//! From rows of features to a batch on the device, with one copy in the computer's memory.
//!
//! A GPU fetches from pages that are pinned, and does so beside its computing. To pin pages takes long, so that each network
//! keeps those it has.

#![expect(unsafe_code, reason = "libtorch lends a tensor's memory as an address")]

use std::cell::RefCell;

use rayon::prelude::*;
use tch::{Cuda, Device, Kind, TchError, Tensor};

/// Numbers from which on threads share the copying: to wake them takes longer than to copy less.
const SHARED_FROM: usize = 1 << 21;

/// Threads that share the copying: a few fill the way to the memory, and more are slower, for all of them must be woken.
pub(crate) const THREADS_MAX: usize = 4;

/// Pinned memory of a network, in slots.
#[derive(Debug, Default)]
pub(crate) struct Staging {
    pinned: RefCell<Vec<Option<Tensor>>>,
}

impl Staging {
    /// Puts rows on the device, one behind the other. On a GPU this returns before they are there.
    ///
    /// Before it is called again for the same slot, something made of the tensor must have been fetched from the device:
    /// until then the device may still be reading.
    ///
    /// # Errors
    /// When a row is of another length than the others, or libtorch fails.
    pub(crate) fn put(
        &self,
        slot: usize,
        rows: &[&[f32]],
        device: Device,
    ) -> Result<Tensor, TchError> {
        let length = rows.first().map_or(0, |row| row.len());
        if let Some(other) = rows.iter().find(|row| row.len() != length) {
            let reason = format!("a row of {} numbers beside one of {length}", other.len());
            return Err(TchError::Shape(reason));
        }
        let count = (rows.len() * length) as i64;
        if !device.is_cuda() {
            let mut batch = Tensor::f_empty([count], (Kind::Float, Device::Cpu))?;
            fill(&mut batch, rows, length)?;
            return Ok(batch);
        }
        let mut all = self.pinned.borrow_mut();
        if all.len() <= slot {
            all.resize_with(slot + 1, || None);
        }
        if all[slot].as_ref().is_none_or(|pinned| (pinned.numel() as i64) < count) {
            all[slot] = Some(pinned(count, device)?);
        }
        let pinned = all[slot].as_ref().map(|pinned| pinned.f_narrow(0, 0, count));
        let mut batch = pinned.ok_or_else(|| TchError::Shape(format!("no slot {slot}")))??;
        fill(&mut batch, rows, length)?;
        batch.f_to_device_(device, Kind::Float, true, false)
    }
}

/// Pinned memory for so many numbers.
fn pinned(count: i64, device: Device) -> Result<Tensor, TchError> {
    // libtorch pins what a GPU copies into while others go on. Its other word for it writes a warning every time.
    let there = Tensor::f_empty([count], (Kind::Float, device))?;
    let here = there.f_to_device_(Device::Cpu, Kind::Float, true, false)?;
    if let Device::Cuda(number) = device {
        Cuda::synchronize(number as i64);
    }
    Ok(here)
}

/// Copies rows of so many numbers into a tensor in the computer's memory that has just their size.
fn fill(batch: &mut Tensor, rows: &[&[f32]], length: usize) -> Result<(), TchError> {
    let count = rows.len() * length;
    let is_fit = batch.numel() == count && batch.kind() == Kind::Float && batch.is_contiguous();
    if !is_fit || batch.device() != Device::Cpu {
        return Err(TchError::Shape(format!("a place for {count} numbers is another")));
    }
    if count == 0 {
        return Ok(());
    }
    // SAFETY: the tensor is contiguous, in this computer's memory, and holds `count` numbers of this kind, for which libtorch
    // aligns; it is borrowed mutably, and nobody else works on its memory (see `Staging::put`).
    let numbers = unsafe { std::slice::from_raw_parts_mut(batch.data_ptr().cast::<f32>(), count) };
    if count < SHARED_FROM {
        let places = numbers.chunks_exact_mut(length);
        places.zip(rows).for_each(|(place, row)| place.copy_from_slice(row));
    } else {
        let places = numbers.par_chunks_exact_mut(length);
        places.zip(rows).for_each(|(place, row)| place.copy_from_slice(row));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_lie_behind_each_other() {
        let staging = Staging::default();
        for (count, length) in [(3, 5), (9, 1 << 18), (1, 1), (2, 0)] {
            let rows: Vec<Vec<f32>> = (0..count)
                .map(|row| (0..length).map(|n| (row * length + n) as f32).collect())
                .collect();
            let borrowed: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
            let batch = staging.put(0, &borrowed, Device::Cpu).expect("copies");
            assert_eq!(Vec::<f32>::try_from(&batch).expect("numbers"), rows.concat());
        }
        assert_eq!(staging.put(1, &[], Device::Cpu).expect("copies").numel(), 0);
        let uneven: [&[f32]; 2] = [&[1.0, 2.0], &[3.0]];
        let error = staging.put(0, &uneven, Device::Cpu).expect_err("must be refused");
        assert!(error.to_string().contains("a row of 1 numbers beside one of 2"), "{error}");
    }
}
