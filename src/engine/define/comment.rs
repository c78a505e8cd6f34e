//! `COMMENT ON`.

use std::sync::Arc;

use belvedere_sql::{CommentOn, CommentTarget};

use super::Context;
use super::schema::own_schema_name;
use super::source::existing_source;
use crate::catalog::{CATALOG, ObjectId};
use crate::engine::world::World;
use crate::error::{Error, Result};

impl Context<'_> {
    pub(super) async fn comment(
        &self,
        world: &mut World,
        comment: &CommentOn,
    ) -> Result<&'static str> {
        match comment.object {
            CommentTarget::Source => {
                let [name] = comment
                    .name
                    .fold()
                    .try_into()
                    .map_err(|_| Error::invalid("a source's name has one part"))?;
                let name = existing_source(world, &name)?;
                if let Some(source) = world.definitions.sources.get_mut(&name) {
                    Arc::make_mut(source).comment = comment.comment.clone();
                }
            }
            CommentTarget::View => {
                let key = self.existing_view(world, &comment.name)?;
                if let Some(view) = world.definitions.views.get_mut(&key) {
                    Arc::make_mut(view).comment = comment.comment.clone();
                }
            }
            CommentTarget::Schema => {
                let name = own_schema_name(&comment.name)?;
                if !world.definitions.has_schema(&name) {
                    return Err(Error::Unknown {
                        what: "schema",
                        name,
                        hint: None,
                    });
                }
                set_comment(world, ObjectId::new([CATALOG, &name]), &comment.comment);
            }
            CommentTarget::Table => {
                let id = self.table_id(world, &comment.name.fold()).await?.0;
                set_comment(world, id, &comment.comment);
            }
            CommentTarget::Column => {
                let mut parts = comment.name.fold();
                let column = parts.pop().unwrap_or_default();
                let (mut id, schema) = self.table_id(world, &parts).await?;
                if schema.index_of(&column).is_err() {
                    let name = format!("{id}.{column}");
                    return Err(Error::Unknown {
                        what: "column",
                        name,
                        hint: None,
                    });
                }
                id.0.push(column);
                set_comment(world, id, &comment.comment);
            }
        }
        Ok("COMMENT")
    }

    /// The resolved name and the columns of a table or view.
    async fn table_id(
        &self,
        world: &World,
        parts: &[String],
    ) -> Result<(ObjectId, datafusion::arrow::datatypes::SchemaRef)> {
        let names = self.names(world);
        let provider = names.resolve(parts).await?;
        let id = names.referenced().pop_first();
        let id = id.ok_or_else(|| Error::Internal("a resolved table has a name".into()))?;
        Ok((id, provider.schema()))
    }
}

fn set_comment(world: &mut World, id: ObjectId, comment: &Option<String>) {
    match comment {
        Some(text) => world.definitions.comments.insert(id, text.clone()),
        None => world.definitions.comments.remove(&id),
    };
}
