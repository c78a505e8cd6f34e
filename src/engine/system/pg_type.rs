use datafusion::arrow::datatypes::{DataType, Field};

/// In a field's metadata: the name of the type that PostgreSQL has for it, where Arrow has none of its own (`oid`, `name`).
pub(crate) const PG_TYPE: &str = "belvedere.pg_type";
/// Lists of numbers of the catalog's, there.
pub(crate) const OIDS: &str = "_oid";

/// A type as PostgreSQL knows it: what `pg_attribute` and a row's description say of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PgType {
    /// Its row in `pg_type`.
    pub oid: u32,
    /// Of its arrays; 0 for an array.
    pub array_oid: u32,
    /// Its name in `pg_type`.
    pub name: &'static str,
    /// Bytes of a value; -1 where that depends on the value.
    pub length: i16,
}

const fn known(oid: u32, array_oid: u32, name: &'static str, length: i16) -> PgType {
    PgType {
        oid,
        array_oid,
        name,
        length,
    }
}

/// The numbers are those of PostgreSQL's own catalog (`pg_type.dat`), which clients know by heart.
impl PgType {
    pub const BOOL: Self = known(16, 1000, "bool", 1);
    pub const BYTEA: Self = known(17, 1001, "bytea", -1);
    /// One byte, as the catalog's flags are.
    pub const CHAR: Self = known(18, 1002, "char", 1);
    pub const NAME: Self = known(19, 1003, "name", 64);
    pub const INT8: Self = known(20, 1016, "int8", 8);
    pub const INT2: Self = known(21, 1005, "int2", 2);
    pub const INT4: Self = known(23, 1007, "int4", 4);
    pub const TEXT: Self = known(25, 1009, "text", -1);
    /// Written as its numbers with a blank between: `1 2`.
    pub const INT2VECTOR: Self = known(22, 1006, "int2vector", -1);
    pub const OIDVECTOR: Self = known(30, 1013, "oidvector", -1);
    pub const OID: Self = known(26, 1028, "oid", 4);
    pub const JSON: Self = known(114, 199, "json", -1);
    pub const FLOAT4: Self = known(700, 1021, "float4", 4);
    pub const FLOAT8: Self = known(701, 1022, "float8", 8);
    pub const DATE: Self = known(1082, 1182, "date", 4);
    pub const TIME: Self = known(1083, 1183, "time", 8);
    pub const TIMESTAMP: Self = known(1114, 1115, "timestamp", 8);
    pub const TIMESTAMPTZ: Self = known(1184, 1185, "timestamptz", 8);
    pub const INTERVAL: Self = known(1186, 1187, "interval", 16);
    pub const NUMERIC: Self = known(1700, 1231, "numeric", -1);

    /// Of columns of the catalog alone: arrays that are not written as such.
    pub const VECTORS: &[Self] = &[Self::INT2VECTOR, Self::OIDVECTOR];

    /// The types a column can have. An array is that of its items.
    pub const ALL: &[Self] = &[
        Self::BOOL,
        Self::BYTEA,
        Self::CHAR,
        Self::NAME,
        Self::INT8,
        Self::INT2,
        Self::INT4,
        Self::TEXT,
        Self::OID,
        Self::JSON,
        Self::FLOAT4,
        Self::FLOAT8,
        Self::DATE,
        Self::TIME,
        Self::TIMESTAMP,
        Self::TIMESTAMPTZ,
        Self::INTERVAL,
        Self::NUMERIC,
    ];

    /// Of a column: as its metadata says, else of its Arrow type.
    pub fn of_field(field: &Field) -> Self {
        let named = field.metadata().get(PG_TYPE);
        if named.is_some_and(|name| name == OIDS) {
            return Self::OID.array();
        }
        let known = named.and_then(|name| {
            Self::ALL
                .iter()
                .chain(Self::VECTORS)
                .find(|known| known.name == name)
        });
        known
            .copied()
            .unwrap_or_else(|| Self::of(field.data_type()))
    }

    /// Of a column of this type. Unsigned integers are of the next wider type, what PostgreSQL has no type for is JSON.
    pub fn of(data_type: &DataType) -> Self {
        match data_type {
            DataType::Boolean => Self::BOOL,
            DataType::Int8 | DataType::Int16 | DataType::UInt8 => Self::INT2,
            DataType::Int32 | DataType::UInt16 => Self::INT4,
            DataType::Int64 | DataType::UInt32 => Self::INT8,
            DataType::Float16 | DataType::Float32 => Self::FLOAT4,
            DataType::Float64 => Self::FLOAT8,
            DataType::UInt64
            | DataType::Decimal32(..)
            | DataType::Decimal64(..)
            | DataType::Decimal128(..)
            | DataType::Decimal256(..) => Self::NUMERIC,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => {
                Self::TEXT
            }
            DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_) => Self::BYTEA,
            DataType::Date32 | DataType::Date64 => Self::DATE,
            DataType::Time32(_) | DataType::Time64(_) => Self::TIME,
            DataType::Timestamp(_, None) => Self::TIMESTAMP,
            DataType::Timestamp(_, Some(_)) => Self::TIMESTAMPTZ,
            DataType::Interval(_) | DataType::Duration(_) => Self::INTERVAL,
            DataType::Dictionary(_, value) => Self::of(value),
            DataType::RunEndEncoded(_, value) => Self::of(value.data_type()),
            DataType::List(item)
            | DataType::LargeList(item)
            | DataType::ListView(item)
            | DataType::LargeListView(item)
            | DataType::FixedSizeList(item, _) => Self::of(item.data_type()).array(),
            DataType::Struct(_) | DataType::Map(..) | DataType::Union(..) => Self::JSON,
        }
    }

    /// Arrays of it. PostgreSQL has one type for arrays of every depth.
    fn array(self) -> Self {
        match self.array_oid {
            0 => self,
            oid => Self {
                oid,
                array_oid: 0,
                length: -1,
                name: self.name,
            },
        }
    }

    pub fn is_array(self) -> bool {
        self.array_oid == 0
    }

    /// The type of this number: one of those that a column can have, or of their arrays.
    pub fn by_oid(oid: u32) -> Option<Self> {
        let known = Self::ALL.iter().copied();
        known
            .clone()
            .find(|known| known.oid == oid)
            .or_else(|| Some(known.clone().find(|known| known.array_oid == oid)?.array()))
    }

    /// Of an array's items.
    pub fn item(self) -> Option<Self> {
        let mut known = Self::ALL.iter().copied();
        known.find(|known| self.is_array() && known.array_oid == self.oid)
    }

    /// What is said of a column besides its type: precision and scale; -1 for nothing.
    pub fn modifier(data_type: &DataType) -> i32 {
        match data_type {
            DataType::Decimal32(precision, scale)
            | DataType::Decimal64(precision, scale)
            | DataType::Decimal128(precision, scale)
            | DataType::Decimal256(precision, scale) => {
                ((i32::from(*precision) << 16) | (i32::from(*scale) & 0x7ff)) + 4
            }
            _ => -1,
        }
    }
}
