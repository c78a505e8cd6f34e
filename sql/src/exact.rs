//! sqlparser's own statements as SQL that means the same.
//!
//! Its printer cannot know whether a quote inside a string is already escaped, and guesses: two in a row, or one behind
//! a backslash, it leaves alone. So the string `it''s` would come back as `it's`, and `\'` would end the string early.
//! Where every quote is doubled beforehand, the guess is right. And it prints `- -1` as `--1`, a comment, and `t VERSION AS OF 1 x` with
//! the alias in front.

use std::ops::ControlFlow;

use sqlparser::ast::{
    DataType, Expr, Ident, ObjectName, ObjectNamePart, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, TableAlias, TableFactor, UnaryOperator, Value, ValueWithSpan,
    Visit, VisitMut, VisitorMut, visit_expressions,
};

/// How its mistakes look. A doubled quote is also how a right guess looks, so one is often there for nothing; it spares the copy
/// for most statements.
const RISKS: &[&str] = &[
    "''", "\"\"", "``", "\\'", "\\\"", "\\`", "N'", "--", " AS OF ",
];

/// The text of a query or statement.
pub(crate) fn exact<N: Visit + VisitMut + Clone + ToString>(node: &N) -> String {
    let plain = node.to_string();
    if !RISKS.iter().any(|risk| plain.contains(risk)) && !has_odd_modifiers(node) {
        return plain;
    }
    let mut node = node.clone();
    let _ = VisitMut::visit(&mut node, &mut Corrector);
    node.to_string()
}

/// Whether a type is given what is printed without the quotes that it needs: `a::t('x;')`.
fn has_odd_modifiers<N: Visit>(node: &N) -> bool {
    let found = visit_expressions(node, |expr| match expr {
        Expr::Cast {
            data_type: DataType::Custom(_, modifiers),
            ..
        } if modifiers.iter().any(|text| is_odd(text)) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}

fn is_odd(modifier: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    modifier.is_empty() || !modifier.chars().all(plain)
}

struct Corrector;

fn double(text: &mut String, quote: char) {
    if text.contains(quote) {
        *text = text.replace(quote, &format!("{quote}{quote}"));
    }
}

fn ident(ident: &mut Ident) {
    if let Some(quote) = ident.quote_style {
        double(&mut ident.value, quote);
    }
}

fn object_name(name: &mut ObjectName) {
    for part in &mut name.0 {
        if let ObjectNamePart::Identifier(part) = part {
            ident(part);
        }
    }
}

fn table_alias(alias: &mut TableAlias) {
    ident(&mut alias.name);
    for column in &mut alias.columns {
        ident(&mut column.name);
    }
}

/// Names are no nodes of their own to a visitor, so each place that holds some is named here.
impl VisitorMut for Corrector {
    type Break = ();

    fn pre_visit_value(&mut self, value: &mut ValueWithSpan) -> ControlFlow<()> {
        if let Value::SingleQuotedString(text) | Value::NationalStringLiteral(text) =
            &mut value.value
        {
            double(text, '\'');
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<()> {
        object_name(relation);
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(name) => ident(name),
            Expr::CompoundIdentifier(parts) => parts.iter_mut().for_each(ident),
            Expr::Function(function) => object_name(&mut function.name),
            Expr::Cast {
                data_type: DataType::Custom(_, modifiers),
                ..
            } => {
                for text in modifiers.iter_mut().filter(|text| is_odd(text)) {
                    *text = format!("'{}'", text.replace('\'', "''"));
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr: operand,
        } = expr
        {
            let text = operand.to_string();
            if text.starts_with('-') {
                // A name without quotes is printed as it is.
                **operand = Expr::Identifier(Ident::new(format!(" {text}")));
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        for item in &mut select.projection {
            match item {
                SelectItem::ExprWithAlias { alias, .. } => ident(alias),
                SelectItem::QualifiedWildcard(
                    SelectItemQualifiedWildcardKind::ObjectName(name),
                    _,
                ) => {
                    object_name(name);
                }
                _ => {}
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table {
            alias: Some(alias), ..
        }
        | TableFactor::Derived {
            alias: Some(alias), ..
        }
        | TableFactor::TableFunction {
            alias: Some(alias), ..
        }
        | TableFactor::Function {
            alias: Some(alias), ..
        }
        | TableFactor::UNNEST {
            alias: Some(alias), ..
        }
        | TableFactor::NestedJoin {
            alias: Some(alias), ..
        } = factor
        {
            table_alias(alias);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table {
            name,
            version,
            alias: Some(_),
            ..
        } = factor
            && let Some(version) = version.take()
        {
            // A name without quotes is printed as it is.
            *name = ObjectName::from(vec![Ident::new(format!("{name} {version}"))]);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if let Some(with) = &mut query.with {
            with.cte_tables
                .iter_mut()
                .for_each(|cte| table_alias(&mut cte.alias));
        }
        ControlFlow::Continue(())
    }
}
