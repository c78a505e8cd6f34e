//! `SUBSCRIBE TO`: what it is to, and its stream.

use std::collections::BTreeMap;
use std::sync::Arc;

use belvedere_sql::{Name, Options, Subscribe, Subscribed, Value};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;

use super::kept;
use super::names::Names;
use super::query;
use super::world::Inner;
use crate::catalog::{About, CATALOG, Materialized, ObjectId, ViewDefinition};
use crate::error::{Error, Result, SubscriptionEnd};
use crate::store::checksum;
use crate::views::{
    ASKED, AskedQuery, CopyTable, Cursor, Order, Subscription, Views, subscription_columns,
};

/// What somebody subscribes to.
pub(super) struct Subscribing {
    pub order: Order,
    /// A query, which is kept as a view is while somebody subscribes to it.
    query: Option<Arc<ViewDefinition>>,
}

/// Resolve a subscription. Nothing begins.
pub(super) async fn plan(names: Names, subscribe: &Subscribe, sql: &str) -> Result<Subscribing> {
    let (cursor, snapshot) = options(&subscribe.options)?;
    let order = |view: &ViewDefinition| -> Result<Order> {
        Ok(Order {
            view: view.id(),
            called: kept::called(view),
            schema: subscription_columns(&view.arrow_schema())?,
            cursor: cursor.clone(),
            snapshot,
            asker: names.caller.asker,
            sql: sql.to_string(),
        })
    };
    let (query, text) = match &subscribe.to {
        Subscribed::Relation(name) => {
            if let Some(view) = kept_view(&names, name).await? {
                let order = order(&view)?;
                return Ok(Subscribing { order, query: None });
            }
            // Of what is not kept, all that is in it.
            let text = format!("SELECT * FROM {name}");
            match belvedere_sql::parse_one(&text)?.statement {
                belvedere_sql::Statement::Query(query) => (query, text),
                _ => return Err(Error::Internal(format!("{text} is no query"))),
            }
        }
        Subscribed::Query { query, text } => {
            let text = text
                .0
                .clone()
                .unwrap_or_else(|| belvedere_sql::Statement::Query(query.clone()).to_string());
            (query.clone(), text)
        }
    };
    let planned = query::plan(names.clone(), &query).await?;
    if !planned.plan.get_parameter_types()?.is_empty() {
        return Err(Error::invalid(
            "a query that is subscribed to takes no parameters",
        ));
    }
    let search_path = names.settings.search_path.clone();
    // The same query is kept once, whoever asks.
    let definer = names.caller.identity.name().map(|name| name.to_string());
    let identity = checksum(format!("{query}\n{search_path:?}\n{definer:?}").as_bytes());
    let options = BTreeMap::from([("refresh".to_string(), "on change".to_string())]);
    let view = Arc::new(ViewDefinition {
        schema: ASKED.to_string(),
        name: format!("{identity:016x}"),
        query: text,
        named_columns: false,
        columns: query::view_columns(&planned.plan, &[])?,
        search_path,
        depends_on: planned.names.referenced(),
        about: About::default(),
        comment: None,
        bounds: BTreeMap::new(),
        materialized: Some(Materialized {
            options,
            checks: Vec::new(),
            generation: identity,
            indexes: Vec::new(),
        }),
        definer,
    });
    let order = order(&view)?;
    Ok(Subscribing {
        order,
        query: Some(view),
    })
}

impl Subscribing {
    /// Subscribe, once there is something to tell of.
    pub async fn begin(self, names: &Names) -> Result<SendableRecordBatchStream> {
        let Self { order, query } = self;
        let schema = order.schema.clone();
        let asked = match &query {
            None => None,
            Some(query) => {
                kept::kept_view(names, query).await?;
                Some(ask(&names.inner, query).await)
            }
        };
        let subscription = names.inner.views.subscribe(order).await?;
        Ok(stream(subscription, asked, schema))
    }
}

/// Keep a query like a view.
async fn ask(inner: &Arc<Inner>, query: &Arc<ViewDefinition>) -> AskedQuery {
    // What is kept is settled by one at a time.
    let _only = inner.draft().await;
    let (asked, is_new) = Views::ask(&inner.views, query);
    if is_new {
        // In a box: planning a view may read a source's schema again, which is a change, too.
        Box::pin(kept::settle(inner)).await;
    }
    asked
}

/// The stream goes on until something ends it, and with it what is kept for it.
fn stream(
    subscription: Subscription,
    asked: Option<AskedQuery>,
    schema: SchemaRef,
) -> SendableRecordBatchStream {
    let start = Some((subscription, asked));
    let batches = futures::stream::unfold(start, |state| async move {
        let (mut subscription, asked) = state?;
        match subscription.next().await {
            Ok(batch) => Some((Ok(batch), Some((subscription, asked)))),
            Err(e) => Some((Err(DataFusionError::from(e)), None)),
        }
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, batches))
}

/// The kept view that a name means, if it does.
async fn kept_view(names: &Names, name: &Name) -> Result<Option<Arc<ViewDefinition>>> {
    let provider = names.resolve(&name.fold()).await?;
    let Some(copy) = provider.downcast_ref::<CopyTable>() else {
        return Ok(None);
    };
    let ObjectId(parts) = &copy.id;
    Ok(match parts.as_slice() {
        [catalog, schema, name] if catalog == CATALOG => {
            names.root.definitions.view(schema, name).cloned()
        }
        _ => None,
    })
}

/// The cursor, and whether the rows as they are come first.
fn options(options: &Options) -> Result<(Option<Cursor>, bool)> {
    let (mut cursor, mut snapshot) = (None, None);
    for (name, value) in options.iter() {
        match (name.as_str(), value) {
            ("cursor", Value::String(text)) => cursor = Some(parse(text)?),
            ("cursor", other) => {
                return Err(Error::invalid(format!(
                    "option cursor is a text that a subscription has told, in quotes, not {other}"
                )));
            }
            ("snapshot", value) => {
                let truth = value.as_bool();
                snapshot = Some(truth.ok_or_else(|| {
                    Error::invalid(format!("option snapshot is true or false, not {value}"))
                })?);
            }
            (other, _) => {
                let near = super::nearest(other, ["cursor", "snapshot"]);
                return Err(Error::Unknown {
                    what: "option",
                    name: format!("{other} of SUBSCRIBE"),
                    hint: Some(match near {
                        Some(near) => format!("Did you mean {near}?"),
                        None => "There are cursor and snapshot".to_string(),
                    }),
                });
            }
        }
    }
    if cursor.is_some() && snapshot == Some(true) {
        return Err(Error::invalid_with_help(
            "a subscription goes on from its cursor, or begins with a snapshot",
            "Leave one of them out",
        ));
    }
    Ok((cursor, snapshot.unwrap_or(true)))
}

fn parse(text: &str) -> Result<Cursor> {
    text.parse().map_err(|()| Error::Subscription {
        why: SubscriptionEnd::CursorForeign,
        message: "this is no cursor of a subscription".to_string(),
        help: "The column cursor of its rows has them; subscribe without one to begin with the rows as they are"
            .to_string(),
    })
}
