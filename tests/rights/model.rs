//! Who may do what, said once more and in another way than by the engine.

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Table,
    View,
    Kept,
}

#[derive(Debug)]
pub struct Object {
    pub name: &'static str,
    pub kind: Kind,
}

pub const OBJECTS: [Object; 6] = [
    Object {
        name: "shop.zqstaff",
        kind: Kind::Table,
    },
    Object {
        name: "shop.xwother",
        kind: Kind::Table,
    },
    Object {
        name: "vkpeople",
        kind: Kind::View,
    },
    Object {
        name: "closedup",
        kind: Kind::View,
    },
    Object {
        name: "bgkeptof",
        kind: Kind::Kept,
    },
    // Of `owner`.
    Object {
        name: "ownmade",
        kind: Kind::View,
    },
];

/// `root` is a superuser, `owner` has defined a view, `reader` reads all by a role of a role, `writer` writes and reads the first table, `blind`
/// only inserts, `columns` reads two of its columns, `ruled` is under policies and masks, `fresh` refreshes, `nobody` has nothing.
pub const USERS: [&str; 9] = [
    "root", "owner", "reader", "writer", "blind", "columns", "ruled", "fresh", "nobody",
];

pub const DEFINITIONS: &[&str] = &[
    "CREATE SOURCE shop FROM 'sqlite:shop.db' WITH (writable = true)",
    "CREATE VIEW vkpeople AS SELECT id, name, zqpay, region FROM shop.zqstaff",
    "CREATE VIEW closedup AS SELECT id, name, zqpay, region FROM shop.zqstaff WHERE region = 'EMEA'",
    "CREATE MATERIALIZED VIEW bgkeptof WITH (refresh = 'manual', key = 'id', wait = true) AS SELECT id, name, zqpay, region FROM shop.zqstaff",
    "CREATE ROLE staff",
    "CREATE ROLE office",
    "CREATE ROLE under",
    "GRANT office TO staff",
    "GRANT SELECT ON SOURCE shop TO office",
    "GRANT SELECT ON vkpeople, closedup, bgkeptof TO office",
    "GRANT SELECT ON shop.zqstaff TO under",
    "GRANT SELECT ON vkpeople TO under",
    "GRANT SELECT ON bgkeptof TO under",
    "CREATE POLICY seen ON shop.zqstaff TO under USING (region = 'EMEA')",
    "CREATE POLICY seen ON vkpeople TO under USING (region = 'EMEA')",
    "CREATE POLICY seen ON bgkeptof TO under USING (region = 'EMEA')",
    "CREATE POLICY every ON shop.zqstaff TO office USING (TRUE)",
    "CREATE POLICY every ON vkpeople TO office USING (TRUE)",
    "CREATE POLICY every ON bgkeptof TO office USING (TRUE)",
    "CREATE MASK hush ON shop.zqstaff (zqpay) TO under USING (NULL)",
    "CREATE USER root PASSWORD 'root' SUPERUSER",
    "CREATE USER owner PASSWORD 'owner'",
    "CREATE USER reader PASSWORD 'reader'",
    "CREATE USER writer PASSWORD 'writer'",
    "CREATE USER blind PASSWORD 'blind'",
    "CREATE USER columns PASSWORD 'columns'",
    "CREATE USER ruled PASSWORD 'ruled'",
    "CREATE USER fresh PASSWORD 'fresh'",
    "CREATE USER nobody PASSWORD 'nobody'",
    "GRANT staff TO reader",
    "GRANT under TO ruled",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON shop.zqstaff TO writer",
    "CREATE POLICY writes ON shop.zqstaff TO columns, blind USING (TRUE)",
    "GRANT INSERT ON shop.zqstaff TO blind",
    "GRANT SELECT (id, name) ON shop.zqstaff TO columns",
    "GRANT REFRESH ON bgkeptof TO fresh",
    "GRANT CREATE ON SCHEMA public TO owner",
    "GRANT SELECT ON shop.xwother TO owner",
];
/// What `owner` defines then.
pub const OWN: &str = "CREATE VIEW ownmade AS SELECT id, name, zqpay, region FROM shop.xwother";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Read,
    /// A column that not everybody sees.
    ReadPay,
    Explain,
    Analyze,
    Describe,
    Insert,
    InsertRead,
    Update,
    Delete,
    Refresh,
    Alter,
    Comment,
    Grant,
    Policy,
    Mask,
    Over,
}

pub const ACTIONS: [Action; 16] = [
    Action::Read,
    Action::ReadPay,
    Action::Explain,
    Action::Analyze,
    Action::Describe,
    Action::Insert,
    Action::InsertRead,
    Action::Update,
    Action::Delete,
    Action::Refresh,
    Action::Alter,
    Action::Comment,
    Action::Grant,
    Action::Policy,
    Action::Mask,
    Action::Over,
];

impl Action {
    pub fn is_for(self, object: &Object) -> bool {
        match self {
            Self::Insert | Self::InsertRead | Self::Update | Self::Delete => {
                object.kind == Kind::Table
            }
            Self::Refresh => object.kind == Kind::Kept,
            Self::Alter | Self::Comment => object.kind == Kind::View,
            _ => true,
        }
    }

    pub fn sql(self, on: &str, number: u32) -> String {
        match self {
            Self::Read => format!("SELECT count(*), max(id) FROM {on}"),
            Self::ReadPay => format!("SELECT id FROM {on} WHERE zqpay > 0"),
            Self::Explain => format!("EXPLAIN SELECT id FROM {on} WHERE id > 1"),
            Self::Analyze => format!("EXPLAIN ANALYZE SELECT id FROM {on} WHERE id > 1"),
            Self::Describe => format!("DESCRIBE {on}"),
            Self::Insert => format!("INSERT INTO {on} VALUES ({number}, 'new', 1, 'EMEA')"),
            Self::InsertRead => {
                format!(
                    "INSERT INTO {on} SELECT id + {number}000, name, 1, region FROM {on} WHERE id < 0"
                )
            }
            Self::Update => format!("UPDATE {on} SET name = 'x' WHERE id = -1"),
            Self::Delete => format!("DELETE FROM {on} WHERE id = -1"),
            Self::Refresh => format!("REFRESH MATERIALIZED VIEW {on}"),
            Self::Alter => format!("ALTER VIEW {on} SET (contact = 'c{number}')"),
            Self::Comment => format!("COMMENT ON VIEW {on} IS 'c{number}'"),
            Self::Grant => format!("GRANT SELECT ON {on} TO root"),
            Self::Policy => {
                format!("CREATE OR REPLACE POLICY mine ON {on} TO root USING (id > {number})")
            }
            Self::Mask => {
                format!("CREATE OR REPLACE MASK mine ON {on} (name) TO root USING (NULL)")
            }
            Self::Over => format!("CREATE OR REPLACE VIEW over_{number} AS SELECT id FROM {on}"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    Allowed,
    /// As of what is not there.
    Hidden,
    /// The same of a column.
    HiddenColumn,
    Denied,
}

/// What a user has of an object: nothing, what is known of it, some columns, rows by policies, or all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reads {
    No,
    Columns,
    Ruled,
    All,
}

fn reads(user: &str, object: &Object) -> Reads {
    let name = object.name;
    match user {
        "root" => Reads::All,
        "owner" if matches!(name, "ownmade" | "shop.xwother") => Reads::All,
        "reader" if name == "shop.xwother" || name == "closedup" => Reads::All,
        // A policy that lets everything through is one.
        "reader" if name != "ownmade" => Reads::Ruled,
        "ruled" if matches!(name, "shop.zqstaff" | "vkpeople" | "bgkeptof") => Reads::Ruled,
        "writer" if name == "shop.zqstaff" => Reads::Ruled,
        "columns" if name == "shop.zqstaff" => Reads::Columns,
        _ => Reads::No,
    }
}

pub fn expected(user: &str, object: &Object, action: &Action) -> Expected {
    use Expected::{Allowed, Denied, Hidden, HiddenColumn};
    let reads = reads(user, object);
    let is_own = user == "root" || user == "owner" && object.name == "ownmade";
    let is_staff = object.name == "shop.zqstaff";
    let writes = is_staff && user == "writer";
    let inserts = writes || is_staff && user == "blind";
    let refreshes = user == "fresh" && object.name == "bgkeptof";
    // Whoever defines views in a schema knows which there are.
    let creates = user == "owner" && object.kind != Kind::Table;
    let is_there = reads != Reads::No || inserts || refreshes || creates;
    if is_own {
        return Allowed;
    }
    match action {
        // Only who may define views at all is told of what they would be over.
        Action::Over if user != "owner" => Denied,
        _ if !is_there => Hidden,
        Action::Read | Action::Describe | Action::Over if reads != Reads::No => Allowed,
        Action::ReadPay if reads == Reads::Columns => HiddenColumn,
        Action::ReadPay if reads != Reads::No => Allowed,
        // Of a view that is read with others' rights only what is asked for is told.
        Action::Explain if reads != Reads::No => Allowed,
        // Of a view that filters what is ruled for him, it would count more than he sees.
        Action::Analyze if reads == Reads::All && object.name != "closedup" => Allowed,
        Action::Insert if inserts => Allowed,
        Action::Refresh if refreshes => Allowed,
        // To change rows they are read, and some may be kept from him.
        _ => Denied,
    }
}
