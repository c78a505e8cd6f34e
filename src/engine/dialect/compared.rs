//! Values that stand beside others: what is compared, and what one of is chosen. DataFusion takes dates and times beside each other for
//! times in nanoseconds, in which there is none before 1677 or after 2262.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{Between, Case, InList};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Union};

use super::meaning::{Meaning, cast, finer, is_moment, literal, text};
use super::{bytes, operators};
use crate::engine::upstream::is_utc;

impl Meaning<'_> {
    /// Two values that are compared, if they are to be compared as others.
    pub(super) fn compared(
        &self,
        left: &Expr,
        right: &Expr,
        schema: &DFSchema,
    ) -> Result<Option<(Expr, Expr)>> {
        let (Ok(l), Ok(r)) = (left.get_type(schema), right.get_type(schema)) else {
            return Ok(None);
        };
        let meant = self.beside(right, &r, &l, schema)?;
        let r = match &meant {
            Some(right) => right.get_type(schema)?,
            None => r,
        };
        Ok(match (self.beside(left, &l, &r, schema)?, meant) {
            (None, None) => None,
            (left_meant, right_meant) => Some((
                left_meant.unwrap_or_else(|| left.clone()),
                right_meant.unwrap_or_else(|| right.clone()),
            )),
        })
    }

    /// A value as it is compared with one of another type. None: as it is.
    fn beside(
        &self,
        value: &Expr,
        of: &DataType,
        other: &DataType,
        schema: &DFSchema,
    ) -> Result<Option<Expr>> {
        use DataType::{Date32, Time32, Time64, Timestamp};
        Ok(match (of, other) {
            (of, other) if of.is_string() && operators::is_bytes(other) => match text(value) {
                Some(text) => Some(literal(ScalarValue::Binary(Some(bytes::parsed(text)?)))),
                None => None,
            },
            (of, other) if of.is_string() && is_moment(other) => {
                let meant = match text(value) {
                    Some(text) => self.moment(text, other)?,
                    None => None,
                };
                // DataFusion would read it in nanoseconds.
                Some(meant.unwrap_or_else(|| cast(value.clone(), other.clone())))
            }
            (Timestamp(unit, None), Timestamp(other, Some(zone))) if zone.as_ref() != self.zone => {
                let unit = match value.any_column_refs() {
                    true => finer(*unit, *other),
                    false => *other,
                };
                Some(self.moment_of(value.clone(), unit, zone))
            }
            (Date32, Timestamp(unit, Some(zone))) if !self.is_session(zone) || !is_utc(zone) => {
                let midnight = cast(value.clone(), Timestamp(*unit, None));
                Some(self.moment_of(midnight, *unit, zone))
            }
            // DataFusion would compare the two in nanoseconds.
            (Date32, Timestamp(unit, _)) if unit != &TimeUnit::Nanosecond => {
                Some(cast(value.clone(), Timestamp(*unit, None)))
            }
            (Time32(_) | Time64(_), Time32(_) | Time64(_)) if of != other => {
                Some(match value.any_column_refs() {
                    true if other == &Time64(TimeUnit::Nanosecond) => {
                        cast(value.clone(), other.clone())
                    }
                    true => return Ok(None),
                    false => cast(value.clone(), other.clone()),
                })
            }
            // In nanoseconds no time is beyond 2262, as `9999-12-31` is, which stands for no end.
            (Timestamp(TimeUnit::Nanosecond, zone), Timestamp(unit, _))
                if unit != &TimeUnit::Nanosecond && !value.any_column_refs() =>
            {
                Some(cast(
                    value.clone(),
                    Timestamp(TimeUnit::Microsecond, zone.clone()),
                ))
            }
            (Timestamp(..), Date32) => {
                let days = operators::whole_days(value);
                days.filter(|days| matches!(days.get_type(schema), Ok(Date32)))
            }
            _ => None,
        })
    }

    pub(super) fn between(&self, test: &Between, schema: &DFSchema) -> Result<Option<Expr>> {
        let low = self.compared(&test.expr, &test.low, schema)?;
        let high = self.compared(&test.expr, &test.high, schema)?;
        if low.is_none() && high.is_none() {
            return Ok(None);
        }
        let as_it_is = |end: &Expr| (test.expr.as_ref().clone(), end.clone());
        let (from, low) = low.unwrap_or_else(|| as_it_is(&test.low));
        let (to, high) = high.unwrap_or_else(|| as_it_is(&test.high));
        if from == to {
            let (low, high) = (Box::new(low), Box::new(high));
            return Ok(Some(Expr::Between(Between::new(
                Box::new(from),
                test.negated,
                low,
                high,
            ))));
        }
        Ok(Some(match test.negated {
            true => from.lt(low).or(to.gt(high)),
            false => from.gt_eq(low).and(to.lt_eq(high)),
        }))
    }

    pub(super) fn in_list(&self, test: &InList, schema: &DFSchema) -> Result<Option<Expr>> {
        let Ok(of) = test.expr.get_type(schema) else {
            return Ok(None);
        };
        let mut has_changed = false;
        let mut list = Vec::with_capacity(test.list.len());
        for item in &test.list {
            let meant = match item.get_type(schema) {
                Ok(item_type) => self.beside(item, &item_type, &of, schema)?,
                Err(_) => None,
            };
            has_changed |= meant.is_some();
            list.push(meant.unwrap_or_else(|| item.clone()));
        }
        let expr = test.expr.clone();
        Ok(has_changed.then(|| Expr::InList(InList::new(expr, list, test.negated))))
    }

    /// Values of which one is chosen, or the first of which is less the other: among times, dates and texts that are written are times.
    /// None: they are as they are.
    pub(super) fn alike(&self, values: &[&Expr], schema: &DFSchema) -> Result<Option<Vec<Expr>>> {
        let types = values.iter().map(|value| value.get_type(schema));
        let Ok(types) = types.collect::<Result<Vec<_>>>() else {
            return Ok(None);
        };
        let Some(common) = common_time(&types) else {
            return Ok(None);
        };
        let (mut alike, mut has_changed) = (Vec::with_capacity(values.len()), false);
        for (value, of) in values.iter().zip(&types) {
            let meant = match of {
                DataType::Date32 => self.beside(value, of, &common, schema)?,
                of if of.is_string() && text(value).is_some() => {
                    self.beside(value, of, &common, schema)?
                }
                _ => None,
            };
            has_changed |= meant.is_some();
            alike.push(meant.unwrap_or_else(|| (*value).clone()));
        }
        Ok(has_changed.then_some(alike))
    }

    /// What a `CASE` gives.
    pub(super) fn case(&self, case: &Case, schema: &DFSchema) -> Result<Option<Expr>> {
        let given = case.when_then_expr.iter().map(|(_, then)| then);
        let given: Vec<&Expr> = given.chain(&case.else_expr).map(AsRef::as_ref).collect();
        let Some(alike) = self.alike(&given, schema)? else {
            return Ok(None);
        };
        let mut alike = alike.into_iter().map(Box::new);
        let mut meant = case.clone();
        let branches = meant.when_then_expr.iter_mut().map(|(_, then)| then);
        for (given, alike) in branches.chain(&mut meant.else_expr).zip(&mut alike) {
            *given = alike;
        }
        Ok(Some(Expr::Case(meant)))
    }

    /// The rows of several queries, one behind the other. None: they are as they are.
    pub(super) fn union(&self, union: &Union) -> Result<Option<LogicalPlan>> {
        let types = |column: usize| {
            let inputs = union.inputs.iter();
            inputs.map(move |input| input.schema().field(column).data_type().clone())
        };
        let columns = 0..union.schema.fields().len();
        let common = columns.map(|column| {
            let types: Vec<DataType> = types(column).collect();
            common_time(&types).filter(|_| types.contains(&DataType::Date32))
        });
        let common: Vec<Option<DataType>> = common.collect();
        if common.iter().all(Option::is_none) {
            return Ok(None);
        }
        let input = |input: &Arc<LogicalPlan>| {
            let schema = input.schema();
            let columns = schema.iter().zip(&common).map(|((of, field), common)| {
                let column = Expr::from((of, field));
                let meant = match (field.data_type(), common) {
                    (from @ DataType::Date32, Some(common)) => {
                        self.beside(&column, from, common, schema)?
                    }
                    _ => None,
                };
                Ok(match meant {
                    Some(meant) => meant.alias_qualified(of.cloned(), field.name()),
                    None => column,
                })
            });
            let columns = columns.collect::<Result<Vec<_>>>()?;
            let meant = LogicalPlanBuilder::from(Arc::clone(input)).project(columns)?;
            Ok(Arc::new(meant.build()?))
        };
        let inputs = union.inputs.iter().map(input).collect::<Result<_>>()?;
        let union = Union::try_new_with_loose_types(inputs)?;
        Ok(Some(LogicalPlan::Union(union)))
    }
}

/// The time that others among these are taken for. None: there is none, or one in nanoseconds.
fn common_time(types: &[DataType]) -> Option<DataType> {
    let times = types.iter().filter_map(|of| match of {
        DataType::Timestamp(unit, zone) => Some((*unit, zone.clone())),
        _ => None,
    });
    let (unit, zone) = times.reduce(|(a, zone), (b, other)| (finer(a, b), zone.or(other)))?;
    (unit != TimeUnit::Nanosecond).then_some(DataType::Timestamp(unit, zone))
}
