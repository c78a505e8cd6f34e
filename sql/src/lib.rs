//! Belvedere's SQL dialect: AST, parser and printer. It knows no engine.
//!
//! The dialect is `sqlparser`'s generic one — what DataFusion reads by default — plus the statements that define
//! sources and views. A query is kept as `sqlparser`'s own [`Query`], so that everything DataFusion takes is taken;
//! statements of ours are a [`Statement`] variant each; everything else that `sqlparser` reads is
//! [`Statement::Other`], of which [`Write`] reads those that change a table. Statements of later versions are recognised and answered with
//! [`ErrorKind::NotInThisVersion`].
//!
//! In: SQL text. Out: [`Spanned`] statements, or a [`ParseError`] with line, column and what was expected. Every
//! statement prints back ([`std::fmt::Display`]) to SQL that parses to the same AST.
//!
//! Text is untrusted: length, nesting and the length of operator chains are limited *before* anything recursive sees
//! it, so that neither parsing an AST nor dropping, cloning or printing one can exhaust the stack.
//!
//! A password is in the AST alone: no statement prints it, and [`redacted`] leaves it out of a text.
//!
//! ```
//! use belvedere_sql::{parse, Statement};
//!
//! let script = parse("CREATE SOURCE erp FROM 'postgres://reader@erp-db/erp' WITH (max_connections = 8);
//!                     SELECT * FROM erp.public.item")?;
//! assert_eq!(script.len(), 2);
//! assert!(matches!(script[0].statement, Statement::CreateSource(_)));
//! assert_eq!(script[1].line, 2);
//!
//! let error = parse("CREATE SOURCE erp FORM 'sqlite:erp.db'").unwrap_err();
//! assert_eq!((error.line, error.column), (1, 19));
//! assert_eq!(error.hint.as_deref(), Some("did you mean FROM?"));
//! # Ok::<(), belvedere_sql::ParseError>(())
//! ```

mod access;
mod ast;
mod balance;
mod dialect;
mod display;
mod error;
mod exact;
mod kind;
mod limits;
mod name;
mod options;
mod parser;
mod redact;
mod words;
mod write;

pub use access::{
    AlterRole, CreateMapping, CreateMask, CreatePolicy, CreateRole, CreateUser, DropMapping,
    DropRole, DropRule, Grant, GrantOn, Granted, GrantedPrivilege, Grantee, Mapped, Password,
    Privilege, Privileges, ReassignOwned, RoleAction, RoleKind, SetPassword, UserOptions, Using,
};
pub use ast::{
    AlterSchema, AlterSource, AlterView, Called, Check, CommentOn, CommentTarget, CopyTo,
    CreateIndex, CreateSchema, CreateSource, CreateView, Declare, DropIndex, DropSchema,
    DropSource, DropView, Explain, Fetch, RefreshView, Rows, Set, SetScope, SetValue, Show,
    SourceAction, Spanned, Statement, Subscribe, Subscribed, Transaction, Verbatim, ViewAction,
};
pub use error::{ErrorKind, ParseError};
pub use limits::{MAX_BOOLEANS, MAX_DEPTH, MAX_NESTING, MAX_TEXT_BYTES};
pub use name::{Name, fold, ident};
pub use options::{Options, Value};
pub use parser::{parse, parse_one};
pub use redact::redacted;
pub use sqlparser::ast::{Expr, Ident, Query};
pub use write::{Change, Write};
