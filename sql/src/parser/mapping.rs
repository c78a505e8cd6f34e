//! As whom users are known at a source.

use super::Result;
use super::cursor::Cursor;
use crate::access::*;
use crate::ast::Statement;

impl Cursor<'_> {
    pub(super) fn create_mapping(&mut self, or_replace: bool) -> Result<Statement> {
        self.take(&["USER", "MAPPING"]);
        Ok(Statement::CreateMapping(CreateMapping {
            or_replace,
            of: self.mapped()?,
            options: self.optional_options()?,
        }))
    }

    pub(super) fn drop_mapping(&mut self) -> Result<Statement> {
        self.take(&["USER", "MAPPING"]);
        Ok(Statement::DropMapping(DropMapping {
            if_exists: self.take(&["IF", "EXISTS"]),
            of: self.mapped()?,
        }))
    }

    /// `FOR a ON SOURCE s`
    fn mapped(&mut self) -> Result<Mapped> {
        self.expect("FOR")?;
        let to = self.grantee()?;
        self.expect("ON")?;
        self.expect("SOURCE")?;
        Ok(Mapped {
            to,
            source: self.single("the name of a source")?,
        })
    }
}
