use arrow::datatypes::{DataType, Field, TimeUnit};
use belvedere_connector::{
    Aggregate, AggregateFunction, BinaryOp, COLLATION, JoinKind, Literal, NATIVE_TYPE,
};
use belvedere_sqlgen::{
    Aggregated, Class, Dialect, Facts, Limits, LiteralForm, Nulls, Operand, Position, Read,
    Rendering, Rule, Use, ast, sql,
};

use crate::decode::is_readable;
use crate::rules;
use crate::session::{Flavor, MAX_SORT_LENGTH};
use crate::types::is_decided;

/// What the protocol can count.
const MAX_PARAMETERS: usize = 65_535;
const MAX_COLUMNS: usize = 4_096;
/// MariaDB's and MySQL's sets of tables are 61 bits.
const MAX_TABLES: usize = 61;
/// Characters that a text may have to be sorted or grouped whole; each takes at most four bytes.
const MAX_SORTED_CHARS: usize = MAX_SORT_LENGTH / 4 - 24;

/// MariaDB and MySQL.
///
/// Text inside an expression is always `utf8mb4` under an explicit collation that compares bytes and pads nothing,
/// whatever the column's own: so no operation depends on a column's collation, and two collations never meet.
#[derive(Debug, Clone)]
pub(crate) struct MysqlDialect {
    /// Unknown before the first contact: then text is left to the engine.
    pub flavor: Option<Flavor>,
}

impl MysqlDialect {
    fn bytes_collation(&self) -> Result<ast::Ident, String> {
        self.flavor
            .map(|flavor| sql::word(flavor.bytes_collation()))
            .ok_or_else(|| "text, before the source's version is known".to_string())
    }
}

fn native_of(field: &Field) -> &str {
    field.metadata().get(NATIVE_TYPE).map_or("", String::as_str)
}

/// The number in parentheses: a length, a precision.
fn argument(native: &str) -> Option<usize> {
    let (_, rest) = native.split_once('(')?;
    rest.split([')', ',']).next()?.trim().parse().ok()
}

/// Whether a number of microseconds has more than so many digits of a second.
fn is_finer(micros: i64, digits: usize) -> bool {
    let unit = 10_i64.pow(6_u32.saturating_sub(digits as u32));
    micros % unit != 0
}

impl Dialect for MysqlDialect {
    fn placeholder(&self, _n: usize) -> String {
        "?".to_string()
    }

    fn positional(&self) -> bool {
        true
    }

    /// The client sends decimals as text, and every date as a DATETIME.
    fn bind(&self, placeholder: ast::Expr, data_type: &DataType) -> ast::Expr {
        match cast_name(data_type) {
            Some(name) if !matches!(Class::of(data_type), Class::Int | Class::UInt) => {
                sql::cast(placeholder, sql::type_name(&name))
            }
            _ => placeholder,
        }
    }

    fn literal(&self, literal: &Literal, data_type: &DataType) -> Result<LiteralForm, String> {
        let inline = |sql| LiteralForm::Inline(Box::new(sql));
        match (literal, data_type) {
            (Literal::Null, _) => Ok(inline(sql::null())),
            (Literal::Boolean(value), _) => Ok(inline(sql::boolean(*value))),
            (Literal::Binary(bytes), _) => {
                let hex = bytes.iter().map(|b| format!("{b:02X}")).collect();
                Ok(inline(ast::Expr::value(ast::Value::HexStringLiteral(hex))))
            }
            (Literal::Float(value), _) if !value.is_finite() => {
                Err("a float that is not finite".to_string())
            }
            // Sent as a parameter it comes back as 0.0.
            (Literal::Float(value), _) if *value == 0.0 && value.is_sign_negative() => {
                Err("the float -0.0".to_string())
            }
            (
                Literal::Int(_),
                DataType::Date32
                | DataType::Time64(_)
                | DataType::Timestamp(_, _)
                | DataType::Date64
                | DataType::Time32(_)
                | DataType::Duration(_),
            ) => match crate::params::value(literal, data_type) {
                Some(_) => Ok(LiteralForm::Bind),
                None => Err(format!(
                    "a constant of {data_type} outside the source's range"
                )),
            },
            (Literal::Decimal(_), DataType::Decimal128(..) | DataType::Decimal256(..))
                if cast_name(data_type).is_none() =>
            {
                Err(format!("a constant of {data_type}"))
            }
            (Literal::Interval { .. }, _) => Err("an interval".to_string()),
            _ => Ok(LiteralForm::Bind),
        }
    }

    fn store(
        &self,
        literal: &Literal,
        field: &Field,
        bind: &dyn Fn(Literal, DataType) -> ast::Expr,
    ) -> Result<ast::Expr, String> {
        let data_type = field.data_type();
        let native = native_of(field);
        match (literal, data_type) {
            (Literal::Text(text), DataType::Utf8) => {
                // Spaces at the end are cut without a word, of some types.
                if native.starts_with("char(") && text.ends_with(' ') {
                    return Err("a text ends with a space, which CHAR does not keep".to_string());
                }
                let most = argument(native).filter(|_| native.contains("char("));
                match most.filter(|most| text.chars().count() > *most) {
                    Some(most) => Err(format!("a text is longer than {most} characters")),
                    None => Ok(bind(literal.clone(), DataType::Utf8)),
                }
            }
            // A decimal of more digits than a constant has.
            (Literal::Text(_), _) => Ok(bind(literal.clone(), DataType::Utf8)),
            (Literal::Int(micros), DataType::Time64(_) | DataType::Timestamp(..))
                if is_finer(*micros, argument(native).unwrap_or(0)) =>
            {
                Err(format!("a time is finer than {native} has"))
            }
            (Literal::Decimal(_), _) => Ok(bind(literal.clone(), data_type.clone())),
            _ => Ok(match self.literal(literal, data_type)? {
                LiteralForm::Inline(sql) => *sql,
                LiteralForm::Bind => bind(literal.clone(), data_type.clone()),
            }),
        }
    }

    /// As it is, where nothing is cut or rounded for that, nor converted.
    fn assign(&self, value: &Operand<'_>, field: &Field) -> Result<ast::Expr, String> {
        let native = native_of(field);
        let is_as_computed = match field.data_type() {
            DataType::Utf8 => {
                native.ends_with("text")
                    && field
                        .metadata()
                        .get(COLLATION)
                        .is_some_and(|collation| collation.starts_with("utf8mb4"))
            }
            DataType::Time64(_) | DataType::Timestamp(..) => argument(native) == Some(6),
            DataType::Boolean | DataType::Float32 | DataType::Interval(_) => false,
            _ => !is_decided(native),
        };
        match is_as_computed {
            true => Ok(value.sql.clone()),
            false => Err(format!("what is computed would be converted to {native}")),
        }
    }

    fn assigns_in_order(&self) -> bool {
        true
    }

    fn read(&self, data_type: &DataType, facts: &Facts, column: ast::Expr) -> Result<Read, String> {
        let native = facts.native_type.as_deref().unwrap_or("");
        if is_decided(native) {
            return Err(format!("a column of type {native}"));
        }
        let name = native
            .split(['(', ' '])
            .next()
            .unwrap_or("")
            .to_ascii_lowercase();
        let sql = match (name.as_str(), Class::of(data_type)) {
            // Compared with a number below 100 as a year of this century.
            ("year", _) => sql::cast(column, sql::type_name("SIGNED")),
            ("bit", Class::Boolean) => sql::binary(column, ast::BinaryOperator::Eq, sql::number(1)),
            ("bit", _) => sql::cast(column, sql::type_name("UNSIGNED")),
            ("json" | "uuid" | "inet4" | "inet6" | "vector", _) => {
                return Err(format!(
                    "a column of type {name}, which compares by its own rules"
                ));
            }
            (_, Class::Text) => self.bytewise(column, facts)?,
            (
                "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" | "",
                Class::Binary,
            ) => column,
            (_, Class::Binary) => return Err(format!("a column of type {name}")),
            (_, Class::Interval | Class::Other) => {
                return Err(format!("a value of type {data_type}"));
            }
            _ => column,
        };
        Ok(Read {
            sql,
            facts: facts.clone(),
            guard: None,
        })
    }

    fn rules(&self) -> &[Rule] {
        rules::RULES
    }

    fn key(&self, operand: &Operand<'_>, usage: Use) -> Result<ast::Expr, String> {
        let whole = matches!(usage, Use::Group | Use::Sort);
        match Class::of(operand.data_type()) {
            Class::Text | Class::Binary if whole && !is_short(operand) => Err(format!(
                "sorting or grouping text that may be longer than {MAX_SORTED_CHARS} characters"
            )),
            // As text, sorting fills the shorter with NULs, so that 'a' and 'a\0' would be the same; as bytes, the
            // length counts.
            Class::Text if whole => Ok(sql::cast(operand.sql.clone(), sql::type_name("BINARY"))),
            // There is no NaN and no infinity.
            Class::Float if matches!(usage, Use::Equality | Use::Order) => Ok(operand.sql.clone()),
            Class::Float => Err("floats: which of 0.0 and -0.0 is open at the source".to_string()),
            Class::Interval | Class::Other => Err(format!("comparing {}", operand.data_type())),
            _ => Ok(operand.sql.clone()),
        }
    }

    /// The column as it is stored, too, so that its index serves: equal bytes are equal under every collation.
    fn compare(
        &self,
        op: BinaryOp,
        left: &Operand<'_>,
        right: &Operand<'_>,
        _position: Position,
    ) -> Option<Result<Rendering, String>> {
        if op != BinaryOp::Eq || Class::of(left.data_type()) != Class::Text {
            return None;
        }
        let equal = |l: &ast::Expr, r: &ast::Expr| {
            sql::binary(l.clone(), ast::BinaryOperator::Eq, r.clone())
        };
        let stored = match (stored(left), stored(right)) {
            (Some(l), Some(r)) if left.facts.collation == right.facts.collation => equal(l, r),
            (Some(l), None) if is_comparable(left, right) => equal(l, &right.sql),
            (None, Some(r)) if is_comparable(right, left) => equal(&left.sql, r),
            _ => return None,
        };
        Some(Ok(Rendering::exact(sql::and(
            stored,
            equal(&left.sql, &right.sql),
        ))))
    }

    fn in_list(
        &self,
        arg: &Operand<'_>,
        list: &[Operand<'_>],
        negated: bool,
        _position: Position,
    ) -> Option<Result<Rendering, String>> {
        let column = stored(arg)?;
        if negated
            || Class::of(arg.data_type()) != Class::Text
            || !list.iter().all(|item| is_comparable(arg, item))
        {
            return None;
        }
        let is_in = |expr: &ast::Expr| ast::Expr::InList {
            expr: Box::new(sql::nested(expr.clone())),
            list: list.iter().map(|item| item.sql.clone()).collect(),
            negated: false,
        };
        Some(Ok(Rendering::exact(sql::and(
            is_in(column),
            is_in(&arg.sql),
        ))))
    }

    fn not_distinct(&self, left: ast::Expr, right: ast::Expr) -> ast::Expr {
        sql::binary(left, ast::BinaryOperator::Spaceship, right)
    }

    fn aggregate(
        &self,
        aggregate: &Aggregate,
        arg: Option<&Operand<'_>>,
    ) -> Option<Result<Aggregated, String>> {
        let arg = arg?;
        let of = |name: &str| {
            let call = sql::function(name, vec![arg.sql.clone()], false);
            Some(Ok(Aggregated::plain(call)))
        };
        match (aggregate.function, Class::of(arg.data_type())) {
            (AggregateFunction::Sum, _) if aggregate.distinct => {
                Some(Err("a sum of distinct values".to_string()))
            }
            (AggregateFunction::Sum, _) => Some(sum(arg, &aggregate.data_type)),
            (AggregateFunction::BoolAnd, _) => of("min"),
            (AggregateFunction::BoolOr, _) => of("max"),
            _ => None,
        }
    }

    fn nulls(&self) -> Nulls {
        Nulls::Lowest
    }

    fn no_limit(&self) -> Option<&'static str> {
        Some("18446744073709551615")
    }

    /// MariaDB 10.11 merges it, and then, in a prepared statement, no longer knows the table that EXISTS reads.
    fn merges_exists(&self) -> bool {
        false
    }

    fn straight_joins(&self) -> bool {
        true
    }

    /// MariaDB 10.11 moves a condition into the table it is on, and then finds two columns of a name where the table's own
    /// table has one, too (error 1052).
    fn output_prefix(&self, table: &str) -> String {
        format!("{table}c")
    }

    fn join(&self, kind: JoinKind, _has_keys: bool, _has_filter: bool) -> Result<(), String> {
        match kind {
            JoinKind::Full => Err("the source has no FULL JOIN".to_string()),
            _ => Ok(()),
        }
    }

    fn limits(&self) -> Limits {
        Limits {
            parameters: MAX_PARAMETERS,
            columns: MAX_COLUMNS,
            tables: MAX_TABLES,
        }
    }

    fn output(
        &self,
        field: &Field,
        _facts: &Facts,
        column: ast::Expr,
    ) -> Result<ast::Expr, String> {
        match is_readable(field.data_type()) {
            true => Ok(column),
            false => Err(format!("a result of type {}", field.data_type())),
        }
    }
}

impl MysqlDialect {
    /// Text as `utf8mb4` that compares by bytes.
    fn bytewise(&self, column: ast::Expr, facts: &Facts) -> Result<ast::Expr, String> {
        let collation = self.bytes_collation()?;
        let converted = match facts.collation.as_deref().map(charset) {
            Some("utf8mb4") if is_stored_name(&column) => column,
            _ => ast::Expr::Convert {
                is_try: false,
                expr: Box::new(column),
                data_type: None,
                charset: Some(ast::ObjectName::from(vec![sql::word("utf8mb4")])),
                target_before_value: false,
                styles: Vec::new(),
            },
        };
        Ok(sql::collate(converted, collation))
    }
}

/// The character set of a collation: `latin1_swedish_ci` is of `latin1`.
fn charset(collation: &str) -> &str {
    collation.split('_').next().unwrap_or(collation)
}

/// A column of a table, not of a subquery of ours, whose columns have names without quotes.
fn is_stored_name(expr: &ast::Expr) -> bool {
    matches!(expr, ast::Expr::CompoundIdentifier(parts)
        if parts.last().is_some_and(|name| name.value.starts_with('"')))
}

/// The stored column under what [`MysqlDialect::bytewise`] put around it.
pub(crate) fn peel(expr: &ast::Expr) -> &ast::Expr {
    match expr {
        ast::Expr::Collate { expr, .. } | ast::Expr::Nested(expr) => peel(expr),
        ast::Expr::Convert {
            expr,
            charset: Some(_),
            ..
        } => peel(expr),
        other => other,
    }
}

/// The stored column that an operand is, if its index can serve.
fn stored<'a>(operand: &'a Operand<'_>) -> Option<&'a ast::Expr> {
    let native = operand.facts.native_type.as_deref()?;
    let indexed = [
        "char",
        "varchar",
        "text",
        "tinytext",
        "mediumtext",
        "longtext",
    ]
    .iter()
    .any(|name| native == *name || native.starts_with(&format!("{name}(")));
    let column = peel(&operand.sql);
    (indexed && operand.facts.collation.is_some() && is_stored_name(column)).then_some(column)
}

/// Whether a constant converts to the column's character set; one that does not is an error of the server.
fn is_comparable(column: &Operand<'_>, constant: &Operand<'_>) -> bool {
    let Some(Literal::Text(text)) = constant.as_literal() else {
        return false;
    };
    match column.facts.collation.as_deref().map(charset) {
        Some("utf8mb4") => true,
        Some("utf8mb3" | "utf8") => text.chars().all(|c| u32::from(c) <= 0xFFFF),
        Some("latin1") => text
            .chars()
            .all(|c| c.is_ascii() || ('\u{A0}'..='\u{FF}').contains(&c)),
        Some("ascii" | "latin2" | "cp1250" | "cp1251" | "latin5" | "latin7" | "greek") => {
            text.is_ascii()
        }
        _ => false,
    }
}

/// Short enough to be sorted and grouped whole.
fn is_short(operand: &Operand<'_>) -> bool {
    max_length(operand).is_some_and(|length| length <= MAX_SORTED_CHARS)
}

/// Characters or bytes that a value has at most, if that is known.
pub(crate) fn max_length(operand: &Operand<'_>) -> Option<usize> {
    match operand.as_literal() {
        Some(Literal::Text(text)) => return Some(text.chars().count()),
        Some(Literal::Null) => return Some(0),
        _ => {}
    }
    let native = operand.facts.native_type.as_deref()?;
    let (name, rest) = native.split_once('(').unwrap_or((native, ""));
    match name {
        "char" | "varchar" | "binary" | "varbinary" => rest.split(')').next()?.parse().ok(),
        "tinytext" | "tinyblob" => Some(255),
        // The whole definition lists every label.
        "enum" | "set" => Some(native.len()),
        _ => None,
    }
}

/// A type by the name that `CAST` takes, where it has this type exactly.
pub(crate) fn cast_name(data_type: &DataType) -> Option<String> {
    Some(match data_type {
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => "SIGNED".into(),
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => {
            "UNSIGNED".into()
        }
        // 30 digits after the point is MySQL's limit, MariaDB's is 38.
        DataType::Decimal128(p, s @ 0..=30) => format!("DECIMAL({p},{s})"),
        DataType::Decimal256(p @ 0..=65, s @ 0..=30) => format!("DECIMAL({p},{s})"),
        DataType::Date32 => "DATE".into(),
        DataType::Timestamp(TimeUnit::Microsecond, _) => "DATETIME(6)".into(),
        DataType::Time64(TimeUnit::Microsecond) => "TIME(6)".into(),
        _ => return None,
    })
}

fn sum(arg: &Operand<'_>, result: &DataType) -> Result<Aggregated, String> {
    let call = sql::function("sum", vec![arg.sql.clone()], false);
    let signed = |sum| sql::cast(sum, sql::type_name("SIGNED"));
    let unsigned = |sum| sql::cast(sum, sql::type_name("UNSIGNED"));
    let wrapped = |sum| sql::cast(sql::wrapped(sum), sql::type_name("SIGNED"));
    let wrapped_unsigned = |sum| {
        let rest = sql::call("mod", vec![sum, sql::number(1_u128 << 64)]);
        sql::cast(rest, sql::type_name("UNSIGNED"))
    };
    let value: fn(ast::Expr) -> ast::Expr = match (arg.data_type(), result) {
        // No table has the four thousand million rows that 64 bits would be too few for.
        (DataType::Int8 | DataType::Int16 | DataType::Int32, DataType::Int64) => signed,
        (DataType::UInt8 | DataType::UInt16 | DataType::UInt32, DataType::UInt64) => unsigned,
        (DataType::Decimal128(p, s), DataType::Decimal128(rp, rs))
            if s == rs && p + 10 <= *rp && (0..=30).contains(s) =>
        {
            |sum| sum
        }
        (DataType::Decimal256(p, s), DataType::Decimal256(rp, rs))
            if s == rs && p + 10 <= 65 && p + 10 <= *rp && (0..=30).contains(s) =>
        {
            |sum| sum
        }
        (DataType::Int64, DataType::Int64) => wrapped,
        (DataType::UInt64, DataType::UInt64) => wrapped_unsigned,
        (t, _) => return Err(format!("a sum of {t}")),
    };
    Ok(Aggregated { call, value })
}
