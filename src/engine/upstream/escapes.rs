//! `x LIKE 'a/_%' ESCAPE '/'`: DataFusion knows patterns whose escape is a backslash alone.

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::functions::string::expr_fn::replace;
use datafusion::logical_expr::expr::Like;
use datafusion::logical_expr::{Expr, LogicalPlan, lit};
use datafusion::scalar::ScalarValue;

use super::expressions;

/// The plan with the same patterns, escaped by backslashes.
pub fn by_backslash(plan: LogicalPlan) -> Result<LogicalPlan> {
    let plan = plan.transform_up_with_subqueries(|node| {
        expressions::rewritten(node, has_other_escape, |expr, _| {
            expr.transform_up(|expr| match expr {
                Expr::Like(like) if escape(&like).is_some() => {
                    Ok(Transformed::yes(Expr::Like(rewritten(like))))
                }
                expr => Ok(Transformed::no(expr)),
            })
        })
    })?;
    Ok(plan.data)
}

fn has_other_escape(expr: &Expr) -> bool {
    matches!(expr, Expr::Like(like) if escape(like).is_some())
}

/// The escape, if it is neither a backslash nor a wildcard itself.
fn escape(like: &Like) -> Option<char> {
    like.escape_char.filter(|c| !matches!(c, '\\' | '%' | '_'))
}

fn rewritten(like: Like) -> Like {
    let Some(escape) = escape(&like) else {
        return like;
    };
    let pattern = match *like.pattern {
        Expr::Literal(value, metadata) => match value.try_as_str() {
            Some(Some(pattern)) => lit(translated(pattern, escape)),
            _ => Expr::Literal(value, metadata),
        },
        pattern => {
            // What is escaped twice stands for itself: meanwhile it is a character that no pattern has.
            let (once, aside) = (escape.to_string(), "\u{1}");
            let pattern = replace(pattern, lit("\\"), lit("\\\\"));
            let pattern = replace(pattern, lit(once.repeat(2)), lit(aside));
            let pattern = replace(pattern, lit(once.clone()), lit("\\"));
            replace(pattern, lit(aside), lit(once))
        }
    };
    Like {
        pattern: Box::new(pattern),
        escape_char: None,
        ..like
    }
}

fn translated(pattern: &str, escape: char) -> ScalarValue {
    let mut translated = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match c {
            c if c == escape => match chars.next() {
                Some(meant @ ('%' | '_' | '\\')) => translated.extend(['\\', meant]),
                Some(meant) => translated.push(meant),
                None => translated.push(escape),
            },
            '\\' => translated.push_str("\\\\"),
            c => translated.push(c),
        }
    }
    ScalarValue::from(translated)
}
