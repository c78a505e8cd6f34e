use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow_flight::FlightData;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::scalar::ScalarValue;
use futures::{Stream, StreamExt, TryStreamExt};
use tonic::Status;

use super::handles::Handles;
use super::status::OrStatus;
use crate::engine::{Prepared, Session};

const IDLE: Duration = Duration::from_secs(3600);
const STATEMENTS: usize = 10_000;
/// Bytes of parameters one statement may be given.
const PARAMETER_BYTES: usize = 64 << 20;

/// The prepared statements, by handle. One that its client forgets to close is gone after an hour without use.
pub(super) type PreparedStatements = Handles<Arc<PreparedStatement>>;

pub(super) fn statements() -> PreparedStatements {
    Handles::new(STATEMENTS, IDLE)
}

/// A prepared statement with the parameters it was last given.
#[derive(Debug)]
pub(super) struct PreparedStatement {
    session: Session,
    prepared: Arc<Prepared>,
    bound: Mutex<Option<Bound>>,
}

/// Values for the parameters: a row for each execution.
#[derive(Debug, Clone)]
pub(super) struct Bound {
    /// Planned with the types of the values where the statement itself leaves its answer's open.
    pub prepared: Arc<Prepared>,
    pub rows: Arc<[Vec<ScalarValue>]>,
}

impl PreparedStatement {
    pub async fn new(session: Session, sql: &str) -> Result<Self, Status> {
        let prepared = Arc::new(session.prepare(sql).await.or_status()?);
        Ok(Self {
            session,
            prepared,
            bound: Mutex::default(),
        })
    }

    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Of the answer; empty for a definition, by which clients tell it from a query.
    pub fn schema(&self) -> Schema {
        match self.prepared.is_query {
            true => super::wire::wire_schema(&self.prepared.schema)
                .as_ref()
                .clone(),
            false => Schema::empty(),
        }
    }

    /// A field for each parameter; of type Null where the statement takes any.
    pub fn parameter_schema(&self) -> Schema {
        let field = |(name, data_type): &(String, Option<DataType>)| {
            Field::new(name, data_type.clone().unwrap_or(DataType::Null), true)
        };
        Schema::new(
            self.prepared
                .parameters
                .iter()
                .map(field)
                .collect::<Vec<_>>(),
        )
    }

    /// What to execute: with the parameters last given, or without any.
    pub fn bound(&self) -> Bound {
        let bound = self.bound.lock().unwrap_or_else(PoisonError::into_inner);
        bound.clone().unwrap_or_else(|| Bound {
            prepared: Arc::clone(&self.prepared),
            rows: Arc::new([Vec::new()]),
        })
    }

    /// Take parameters from these messages, if there are any.
    pub async fn bind(
        &self,
        messages: impl Stream<Item = Result<FlightData, Status>> + Send + 'static,
    ) -> Result<(), Status> {
        let Some((types, rows)) = self.read(messages).await? else {
            return Ok(());
        };
        let prepared = self
            .typed(&types)
            .await?
            .unwrap_or_else(|| Arc::clone(&self.prepared));
        let mut bound = self.bound.lock().unwrap_or_else(PoisonError::into_inner);
        *bound = Some(Bound {
            prepared,
            rows: rows.into(),
        });
        Ok(())
    }

    async fn read(
        &self,
        messages: impl Stream<Item = Result<FlightData, Status>> + Send + 'static,
    ) -> Result<Option<(Vec<DataType>, Vec<Vec<ScalarValue>>)>, Status> {
        // A message that only names the command has no header.
        let messages = messages
            .try_filter(|m| std::future::ready(!m.data_header.is_empty()))
            .boxed();
        let mut batches =
            FlightRecordBatchStream::new_from_flight_data(messages.map_err(FlightError::from));
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while let Some(batch) = batches.try_next().await.map_err(malformed)? {
            bytes += batch.get_array_memory_size();
            if bytes > PARAMETER_BYTES {
                return Err(Status::resource_exhausted(format!(
                    "a statement takes at most {} MB of parameters at once",
                    PARAMETER_BYTES >> 20
                )));
            }
            for row in 0..batch.num_rows() {
                let values = batch
                    .columns()
                    .iter()
                    .map(|c| ScalarValue::try_from_array(c, row));
                let values: Result<Vec<_>, _> = values.collect();
                rows.push(values.map_err(|e| Status::invalid_argument(e.to_string()))?);
            }
        }
        let Some(schema) = batches.schema() else {
            return Ok(None);
        };
        let (taken, given) = (self.prepared.parameters.len(), schema.fields().len());
        if taken != given {
            return Err(Status::invalid_argument(format!(
                "the statement takes {taken} parameters, {given} were given"
            )));
        }
        let types = schema
            .fields()
            .iter()
            .map(|f| f.data_type().clone())
            .collect();
        Ok(Some((types, rows)))
    }

    /// The statement with parameters of these types where its answer's type hangs on them (`SELECT $1`), so that the
    /// schema is known before it runs.
    async fn typed(&self, types: &[DataType]) -> Result<Option<Arc<Prepared>>, Status> {
        let typed = self.session.prepare_typed(&self.prepared, types).await;
        Ok(typed.or_status()?.map(Arc::new))
    }
}

fn malformed(e: FlightError) -> Status {
    match e {
        FlightError::Tonic(status) => *status,
        other => Status::invalid_argument(format!("the parameters cannot be read: {other}")),
    }
}
