//! A statistic of floats that come and go.

use std::any::Any;

use datafusion::logical_expr::AggregateUDF;

use super::functions::Exact;
use super::moments::{Moments, Statistic};

/// What a session's function answers of the floats that are there: the same, bit for bit, as when it is computed of all
/// of them at once.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    statistic: Statistic,
    moments: Kept,
}

#[derive(Clone, Debug)]
enum Kept {
    Sum(Moments<1>),
    Squares(Moments<2>),
}

impl Running {
    /// Of no floats; None if the function is not one of those of [`register`](super::register).
    pub(crate) fn of(function: &AggregateUDF) -> Option<Self> {
        let inner: &dyn Any = function.inner().as_ref();
        let statistic = inner.downcast_ref::<Exact>()?.statistic;
        let moments = match statistic.has_squares() {
            true => Kept::Squares(Moments::default()),
            false => Kept::Sum(Moments::default()),
        };
        Some(Self { statistic, moments })
    }

    /// Whether it answers the same question.
    pub(crate) fn is_statistic_of(&self, other: &Self) -> bool {
        self.statistic == other.statistic
    }

    /// A float comes as often as `weight` says, or goes.
    pub(crate) fn add(&mut self, x: f64, weight: i64) {
        for _ in 0..weight.unsigned_abs() {
            match (&mut self.moments, weight > 0) {
                (Kept::Sum(moments), true) => moments.add(x),
                (Kept::Sum(moments), false) => moments.subtract(x),
                (Kept::Squares(moments), true) => moments.add(x),
                (Kept::Squares(moments), false) => moments.subtract(x),
            };
        }
    }

    pub(crate) fn value(&self) -> Option<f64> {
        match &self.moments {
            Kept::Sum(moments) => self.statistic.of(moments),
            Kept::Squares(moments) => self.statistic.of(moments),
        }
    }
}
