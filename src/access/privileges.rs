use std::borrow::Cow;
use std::collections::BTreeMap;

use super::Identity;
use crate::catalog::{
    Columns, Definitions, Granted, Grantee, Grants, Mapping, ObjectId, Privilege,
};

/// What an identity may do with one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allowed {
    /// All that there is: it has defined it, or may all.
    All,
    /// These. None of them: it does not exist for it.
    These(Granted),
}

impl Allowed {
    /// Whether it is there for it.
    pub fn sees(&self) -> bool {
        match self {
            Self::All => true,
            Self::These(granted) => !granted.is_empty(),
        }
    }

    /// Of which columns it may do this. None: of none.
    pub fn columns(&self, privilege: Privilege) -> Option<&Columns> {
        match self {
            Self::All => Some(&Columns::All),
            Self::These(granted) => granted.get(&privilege),
        }
    }

    /// Whether it may do this with all columns.
    pub fn may(&self, privilege: Privilege) -> bool {
        self.columns(privilege) == Some(&Columns::All)
    }

    /// The columns that are there for it: those that it may do something with, if it may do something with some.
    pub fn columns_seen(&self) -> Cow<'_, Columns> {
        let of_columns = [Privilege::Select, Privilege::Insert, Privilege::Update];
        let mut all = of_columns.into_iter().filter_map(|it| self.columns(it));
        let Some(first) = all.next() else {
            return Cow::Owned(Columns::All);
        };
        all.fold(Cow::Borrowed(first), |mut seen, more| {
            seen.to_mut().add(more);
            seen
        })
    }

    /// The first of these that it may not do this with. None: it may with all of them.
    pub fn denies<'a>(
        &self,
        privilege: Privilege,
        columns: impl IntoIterator<Item = &'a str>,
    ) -> Option<&'a str> {
        let allowed = self.columns(privilege);
        let may = |column: &&str| allowed.is_some_and(|allowed| allowed.contains(column));
        columns.into_iter().find(|column| !may(column))
    }
}

/// Nobody is named as whom it reads a source, where others are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotMapped;

/// Definitions as rights are asked of them.
#[derive(Debug, Clone, Copy)]
pub struct Rights<'a> {
    pub definitions: &'a Definitions,
    pub identity: &'a Identity,
}

impl<'a> Rights<'a> {
    /// As whom it reads a source, of those that are named there: by its own name, else by the first of its roles, else as everybody.
    ///
    /// # Errors
    /// Others are named, and it is not.
    pub fn mapping(&self, source: &str) -> Result<Option<&'a Mapping>, NotMapped> {
        let mappings = &self.definitions.mappings;
        if mappings.is_empty() || self.identity.may_all() {
            return Ok(None);
        }
        let of = |to: Grantee| mappings.get(&(source.to_string(), to));
        let roles = self.identity.roles().iter();
        let named = self
            .identity
            .name()
            .into_iter()
            .map(|name| name.to_string());
        let named = named.chain(roles.cloned()).map(Grantee::Account);
        let found = named.chain([Grantee::Public]).find_map(of);
        let is_mapped = || mappings.keys().any(|(of, _)| of == source);
        match found {
            None if is_mapped() => Err(NotMapped),
            found => Ok(found.filter(|mapping| **mapping != Mapping::default())),
        }
    }

    /// What it may do with an object: what is granted of the object itself and of what it is in, to it, to its roles and to
    /// everybody.
    pub fn on(&self, object: &ObjectId) -> Allowed {
        if self.identity.is_definer(definer(self.definitions, object)) {
            return Allowed::All;
        }
        let mut all = Granted::new();
        for scope in object.scopes() {
            let first = (scope.clone(), Grantee::Public);
            let of_scope = self.definitions.grants.range(first..);
            for ((_, to), granted) in of_scope.take_while(|((on, _), _)| *on == scope) {
                let is_ours = match to {
                    Grantee::Public => true,
                    Grantee::Account(name) => self.identity.roles().contains(name),
                };
                if is_ours {
                    add(&mut all, granted);
                }
            }
        }
        Allowed::These(all)
    }
}

/// The account that has defined an object, or what it is in: whoever has a source has its tables. Of a view it is the view's own.
fn definer<'a>(definitions: &'a Definitions, object: &ObjectId) -> Option<&'a str> {
    let source = definitions.sources.get(object.catalog());
    if let Some(source) = source {
        return source.definer.as_deref();
    }
    match object.0.as_slice() {
        [_, schema, name] => definitions.view(schema, name)?.definer.as_deref(),
        _ => None,
    }
}

fn add(all: &mut Granted, more: &Granted) {
    for (privilege, columns) in more {
        all.entry(*privilege)
            .and_modify(|known| known.add(columns))
            .or_insert_with(|| columns.clone());
    }
}

/// More is granted.
pub fn grant(grants: &mut Grants, on: &ObjectId, to: &Grantee, what: &Granted) {
    add(grants.entry((on.clone(), to.clone())).or_default(), what);
}

/// Less is granted. What is granted of all columns is not taken back of some: that would grant the others by themselves.
///
/// # Errors
/// The privilege of which that is asked.
pub fn revoke(
    grants: &mut Grants,
    on: &ObjectId,
    from: &Grantee,
    what: &Granted,
) -> Result<(), Privilege> {
    let key = (on.clone(), from.clone());
    let mut left: BTreeMap<_, _> = grants.get(&key).cloned().unwrap_or_default();
    for (privilege, columns) in what {
        let Columns::These(gone) = columns else {
            left.remove(privilege);
            continue;
        };
        match left.get_mut(privilege) {
            None => {}
            Some(Columns::All) => return Err(*privilege),
            Some(Columns::These(known)) => {
                known.retain(|column| !gone.contains(column));
                if known.is_empty() {
                    left.remove(privilege);
                }
            }
        }
    }
    match left.is_empty() {
        true => grants.remove(&key),
        false => grants.insert(key, left),
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use super::*;
    use crate::access::accounts::{create, enlist};
    use crate::catalog::{CATALOG, PUBLIC, SourceDefinition};

    fn these(columns: &[&str]) -> Columns {
        Columns::These(columns.iter().map(ToString::to_string).collect())
    }

    fn read(columns: Columns) -> Granted {
        Granted::from([(Privilege::Select, columns)])
    }

    fn to(name: &str) -> Grantee {
        Grantee::Account(name.into())
    }

    fn definitions() -> Definitions {
        let mut definitions = Definitions::default();
        for name in ["ana", "sales", "staff"] {
            create(&mut definitions.accounts, name, None).unwrap();
        }
        enlist(&mut definitions.accounts, "sales", "ana").unwrap();
        definitions
    }

    fn allowed(definitions: &Definitions, name: &str, object: &[&str]) -> Allowed {
        let identity = Identity::of(&definitions.accounts, name).unwrap();
        let rights = Rights {
            definitions,
            identity: &identity,
        };
        rights.on(&ObjectId::new(object.iter().copied()))
    }

    #[test]
    fn what_is_granted_covers_what_is_in_it() {
        let mut definitions = definitions();
        let item = ["erp", "public", "item"];
        let scopes: [&[&str]; 3] = [&["erp"], &["erp", "public"], &item];
        for scope in scopes {
            definitions.grants.clear();
            let on = ObjectId::new(scope.iter().copied());
            grant(
                &mut definitions.grants,
                &on,
                &to("sales"),
                &read(Columns::All),
            );
            assert!(allowed(&definitions, "ana", &item).may(Privilege::Select));
            assert!(!allowed(&definitions, "ana", &item).may(Privilege::Update));
            assert!(!allowed(&definitions, "staff", &item).sees());
            assert!(
                !allowed(&definitions, "ana", &["erp", "other", "item"]).sees() || scope == ["erp"]
            );
            assert!(!allowed(&definitions, "ana", &["erp2", "public", "item"]).sees());
            grant(
                &mut definitions.grants,
                &on,
                &Grantee::Public,
                &read(Columns::All),
            );
            assert!(allowed(&definitions, "staff", &item).may(Privilege::Select));
        }
    }

    #[test]
    fn columns_add_up() {
        let mut definitions = definitions();
        let on = ObjectId::new([CATALOG, PUBLIC, "v"]);
        grant(
            &mut definitions.grants,
            &on,
            &to("sales"),
            &read(these(&["a"])),
        );
        grant(
            &mut definitions.grants,
            &on,
            &to("ana"),
            &read(these(&["b"])),
        );
        let of =
            |definitions: &Definitions, name| allowed(definitions, name, &[CATALOG, PUBLIC, "v"]);
        assert_eq!(*of(&definitions, "ana").columns_seen(), these(&["a", "b"]));
        assert_eq!(*of(&definitions, "sales").columns_seen(), these(&["a"]));
        let insert = Granted::from([(Privilege::Insert, these(&["c"]))]);
        grant(&mut definitions.grants, &on, &to("sales"), &insert);
        let sales = of(&definitions, "sales");
        assert_eq!(*sales.columns_seen(), these(&["a", "c"]));
        assert_eq!(sales.denies(Privilege::Insert, ["c", "a"]), Some("a"));
        assert_eq!(sales.denies(Privilege::Insert, ["c"]), None);
        assert_eq!(sales.denies(Privilege::Update, ["c"]), Some("c"));
        assert!(!of(&definitions, "ana").may(Privilege::Select));
        grant(
            &mut definitions.grants,
            &on,
            &Grantee::Public,
            &read(Columns::All),
        );
        assert!(of(&definitions, "ana").may(Privilege::Select));
    }

    #[test]
    fn what_is_taken_back_is_gone_and_no_more() {
        let (on, ana) = (ObjectId::new(["erp"]), to("ana"));
        let mut grants = Grants::new();
        grant(&mut grants, &on, &ana, &read(these(&["a", "b"])));
        grant(
            &mut grants,
            &on,
            &ana,
            &Granted::from([(Privilege::Insert, Columns::All)]),
        );
        revoke(&mut grants, &on, &ana, &read(these(&["a", "x"]))).unwrap();
        let key = (on.clone(), ana.clone());
        assert_eq!(grants[&key][&Privilege::Select], these(&["b"]));
        let some = Granted::from([(Privilege::Insert, these(&["a"]))]);
        assert_eq!(
            revoke(&mut grants, &on, &ana, &some),
            Err(Privilege::Insert)
        );
        revoke(&mut grants, &on, &ana, &read(Columns::All)).unwrap();
        assert_eq!(grants[&key].len(), 1);
        let insert = Granted::from([(Privilege::Insert, Columns::All)]);
        revoke(&mut grants, &on, &ana, &insert).unwrap();
        revoke(&mut grants, &on, &ana, &insert).unwrap();
        assert_eq!(grants, Grants::new());
    }

    #[test]
    fn who_has_defined_it_may_all() {
        let mut definitions = definitions();
        let source = SourceDefinition {
            name: "erp".into(),
            url: String::new(),
            options: BTreeMap::new(),
            about: crate::catalog::About::default(),
            comment: None,
            owns: Vec::new(),
            definer: Some("sales".into()),
        };
        definitions.sources.insert("erp".into(), Arc::new(source));
        let item = ["erp", "public", "item"];
        assert_eq!(allowed(&definitions, "ana", &item), Allowed::All);
        assert_eq!(
            allowed(&definitions, "staff", &item),
            Allowed::These(Granted::new())
        );
        let administrator = Identity::administrator();
        let rights = Rights {
            definitions: &definitions,
            identity: &administrator,
        };
        assert_eq!(rights.on(&ObjectId::new(["x"])), Allowed::All);
        assert_eq!(*Allowed::All.columns_seen(), Columns::All);
        assert_eq!(BTreeSet::from(Privilege::EACH).len(), Privilege::EACH.len());
    }
}
