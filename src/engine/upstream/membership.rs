//! `x IN (SELECT …)` is NULL where no row is equal and x or a row is NULL. DataFusion makes it a mark join, whose mark is
//! true or false, unless it stands alone as a condition; and where `x NOT IN (SELECT …)` does, a join that is right only
//! if the subquery reads nothing of the row it is asked for.
//!
//! `x > ANY (SELECT …)` and its like compare with the subquery's column by its name, which a table around it may have, too.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, ExprSchema, Result};
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    Expr, ExprSchemable, Filter, LogicalPlan, LogicalPlanBuilder, Subquery,
};
use datafusion::prelude::lit;
use datafusion::scalar::ScalarValue;

/// The plan with such tests by `EXISTS`, which is never NULL.
pub fn whole_membership(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut names = 0;
    let plan = plan.transform_up_with_subqueries(|node| {
        let node = compared_by_own_names(node, &mut names)?;
        node.transform_data(|node| match node {
            LogicalPlan::Filter(filter) => filtered(filter, &mut names),
            LogicalPlan::Projection(_) => computed(node, &mut names),
            node => Ok(Transformed::no(node)),
        })
    })?;
    Ok(plan.data)
}

fn compared_by_own_names(node: LogicalPlan, names: &mut usize) -> Result<Transformed<LogicalPlan>> {
    let preserver = NamePreserver::new(&node);
    node.map_expressions(|expr| {
        let name = preserver.save(&expr);
        let expr = expr.transform_up(|expr| match expr {
            Expr::SetComparison(mut test) => {
                *names += 1;
                let compared = own_name(*names);
                let (qualifier, field) = test.subquery.subquery.schema().qualified_field(0);
                let value = Expr::Column(Column::from((qualifier, field))).alias(&compared.name);
                let named = LogicalPlanBuilder::from(test.subquery.subquery.clone());
                test.subquery.subquery = Arc::new(named.project([value])?.build()?);
                Ok(Transformed::yes(Expr::SetComparison(test)))
            }
            expr => Ok(Transformed::no(expr)),
        })?;
        Ok(expr.update_data(|expr| name.restore(expr)))
    })
}

/// No name of the query, whose tables may be on both sides; and no table's: what is read of the outer row is not pulled up through an
/// alias.
fn own_name(number: usize) -> Column {
    Column::new_unqualified(format!("member {number}"))
}

/// Tests that are no conditions.
fn computed(node: LogicalPlan, names: &mut usize) -> Result<Transformed<LogicalPlan>> {
    let mut found = false;
    node.apply_expressions(|expr| {
        found |= has_subquery(expr)?;
        Ok(TreeNodeRecursion::Continue)
    })?;
    let [input] = node.inputs()[..] else {
        return Ok(Transformed::no(node));
    };
    if !found {
        return Ok(Transformed::no(node));
    }
    let (input, preserver) = (input.clone(), NamePreserver::new(&node));
    node.map_expressions(|expr| {
        let name = preserver.save(&expr);
        let expr = whole(expr, &input, names)?;
        Ok(expr.update_data(|expr| name.restore(expr)))
    })
}

fn filtered(filter: Filter, names: &mut usize) -> Result<Transformed<LogicalPlan>> {
    if !has_subquery(&filter.predicate)? {
        return Ok(Transformed::no(LogicalPlan::Filter(filter)));
    }
    let input = filter.input;
    let conditions = split_conjunction_owned(filter.predicate);
    let mut condition = |condition: Expr| match is_planned_rightly(&condition) {
        true => Ok(condition),
        false => Ok(whole(condition, &input, names)?.data),
    };
    let conditions = conditions.into_iter().map(&mut condition);
    let predicate = conjunction(conditions.collect::<Result<Vec<_>>>()?);
    let filter = Filter::try_new(predicate.unwrap_or_else(|| lit(true)), input)?;
    Ok(Transformed::yes(LogicalPlan::Filter(filter)))
}

fn whole(expr: Expr, input: &LogicalPlan, names: &mut usize) -> Result<Transformed<Expr>> {
    expr.transform_up(|expr| match expr {
        Expr::InSubquery(test) if test_may_be_null(&test, input)? => {
            *names += 1;
            Ok(Transformed::yes(by_exists(test, input, *names)?))
        }
        expr => Ok(Transformed::no(expr)),
    })
}

fn has_subquery(predicate: &Expr) -> Result<bool> {
    predicate.exists(|expr| Ok(matches!(expr, Expr::InSubquery(_))))
}

/// A condition that is no part of another: what is NULL is dropped, as what is false is.
fn is_planned_rightly(condition: &Expr) -> bool {
    let (test, not) = match condition {
        Expr::Not(inner) => (inner.as_ref(), true),
        other => (other, false),
    };
    match test {
        Expr::InSubquery(test) => test.negated == not || test.subquery.outer_ref_columns.is_empty(),
        _ => false,
    }
}

fn test_may_be_null(test: &InSubquery, input: &LogicalPlan) -> Result<bool> {
    Expr::InSubquery(test.clone()).nullable(input.schema())
}

/// Whether a row is equal; if none is, NULL if one is NULL, or there is one and x is NULL.
fn by_exists(test: InSubquery, input: &LogicalPlan, name: usize) -> Result<Expr> {
    let member = own_name(name);
    let (qualifier, field) = test.subquery.subquery.schema().qualified_field(0);
    let nullable = field.is_nullable();
    let value = Expr::Column(Column::from((qualifier, field))).alias(&member.name);
    let members = LogicalPlanBuilder::from(test.subquery.subquery.clone()).project([value])?;
    let correlated = !test.subquery.outer_ref_columns.is_empty();
    // One row says it.
    let some = |members: LogicalPlanBuilder| match correlated {
        true => Ok(members),
        false => members.limit(0, Some(1)),
    };
    let exists = |members: LogicalPlanBuilder| -> Result<Expr> {
        let plan = members.build()?;
        let outer_ref_columns = plan.all_out_ref_exprs();
        Ok(Expr::Exists(Exists {
            subquery: Subquery {
                subquery: Arc::new(plan),
                outer_ref_columns,
                spans: test.subquery.spans.clone(),
            },
            negated: false,
        }))
    };
    let tested = test.expr.as_ref().clone().transform(|expr| match expr {
        Expr::Column(column) => {
            let field = input.schema().field_from_column(&column)?.clone();
            Ok(Transformed::yes(Expr::OuterReferenceColumn(field, column)))
        }
        expr => Ok(Transformed::no(expr)),
    })?;
    let member = Expr::Column(member);
    let equal = members.clone().filter(member.clone().eq(tested.data))?;
    let mut unknown = lit(false);
    if nullable {
        let nulls = members.clone().filter(member.is_null())?;
        unknown = unknown.or(exists(some(nulls)?)?);
    }
    if test.expr.nullable(input.schema())? {
        unknown = unknown.or(test.expr.is_null().and(exists(some(members)?)?));
    }
    let null = Expr::Literal(ScalarValue::Boolean(None), None);
    let is_member = exists(equal)?.or(unknown.and(null));
    Ok(match test.negated {
        true => Expr::Not(Box::new(is_member)),
        false => is_member,
    })
}
