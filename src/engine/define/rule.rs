//! Policies and masks.

use std::collections::BTreeSet;
use std::sync::Arc;

use belvedere_sql::{CreateMask, CreatePolicy, DropRule, Name, Using, fold};

use super::grant::{self, On};
use super::{Context, taken};
use crate::access::Identity;
use crate::catalog::{CATALOG, Definitions, ObjectId, Rule, RuleKind, Shows};
use crate::engine::nearest;
use crate::engine::world::World;
use crate::error::{Error, Result};

impl Context<'_> {
    pub(super) async fn create_policy(
        &self,
        world: &mut World,
        create: &CreatePolicy,
    ) -> Result<&'static str> {
        let on = self.ruled(world, &create.on).await?;
        let rule = self.rule(world, Shows::Rows, &create.grantees, &create.using)?;
        let name = fold(&create.name);
        self.add_rule(
            world,
            &on,
            (RuleKind::Policy, name),
            rule,
            create.or_replace,
        )
        .await?;
        Ok("CREATE POLICY")
    }

    pub(super) async fn create_mask(
        &self,
        world: &mut World,
        create: &CreateMask,
    ) -> Result<&'static str> {
        let on = self.ruled(world, &create.on).await?;
        let column = grant::column(&on, &create.column)?;
        let rule = self.rule(
            world,
            Shows::Column(column),
            &create.grantees,
            &create.using,
        )?;
        let name = fold(&create.name);
        self.add_rule(world, &on, (RuleKind::Mask, name), rule, create.or_replace)
            .await?;
        Ok("CREATE MASK")
    }

    pub(super) async fn drop_rule(
        &self,
        world: &mut World,
        kind: RuleKind,
        drop: &DropRule,
    ) -> Result<&'static str> {
        let on = match self.ruled(world, &drop.on).await {
            Err(Error::Unknown { .. }) if drop.if_exists => None,
            on => Some(on?),
        };
        if let Some(on) = on {
            let name = fold(&drop.name);
            let key = (on.id.clone(), kind, name.clone());
            if world.definitions.rules.remove(&key).is_none() && !drop.if_exists {
                let there = world.definitions.rules_of(&on.id);
                let there = there
                    .filter(|(of, ..)| *of == kind)
                    .map(|(_, name, _)| name);
                let near = nearest(&name, there);
                return Err(Error::Unknown {
                    what: kind.name(),
                    hint: near.map(|near| format!("Did you mean {near}?")),
                    name: format!("{} ON {}", belvedere_sql::ident(name), on.id),
                });
            }
        }
        Ok(match kind {
            RuleKind::Policy => "DROP POLICY",
            RuleKind::Mask => "DROP MASK",
        })
    }

    /// What a rule is of, which whoever makes one may do all with.
    async fn ruled(&self, world: &World, name: &Name) -> Result<On> {
        let on = self.relation(world, &name.fold()).await?;
        self.names(world).world.permits_all(on.kind, &on.id)?;
        Ok(on)
    }

    fn rule(
        &self,
        world: &World,
        shows: Shows,
        to: &[belvedere_sql::Grantee],
        using: &Using,
    ) -> Result<Rule> {
        let written = using.text.0.clone();
        Ok(Rule {
            shows,
            to: grant::grantees(world, to)?.into_iter().collect(),
            using: written.unwrap_or_else(|| using.expr.to_string()),
            search_path: self.settings.search_path.clone(),
            depends_on: BTreeSet::new(),
        })
    }

    async fn add_rule(
        &self,
        world: &mut World,
        on: &On,
        (kind, name): (RuleKind, String),
        mut rule: Rule,
        or_replace: bool,
    ) -> Result<()> {
        let key = (on.id.clone(), kind, name);
        if world.definitions.rules.contains_key(&key) && !or_replace {
            let name = format!("{} ON {}", belvedere_sql::ident(&key.2), on.id);
            let keyword = match kind {
                RuleKind::Policy => "POLICY",
                RuleKind::Mask => "MASK",
            };
            return Err(taken(kind.name(), &name, keyword));
        }
        rule.depends_on = self.meaning(world, &on.id, &rule).await?;
        world.definitions.rules.insert(key, rule);
        Ok(())
    }

    /// What a rule reads besides what it is of, if it has a meaning.
    async fn meaning(
        &self,
        world: &World,
        on: &ObjectId,
        rule: &Rule,
    ) -> Result<BTreeSet<ObjectId>> {
        let names = self.names_of(world, Identity::administrator());
        let provider = names.resolve(&on.0).await?;
        names.check_rule(on, &provider, rule).await
    }

    /// What is defined is refused where a policy or mask would not know any more what it says.
    pub(super) async fn rules_hold(&self, before: &Definitions, world: &World) -> Result<()> {
        for ((on, kind, name), rule) in &world.definitions.rules {
            let called = || format!("{} {} on {on}", kind.name(), belvedere_sql::ident(name));
            let is_gone = |id: &&ObjectId| has(before, id) && !has(&world.definitions, id);
            if let Some(gone) = rule.depends_on.iter().find(is_gone) {
                return Err(Error::InUse {
                    what: "table or view",
                    name: gone.to_string(),
                    dependents: vec![called()],
                });
            }
            if view(before, on) != view(&world.definitions, on)
                && before
                    .rules
                    .contains_key(&(on.clone(), *kind, name.clone()))
                    | view(before, on).is_none()
            {
                self.meaning(world, on, rule).await.map_err(|e| {
                    Error::invalid_with_help(
                        format!("{} would not know what it says: {e}", called()),
                        "Define it anew, or drop it, first",
                    )
                })?;
            }
        }
        Ok(())
    }
}

fn view<'a>(
    definitions: &'a Definitions,
    id: &ObjectId,
) -> Option<&'a Arc<crate::catalog::ViewDefinition>> {
    match id.0.as_slice() {
        [catalog, schema, name] if catalog == CATALOG => definitions.view(schema, name),
        _ => None,
    }
}

/// Whether a view, or the source of a table, is there.
fn has(definitions: &Definitions, id: &ObjectId) -> bool {
    match id.catalog() {
        CATALOG => view(definitions, id).is_some(),
        source => definitions.sources.contains_key(source),
    }
}
