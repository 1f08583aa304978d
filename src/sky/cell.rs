//! HEALPix cells of the NESTED scheme.

use std::fmt;
use std::ops::Range;

use thiserror::Error;

use crate::class::Class;

/// A HEALPix level, 0 to 29: the sphere is cut into `12 * 4^order` cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Order(u8);

/// A NESTED cell of some order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cell {
    order: Order,
    number: u64,
}

/// A HEALPix cell of order 29 in the NESTED scheme (0.4 milliarcseconds).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cell29(pub u64);

/// Why numbers are not a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CellError {
    /// The order does not exist.
    #[error("HEALPix order {order} is out of range: use 0 to 29")]
    OrderOutOfRange {
        /// What was given.
        order: u64,
    },
    /// The order has fewer cells.
    #[error("HEALPix cell {number} is out of range: order {order} has cells 0 to {}", .order.cell_count() - 1)]
    NumberOutOfRange {
        /// The order that was given.
        order: Order,
        /// The number that was given.
        number: u64,
    },
}

impl CellError {
    /// What the caller must do.
    pub fn class(&self) -> Class {
        match self {
            Self::OrderOutOfRange { .. } | Self::NumberOutOfRange { .. } => Class::Invalid,
        }
    }
}

impl Order {
    /// The twelve base cells.
    pub const BASE: Self = Self(0);
    /// The finest order.
    pub const MAX: Self = Self(29);

    /// Checks an order.
    pub fn new(order: u64) -> Result<Self, CellError> {
        match u8::try_from(order) {
            Ok(small) if small <= Self::MAX.0 => Ok(Self(small)),
            _ => Err(CellError::OrderOutOfRange { order }),
        }
    }

    /// The order as a number, 0 to 29.
    pub fn get(self) -> u8 {
        self.0
    }

    /// The next finer order; `None` at order 29.
    pub fn finer(self) -> Option<Self> {
        (self < Self::MAX).then(|| Self(self.0 + 1))
    }

    /// How many cells cover the sphere: `12 * 4^order`.
    pub const fn cell_count(self) -> u64 {
        12 << (2 * self.0)
    }

    /// How many bits an order-29 number has below this order's number.
    pub(super) const fn shift(self) -> u32 {
        2 * (Self::MAX.0 - self.0) as u32
    }
}

impl fmt::Display for Order {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl Cell {
    /// Checks a cell's number against its order.
    pub fn new(order: Order, number: u64) -> Result<Self, CellError> {
        if number < order.cell_count() {
            Ok(Self { order, number })
        } else {
            Err(CellError::NumberOutOfRange { order, number })
        }
    }

    /// The twelve cells of order 0.
    pub fn base() -> impl Iterator<Item = Self> {
        (0..Order::BASE.cell_count()).map(|number| Self { order: Order::BASE, number })
    }

    /// The level.
    pub fn order(&self) -> Order {
        self.order
    }

    /// The NESTED number at that level.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The four cells of the next order inside this one; none at order 29.
    pub fn children(&self) -> impl Iterator<Item = Self> + use<> {
        let first = self.number << 2;
        let finer = self.order.finer();
        (0..4).filter_map(move |child| finer.map(|order| Self { order, number: first + child }))
    }

    /// The order-29 cells inside this one.
    pub fn range(&self) -> Range<u64> {
        let shift = self.order.shift();
        self.number << shift..(self.number + 1) << shift
    }
}

impl Cell29 {
    /// How many order-29 cells cover the sphere: `12 * 4^29`.
    pub const COUNT: u64 = Order::MAX.cell_count();

    /// The cell of a coarser order that holds this one.
    pub fn parent(self, order: Order) -> Cell {
        Cell { order, number: self.0 >> order.shift() }
    }
}

impl From<Cell29> for Cell {
    fn from(cell: Cell29) -> Self {
        cell.parent(Order::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_and_numbers_are_checked() {
        assert_eq!(Order::new(29), Ok(Order::MAX));
        assert_eq!(Order::new(30), Err(CellError::OrderOutOfRange { order: 30 }));
        assert_eq!(Order::new(256), Err(CellError::OrderOutOfRange { order: 256 }));
        assert!(Cell::new(Order::BASE, 11).is_ok());
        let error = Cell::new(Order::BASE, 12).expect_err("only twelve base cells");
        assert_eq!(error.to_string(), "HEALPix cell 12 is out of range: order 0 has cells 0 to 11");
        assert_eq!(Cell29::COUNT, 3_458_764_513_820_540_928);
    }

    #[test]
    fn ranges_nest() {
        let cell = Cell::new(Order(3), 700).expect("order 3 has 768 cells");
        let children: Vec<_> = cell.children().collect();
        assert_eq!(children.len(), 4);
        assert_eq!(children[0].range().start, cell.range().start);
        assert_eq!(children[3].range().end, cell.range().end);
        assert!(children.windows(2).all(|pair| pair[0].range().end == pair[1].range().start));
        assert_eq!(Cell29(cell.range().end - 1).parent(Order(3)), cell);
        assert_eq!(Cell::from(Cell29(5)).children().count(), 0);
    }
}
