//! A table or view as somebody sees it: the rows that its policies let through, with masks in the place of columns, behind a barrier.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use belvedere_sql::{Statement, ident};
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::catalog::TableProvider;
use datafusion::common::{Column, TableReference};
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::logical_expr::utils::disjunction;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast, lit};
use sqlparser::ast::{self, VisitMut, VisitorMut};

use super::{MAX_VIEW_DEPTH, Names};
use crate::access::{Barrier, Identity};
use crate::catalog::{ObjectId, Rule, RuleKind, Shows};
use crate::engine::query;
use crate::engine::room::Room;
use crate::engine::system::sql_type;
use crate::error::{Error, Result};

/// The table or view that a rule is of, as its expression names what it reads. Nobody defines one that is called so.
pub(super) const RULED: &str = "$ruled";

/// What of a table or view is seen by somebody who does not see all of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ruled {
    /// Policies that let rows through for him: those of any. None: there is no policy on it.
    pub policies: Option<BTreeMap<String, Arc<Rule>>>,
    /// By column.
    pub masks: BTreeMap<String, (String, Arc<Rule>)>,
}

impl Ruled {
    /// Of these rules, those for an identity. None: it sees all, as it is.
    pub fn of<'a>(
        rules: impl Iterator<Item = (RuleKind, &'a str, &'a Rule)>,
        identity: &Identity,
    ) -> Option<Self> {
        let mut ruled = Self::default();
        for (kind, name, rule) in rules {
            let names_it = identity.is_one_of(&rule.to);
            let rule = Arc::new(rule.clone());
            match (kind, &rule.shows) {
                (RuleKind::Mask, Shows::Column(column)) => {
                    let is_first = |known: Option<&(String, Arc<Rule>)>| match known {
                        None => true,
                        // One that names a role goes before one for everybody; else the first by its name.
                        Some((_, known)) => {
                            is_for_all(known, identity) && !is_for_all(&rule, identity)
                        }
                    };
                    if names_it && is_first(ruled.masks.get(column)) {
                        let named = (name.to_string(), rule.clone());
                        ruled.masks.insert(column.clone(), named);
                    }
                }
                // Once there is a policy, who is named by none sees no row.
                _ => {
                    let policies = ruled.policies.get_or_insert_default();
                    if names_it {
                        policies.insert(name.to_string(), rule);
                    }
                }
            }
        }
        (ruled != Self::default()).then_some(ruled)
    }

    fn names(&self) -> Vec<String> {
        let policies = self.policies.iter().flat_map(BTreeMap::keys);
        let policies = policies.map(|name| format!("policy {}", ident(name)));
        let masks = self.masks.values();
        let masks = masks.map(|(name, _)| format!("mask {}", ident(name)));
        let none = match &self.policies {
            Some(policies) if policies.is_empty() => Some("no policy".to_string()),
            _ => None,
        };
        none.into_iter().chain(policies).chain(masks).collect()
    }
}

/// Whether it is for an identity only as it is for everybody.
fn is_for_all(rule: &Rule, identity: &Identity) -> bool {
    let named = rule.to.iter();
    let mut named = named.filter(|to| !matches!(to, crate::catalog::Grantee::Public));
    !named.any(|to| identity.is_one_of(std::slice::from_ref(to)))
}

impl Names {
    /// What is found as it is seen: of it these columns.
    pub(super) async fn as_seen(
        &self,
        id: &ObjectId,
        provider: Arc<dyn TableProvider>,
        columns: impl Iterator<Item = &String>,
    ) -> Result<Arc<dyn TableProvider>> {
        let schema = provider.schema();
        let columns: Vec<&String> = columns.collect();
        let Some(ruled) = self.world.ruled(id) else {
            let is_closed = self.world.is_closed(id);
            if columns.len() == schema.fields().len() && !is_closed {
                return Ok(provider);
            }
            let name = TableReference::bare(called(id));
            let seen = columns
                .into_iter()
                .map(|column| Expr::Column(Column::new(Some(name.clone()), column)));
            let seen: Vec<Expr> = seen.collect();
            let plan = LogicalPlanBuilder::scan(name, provider_as_source(provider), None)?;
            let plan = plan.project(seen)?.build()?;
            return Ok(view(match is_closed {
                true => barrier(plan, id, Vec::new()),
                false => plan,
            }));
        };
        for rule in ruled.names() {
            self.caller.touched.policy(format!("{rule} ON {id}"));
        }
        let shown = Box::pin(self.shown_by(id, provider, &columns, ruled)).await;
        shown.map(view).map_err(|e| match e {
            // The source's failure is its own.
            Error::Source(_) => e,
            _ => Error::invalid_with_help(
                format!("what you may see of {id} cannot be told: its policies or masks fail"),
                "Who has defined them finds out why: CREATE OR REPLACE POLICY says what is wrong",
            ),
        })
    }

    async fn shown_by(
        &self,
        id: &ObjectId,
        provider: Arc<dyn TableProvider>,
        columns: &[&String],
        ruled: &Ruled,
    ) -> Result<LogicalPlan> {
        let schema = provider.schema();
        let (base, ..) = self.planned(id, &provider, "true", &[]).await?;
        let mut plan = LogicalPlanBuilder::from(base);
        if let Some(policies) = &ruled.policies {
            let mut each = Vec::new();
            for rule in policies.values() {
                each.push(self.expression(id, &provider, rule).await?);
            }
            plan = plan.filter(disjunction(each).unwrap_or_else(|| lit(false)))?;
        }
        let name = TableReference::bare(called(id));
        let mut shown = Vec::new();
        for column in columns {
            let own = Expr::Column(Column::new(Some(name.clone()), column.as_str()));
            shown.push(match ruled.masks.get(*column) {
                None => own,
                Some((_, mask)) => {
                    let to = schema.field_with_name(column);
                    let to = to.map_err(|_| gone(column))?.data_type().clone();
                    let mask = self.expression(id, &provider, mask).await?;
                    cast(mask, to).alias(column.as_str())
                }
            });
        }
        Ok(barrier(plan.project(shown)?.build()?, id, ruled.names()))
    }

    /// The expression of a rule over all of what it is of, by the names by which its columns are known there.
    ///
    /// # Errors
    /// It has no meaning, or none of a row by itself.
    async fn expression(
        &self,
        id: &ObjectId,
        provider: &Arc<dyn TableProvider>,
        rule: &Rule,
    ) -> Result<Expr> {
        let planned = self.planned(id, provider, &rule.using, &rule.search_path);
        let (_, expr, _) = planned.await?;
        Ok(expr)
    }

    /// A rule that is to be, found to have a meaning: what it reads besides.
    pub(in crate::engine) async fn check_rule(
        &self,
        id: &ObjectId,
        provider: &Arc<dyn TableProvider>,
        rule: &Rule,
    ) -> Result<BTreeSet<ObjectId>> {
        let (base, expr, referenced) = self
            .planned(id, provider, &rule.using, &rule.search_path)
            .await?;
        let shown = LogicalPlanBuilder::from(base)
            .project([expr.alias("shown")])?
            .build()?;
        let is = shown.schema().field(0).data_type().clone();
        let (wanted, fits) = match &rule.shows {
            Shows::Rows => (DataType::Boolean, is == DataType::Boolean),
            Shows::Column(column) => {
                let schema = provider.schema();
                let field: &Field = schema.field_with_name(column).map_err(|_| gone(column))?;
                (field.data_type().clone(), is_like(&is, field.data_type()))
            }
        };
        if !fits && !is.is_null() {
            let (wanted, is) = (sql_type(&wanted), sql_type(&is));
            return Err(Error::invalid_with_help(
                format!("USING gives {is} where {wanted} is seen"),
                "A policy says whether a row is seen; a mask gives a value of its column's type: CAST makes one",
            ));
        }
        Ok(referenced)
    }

    /// What a rule is over, its expression, and what that reads besides.
    async fn planned(
        &self,
        id: &ObjectId,
        provider: &Arc<dyn TableProvider>,
        using: &str,
        path: &[String],
    ) -> Result<(LogicalPlan, Expr, BTreeSet<ObjectId>)> {
        if self.depth >= MAX_VIEW_DEPTH {
            return Err(Error::invalid(format!(
                "the policies of {id} read what has policies that read it"
            )));
        }
        let called = ident(called(id));
        let of = ident(RULED);
        let text = format!("SELECT (\n{using}\n) AS shown FROM {of} AS {called}");
        let Statement::Query(mut select) = belvedere_sql::parse_one(&text)?.statement else {
            return Err(Error::Internal("a rule is planned as a query".into()));
        };
        let asks = self.identity.name().map(|name| name.to_string());
        // Nothing breaks off.
        let _ = select.visit(&mut Asks(asks));
        let names = self.for_rule(id, provider.clone(), path);
        let planned = Room::PLANNING.run(query::plan(names, &select)).await?;
        let referenced = planned.names.referenced();
        let LogicalPlan::Projection(projection) = planned.plan else {
            return Err(not_of_row());
        };
        match (projection.input.as_ref(), projection.expr.as_slice()) {
            (base @ LogicalPlan::SubqueryAlias(_), [expr]) if !expr.is_volatile() => {
                Ok((base.clone(), expr.clone().unalias(), referenced))
            }
            _ => Err(not_of_row()),
        }
    }
}

fn not_of_row() -> Error {
    Error::invalid_with_help(
        "USING is of a row by itself: without aggregates, windows, and what is another each time",
        "What is of other rows is read by a subquery",
    )
}

fn gone(column: &str) -> Error {
    Error::Unknown {
        what: "column",
        name: column.to_string(),
        hint: None,
    }
}

fn called(id: &ObjectId) -> String {
    id.0.last().cloned().unwrap_or_default()
}

fn barrier(plan: LogicalPlan, on: &ObjectId, rules: Vec<String>) -> LogicalPlan {
    let barrier = Barrier {
        input: Arc::new(plan),
        on: on.clone(),
        rules,
    };
    barrier.into_plan()
}

fn view(plan: LogicalPlan) -> Arc<dyn TableProvider> {
    Arc::new(ViewTable::new(plan, None))
}

/// Whether values of one type are taken as those of another.
fn is_like(is: &DataType, like: &DataType) -> bool {
    is == like
        || is.is_numeric() && like.is_numeric()
        || is.is_string() && like.is_string()
        || is.is_binary() && like.is_binary()
}

/// Puts who asks in the place of `current_user`: whoever's rights count, which is a view's definer inside of that.
struct Asks(Option<String>);

impl VisitorMut for Asks {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut ast::Expr) -> ControlFlow<()> {
        let name = match expr {
            ast::Expr::Function(function) => match function.name.0.as_slice() {
                [part] => part.as_ident().map(|name| name.value.to_ascii_lowercase()),
                _ => None,
            },
            _ => None,
        };
        if matches!(
            name.as_deref(),
            Some("current_user" | "current_role" | "user")
        ) {
            let value = match &self.0 {
                Some(name) => ast::Value::SingleQuotedString(name.clone()),
                None => ast::Value::Null,
            };
            *expr = ast::Expr::Value(value.into());
        }
        ControlFlow::Continue(())
    }
}
