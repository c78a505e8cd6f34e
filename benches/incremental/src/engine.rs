//! What is measured, as the benchmark sees it.

use std::any::Any;

use crate::world::{Change, View};

/// Of what type keys are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Keys {
    Ints,
    Texts,
}

impl Keys {
    pub fn text(self, table: char, id: u32) -> String {
        match table {
            'o' => format!("ORD-2026-{id:08}"),
            'c' => format!("customer {id:05}"),
            _ => format!("SKU-{id:05}"),
        }
    }
}

/// A change as an engine takes it, made before the clock starts.
pub type Input = Box<dyn Any>;

pub trait Engine {
    fn name(&self) -> &'static str;
    fn input(&self, change: &Change) -> Input;
    /// From a change to a view that shows it.
    fn step(&mut self, input: Input);
    fn view(&mut self) -> View;
}
