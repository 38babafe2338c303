//! Test equipment: never part of the product.

pub mod clock;
pub mod generate;
pub mod naive;
