//! What DataFusion computes as a whole: recursion, of all rows; nested values, of each row.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, Unnest};

use super::super::plan::Plan;
use super::super::whole::Recipe;
use super::{Compiler, Result};

const WEIGHT: &str = "__weight";

impl Compiler<'_> {
    /// Each row alone, its weight carried along.
    pub(super) fn unnest(&mut self, node: &Unnest) -> Result<Plan> {
        let input = self.plan(&node.input)?;
        let named = node.input.schema();
        let weight = Arc::new(Field::new(WEIGHT, DataType::Int64, false));
        let fields = named.iter();
        let fields = fields.map(|(qualifier, field)| (qualifier.cloned(), field.clone()));
        let fields = fields.chain([(None, weight)]).collect();
        let fed = DFSchema::new_with_metadata(fields, Default::default())?;
        let recipe = Recipe::new(&[Arc::new(fed.clone())], |inputs| {
            let input = inputs.into_iter().next().expect("there is one");
            let (columns, options) = (node.exec_columns.clone(), node.options.clone());
            LogicalPlanBuilder::from(input)
                .unnest_columns_with_options(columns, options)?
                .build()
        })?;
        let given = recipe.schema();
        let columns = given.fields().len() - 1;
        let schema = Schema::new(given.fields()[..columns].to_vec());
        Ok(Plan::EachRow {
            input: Box::new(input),
            recipe,
            fed: fed.inner().clone(),
            schema: Arc::new(schema),
        })
    }

    /// All of the tables that the recursion reads, for each change of one.
    pub(super) fn recursive(&mut self, plan: &LogicalPlan) -> Result<Plan> {
        let mut names = Vec::new();
        plan.apply(|node| {
            if let LogicalPlan::RecursiveQuery(query) = node {
                names.push(query.name.clone());
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        // Its own rows are read by its name.
        let is_table = |node: &LogicalPlan| match node {
            LogicalPlan::TableScan(scan) => {
                !names.iter().any(|name| scan.table_name.table() == name)
            }
            _ => false,
        };
        let mut scans = Vec::new();
        plan.apply(|node| {
            if is_table(node) {
                scans.push(node.clone());
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        let schemas: Vec<_> = scans.iter().map(|scan| scan.schema().clone()).collect();
        let recipe = Recipe::new(&schemas, |inputs| {
            let mut inputs = inputs.into_iter();
            let fed = plan.clone().transform(|node| {
                Ok(match is_table(&node) {
                    true => match inputs.next() {
                        Some(input) => Transformed::new(input, true, TreeNodeRecursion::Jump),
                        None => Transformed::no(node),
                    },
                    false => Transformed::no(node),
                })
            });
            Ok(fed?.data)
        })?;
        let inputs = scans.iter().map(|scan| Ok((self.plan(scan)?, Vec::new())));
        Ok(Plan::Keyed {
            inputs: inputs.collect::<Result<_>>()?,
            schema: recipe.schema(),
            recipe,
            remembers: None,
        })
    }
}
