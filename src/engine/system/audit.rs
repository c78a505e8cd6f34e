use std::path::PathBuf;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, Operator};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::scalar::ScalarValue;

use super::table::{Definition, Fill, Kind, Rows, Value, always, maybe, row};
use crate::access::audit::{Audit, Line, Newest};
use crate::catalog::SYSTEM;
use crate::engine::names::Names;
use crate::error::{Error, Result};

/// Rows made at once.
const ROWS: usize = 1000;
/// Clocks are set: a record that is older than another by its number may be younger by its time, by no more than this.
const SLACK_US: i64 = 24 * 3600 * 1_000_000;

/// Who did what, newest first, as the files of the audit have it.
pub(super) const AUDIT: Definition = Definition {
    schema: SYSTEM,
    name: "audit",
    columns: &[
        always("seq", Kind::Count),
        // NULL: the line is none, or was changed.
        maybe("at", Kind::Instant),
        always("event", Kind::Text),
        // NULL: the administrator's.
        maybe("user", Kind::Text),
        maybe("address", Kind::Text),
        maybe("protocol", Kind::Text),
        maybe("session", Kind::Count),
        // Of a login.
        maybe("method", Kind::Text),
        maybe("statement", Kind::Text),
        always("objects", Kind::Texts),
        always("policies", Kind::Texts),
        // NULL: they are not recorded.
        maybe("parameters", Kind::Texts),
        maybe("rows", Kind::Count),
        // 'ok', or a SQLSTATE.
        maybe("outcome", Kind::Text),
        maybe("duration_ms", Kind::Real),
        // The record of when it began.
        maybe("begun", Kind::Count),
        // Of how many events it is.
        always("count", Kind::Count),
        maybe("detail", Kind::Text),
    ],
    rows: Fill::Streamed(stream),
};

fn stream(names: &Names, filters: &[Expr]) -> Arc<dyn PartitionStream> {
    let (mut from, mut from_us) = (0, i64::MIN);
    for filter in filters {
        match bound(filter) {
            Some(("seq", least)) => from = from.max(u64::try_from(least).unwrap_or(0)),
            Some(("at", least)) => from_us = from_us.max(least.saturating_sub(SLACK_US)),
            _ => {}
        }
    }
    Arc::new(Records {
        schema: AUDIT.arrow_schema(),
        audit: names.inner.audit.clone(),
        whose: match names.world.is_whole() {
            true => Whose::All,
            false => Whose::Of(names.caller.identity.name().cloned()),
        },
        from,
        from_us,
    })
}

/// The column that a condition bounds, and the least value that it admits.
fn bound(filter: &Expr) -> Option<(&str, i64)> {
    let Expr::BinaryExpr(binary) = filter else {
        return None;
    };
    let (column, value, is_bound) = match (binary.left.as_ref(), binary.right.as_ref()) {
        (Expr::Column(column), Expr::Literal(value, _)) => {
            let is_bound = matches!(binary.op, Operator::Eq | Operator::Gt | Operator::GtEq);
            (column, value, is_bound)
        }
        (Expr::Literal(value, _), Expr::Column(column)) => {
            let is_bound = matches!(binary.op, Operator::Eq | Operator::Lt | Operator::LtEq);
            (column, value, is_bound)
        }
        _ => return None,
    };
    let least = match (column.name.as_str(), value) {
        ("seq", ScalarValue::UInt64(Some(seq))) => i64::try_from(*seq).ok(),
        ("seq", ScalarValue::Int64(Some(seq))) => Some(*seq),
        ("at", ScalarValue::TimestampMicrosecond(Some(at), _)) => Some(*at),
        _ => None,
    };
    least
        .filter(|_| is_bound)
        .map(|least| (column.name(), least))
}

/// Whose records are shown.
#[derive(Debug, Clone)]
enum Whose {
    All,
    /// The own ones, if it is somebody.
    Of(Option<Arc<str>>),
}

#[derive(Debug)]
struct Records {
    schema: SchemaRef,
    audit: Arc<Audit>,
    whose: Whose,
    from: u64,
    from_us: i64,
}

impl PartitionStream for Records {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let reading = Reading {
            audit: self.audit.clone(),
            whose: self.whose.clone(),
            from: self.from,
            from_us: self.from_us,
            newest: None,
        };
        let batches = futures::stream::try_unfold(reading, |reading| async move {
            reading.next().await.map_err(DataFusionError::from)
        });
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), batches))
    }
}

struct Reading {
    audit: Arc<Audit>,
    whose: Whose,
    from: u64,
    from_us: i64,
    newest: Option<Newest>,
}

impl Reading {
    async fn next(mut self) -> Result<Option<(RecordBatch, Self)>> {
        let Some(folder) = self.audit.folder().map(PathBuf::from) else {
            return Ok(None);
        };
        if self.newest.is_none() {
            // What has been done is in it. While it cannot be written, what there is can be read.
            let _ = self.audit.flushed().await;
        }
        // Files are read where nobody waits for anything else.
        let read = tokio::task::spawn_blocking(move || {
            let batch = self.batch(&folder)?;
            Ok::<_, Error>(batch.map(|batch| (batch, self)))
        });
        let read = read.await;
        read.unwrap_or_else(|e| Err(Error::Internal(format!("the audit is not read: {e}"))))
    }

    fn batch(&mut self, folder: &std::path::Path) -> Result<Option<RecordBatch>> {
        let failed = |e: crate::access::audit::AuditError| Error::Store {
            message: e.to_string(),
            help: None,
        };
        let newest = match &mut self.newest {
            Some(newest) => newest,
            none => none.insert(Newest::of(folder, self.from).map_err(failed)?),
        };
        loop {
            let lines = newest.next(ROWS).map_err(failed)?;
            let is_old = |line: &Line| line.at_us < self.from_us;
            let ends = lines.is_empty() || lines.iter().flatten().any(is_old);
            let mut shown = 0;
            let batch = AUDIT.batch_of(|rows| {
                for line in &lines {
                    shown += usize::from(self.whose.show(line.as_ref().ok(), rows));
                }
            })?;
            if ends {
                newest.end();
            }
            if shown > 0 || ends {
                return Ok((shown > 0).then_some(batch));
            }
        }
    }
}

impl Whose {
    /// False: it is none of whose are shown.
    fn show(&self, line: Option<&Line>, rows: &mut Rows) -> bool {
        let (user, is_all) = match self {
            Self::All => (None, true),
            Self::Of(user) => (user.as_ref(), false),
        };
        let Some(line) = line else {
            if is_all {
                rows.some(super::table::some! {
                    event: "damaged",
                    count: 1_u64,
                    detail: "this line of the audit is no record, or was changed: belvedere audit verify says where",
                });
            }
            return is_all;
        };
        let record = &line.record;
        if !is_all && (user.is_none() || record.user.as_ref() != user) {
            return false;
        }
        let policies = match is_all {
            true => record.policies.clone(),
            // Who is under a policy need not know of it.
            false => Vec::new(),
        };
        rows.push(row![
            line.seq,
            Value::Instant(line.at_us),
            record.event.name(),
            record.user.as_deref(),
            record.address.map(|address| address.to_string()),
            record.protocol.as_deref(),
            record.session,
            record.method.as_deref(),
            &record.statement,
            record.objects.clone(),
            policies,
            record.parameters.clone(),
            record.rows,
            record.outcome.as_deref(),
            record.ms,
            record.begun,
            record.count.unwrap_or(1),
            &record.detail,
        ]);
        true
    }
}
