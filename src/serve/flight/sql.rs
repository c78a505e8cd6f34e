use std::sync::{Arc, Mutex, PoisonError};

use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::server::{FlightSqlService, PeekableFlightDataStream};
use arrow_flight::sql::{
    ActionBeginSavepointRequest, ActionBeginSavepointResult, ActionBeginTransactionRequest,
    ActionBeginTransactionResult, ActionCancelQueryRequest, ActionCancelQueryResult,
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest,
    ActionCreatePreparedStatementResult, ActionCreatePreparedSubstraitPlanRequest,
    ActionEndSavepointRequest, ActionEndTransactionRequest, Any, Command, CommandGetCatalogs,
    CommandGetCrossReference, CommandGetDbSchemas, CommandGetExportedKeys, CommandGetImportedKeys,
    CommandGetPrimaryKeys, CommandGetSqlInfo, CommandGetTableTypes, CommandGetTables,
    CommandGetXdbcTypeInfo, CommandPreparedStatementQuery, CommandPreparedStatementUpdate,
    CommandStatementIngest, CommandStatementQuery, CommandStatementSubstraitPlan,
    CommandStatementUpdate, DoPutPreparedStatementResult, ProstMessageExt, SqlInfo,
    TicketStatementQuery,
};
use arrow_flight::{
    Action, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightDescriptor,
    FlightEndpoint, FlightInfo, HandshakeRequest, IpcMessage, RenewFlightEndpointRequest,
    SchemaAsIpc, Ticket,
};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::Schema;
use datafusion::arrow::ipc::writer::IpcWriteOptions;
use futures::{TryStreamExt, stream};
use prost::Message;
use prost::bytes::Bytes;
use tokio_util::sync::CancellationToken;
use tonic::metadata::{BinaryMetadataValue, MetadataMap};
use tonic::{Request, Response, Status, Streaming};

use super::apply::{self, APPLY};
use super::calls::{Call, Sessions, caller, origin};
use super::metadata::{keys, objects, sql_info, types};
use super::options;
use super::prepared::{self, PreparedStatement, PreparedStatements};
use super::statements::{Statements, Work};
use super::status::{OrStatus, encoding};
use super::wire;
use crate::engine::{Engine, Session};
use crate::freshness::Freshness;

/// Metadata of a `DoGet`: what the user should know besides the rows.
pub(super) const NOTICE: &str = "belvedere-notice-bin";
/// Metadata of an answer: how old its oldest part is, in milliseconds, and what it was made of.
pub(super) const AGE: &str = "belvedere-age-ms";
pub(super) const READ_FROM: &str = "belvedere-read-from-bin";
/// Metadata of a `DoGet`: `query`, [`SUBSCRIPTION`], or `definition` if its answer is one row, `status`.
/// What a write answered with: a session that sets `read_after` to it reads after the write.
const LAST_WRITE: &str = "belvedere-last-write";
pub(super) const KIND: &str = "belvedere-statement";
/// Its answer does not end by itself.
pub(super) const SUBSCRIPTION: &str = "subscription";

const CANCEL_FLIGHT_INFO: &str = "CancelFlightInfo";
const RENEW_FLIGHT_ENDPOINT: &str = "RenewFlightEndpoint";

/// Name and description of each action.
pub(super) const ACTIONS: &[(&str, &str)] = &[
    (
        "CreatePreparedStatement",
        "Prepare a statement. ActionCreatePreparedStatementRequest → …Result",
    ),
    (
        "ClosePreparedStatement",
        "Close a prepared statement. ActionClosePreparedStatementRequest → nothing",
    ),
    (
        "CancelQuery",
        "End a statement (older form). ActionCancelQueryRequest → …Result",
    ),
    (
        CANCEL_FLIGHT_INFO,
        "End a statement. CancelFlightInfoRequest → CancelFlightInfoResult",
    ),
    (
        RENEW_FLIGHT_ENDPOINT,
        "Keep a ticket. RenewFlightEndpointRequest → FlightEndpoint",
    ),
    (
        options::SET,
        "Set options of a session, opening one. SetSessionOptionsRequest → …Result",
    ),
    (
        options::GET,
        "The options of a session. GetSessionOptionsRequest → …Result",
    ),
    (
        options::CLOSE,
        "End a session. CloseSessionRequest → …Result",
    ),
    (
        APPLY,
        "Apply or check files of definitions. JSON → JSON; see docs/flight.md",
    ),
];

/// The commands of Flight SQL, over an engine.
#[derive(Debug)]
pub(super) struct FlightSql {
    engine: Engine,
    sessions: Sessions,
    statements: Statements,
    prepared: PreparedStatements,
}

impl FlightSql {
    pub fn new(engine: Engine, stop: CancellationToken) -> Self {
        Self {
            sessions: Sessions::new(engine.clone()),
            engine,
            statements: Statements::new(stop),
            prepared: prepared::statements(),
        }
    }

    /// A session of whoever makes a call.
    fn session<T>(&self, request: &Request<T>) -> Result<Session, Status> {
        let who = caller(request.extensions())?;
        let session = self.engine.session_of(who.clone());
        Ok(session.coming_from(origin(request.extensions())))
    }

    fn call<T>(&self, request: &Request<T>) -> Result<Call, Status> {
        let who = caller(request.extensions())?;
        let call = self.sessions.call(who, request.metadata())?;
        Ok(call.coming_from(origin(request.extensions())))
    }

    /// What was planned for whoever makes a call.
    fn work<T>(&self, handle: &[u8], request: &Request<T>) -> Result<Arc<Work>, Status> {
        let work = self.statements.get(handle)?;
        match work.session().who() == caller(request.extensions())? {
            true => Ok(work),
            false => Err(Status::permission_denied("the ticket is another user's")),
        }
    }

    /// Drop the statement behind this answer of `GetFlightInfo`.
    pub fn forget(&self, info: &FlightInfo) {
        if let Some(handle) = handle_of(info) {
            self.statements.cancel(&handle);
        }
    }

    fn planned(
        &self,
        work: Arc<Work>,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let schema = work.schema().clone();
        let statement_handle = self.statements.keep(work)?.into();
        info(TicketStatementQuery { statement_handle }, &schema, request)
    }

    fn prepared<T>(
        &self,
        handle: &[u8],
        request: &Request<T>,
    ) -> Result<Arc<PreparedStatement>, Status> {
        let who = caller(request.extensions())?;
        let known = self.prepared.get(handle);
        let own = known.filter(|prepared| prepared.session().who() == who);
        own.ok_or_else(|| {
            Status::not_found(
                "the prepared statement is not one of this server's, was closed or has expired: prepare it again",
            )
        })
    }

    fn cancel(&self, info: Option<FlightInfo>) -> Result<(), Status> {
        let handle = info.as_ref().and_then(handle_of);
        match handle.is_some_and(|handle| self.statements.cancel(&handle)) {
            true => Ok(()),
            false => Err(Status::not_found(
                "the statement to cancel is not known; it may have been cancelled before",
            )),
        }
    }
}

type Info = Result<Response<FlightInfo>, Status>;
type Get = Result<Response<<FlightSql as FlightService>::DoGetStream>, Status>;

/// An answer of one endpoint, whose ticket is the command.
fn info(
    command: impl ProstMessageExt,
    schema: &Schema,
    request: Request<FlightDescriptor>,
) -> Info {
    let ticket = Ticket::new(command.as_any().encode_to_vec());
    let info = FlightInfo::new()
        .try_with_schema(schema)
        .map_err(encoding)?
        .with_endpoint(FlightEndpoint::new().with_ticket(ticket))
        .with_descriptor(request.into_inner());
    Ok(Response::new(info))
}

/// A batch that is complete, as a stream.
fn one(batch: RecordBatch) -> Get {
    let messages = FlightDataEncoderBuilder::new()
        .with_schema(batch.schema())
        .build(stream::iter([Ok(batch)]))
        .map_err(Status::from);
    Ok(Response::new(Box::pin(messages)))
}

fn handle_of(info: &FlightInfo) -> Option<Bytes> {
    let ticket = info.endpoint.first()?.ticket.as_ref()?;
    let any = Any::decode(&*ticket.ticket).ok()?;
    match Command::try_from(any).ok()? {
        Command::TicketStatementQuery(ticket) => Some(ticket.statement_handle),
        _ => None,
    }
}

fn schema_message(schema: &Schema) -> Result<Bytes, Status> {
    let options = IpcWriteOptions::default();
    let IpcMessage(bytes) = SchemaAsIpc::new(schema, &options)
        .try_into()
        .map_err(encoding)?;
    Ok(bytes)
}

fn no_transactions<T>(id: Option<T>) -> Result<(), Status> {
    match id {
        None => Ok(()),
        Some(_) => Err(transactions()),
    }
}

fn transactions() -> Status {
    Status::unimplemented(
        "there are no transactions: each statement stands for itself (connect with autocommit)",
    )
}

fn substrait() -> Status {
    Status::unimplemented("Substrait plans are not in this version: send SQL")
}

fn decode<M: Message + Default>(action: &Action) -> Result<M, Status> {
    M::decode(&*action.body).map_err(|e| {
        Status::invalid_argument(format!("{}: the request is malformed: {e}", action.r#type))
    })
}

/// What a call has written, on its way to the call's headers: `arrow-flight` makes the answer to an update itself.
#[derive(Debug, Clone, Default)]
pub(super) struct LastWrite(Arc<Mutex<Option<String>>>);

impl LastWrite {
    fn set(&self, token: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = token;
    }

    pub fn into_header(self, metadata: &mut MetadataMap) {
        let token = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        wrote(metadata, token.as_deref());
    }
}

fn wrote(metadata: &mut MetadataMap, token: Option<&str>) {
    // A name may have what no header can.
    if let Some(token) = token.and_then(|token| token.parse().ok()) {
        metadata.insert(LAST_WRITE, token);
    }
}

fn noted(metadata: &mut MetadataMap, notices: &[String]) {
    for notice in notices {
        metadata.append_bin(NOTICE, BinaryMetadataValue::from_bytes(notice.as_bytes()));
    }
}

/// What the answer was made of, and how old its oldest part is.
fn aged(metadata: &mut MetadataMap, freshness: &Freshness) {
    if let Some(age) = freshness.age().filter(|_| !freshness.parts.is_empty()) {
        let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        metadata.insert(AGE, age.into());
    }
    let read_from = freshness.to_string();
    if !read_from.is_empty() {
        let read_from = BinaryMetadataValue::from_bytes(read_from.as_bytes());
        metadata.insert_bin(READ_FROM, read_from);
    }
}

#[tonic::async_trait]
impl FlightSqlService for FlightSql {
    type FlightService = Self;

    async fn do_handshake(
        &self,
        _: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<<Self as FlightService>::HandshakeStream>, Status> {
        Err(Status::internal("the handshake ends at the door"))
    }

    // Statements

    async fn get_flight_info_statement(
        &self,
        query: CommandStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Info {
        no_transactions(query.transaction_id)?;
        let call = self.call(&request)?;
        let session = call.session_for(&query.query)?;
        let prepared = Arc::new(session.prepare(&query.query).await.or_status()?);
        self.planned(
            self.statements
                .work(session, prepared, Arc::new([Vec::new()])),
            request,
        )
    }

    async fn do_get_statement(
        &self,
        ticket: TicketStatementQuery,
        request: Request<Ticket>,
    ) -> Get {
        let work = self.work(&ticket.statement_handle, &request)?;
        let session = match work.has_effect() {
            false => self
                .sessions
                .overridden(work.session().clone(), request.metadata())?,
            true => work.session().clone(),
        };
        let running = work.run(session).await?;
        let messages = wire::messages(work.schema().clone(), running.batches);
        let mut response: Response<<Self as FlightService>::DoGetStream> = Response::new(messages);
        noted(response.metadata_mut(), &running.notices);
        aged(response.metadata_mut(), &running.freshness);
        wrote(response.metadata_mut(), running.last_write.as_deref());
        let kind = match (work.is_query(), work.goes_on()) {
            (false, _) => "definition",
            (true, false) => "query",
            (true, true) => SUBSCRIPTION,
        };
        response
            .metadata_mut()
            .insert(KIND, tonic::metadata::MetadataValue::from_static(kind));
        Ok(response)
    }

    async fn do_put_statement_update(
        &self,
        update: CommandStatementUpdate,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        no_transactions(update.transaction_id)?;
        let session = self.call(&request)?.session_for(&update.query)?;
        let said = request.extensions().get::<LastWrite>().cloned();
        let prepared = Arc::new(session.prepare(&update.query).await.or_status()?);
        let work = self
            .statements
            .work(session, prepared, Arc::new([Vec::new()]));
        let (rows, token) = work.count().await?;
        said.unwrap_or_default().set(token);
        Ok(rows)
    }

    async fn do_put_statement_ingest(
        &self,
        ingest: CommandStatementIngest,
        _: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        Err(Status::unimplemented(format!(
            "rows cannot be ingested into {} in this version: a prepared INSERT with many rows of parameters writes them",
            ingest.table
        )))
    }

    // Prepared statements

    async fn do_action_create_prepared_statement(
        &self,
        query: ActionCreatePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        no_transactions(query.transaction_id)?;
        let session = self.call(&request)?.session_for(&query.query)?;
        let statement = PreparedStatement::new(session, &query.query).await?;
        let dataset_schema = match statement.schema() {
            schema if schema.fields().is_empty() => Bytes::new(),
            schema => schema_message(&schema)?,
        };
        Ok(ActionCreatePreparedStatementResult {
            dataset_schema,
            parameter_schema: schema_message(&statement.parameter_schema())?,
            prepared_statement_handle: self.prepared.insert(Arc::new(statement))?.into(),
        })
    }

    async fn do_action_close_prepared_statement(
        &self,
        query: ActionClosePreparedStatementRequest,
        _: Request<Action>,
    ) -> Result<(), Status> {
        // Closing twice is no error.
        self.prepared.remove(&query.prepared_statement_handle);
        Ok(())
    }

    async fn do_put_prepared_statement_query(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<DoPutPreparedStatementResult, Status> {
        let statement = self.prepared(&query.prepared_statement_handle, &request)?;
        statement.bind(request.into_inner()).await?;
        let prepared_statement_handle = Some(query.prepared_statement_handle);
        Ok(DoPutPreparedStatementResult {
            prepared_statement_handle,
        })
    }

    async fn get_flight_info_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Info {
        let statement = self.prepared(&query.prepared_statement_handle, &request)?;
        let bound = statement.bound();
        let session = match bound.prepared.is_query {
            true => self
                .sessions
                .overridden(statement.session().clone(), request.metadata())?,
            false => statement.session().clone(),
        };
        self.planned(
            self.statements.work(session, bound.prepared, bound.rows),
            request,
        )
    }

    async fn do_put_prepared_statement_update(
        &self,
        query: CommandPreparedStatementUpdate,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        let statement = self.prepared(&query.prepared_statement_handle, &request)?;
        let said = request.extensions().get::<LastWrite>().cloned();
        statement.bind(request.into_inner()).await?;
        let bound = statement.bound();
        let session = statement.session().clone();
        let work = self.statements.work(session, bound.prepared, bound.rows);
        let (rows, token) = work.count().await?;
        said.unwrap_or_default().set(token);
        Ok(rows)
    }

    /// The ticket of a prepared statement is that of its execution.
    async fn do_get_prepared_statement(
        &self,
        _: CommandPreparedStatementQuery,
        _: Request<Ticket>,
    ) -> Get {
        Err(Status::invalid_argument(
            "a prepared statement is executed through GetFlightInfo, whose answer has the ticket",
        ))
    }

    // Metadata

    async fn get_flight_info_catalogs(
        &self,
        query: CommandGetCatalogs,
        request: Request<FlightDescriptor>,
    ) -> Info {
        info(query, &query.into_builder().schema(), request)
    }

    async fn do_get_catalogs(&self, query: CommandGetCatalogs, request: Request<Ticket>) -> Get {
        one(objects::catalogs(&self.session(&request)?, query).await?)
    }

    async fn get_flight_info_schemas(
        &self,
        query: CommandGetDbSchemas,
        request: Request<FlightDescriptor>,
    ) -> Info {
        let schema = query.clone().into_builder().schema();
        info(query, &schema, request)
    }

    async fn do_get_schemas(&self, query: CommandGetDbSchemas, request: Request<Ticket>) -> Get {
        one(objects::schemas(&self.session(&request)?, query).await?)
    }

    async fn get_flight_info_tables(
        &self,
        query: CommandGetTables,
        request: Request<FlightDescriptor>,
    ) -> Info {
        let schema = query.clone().into_builder().schema();
        info(query, &schema, request)
    }

    async fn do_get_tables(&self, query: CommandGetTables, request: Request<Ticket>) -> Get {
        one(objects::tables(&self.session(&request)?, query).await?)
    }

    async fn get_flight_info_table_types(
        &self,
        query: CommandGetTableTypes,
        request: Request<FlightDescriptor>,
    ) -> Info {
        info(query, &query.into_builder().schema(), request)
    }

    async fn do_get_table_types(&self, query: CommandGetTableTypes, _: Request<Ticket>) -> Get {
        one(objects::table_types(query)?)
    }

    async fn get_flight_info_primary_keys(
        &self,
        query: CommandGetPrimaryKeys,
        request: Request<FlightDescriptor>,
    ) -> Info {
        info(query, &keys::primary_schema(), request)
    }

    async fn do_get_primary_keys(
        &self,
        query: CommandGetPrimaryKeys,
        request: Request<Ticket>,
    ) -> Get {
        one(keys::primary(&self.session(&request)?, query).await?)
    }

    async fn get_flight_info_exported_keys(
        &self,
        query: CommandGetExportedKeys,
        request: Request<FlightDescriptor>,
    ) -> Info {
        info(query, &keys::foreign_schema(), request)
    }

    async fn do_get_exported_keys(
        &self,
        query: CommandGetExportedKeys,
        request: Request<Ticket>,
    ) -> Get {
        one(keys::exported(&self.session(&request)?, query).await?)
    }

    async fn get_flight_info_imported_keys(
        &self,
        query: CommandGetImportedKeys,
        request: Request<FlightDescriptor>,
    ) -> Info {
        info(query, &keys::foreign_schema(), request)
    }

    async fn do_get_imported_keys(
        &self,
        query: CommandGetImportedKeys,
        request: Request<Ticket>,
    ) -> Get {
        one(keys::imported(&self.session(&request)?, query).await?)
    }

    async fn get_flight_info_cross_reference(
        &self,
        query: CommandGetCrossReference,
        request: Request<FlightDescriptor>,
    ) -> Info {
        info(query, &keys::foreign_schema(), request)
    }

    async fn do_get_cross_reference(
        &self,
        query: CommandGetCrossReference,
        request: Request<Ticket>,
    ) -> Get {
        one(keys::cross_reference(&self.session(&request)?, query).await?)
    }

    async fn get_flight_info_sql_info(
        &self,
        query: CommandGetSqlInfo,
        request: Request<FlightDescriptor>,
    ) -> Info {
        let schema = query.clone().into_builder(sql_info::all()?).schema();
        info(query, &schema, request)
    }

    async fn do_get_sql_info(&self, query: CommandGetSqlInfo, _: Request<Ticket>) -> Get {
        one(query.into_builder(sql_info::all()?).build()?)
    }

    async fn get_flight_info_xdbc_type_info(
        &self,
        query: CommandGetXdbcTypeInfo,
        request: Request<FlightDescriptor>,
    ) -> Info {
        info(query, &query.into_builder(types::all()?).schema(), request)
    }

    async fn do_get_xdbc_type_info(
        &self,
        query: CommandGetXdbcTypeInfo,
        _: Request<Ticket>,
    ) -> Get {
        one(query.into_builder(types::all()?).build()?)
    }

    /// What is known stands in `metadata/sql_info.rs`.
    async fn register_sql_info(&self, _: i32, _: &SqlInfo) {}

    // What there is not

    async fn get_flight_info_substrait_plan(
        &self,
        _: CommandStatementSubstraitPlan,
        _: Request<FlightDescriptor>,
    ) -> Info {
        Err(substrait())
    }

    async fn do_put_substrait_plan(
        &self,
        _: CommandStatementSubstraitPlan,
        _: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        Err(substrait())
    }

    async fn do_action_create_prepared_substrait_plan(
        &self,
        _: ActionCreatePreparedSubstraitPlanRequest,
        _: Request<Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        Err(substrait())
    }

    async fn do_action_begin_transaction(
        &self,
        _: ActionBeginTransactionRequest,
        _: Request<Action>,
    ) -> Result<ActionBeginTransactionResult, Status> {
        Err(transactions())
    }

    async fn do_action_end_transaction(
        &self,
        _: ActionEndTransactionRequest,
        _: Request<Action>,
    ) -> Result<(), Status> {
        Err(transactions())
    }

    async fn do_action_begin_savepoint(
        &self,
        _: ActionBeginSavepointRequest,
        _: Request<Action>,
    ) -> Result<ActionBeginSavepointResult, Status> {
        Err(transactions())
    }

    async fn do_action_end_savepoint(
        &self,
        _: ActionEndSavepointRequest,
        _: Request<Action>,
    ) -> Result<(), Status> {
        Err(transactions())
    }

    async fn do_get_fallback(&self, _: Request<Ticket>, _: Any) -> Get {
        Err(Status::invalid_argument(
            "the ticket is not one of this server's",
        ))
    }

    // Other actions

    async fn do_action_cancel_query(
        &self,
        query: ActionCancelQueryRequest,
        _: Request<Action>,
    ) -> Result<ActionCancelQueryResult, Status> {
        let info = FlightInfo::decode(&*query.info).ok();
        self.cancel(info)?;
        // The older enumeration has the same values.
        Ok(ActionCancelQueryResult {
            result: CancelStatus::Cancelled as i32,
        })
    }

    async fn do_action_fallback(
        &self,
        request: Request<Action>,
    ) -> Result<Response<<Self as FlightService>::DoActionStream>, Status> {
        let (metadata, extensions, action) = request.into_parts();
        let who = caller(&extensions)?;
        let reply = match action.r#type.as_str() {
            options::SET => options::set(&self.sessions, who, &metadata, &action.body)?,
            options::GET => options::get(&self.sessions, who, &metadata)?,
            options::CLOSE => options::close(&self.sessions, who, &metadata)?,
            CANCEL_FLIGHT_INFO => {
                self.cancel(decode::<CancelFlightInfoRequest>(&action)?.info)?;
                let status = CancelStatus::Cancelled as i32;
                Response::new(CancelFlightInfoResult { status }.encode_to_vec())
            }
            RENEW_FLIGHT_ENDPOINT => {
                let endpoint = decode::<RenewFlightEndpointRequest>(&action)?.endpoint;
                let endpoint = endpoint.unwrap_or_default();
                let info = FlightInfo::new().with_endpoint(endpoint.clone());
                // Presenting a statement's handle renews it; other tickets do not expire.
                if let Some(handle) = handle_of(&info) {
                    self.statements.get(&handle)?;
                }
                Response::new(endpoint.encode_to_vec())
            }
            APPLY => {
                let session = self.engine.session_of(who.clone());
                let session = session.coming_from(origin(&extensions));
                Response::new(apply::apply(&session, &action.body).await?)
            }
            other => {
                return Err(Status::unimplemented(format!(
                    "there is no action {other}: ListActions names those there are"
                )));
            }
        };
        Ok(
            reply.map(|body| -> <Self as FlightService>::DoActionStream {
                Box::pin(stream::iter([Ok(arrow_flight::Result::new(body))]))
            }),
        )
    }
}
