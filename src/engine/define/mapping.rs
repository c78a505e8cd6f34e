//! `CREATE`, `DROP USER MAPPING`: as whom users read a source.

use belvedere_sql::{CreateMapping, DropMapping, Mapped, fold};

use super::source::existing_source;
use super::{Context, grant, taken};
use crate::catalog::Grantee;
use crate::engine::options;
use crate::engine::world::World;
use crate::error::{Error, Result};

impl Context<'_> {
    pub(super) fn create_mapping(
        &self,
        world: &mut World,
        create: &CreateMapping,
    ) -> Result<&'static str> {
        let (source, to) = mapped(world, &create.of)?;
        let url = &world.definitions.sources[&source].url;
        let connector = options::connector_of(&self.inner.connectors, url)?;
        let mapping = options::of_mapping(connector, &create.options)?;
        if let Some(user) = &mapping.user {
            options::as_user(url, user)?;
        }
        let key = (source, to);
        if world.definitions.mappings.contains_key(&key) && !create.or_replace {
            return Err(taken(
                "user mapping",
                &create.of.to_string(),
                "USER MAPPING",
            ));
        }
        world.definitions.mappings.insert(key, mapping);
        Ok("CREATE USER MAPPING")
    }

    pub(super) fn drop_mapping(world: &mut World, drop: &DropMapping) -> Result<&'static str> {
        let key = mapped(world, &drop.of)?;
        if world.definitions.mappings.remove(&key).is_none() && !drop.if_exists {
            return Err(Error::Unknown {
                what: "user mapping",
                name: drop.of.to_string(),
                hint: Some("system.mappings lists what there is".to_string()),
            });
        }
        Ok("DROP USER MAPPING")
    }
}

fn mapped(world: &World, of: &Mapped) -> Result<(String, Grantee)> {
    let source = existing_source(world, &fold(&of.source))?;
    let to = grant::grantees(world, std::slice::from_ref(&of.to))?.pop();
    let to = to.ok_or_else(|| Error::Internal("a mapping is of somebody".into()))?;
    Ok((source, to))
}
