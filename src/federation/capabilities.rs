use std::collections::BTreeMap;
use std::sync::Arc;

use belvedere_connector::{
    Aggregate, AggregateFunction, BinaryOp, DatePart, Expr, ExprKind, Fragment, Frame, Function,
    JoinKind, Literal, Rel, SortKey, Support, Table, TableRef, UnaryOp, Window, WindowFunction,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema, TimeUnit};

use super::provider::SourceHandle;

/// One line of a source's capability table: what it is asked to do, with values of which kind, and how that is done.
#[derive(Debug, Clone, PartialEq)]
pub struct Capability {
    /// `=`, `lower()`, `GROUP BY` …
    pub operation: String,
    /// The type of the column, as the source calls it, with its collation; or the types of a function's arguments.
    pub of: String,
    /// `exact`, `superset` or `no`.
    pub support: &'static str,
    /// Whether it passes below a policy: it cannot fail.
    pub is_leakproof: bool,
    /// The text that is sent; of a superset also why it is one; or why nothing is sent.
    pub detail: String,
}

/// What the source answers, asked operation by operation: for each kind of column that its tables have, and for functions.
/// Nothing is listed by hand: it is what [`cut`](super::cut()) would be told.
pub fn capabilities(handle: &SourceHandle, tables: &[Arc<Table>]) -> Vec<Capability> {
    let mut asked = Asked {
        handle,
        found: Vec::new(),
    };
    let kinds = kinds(tables);
    for (kind, field) in &kinds {
        asked.of_column(kind, field);
    }
    let text = kinds.values().find(|field| is_text(field.data_type()));
    asked.functions(text.cloned().unwrap_or_else(|| plain(DataType::Utf8)));
    asked.nodes();
    asked.found
}

/// A field for each kind of column: type, native type without its size, collation.
fn kinds(tables: &[Arc<Table>]) -> BTreeMap<String, Field> {
    let mut kinds = BTreeMap::new();
    for column in tables.iter().flat_map(|table| &table.columns) {
        let native = column
            .native_type
            .split('(')
            .next()
            .unwrap_or_default()
            .trim();
        let kind = match &column.collation {
            Some(collation) => format!("{native}, collation {collation}"),
            None => native.to_string(),
        };
        kinds
            .entry(kind)
            .or_insert_with(|| column.field().with_nullable(true));
    }
    kinds
}

fn plain(data_type: DataType) -> Field {
    Field::new("value", data_type, true)
}

fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    )
}

struct Asked<'a> {
    handle: &'a SourceHandle,
    found: Vec<Capability>,
}

impl Asked<'_> {
    fn of_column(&mut self, kind: &str, field: &Field) {
        let scan = || scan(&[field.clone(), field.clone().with_name("other")]);
        let (a, b) = (column(0, field), column(1, field));
        let compared = |op, right: &Expr| binary(op, a.clone(), right.clone(), DataType::Boolean);
        if let Some(one) = sample(field.data_type()) {
            self.predicate("= constant", kind, scan(), compared(BinaryOp::Eq, &one));
            self.predicate("<> constant", kind, scan(), compared(BinaryOp::NotEq, &one));
            self.predicate("< constant", kind, scan(), compared(BinaryOp::Lt, &one));
            let listed = |count: usize| {
                let (arg, list) = (Box::new(a.clone()), vec![one.clone(); count]);
                let negated = false;
                boolean(ExprKind::InList { arg, list, negated })
            };
            self.predicate("IN (constants)", kind, scan(), listed(3));
            self.predicate("IN (keys of a join)", kind, scan(), listed(100));
        }
        self.predicate("= column", kind, scan(), compared(BinaryOp::Eq, &b));
        if is_text(field.data_type()) {
            for (operation, case_insensitive) in [("LIKE 'a%'", false), ("ILIKE 'a%'", true)] {
                let like = boolean(ExprKind::Like {
                    arg: Box::new(a.clone()),
                    pattern: Box::new(text("a%")),
                    escape: None,
                    negated: false,
                    case_insensitive,
                });
                self.predicate(operation, kind, scan(), like);
            }
        }
        let join = Rel::Join {
            left: Box::new(scan()),
            right: Box::new(scan()),
            kind: JoinKind::Inner,
            on: vec![(a.clone(), a.clone())],
            filter: None,
        };
        self.node("JOIN … ON =", kind, join);
        let groups = Rel::Aggregate {
            input: Box::new(scan()),
            group_by: vec![(a.clone(), field.name().clone())],
            aggregates: Vec::new(),
        };
        self.node("GROUP BY, DISTINCT", kind, groups);
        let first = Rel::Sort {
            input: Box::new(scan()),
            keys: vec![ascending(&a)],
            fetch: Some(10),
        };
        self.node("ORDER BY … LIMIT", kind, first);
        let rank = Window {
            function: WindowFunction::Rank,
            partition_by: vec![b.clone()],
            order_by: vec![ascending(&a)],
            frame: Frame::Peers,
        };
        let rank = windowed(scan(), rank);
        self.node("rank() OVER (…)", kind, rank);
        use AggregateFunction::{Count, Max, Min, Sum};
        for (operation, function, distinct, data_type) in [
            ("count(DISTINCT)", Count, true, Some(DataType::Int64)),
            ("min", Min, false, Some(field.data_type().clone())),
            ("max", Max, false, Some(field.data_type().clone())),
            ("sum", Sum, false, sum_type(field.data_type())),
        ] {
            let Some(data_type) = data_type else { continue };
            let aggregate = Aggregate {
                function,
                arg: Some(a.clone()),
                distinct,
                filter: None,
                data_type,
            };
            let rel = Rel::Aggregate {
                input: Box::new(scan()),
                group_by: Vec::new(),
                aggregates: vec![(aggregate, "value".to_string())],
            };
            self.node(operation, kind, rel);
        }
    }

    fn functions(&mut self, text_field: Field) {
        use DataType::{Boolean, Date32, Float64, Int32, Int64, Utf8};
        use Function::*;
        let number = || literal(Literal::Int(2), Int64);
        let fields = [
            text_field,
            plain(Int64).with_name("number"),
            plain(DataType::Decimal128(12, 2)).with_name("amount"),
            plain(DataType::Decimal128(22, 2)).with_name("total"),
            plain(DataType::Decimal128(30, 0)).with_name("whole"),
            plain(Float64).with_name("float"),
            plain(Date32).with_name("day"),
            plain(DataType::Timestamp(TimeUnit::Microsecond, None)).with_name("at"),
        ];
        let [t, n, d, total, whole, f, day, at] = std::array::from_fn(|i| column(i, &fields[i]));
        let shown = |args: &[Expr]| -> String {
            let name = |e: &Expr| type_name(&e.data_type).to_string();
            args.iter().map(name).collect::<Vec<_>>().join(", ")
        };
        let calls: Vec<(&str, Function, Vec<Expr>, DataType)> = vec![
            ("lower()", Lower, vec![t.clone()], Utf8),
            ("upper()", Upper, vec![t.clone()], Utf8),
            (
                "character_length()",
                CharacterLength,
                vec![t.clone()],
                Int32,
            ),
            ("octet_length()", OctetLength, vec![t.clone()], Int32),
            (
                "substr()",
                Substring,
                vec![t.clone(), number(), number()],
                Utf8,
            ),
            ("left()", Left, vec![t.clone(), number()], Utf8),
            ("right()", Right, vec![t.clone(), number()], Utf8),
            ("trim()", Trim, vec![t.clone()], Utf8),
            ("ltrim()", LeftTrim, vec![t.clone()], Utf8),
            ("rtrim()", RightTrim, vec![t.clone()], Utf8),
            ("strpos()", StrPos, vec![t.clone(), text("a")], Int32),
            (
                "starts_with()",
                StartsWith,
                vec![t.clone(), text("a")],
                Boolean,
            ),
            ("ends_with()", EndsWith, vec![t.clone(), text("a")], Boolean),
            (
                "replace()",
                Replace,
                vec![t.clone(), text("a"), text("b")],
                Utf8,
            ),
            ("concat()", Concat, vec![t.clone(), text("a")], Utf8),
            ("coalesce()", Coalesce, vec![t.clone(), text("a")], Utf8),
            ("nullif()", NullIf, vec![t.clone(), text("a")], Utf8),
            (
                "average()",
                Average,
                vec![total.clone(), n.clone()],
                DataType::Decimal128(16, 6),
            ),
            (
                "average()",
                Average,
                vec![whole.clone(), n.clone()],
                Float64,
            ),
            ("abs()", Abs, vec![n.clone()], Int64),
            ("abs()", Abs, vec![d.clone()], d.data_type.clone()),
            ("round()", Round, vec![f.clone()], Float64),
            ("floor()", Floor, vec![f.clone()], Float64),
            ("ceil()", Ceil, vec![f.clone()], Float64),
            (
                "date_part('year')",
                DatePart(self::DatePart::Year),
                vec![day.clone()],
                Int32,
            ),
            (
                "date_part('week')",
                DatePart(self::DatePart::Week),
                vec![day.clone()],
                Int32,
            ),
            (
                "date_part('month')",
                DatePart(self::DatePart::Month),
                vec![at.clone()],
                Int32,
            ),
            (
                "date_trunc('month')",
                DateTrunc(self::DatePart::Month),
                vec![at.clone()],
                at.data_type.clone(),
            ),
        ];
        for (operation, function, args, data_type) in calls {
            let of = shown(&args);
            let kind = ExprKind::Call { function, args };
            self.projection(operation, &of, &fields, valued(kind, data_type));
        }
        use BinaryOp::{Concat as Joined, Divide, Minus, Modulo, Multiply, Plus};
        let both = |e: &Expr| (e.clone(), e.clone());
        let wide = DataType::Decimal128(13, 2);
        for (operation, op, (left, right), data_type) in [
            ("+", Plus, both(&n), Int64),
            ("-", Minus, both(&n), Int64),
            ("*", Multiply, both(&n), Int64),
            ("/", Divide, both(&n), Int64),
            ("%", Modulo, both(&n), Int64),
            ("+", Plus, both(&d), wide),
            ("*", Multiply, both(&d), DataType::Decimal128(25, 4)),
            ("+", Plus, both(&f), Float64),
            ("/", Divide, both(&f), Float64),
            ("||", Joined, both(&t), Utf8),
        ] {
            let of = shown(&[left.clone(), right.clone()]);
            self.projection(operation, &of, &fields, binary(op, left, right, data_type));
        }
        for (from, to) in [
            (&n, Utf8),
            (&n, Float64),
            (&t, Int64),
            (&t, Date32),
            (&f, Int64),
            (&d, Float64),
            (&day, at.data_type.clone()),
        ] {
            let operation = format!("CAST to {}", type_name(&to));
            let arg = Box::new(from.clone());
            let of = shown(std::slice::from_ref(from));
            self.projection(&operation, &of, &fields, valued(ExprKind::Cast { arg }, to));
        }
        let is_null = ExprKind::Unary {
            op: UnaryOp::IsNull,
            arg: Box::new(n.clone()),
        };
        let branches = vec![(boolean(is_null), n.clone())];
        let otherwise = Some(Box::new(number()));
        let case = ExprKind::Case {
            branches,
            otherwise,
        };
        self.projection("CASE", "bigint", &fields, valued(case, Int64));
    }

    fn nodes(&mut self) {
        let field = plain(DataType::Int64);
        let scan = || Box::new(scan(std::slice::from_ref(&field)));
        let key = column(0, &field);
        for (operation, kind) in [
            ("LEFT JOIN", JoinKind::Left),
            ("FULL JOIN", JoinKind::Full),
            ("EXISTS, IN (SELECT …)", JoinKind::LeftSemi),
            ("NOT EXISTS", JoinKind::LeftAnti),
            ("… OR EXISTS, … OR IN", JoinKind::LeftMark),
        ] {
            let join = Rel::Join {
                left: scan(),
                right: scan(),
                kind,
                on: vec![(key.clone(), key.clone())],
                filter: None,
            };
            self.node(operation, "bigint", join);
        }
        let value = || column(0, &field);
        let sum = Aggregate {
            function: AggregateFunction::Sum,
            arg: Some(value()),
            distinct: false,
            filter: None,
            data_type: DataType::Int64,
        };
        let lag = WindowFunction::Lag {
            arg: value(),
            offset: 1,
        };
        for (operation, function) in [
            ("row_number() OVER (…)", WindowFunction::RowNumber),
            ("lag() OVER (…)", lag),
            ("sum() OVER (…)", WindowFunction::Aggregate(sum)),
        ] {
            let window = Window {
                function,
                partition_by: vec![],
                order_by: vec![ascending(&key)],
                frame: Frame::Peers,
            };
            self.node(operation, "bigint", windowed(*scan(), window));
        }
        let (input, schema) = (scan(), Arc::new(Schema::new(vec![field.clone()])));
        let limit = Rel::Limit {
            input,
            skip: 0,
            fetch: Some(10),
        };
        self.node("LIMIT", "", limit);
        let inputs = vec![*scan(), *scan()];
        self.node("UNION ALL", "", Rel::UnionAll { inputs, schema });
    }

    fn predicate(&mut self, operation: &str, of: &str, input: Rel, predicate: Expr) {
        let is_leakproof = predicate.is_leakproof();
        let support = self
            .handle
            .source
            .capabilities()
            .predicate(&predicate, &input.schema());
        let rel = Rel::Filter {
            input: Box::new(input),
            predicates: vec![predicate],
        };
        // A whole node may be beyond a limit that a predicate is not.
        let support = match self.handle.source.capabilities().node(&rel) {
            Support::No(why) => Support::No(why),
            _ => support,
        };
        self.add(operation, of, support, rel, is_leakproof);
    }

    fn projection(&mut self, operation: &str, of: &str, fields: &[Field], expr: Expr) {
        let rel = Rel::Project {
            input: Box::new(scan(fields)),
            columns: vec![(expr, "value".to_string())],
        };
        self.node(operation, of, rel);
    }

    fn node(&mut self, operation: &str, of: &str, rel: Rel) {
        let support = self.handle.source.capabilities().node(&rel);
        let is_leakproof = rel.is_leakproof();
        self.add(operation, of, support, rel, is_leakproof);
    }

    fn add(&mut self, operation: &str, of: &str, support: Support, rel: Rel, is_leakproof: bool) {
        let sent = || self.handle.source.describe(&Fragment::new(rel));
        let (support, detail) = match support {
            Support::Exact => ("exact", sent()),
            Support::Superset(why) => ("superset", format!("{} ({why})", sent())),
            Support::No(why) => ("no", why),
        };
        self.found.push(Capability {
            operation: operation.to_string(),
            of: of.to_string(),
            support,
            is_leakproof,
            detail,
        });
    }
}

/// A table of these columns that need not be there: nothing is asked of the system itself.
fn scan(fields: &[Field]) -> Rel {
    let (schema, name) = (String::from("any"), String::from("table"));
    Rel::Scan {
        table: TableRef { schema, name },
        schema: Arc::new(Schema::new(fields.to_vec())),
    }
}

fn column(index: usize, field: &Field) -> Expr {
    Expr::column(index, field.data_type().clone(), true)
}

fn ascending(expr: &Expr) -> SortKey {
    SortKey {
        expr: expr.clone(),
        descending: false,
        nulls_first: false,
    }
}

fn windowed(input: Rel, window: Window) -> Rel {
    Rel::Window {
        input: Box::new(input),
        windows: vec![(window, "value".to_string())],
    }
}

fn literal(value: Literal, data_type: DataType) -> Expr {
    Expr::literal(value, data_type)
}

fn text(value: &str) -> Expr {
    literal(Literal::Text(value.to_string()), DataType::Utf8)
}

fn valued(kind: ExprKind, data_type: DataType) -> Expr {
    Expr {
        kind,
        data_type,
        nullable: true,
    }
}

fn boolean(kind: ExprKind) -> Expr {
    valued(kind, DataType::Boolean)
}

fn binary(op: BinaryOp, left: Expr, right: Expr, data_type: DataType) -> Expr {
    let (left, right) = (Box::new(left), Box::new(right));
    valued(ExprKind::Binary { op, left, right }, data_type)
}

/// A constant of a type.
fn sample(data_type: &DataType) -> Option<Expr> {
    use DataType::*;
    let value = match data_type {
        Boolean => Literal::Boolean(true),
        Int8 | Int16 | Int32 | Int64 | Date32 | Timestamp(..) | Time64(_) => Literal::Int(1),
        UInt8 | UInt16 | UInt32 | UInt64 => Literal::UInt(1),
        Float32 | Float64 => Literal::Float(1.5),
        Decimal128(..) => Literal::Decimal(100),
        Utf8 | LargeUtf8 | Utf8View => Literal::Text("a".to_string()),
        Binary | LargeBinary | BinaryView => Literal::Binary(b"a".to_vec()),
        _ => return None,
    };
    Some(literal(value, data_type.clone()))
}

/// What the engine gives for a sum.
fn sum_type(data_type: &DataType) -> Option<DataType> {
    use DataType::*;
    Some(match data_type {
        Int8 | Int16 | Int32 | Int64 => Int64,
        UInt8 | UInt16 | UInt32 | UInt64 => UInt64,
        Float32 | Float64 => Float64,
        Decimal128(precision, scale) => Decimal128((precision + 10).min(38), *scale),
        _ => return None,
    })
}

fn type_name(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Utf8 => "text",
        DataType::Int32 => "integer",
        DataType::Int64 => "bigint",
        DataType::Decimal128(..) => "numeric",
        DataType::Float64 => "double precision",
        DataType::Date32 => "date",
        DataType::Timestamp(..) => "timestamp",
        _ => "value",
    }
}
