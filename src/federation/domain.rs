use std::cmp::Ordering;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use datafusion::arrow::array::StructArray;
use datafusion::arrow::datatypes::{DataType, Schema};
use datafusion::arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, Operator};
use datafusion::physical_expr::expressions::{
    BinaryExpr, CaseExpr, CastExpr, Column, DynamicFilterPhysicalExpr, InListExpr, IsNullExpr,
    Literal,
};
use datafusion::physical_expr::scalar_subquery::ScalarSubqueryExpr;
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};

/// The rows that a predicate lets through, by columns: at least those. None are no rows; a column that is not named may
/// have any value.
pub type Domains = Option<BTreeMap<usize, Domain>>;

/// Values a column may have: one of the keys, if there are some, and within the bounds; or NULL.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Domain {
    pub keys: Option<HashSet<ScalarValue>>,
    pub least: Option<ScalarValue>,
    pub most: Option<ScalarValue>,
    pub null: bool,
}

/// What a predicate says of single columns, now. What it says otherwise (of sums of columns, by a hash table) is left
/// out, so that the domains hold more rows than it lets through, never fewer.
pub fn of(predicate: &Arc<dyn PhysicalExpr>, schema: &Schema) -> Result<Domains> {
    let any = || Ok(Some(BTreeMap::new()));
    if let Some(dynamic) = predicate.downcast_ref::<DynamicFilterPhysicalExpr>() {
        return of(&dynamic.current()?, schema);
    }
    if let Some(literal) = predicate.downcast_ref::<Literal>() {
        return match literal.value() {
            ScalarValue::Boolean(Some(true)) => any(),
            _ => Ok(None),
        };
    }
    if let Some(binary) = predicate.downcast_ref::<BinaryExpr>() {
        let both = || Ok::<_, _>((of(binary.left(), schema)?, of(binary.right(), schema)?));
        return match binary.op() {
            Operator::And => both().map(|(left, right)| and(left, right)),
            Operator::Or => both().map(|(left, right)| or(left, right)),
            op => Ok(compared(binary, *op, schema).unwrap_or(Some(BTreeMap::new()))),
        };
    }
    if let Some(test) = predicate.downcast_ref::<IsNullExpr>()
        && let Some(column) = test.arg().downcast_ref::<Column>()
    {
        return Ok(one(column.index(), Domain::only_null()));
    }
    if let Some(list) = predicate.downcast_ref::<InListExpr>()
        && !list.negated()
    {
        return Ok(listed(list, schema).unwrap_or(Some(BTreeMap::new())));
    }
    // Each partition of a join's build side has a branch; which rows take which is not said in terms of columns.
    if let Some(case) = predicate.downcast_ref::<CaseExpr>() {
        let mut all = match case.else_expr() {
            Some(otherwise) => of(otherwise, schema)?,
            None => None,
        };
        for (_, then) in case.when_then_expr() {
            all = or(all, of(then, schema)?);
        }
        return Ok(all);
    }
    any()
}

/// Rows of both.
pub fn and(left: Domains, right: Domains) -> Domains {
    let (mut all, right) = (left?, right?);
    for (column, domain) in right {
        let domain = match all.remove(&column) {
            Some(other) => domain.intersected(other),
            None => domain,
        };
        if domain.is_empty() {
            return None;
        }
        all.insert(column, domain);
    }
    Some(all)
}

fn or(left: Domains, right: Domains) -> Domains {
    let (left, mut right) = match (left, right) {
        (Some(left), Some(right)) => (left, right),
        (one, other) => return one.or(other),
    };
    let both = left.into_iter().filter_map(|(column, domain)| {
        let other = right.remove(&column)?;
        Some((column, domain.united(other)))
    });
    Some(both.collect())
}

fn one(column: usize, domain: Domain) -> Domains {
    Some(BTreeMap::from([(column, domain)]))
}

/// `column op constant`, either way round. None says nothing of a column.
fn compared(binary: &BinaryExpr, op: Operator, schema: &Schema) -> Option<Domains> {
    let (side, value, op) = match constant(binary.right()) {
        Some(value) => (binary.left(), value, op),
        None => (binary.right(), constant(binary.left())?, op.swap()?),
    };
    if value.is_null() {
        // Not true of any row, for these.
        return is_bound(op).then_some(None);
    }
    let keyed = Keyed::of(side, schema)?;
    let domain = match op {
        Operator::Eq => Domain::keys([keyed.value(&value)?]),
        Operator::Gt | Operator::GtEq => Domain {
            least: Some(keyed.bound(&value, true)?),
            ..Domain::default()
        },
        Operator::Lt | Operator::LtEq => Domain {
            most: Some(keyed.bound(&value, false)?),
            ..Domain::default()
        },
        _ => return None,
    };
    Some(one(keyed.column, domain))
}

/// What an expression without columns is, by now: that a scalar subquery has not run yet is no constant.
fn constant(expr: &Arc<dyn PhysicalExpr>) -> Option<ScalarValue> {
    if let Some(literal) = expr.downcast_ref::<Literal>() {
        return Some(literal.value().clone());
    }
    let varies = |part: &Arc<dyn PhysicalExpr>| {
        Ok(part.is::<Column>() || part.is::<DynamicFilterPhysicalExpr>())
    };
    if !has_subquery(expr) || expr.exists(varies).unwrap_or(true) {
        return None;
    }
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let row =
        RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).ok()?;
    match expr.evaluate(&row).ok()? {
        ColumnarValue::Scalar(value) => Some(value),
        ColumnarValue::Array(values) => ScalarValue::try_from_array(&values, 0).ok(),
    }
}

/// Whether it has a value that is known only once a scalar subquery has run.
pub fn has_subquery(expr: &Arc<dyn PhysicalExpr>) -> bool {
    let is = |part: &Arc<dyn PhysicalExpr>| Ok(part.is::<ScalarSubqueryExpr>());
    expr.exists(is).unwrap_or(false)
}

fn is_bound(op: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, Lt, LtEq};
    matches!(op, Eq | Gt | GtEq | Lt | LtEq)
}

/// `column IN (…)`, or `struct(column, …) IN (…)`, of which each column's values are one domain.
fn listed(list: &InListExpr, schema: &Schema) -> Option<Domains> {
    let constants = || {
        let value =
            |item: &Arc<dyn PhysicalExpr>| Some(item.downcast_ref::<Literal>()?.value().clone());
        list.list().iter().map(value).collect::<Option<Vec<_>>>()
    };
    if let Some(keyed) = Keyed::of(list.expr(), schema) {
        return keyed.domain(constants()?.iter());
    }
    let parts = list.expr().downcast_ref::<ScalarFunctionExpr>()?;
    if parts.name() != "struct" {
        return None;
    }
    let rows = constants()?;
    let structs: Vec<&StructArray> = rows
        .iter()
        .map(|row| match row {
            ScalarValue::Struct(one) => Some(one.as_ref()),
            _ => None,
        })
        .collect::<Option<_>>()?;
    let mut all: Domains = Some(BTreeMap::new());
    for (i, part) in parts.args().iter().enumerate() {
        let Some(keyed) = Keyed::of(part, schema) else {
            continue;
        };
        let value = |row: &&StructArray| ScalarValue::try_from_array(row.column(i), 0).ok();
        let values: Vec<_> = structs.iter().map(value).collect::<Option<_>>()?;
        if let Some(domains) = keyed.domain(values.iter()) {
            all = and(all, domains);
        }
    }
    Some(all)
}

/// A column, or one brought into another type.
struct Keyed<'a> {
    column: usize,
    data_type: &'a DataType,
    cast: Cast,
}

#[derive(Clone, Copy, PartialEq)]
enum Cast {
    None,
    /// Equal values are equal after it, others are others, in their order.
    KeepsValues,
    /// No value overtakes another.
    KeepsOrder,
}

/// Up to here every integer is a float.
const WHOLE_FLOATS: f64 = 9_007_199_254_740_992.0;

impl<'a> Keyed<'a> {
    fn of(expr: &Arc<dyn PhysicalExpr>, schema: &'a Schema) -> Option<Self> {
        let (column, to) = match expr.downcast_ref::<CastExpr>() {
            Some(cast) => (cast.expr(), Some(cast.cast_type())),
            None => (expr, None),
        };
        let column = column.downcast_ref::<Column>()?.index();
        let data_type = schema.fields().get(column)?.data_type();
        // Of floats, -0.0 and 0.0 are one key, and NaN has many forms.
        if data_type.is_floating() || data_type.is_nested() {
            return None;
        }
        let cast = match to {
            None => Cast::None,
            Some(to) if to == data_type => Cast::None,
            Some(to) if keeps_values(data_type, to) => Cast::KeepsValues,
            Some(DataType::Float64) if data_type.is_integer() => Cast::KeepsOrder,
            Some(_) => return None,
        };
        Some(Self {
            column,
            data_type,
            cast,
        })
    }

    /// The value of the column that becomes this one; None if no value does, or more than one may.
    fn value(&self, value: &ScalarValue) -> Option<ScalarValue> {
        let own = match self.cast {
            Cast::None => value.clone(),
            Cast::KeepsValues => {
                let own = value.cast_to(self.data_type).ok()?;
                let back = own.cast_to(&value.data_type()).ok()?;
                (back == *value).then_some(own)?
            }
            Cast::KeepsOrder => return None,
        };
        (!own.is_null()).then_some(own)
    }

    /// A value of the column that is at most this one (`least`), or at least.
    fn bound(&self, value: &ScalarValue, least: bool) -> Option<ScalarValue> {
        match (self.cast, value) {
            (Cast::None, _) => return Some(value.clone()),
            (Cast::KeepsOrder, ScalarValue::Float64(Some(float)))
                if float.abs() <= WHOLE_FLOATS => {}
            (Cast::KeepsOrder, _) => return None,
            (Cast::KeepsValues, _) => {}
        }
        let own = value.cast_to(self.data_type).ok()?;
        let back = own.cast_to(&value.data_type()).ok()?;
        // Casts round to the nearest value, or towards zero.
        match back.partial_cmp(value)? {
            Ordering::Greater if least => stepped(own, -1),
            Ordering::Less if !least => stepped(own, 1),
            _ => Some(own),
        }
    }

    fn domain<'v>(&self, values: impl Iterator<Item = &'v ScalarValue>) -> Option<Domains> {
        if self.cast == Cast::KeepsOrder {
            return None;
        }
        let keys: HashSet<_> = values.filter_map(|value| self.value(value)).collect();
        Some(match keys.is_empty() {
            true => None,
            false => one(self.column, Domain::keys(keys)),
        })
    }
}

/// The next value of its type, or the one before.
fn stepped(value: ScalarValue, by: i8) -> Option<ScalarValue> {
    if let ScalarValue::Decimal128(Some(unscaled), precision, scale) = value {
        let next = unscaled.checked_add(by.into())?;
        return Some(ScalarValue::Decimal128(Some(next), precision, scale));
    }
    let step = ScalarValue::Int8(Some(1))
        .cast_to(&value.data_type())
        .ok()?;
    match by {
        0.. => value.add_checked(step).ok(),
        _ => value.sub_checked(step).ok(),
    }
}

/// Whether a cast maps equal values to equal values and others to others, in their order.
fn keeps_values(from: &DataType, to: &DataType) -> bool {
    use DataType::{Decimal128, LargeUtf8, Utf8, Utf8View};
    let width = |t: &DataType| t.primitive_width().unwrap_or(0);
    match (from, to) {
        (from, to) if from.is_integer() && to.is_integer() => {
            from.is_signed_integer() == to.is_signed_integer() && width(from) <= width(to)
        }
        (from, Decimal128(precision, scale)) if from.is_integer() => {
            *scale >= 0 && precision.saturating_sub(scale.unsigned_abs()) >= 20
        }
        (Decimal128(p, s), Decimal128(to_p, to_s)) => {
            to_s >= s && i16::from(*to_p) - i16::from(*to_s) >= i16::from(*p) - i16::from(*s)
        }
        (Utf8 | LargeUtf8 | Utf8View, Utf8 | LargeUtf8 | Utf8View) => true,
        _ => false,
    }
}

impl Domain {
    fn keys(keys: impl IntoIterator<Item = ScalarValue>) -> Self {
        Self {
            keys: Some(keys.into_iter().collect()),
            ..Self::default()
        }
    }

    fn only_null() -> Self {
        Self {
            null: true,
            ..Self::keys([])
        }
    }

    fn is_empty(&self) -> bool {
        !self.null && self.keys.as_ref().is_some_and(HashSet::is_empty)
    }

    fn intersected(self, other: Self) -> Self {
        let (fewer, more) = match (self.keys, other.keys) {
            (Some(a), Some(b)) if b.len() < a.len() => (Some(b), Some(a)),
            (Some(a), b) => (Some(a), b),
            (None, b) => (b, None),
        };
        let keys = fewer.map(|mut keys| {
            if let Some(more) = more {
                keys.retain(|key| more.contains(key));
            }
            keys
        });
        Self {
            keys,
            least: further(self.least, other.least, true),
            most: further(self.most, other.most, false),
            null: self.null && other.null,
        }
    }

    fn united(self, other: Self) -> Self {
        let null = self.null || other.null;
        match (&self.keys, &other.keys) {
            (Some(_), Some(_)) => {
                let bound = |a: &Option<ScalarValue>, b: &Option<ScalarValue>, least| {
                    a.clone()
                        .zip(b.clone())
                        .and_then(|(a, b)| hull(a, b, least))
                };
                let (least, most) = (
                    bound(&self.least, &other.least, true),
                    bound(&self.most, &other.most, false),
                );
                let mut keys = self.keys.unwrap_or_default();
                keys.extend(other.keys.unwrap_or_default());
                Self {
                    keys: Some(keys),
                    least,
                    most,
                    null,
                }
            }
            _ => {
                let bound = |least| {
                    let (a, b) = (self.bound(least), other.bound(least));
                    match (a, b) {
                        (Bound::Nothing, Bound::Value(v)) | (Bound::Value(v), Bound::Nothing) => {
                            Some(v)
                        }
                        (Bound::Value(a), Bound::Value(b)) => hull(a, b, least),
                        _ => None,
                    }
                };
                Self {
                    keys: None,
                    least: bound(true),
                    most: bound(false),
                    null,
                }
            }
        }
    }

    /// The bound of its values, also of its keys.
    fn bound(&self, least: bool) -> Bound {
        if let Some(keys) = &self.keys {
            let mut keys = keys.iter().cloned();
            let Some(first) = keys.next() else {
                return Bound::Nothing;
            };
            let all = keys.try_fold(first, |bound, key| hull(bound, key, least));
            return all.map_or(Bound::Open, Bound::Value);
        }
        let bound = if least { &self.least } else { &self.most };
        bound.clone().map_or(Bound::Open, Bound::Value)
    }
}

enum Bound {
    /// There is no value to bound.
    Nothing,
    Open,
    Value(ScalarValue),
}

/// The bound that holds both.
fn hull(a: ScalarValue, b: ScalarValue, least: bool) -> Option<ScalarValue> {
    let order = a.partial_cmp(&b)?;
    Some(if order.is_le() == least { a } else { b })
}

/// The bound that holds what both hold; any of them holds at least that.
fn further(a: Option<ScalarValue>, b: Option<ScalarValue>, least: bool) -> Option<ScalarValue> {
    match (a, b) {
        (Some(a), Some(b)) => match a.partial_cmp(&b) {
            Some(order) if order.is_le() == least => Some(b),
            _ => Some(a),
        },
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::{AsArray, Int32Array, RecordBatch};
    use datafusion::arrow::datatypes::Field;
    use datafusion::physical_expr::expressions::{binary, cast, col, in_list, is_null, lit};
    use proptest::prelude::*;

    fn schema() -> Arc<Schema> {
        let field = |name| Field::new(name, DataType::Int32, true);
        Arc::new(Schema::new(vec![field("a"), field("b")]))
    }

    type Predicate = Arc<dyn PhysicalExpr>;

    fn leaf() -> impl Strategy<Value = Predicate> {
        let column = prop_oneof![Just("a"), Just("b")].prop_flat_map(|name| {
            let plain = col(name, &schema()).unwrap();
            let wide = cast(plain.clone(), &schema(), DataType::Int64).unwrap();
            prop_oneof![Just((plain, false)), Just((wide, true))]
        });
        let constant = |wide: bool, value: Option<i32>| match wide {
            true => lit(ScalarValue::Int64(value.map(i64::from))),
            false => lit(ScalarValue::Int32(value)),
        };
        let value = prop_oneof![5 => (-3..4).prop_map(Some), 1 => Just(None)];
        let op = prop_oneof![
            Just(Operator::Eq),
            Just(Operator::Lt),
            Just(Operator::LtEq),
            Just(Operator::Gt),
            Just(Operator::GtEq),
            Just(Operator::NotEq),
            Just(Operator::IsNotDistinctFrom)
        ];
        let compared = (column.clone(), op, value.clone(), any::<bool>()).prop_map(
            move |((side, wide), op, value, swap)| {
                let (l, r) = (side, constant(wide, value));
                let (l, r) = if swap { (r, l) } else { (l, r) };
                binary(l, op, r, &schema()).unwrap()
            },
        );
        let listed = (
            column.clone(),
            prop::collection::vec(value, 1..5),
            any::<bool>(),
        )
            .prop_map(move |((side, wide), values, negated)| {
                let values = values.into_iter().map(|v| constant(wide, v)).collect();
                in_list(side, values, &negated, &schema()).unwrap()
            });
        let null = column.prop_map(|(side, _)| is_null(side).unwrap());
        let fixed = any::<Option<bool>>().prop_map(|b| lit(ScalarValue::Boolean(b)));
        prop_oneof![6 => compared, 4 => listed, 1 => null, 1 => fixed]
    }

    fn predicate() -> impl Strategy<Value = Predicate> {
        leaf().prop_recursive(4, 24, 3, |inner| {
            let pair = (inner.clone(), inner.clone());
            let logical = (pair, any::<bool>()).prop_map(|((l, r), and)| {
                let op = if and { Operator::And } else { Operator::Or };
                binary(l, op, r, &schema()).unwrap()
            });
            let case = (
                prop::collection::vec(inner.clone(), 1..3),
                prop::option::of(inner),
            )
                .prop_map(|(branches, otherwise)| {
                    let branch = |(i, then)| (lit(i as i32), then);
                    let branches = branches.into_iter().enumerate().map(branch).collect();
                    let on = col("a", &schema()).unwrap();
                    Arc::new(CaseExpr::try_new(Some(on), branches, otherwise).unwrap()) as _
                });
            prop_oneof![4 => logical, 1 => case]
        })
    }

    fn admits(domains: &Domains, row: &[Option<i32>; 2]) -> bool {
        let Some(domains) = domains else { return false };
        domains.iter().all(|(column, domain)| {
            let Some(value) = row[*column] else {
                return domain.null;
            };
            let value = ScalarValue::Int32(Some(value));
            let within = |bound: &Option<ScalarValue>, least: bool| {
                bound.as_ref().is_none_or(|bound| match least {
                    true => *bound <= value,
                    false => value <= *bound,
                })
            };
            domain
                .keys
                .as_ref()
                .is_none_or(|keys| keys.contains(&value))
                && within(&domain.least, true)
                && within(&domain.most, false)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn domains_hold_all_rows_that_the_predicate_lets_through(predicate in predicate()) {
            let values = || [None].into_iter().chain((-4..5).map(Some));
            let rows: Vec<_> = values().flat_map(|a| values().map(move |b| [a, b])).collect();
            let column = |i: usize| Arc::new(Int32Array::from_iter(rows.iter().map(|row| row[i])));
            let batch = RecordBatch::try_new(schema(), vec![column(0), column(1)]).unwrap();
            let found = predicate.evaluate(&batch).unwrap().into_array(rows.len()).unwrap();
            let domains = of(&predicate, &schema()).unwrap();
            for (row, holds) in rows.iter().zip(found.as_boolean()) {
                if holds == Some(true) {
                    prop_assert!(admits(&domains, row), "{row:?} of {predicate} by {domains:?}");
                }
            }
        }
    }
}
