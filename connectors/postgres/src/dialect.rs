use arrow::datatypes::{DataType, Field, TimeUnit};
use belvedere_connector::{Aggregate, AggregateFunction, BinaryOp, JoinKind, Literal};
use belvedere_sqlgen::{
    Aggregated, Class, Dialect, Facts, Limits, LiteralForm, Operand, Position, Read, Rendering,
    Rule, Use, ast, sql,
};
use sqlparser::ast::BinaryOperator;

use crate::stored;

/// The protocol counts parameters in 16 bits, signed in the client.
const MAX_PARAMETERS: usize = 32_767;
/// PostgreSQL selects no more than 1,664.
const MAX_COLUMNS: usize = 1_600;

/// PostgreSQL 15 to 18, a database encoded in UTF-8 (text of others stays with the engine).
///
/// Equality of text is bytewise under every deterministic collation. Order is that of bytes only under `C`, which is
/// therefore stated wherever order matters or where the collation is not known; stating it on one side also settles
/// the conflict of two columns' collations, which PostgreSQL refuses to decide.
#[derive(Debug, Clone, Copy)]
pub struct PostgresDialect;

impl Dialect for PostgresDialect {
    fn placeholder(&self, n: usize) -> String {
        format!("${n}")
    }

    fn bind(&self, placeholder: ast::Expr, data_type: &DataType) -> ast::Expr {
        let name = match data_type {
            DataType::List(element) => {
                type_name(element.data_type()).map(|name| format!("{name}[]"))
            }
            _ => type_name(data_type).map(str::to_string),
        };
        match name {
            Some(name) => sql::cast(placeholder, sql::type_name(&name)),
            None => placeholder,
        }
    }

    fn literal(&self, literal: &Literal, data_type: &DataType) -> Result<LiteralForm, String> {
        let Some(name) = type_name(data_type) else {
            return Err(format!("a constant of type {data_type}"));
        };
        match literal {
            Literal::Null => Ok(LiteralForm::inline(sql::cast(
                sql::null(),
                sql::type_name(name),
            ))),
            Literal::Boolean(value) => Ok(LiteralForm::inline(sql::boolean(*value))),
            Literal::Text(text) if text.contains('\0') => {
                Err("a text with a NUL, which PostgreSQL does not have".to_string())
            }
            _ if crate::params::fits(literal, data_type) => Ok(LiteralForm::Bind),
            _ => Err(format!(
                "a constant of type {data_type} beyond PostgreSQL's"
            )),
        }
    }

    fn store(
        &self,
        literal: &Literal,
        field: &Field,
        bind: &dyn Fn(Literal, DataType) -> ast::Expr,
    ) -> Result<ast::Expr, String> {
        stored::store(literal, field, bind)
    }

    fn assign(&self, value: &Operand<'_>, field: &Field) -> Result<ast::Expr, String> {
        stored::assign(value, field)
    }

    fn refuses_misfits(&self, field: &Field) -> bool {
        stored::is_integer(field)
    }

    fn read(&self, data_type: &DataType, facts: &Facts, column: ast::Expr) -> Result<Read, String> {
        if let Some(encoding) = facts
            .collation
            .as_deref()
            .and_then(|c| c.rsplit_once(" ["))
            .filter(|(_, encoding)| encoding.ends_with(']'))
        {
            return Err(format!(
                "text of a database encoded in {}",
                encoding.1.trim_end_matches(']')
            ));
        }
        let (sql, native_type) = match &facts.native_type {
            Some(native) => (
                stored::in_expression(native, data_type, column),
                // These are compared by their own type where that is the same: see `compare`.
                stored::is_indexed_as_itself(native).then(|| native.clone()),
            ),
            None => (column, None),
        };
        Ok(Read {
            sql,
            facts: Facts {
                native_type,
                collation: facts.collation.clone(),
            },
            guard: None,
        })
    }

    fn rules(&self) -> &[Rule] {
        crate::rules::RULES
    }

    fn key(&self, operand: &Operand<'_>, usage: Use) -> Result<ast::Expr, String> {
        let sql = operand.sql.clone();
        match Class::of(operand.data_type()) {
            Class::Text if operand.as_literal().is_some() => Ok(sql),
            Class::Text => Ok(match (usage, collation(operand)) {
                (_, Collation::Bytes) => sql,
                (Use::Equality | Use::Group, Collation::Deterministic) => sql,
                _ => by_bytes(sql),
            }),
            // NaN is one value, above all others, here and there.
            Class::Float if matches!(usage, Use::Equality | Use::Order) => Ok(sql),
            Class::Float => Err("floats: which of 0.0 and -0.0 is open at the source".to_string()),
            Class::Interval => Err("intervals: a month equals 30 days at the source".to_string()),
            Class::Other => Err(format!(
                "values of {} are not compared",
                operand.data_type()
            )),
            _ => Ok(sql),
        }
    }

    fn compare(
        &self,
        op: BinaryOp,
        left: &Operand<'_>,
        right: &Operand<'_>,
        position: Position,
    ) -> Option<Result<Rendering, String>> {
        match Class::of(left.data_type()) {
            Class::Text => Some(Ok(compare_text(op, left, right, position)?)),
            _ => None,
        }
    }

    fn in_list(
        &self,
        arg: &Operand<'_>,
        list: &[Operand<'_>],
        negated: bool,
        _position: Position,
    ) -> Option<Result<Rendering, String>> {
        let within = |arg, list| {
            Some(Ok(Rendering::exact(ast::Expr::InList {
                expr: Box::new(sql::nested(arg)),
                list,
                negated,
            })))
        };
        if list.iter().any(|item| collations_conflict(arg, item)) {
            let items = list.iter().map(|item| item.sql.clone()).collect();
            return within(by_bytes(arg.sql.clone()), items);
        }
        let items = list
            .iter()
            .map(|item| stored::as_itself(arg, item))
            .collect::<Option<Vec<_>>>()?;
        let (arg, _) = items.first()?.clone();
        within(arg, items.into_iter().map(|(_, item)| item).collect())
    }

    fn in_batch(
        &self,
        arg: &Operand<'_>,
        keys: &[&Literal],
        bind: &dyn Fn(Vec<Literal>) -> ast::Expr,
    ) -> Option<Result<ast::Expr, String>> {
        let data_type = arg.data_type();
        type_name(data_type)?;
        let held = |fits: &dyn Fn(&Literal) -> bool| {
            let keys = keys.iter().filter(|key| fits(key));
            bind(keys.map(|key| (*key).clone()).collect())
        };
        if let Some((column, name)) = stored::all_as_itself(arg) {
            let list = held(&|key| stored::is_key_of(name, key));
            let list = sql::cast(list, sql::type_name(&format!("{name}[]")));
            return Some(Ok(sql::any(column, list)));
        }
        let list = held(&|key| crate::params::fits(key, data_type));
        let exact = |key: Result<ast::Expr, String>| key.map(|key| sql::any(key, list.clone()));
        let is_in = exact(self.key(arg, Use::Equality));
        // The same bytes are equal under any collation: said as well, since an index knows it.
        let indexed = Class::of(data_type) == Class::Text
            && matches!(collation(arg), Collation::Nondeterministic);
        Some(match indexed {
            true => is_in.map(|exact| sql::and(sql::any(arg.sql.clone(), list), exact)),
            false => is_in,
        })
    }

    fn aggregate(
        &self,
        aggregate: &Aggregate,
        arg: Option<&Operand<'_>>,
    ) -> Option<Result<Aggregated, String>> {
        let arg = arg?;
        let call = |name: &str| sql::function(name, vec![arg.sql.clone()], aggregate.distinct);
        let of = |name: &str| Some(Ok(Aggregated::plain(call(name))));
        let class = Class::of(arg.data_type());
        match (aggregate.function, class) {
            (AggregateFunction::Sum, _) => Some(sum(aggregate, arg, call("sum"))),
            (AggregateFunction::BoolAnd, _) => of("bool_and"),
            (AggregateFunction::BoolOr, _) => of("bool_or"),
            // PostgreSQL does not order booleans for these; false is below true.
            (AggregateFunction::Min, Class::Boolean) => of("bool_and"),
            (AggregateFunction::Max, Class::Boolean) => of("bool_or"),
            (AggregateFunction::Min | AggregateFunction::Max, Class::Binary) => {
                Some(Err("min and max of bytea, before PostgreSQL 18".to_string()))
            }
            _ => None,
        }
    }

    fn join(&self, kind: JoinKind, has_keys: bool, has_filter: bool) -> Result<(), String> {
        match kind {
            JoinKind::Full if !has_keys || has_filter => {
                Err("PostgreSQL joins FULL by equal keys alone".to_string())
            }
            _ => Ok(()),
        }
    }

    fn limits(&self) -> Limits {
        Limits {
            parameters: MAX_PARAMETERS,
            columns: MAX_COLUMNS,
            ..Limits::default()
        }
    }

    fn output(&self, field: &Field, facts: &Facts, column: ast::Expr) -> Result<ast::Expr, String> {
        Ok(match &facts.native_type {
            Some(native) => stored::on_the_wire(native, field.data_type(), column),
            None => column,
        })
    }
}

enum Collation {
    /// Compares by bytes in every respect.
    Bytes,
    /// Equal are the same bytes only.
    Deterministic,
    /// Different texts may be equal.
    Nondeterministic,
    Unknown,
}

fn collation(operand: &Operand<'_>) -> Collation {
    match operand.facts.collation.as_deref() {
        Some("C") => Collation::Bytes,
        Some(name) if name.starts_with('*') => Collation::Nondeterministic,
        Some(_) => Collation::Deterministic,
        None => Collation::Unknown,
    }
}

/// Whether the source's own comparison of texts for equality is one of bytes, as far as known.
pub fn is_deterministic(operand: &Operand<'_>) -> bool {
    operand.as_literal().is_some()
        || matches!(
            collation(operand),
            Collation::Bytes | Collation::Deterministic
        )
}

pub fn by_bytes(expr: ast::Expr) -> ast::Expr {
    match expr {
        ast::Expr::Collate { .. } => expr,
        _ => sql::collate(expr, sql::quoted("C", '"')),
    }
}

/// PostgreSQL refuses to decide between the collations of two columns.
fn collations_conflict(left: &Operand<'_>, right: &Operand<'_>) -> bool {
    left.as_literal().is_none()
        && right.as_literal().is_none()
        && left.facts.collation != right.facts.collation
}

/// Where neither side's collation decides, `C` is stated.
fn compare_text(
    op: BinaryOp,
    left: &Operand<'_>,
    right: &Operand<'_>,
    position: Position,
) -> Option<Rendering> {
    use BinaryOp::*;
    let operator = match op {
        Eq | IsNotDistinctFrom | IsDistinctFrom => BinaryOperator::Eq,
        NotEq => BinaryOperator::NotEq,
        Lt => BinaryOperator::Lt,
        LtEq => BinaryOperator::LtEq,
        Gt => BinaryOperator::Gt,
        GtEq => BinaryOperator::GtEq,
        _ => return None,
    };
    let plain = |l: &ast::Expr, r: &ast::Expr| {
        let boxed = |side: &ast::Expr| Box::new(sql::nested(side.clone()));
        match op {
            IsNotDistinctFrom => ast::Expr::IsNotDistinctFrom(boxed(l), boxed(r)),
            IsDistinctFrom => ast::Expr::IsDistinctFrom(boxed(l), boxed(r)),
            _ => sql::binary(l.clone(), operator.clone(), r.clone()),
        }
    };
    if let Some((l, r)) = stored::as_itself(left, right)
        .or_else(|| stored::as_itself(right, left).map(|(r, l)| (l, r)))
        && matches!(op, Eq | NotEq)
    {
        return Some(Rendering::exact(plain(&l, &r)));
    }
    let one_column = left.as_literal().is_some() || right.as_literal().is_some();
    let column = if left.as_literal().is_some() {
        right
    } else {
        left
    };
    let plain_holds = !collations_conflict(left, right)
        && match collation(column) {
            Collation::Bytes => true,
            Collation::Deterministic => {
                matches!(op, Eq | NotEq | IsNotDistinctFrom | IsDistinctFrom)
            }
            Collation::Nondeterministic | Collation::Unknown => false,
        };
    if plain_holds {
        return Some(Rendering::exact(plain(&left.sql, &right.sql)));
    }
    let stated = |operand: &Operand<'_>| match operand.as_literal() {
        Some(_) => operand.sql.clone(),
        None => by_bytes(operand.sql.clone()),
    };
    let exact = plain(&stated(left), &stated(right));
    let indexed = op == Eq
        && one_column
        && position == Position::Predicate
        && matches!(collation(column), Collation::Nondeterministic);
    Some(Rendering::exact(match indexed {
        // The same bytes are equal under any collation: said as well, since an index knows it.
        true => sql::and(plain(&left.sql, &right.sql), exact),
        false => exact,
    }))
}

fn sum(
    aggregate: &Aggregate,
    arg: &Operand<'_>,
    call: ast::Function,
) -> Result<Aggregated, String> {
    match (arg.data_type(), &aggregate.data_type) {
        // Already 64 bits wide at the source, which lets them wrap.
        (DataType::Int16 | DataType::Int32, DataType::Int64) => Ok(Aggregated::plain(call)),
        (DataType::Int64, DataType::Int64) => Ok(Aggregated {
            call,
            value: |sum| sql::cast(sql::wrapped(sum), sql::type_name("bigint")),
        }),
        (
            DataType::Decimal128(p, s) | DataType::Decimal256(p, s),
            DataType::Decimal128(to_p, to_s) | DataType::Decimal256(to_p, to_s),
        ) if s == to_s && to_p - p.min(to_p) >= 10 => Ok(Aggregated::plain(call)),
        (DataType::Decimal128(..) | DataType::Decimal256(..), _) => {
            Err("a sum of decimals that may outgrow its type".to_string())
        }
        (DataType::Float32 | DataType::Float64, _) => {
            Err("a sum of floats depends on their order".to_string())
        }
        (other, _) => Err(format!("a sum of {other}")),
    }
}

/// The type that holds exactly the values of an Arrow type (of a decimal: at least those; of unsigned integers, which no
/// column has: those that a window counts).
pub fn type_name(data_type: &DataType) -> Option<&'static str> {
    Some(match data_type {
        DataType::Boolean => "boolean",
        DataType::Int8 | DataType::Int16 => "smallint",
        DataType::Int32 => "integer",
        DataType::Int64 | DataType::UInt64 => "bigint",
        DataType::Float32 => "real",
        DataType::Float64 => "double precision",
        DataType::Decimal128(..) | DataType::Decimal256(..) => "numeric",
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text",
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "bytea",
        DataType::Date32 => "date",
        DataType::Time64(TimeUnit::Microsecond) => "time",
        DataType::Timestamp(TimeUnit::Microsecond, None) => "timestamp",
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => "timestamptz",
        _ => return None,
    })
}
