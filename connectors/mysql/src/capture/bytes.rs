use belvedere_connector::{Code, Error, Result};

/// Bytes of an event, read from front to back. What ends too early is an error.
#[derive(Debug, Clone, Copy)]
pub struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    pub fn u8(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    /// Of up to eight bytes, the lowest first.
    pub fn uint(&mut self, length: usize) -> Result<u64> {
        Ok(little(self.take(length)?))
    }

    /// A number of the length that its first byte says.
    pub fn packed(&mut self) -> Result<u64> {
        match self.u8()? {
            small @ ..=250 => Ok(u64::from(small)),
            252 => self.uint(2),
            253 => self.uint(3),
            254 => self.uint(8),
            _ => Err(malformed()),
        }
    }

    /// The same, as a length in memory.
    pub fn length(&mut self) -> Result<usize> {
        usize::try_from(self.packed()?).map_err(|_| malformed())
    }

    /// A number of MySQL's serialization library: of its lowest byte the ones at the end say how many bytes follow, and the
    /// rest of all of them, lowest first, is the number.
    pub fn varlen(&mut self) -> Result<u64> {
        let first = self.u8()?;
        let further = first.trailing_ones();
        let high = self.uint(further as usize)?;
        Ok(match further {
            8 => high,
            _ => high.checked_shl(7 - further).unwrap_or(0) | u64::from(first) >> (further + 1),
        })
    }

    /// The tag of a GTID.
    pub fn tag(&mut self) -> Result<String> {
        let length = usize::try_from(self.varlen()?).map_err(|_| malformed())?;
        let tag = self.take(length)?;
        String::from_utf8(tag.to_vec()).map_err(|_| malformed())
    }

    /// Bytes behind their length.
    pub fn counted(&mut self) -> Result<&'a [u8]> {
        let length = self.length()?;
        self.take(length)
    }
}

pub fn little(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b))
}

pub fn big(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |n, b| n << 8 | u64::from(*b))
}

pub fn malformed() -> Error {
    Error::new(Code::SourceRefused, "its log is not of the known form")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_too_early_is_an_error() {
        let mut bytes = Bytes(&[252, 0x39, 0x30, 2, 7, 8, 3, 9]);
        assert_eq!(bytes.packed().unwrap(), 12345);
        assert_eq!(bytes.counted().unwrap(), [7, 8]);
        assert!(bytes.counted().is_err());
        assert!(Bytes(&[]).u8().is_err());
        assert!(Bytes(&[255]).packed().is_err());
        assert!(
            Bytes(&[254, 255, 255, 255, 255, 255, 255, 255, 255])
                .counted()
                .is_err()
        );
    }

    #[test]
    fn numbers_that_say_their_length() {
        for (bytes, number) in [
            (&[0][..], 0),
            (&[254], 127),
            (&[0b01, 0b10], 128),
            (&[0b1111_1101, 0xff], 16383),
            (&[0b011, 0, 0b10], 1 << 14),
            (&[255, 1, 2, 0, 0, 0, 0, 0, 0x80], 0x8000_0000_0000_0201),
        ] {
            assert_eq!(Bytes(bytes).varlen().unwrap(), number, "{bytes:?}");
        }
        assert!(Bytes(&[1]).varlen().is_err());
    }

    #[test]
    fn numbers_of_either_order() {
        assert_eq!((little(&[1, 2]), big(&[1, 2])), (0x201, 0x102));
    }
}
