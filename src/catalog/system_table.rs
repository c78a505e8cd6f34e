use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::catalog::memory::MemorySourceConfig;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};

/// Something the engine knows, as a table. Its rows are made when it is read.
#[async_trait]
pub trait SystemTable: Debug + Send + Sync {
    /// `system`, `information_schema` or `pg_catalog`.
    fn schema_name(&self) -> &'static str;
    fn name(&self) -> &'static str;
    fn schema(&self) -> SchemaRef;
    async fn rows(&self) -> Result<RecordBatch>;

    /// The same as it is read, where there may be more of it than memory has. What conditions it is asked under may make it shorter.
    fn stream(&self, _filters: &[Expr]) -> Option<Arc<dyn PartitionStream>> {
        None
    }
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

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        let streams = self.0.stream(&[]).is_some();
        let each = match streams {
            true => TableProviderFilterPushDown::Inexact,
            false => TableProviderFilterPushDown::Unsupported,
        };
        Ok(vec![each; filters.len()])
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if let Some(stream) = self.0.stream(filters) {
            return Ok(Arc::new(StreamingTableExec::try_new(
                self.schema(),
                vec![stream],
                projection,
                [],
                false,
                limit,
            )?));
        }
        let rows = vec![vec![self.0.rows().await?]];
        Ok(MemorySourceConfig::try_new_exec(
            &rows,
            self.schema(),
            projection.cloned(),
        )?)
    }
}
