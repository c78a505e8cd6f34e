use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::catalog::memory::MemorySourceConfig;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;

/// Something the engine knows, as a table. Its rows are made when it is read.
#[async_trait]
pub trait SystemTable: Debug + Send + Sync {
    /// `system`, `information_schema` or `pg_catalog`.
    fn schema_name(&self) -> &'static str;
    fn name(&self) -> &'static str;
    fn schema(&self) -> SchemaRef;
    async fn rows(&self) -> Result<RecordBatch>;
}

/// A system table as DataFusion reads it.
#[derive(Debug)]
pub struct SystemTableProvider(pub Arc<dyn SystemTable>);

#[async_trait]
impl TableProvider for SystemTableProvider {
    fn schema(&self) -> SchemaRef {
        self.0.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let rows = vec![vec![self.0.rows().await?]];
        Ok(MemorySourceConfig::try_new_exec(
            &rows,
            self.schema(),
            projection.cloned(),
        )?)
    }
}
