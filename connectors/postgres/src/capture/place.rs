use belvedere_connector::{Code, Error, Position, Result};
use tokio_postgres::Client;

/// A history of write-ahead log: which system's, and which of its timelines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeline {
    pub system: u64,
    pub number: u32,
}

/// How far into a timeline: bytes of log before it.
pub type Lsn = u64;

impl Timeline {
    pub fn at(self, lsn: Lsn) -> Position {
        let mut timeline = self.system.to_be_bytes().to_vec();
        timeline.extend(self.number.to_be_bytes());
        Position::new(timeline, lsn.to_be_bytes())
    }

    /// Where a position is on this timeline.
    ///
    /// # Errors
    /// [`Code::LogRewound`] if it is on another.
    pub fn lsn(self, position: &Position) -> Result<Lsn> {
        let place = position.place().try_into().map(Lsn::from_be_bytes);
        match place {
            Ok(lsn) if position.timeline() == self.at(lsn).timeline() => Ok(lsn),
            _ => Err(rewound()),
        }
    }
}

pub fn rewound() -> Error {
    let message = "its log is not the one that was read before: it was restored from a backup, failed over, or is another system";
    Error::new(Code::LogRewound, message)
}

/// Where a server's log stands.
pub struct Standing {
    pub timeline: Timeline,
    /// Behind all that was committed, and maybe behind what is on disk, from where it is streamed.
    pub inserted: Lsn,
    pub flushed: Lsn,
}

/// The name of a file of log begins with its timeline. What is inserted is asked before what is flushed: the other way round
/// it would seem to be behind when it is not.
const STANDING: &str = "
SELECT s.system_identifier::text, substr(pg_catalog.pg_walfile_name(l.inserted), 1, 8),
       (l.inserted - '0/0')::text, (pg_catalog.pg_current_wal_flush_lsn() - '0/0')::text,
       pg_catalog.current_setting('wal_block_size')::int8,
       pg_catalog.pg_size_bytes(pg_catalog.current_setting('wal_segment_size'))
FROM pg_catalog.pg_control_system() s, (SELECT pg_catalog.pg_current_wal_insert_lsn() AS inserted) l";

pub async fn standing(client: &Client) -> Result<Option<Standing>, tokio_postgres::Error> {
    let row = client.query_one(STANDING, &[]).await?;
    let number =
        |column| Ok::<_, tokio_postgres::Error>(row.try_get::<_, String>(column)?.parse().ok());
    let timeline = u32::from_str_radix(row.try_get(1)?, 16).ok();
    let (block, segment): (i64, i64) = (row.try_get(4)?, row.try_get(5)?);
    let (system, inserted, flushed) = (number(0)?, number(2)?, number(3)?);
    let standing = || {
        let number = timeline?;
        let system = system?;
        let inserted = end(
            inserted?,
            u64::try_from(block).ok()?,
            u64::try_from(segment).ok()?,
        );
        Some(Standing {
            timeline: Timeline { system, number },
            inserted,
            flushed: flushed?,
        })
    };
    Ok(standing())
}

/// Where the last record ends, by where the next one begins. Behind the last record of a page comes the header of the next page,
/// which a stream counts only once there is something behind it.
fn end(next: Lsn, block: u64, segment: u64) -> Lsn {
    const HEADER: u64 = 24;
    const HEADER_OF_SEGMENT: u64 = 40;
    match next {
        _ if block == 0 || segment == 0 => next,
        _ if next % segment == HEADER_OF_SEGMENT => next - HEADER_OF_SEGMENT,
        _ if next % block == HEADER => next - HEADER,
        _ => next,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_of_one_timeline() {
        let timeline = Timeline {
            system: 7_300_000_000_000_000_001,
            number: 3,
        };
        let position = timeline.at(0x16_b374_d848);
        assert_eq!(timeline.lsn(&position).unwrap(), 0x16_b374_d848);
        let other = Timeline {
            number: 4,
            ..timeline
        };
        assert_eq!(other.lsn(&position).unwrap_err().code, Code::LogRewound);
        let odd = Position::new(position.timeline(), [1, 2]);
        assert_eq!(timeline.lsn(&odd).unwrap_err().code, Code::LogRewound);
        assert!(timeline.at(255) < timeline.at(256));
    }

    #[test]
    fn a_page_without_records_is_not_waited_for() {
        let (block, segment) = (8192, 16 << 20);
        assert_eq!(end(5 * block + 24, block, segment), 5 * block);
        assert_eq!(end(3 * segment + 40, block, segment), 3 * segment);
        assert_eq!(end(5 * block + 40, block, segment), 5 * block + 40);
        assert_eq!(end(12345, block, segment), 12345);
    }
}
