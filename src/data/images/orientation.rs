//! Which way up a picture is. Cameras write pixels as the sensor lies and say in EXIF how to turn them, a number of 1 to 8, and
//! whoever shows the picture, or learns from it, has to. Takes the bytes of EXIF, or of a PNG, none of which is believed: what
//! makes no sense says nothing.

use super::decode::Picture;

/// The tag.
const TAG: u16 = 0x0112;
/// What may stand before the bytes, as in a JPEG.
const MARK: &[u8] = b"Exif\0\0";

/// How a picture is to be turned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Orientation {
    /// Whether rows become columns.
    turned: bool,
    /// Whether what is shown goes through the rows of the file from the last on, and through its columns.
    from_last: [bool; 2],
}

impl Orientation {
    /// As the pixels lie.
    pub const NONE: Orientation = Orientation { turned: false, from_last: [false; 2] };

    /// The one that EXIF says.
    pub fn of_exif(bytes: &[u8]) -> Orientation {
        number(bytes).map_or(Orientation::NONE, Orientation::of_number)
    }

    /// The one that the EXIF of a PNG says, wherever it stands.
    pub fn of_png(bytes: &[u8]) -> Orientation {
        let mut rest = bytes.get(8..).unwrap_or_default();
        // A length, a name, so many bytes, a checksum.
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let length = u32::from_be_bytes(*length) as usize;
            let Some((name, after)) = after.split_first_chunk::<4>() else { break };
            let Some(found) = after.get(..length) else { break };
            if name == b"eXIf" {
                return Orientation::of_exif(found);
            }
            rest = after.get(length + 4..).unwrap_or_default();
        }
        Orientation::NONE
    }

    fn of_number(number: u16) -> Orientation {
        let of = |turned, rows, columns| Orientation { turned, from_last: [rows, columns] };
        match number {
            2 => of(false, false, true),
            3 => of(false, true, true),
            4 => of(false, true, false),
            5 => of(true, false, false),
            6 => of(true, true, false),
            7 => of(true, true, true),
            8 => of(true, false, true),
            _ => Orientation::NONE,
        }
    }

    /// The height and width that are shown of a file's.
    pub fn shown(self, (height, width): (usize, usize)) -> (usize, usize) {
        if self.turned { (width, height) } else { (height, width) }
    }

    /// The picture as it is shown.
    pub fn apply(self, picture: Picture) -> Picture {
        if self == Orientation::NONE {
            return picture;
        }
        let (rows, columns) = (picture.height, picture.width);
        let (height, width) = self.shown((rows, columns));
        let mut rgb = Vec::with_capacity(picture.rgb.len());
        for y in 0..height {
            for x in 0..width {
                let (row, column) = if self.turned { (x, y) } else { (y, x) };
                let row = if self.from_last[0] { rows - 1 - row } else { row };
                let column = if self.from_last[1] { columns - 1 - column } else { column };
                let at = 3 * (row * columns + column);
                rgb.extend_from_slice(&picture.rgb[at..at + 3]);
            }
        }
        Picture { height, width, rgb }
    }
}

/// The number that EXIF has for it: that of the first directory.
fn number(bytes: &[u8]) -> Option<u16> {
    let bytes = bytes.strip_prefix(MARK).unwrap_or(bytes);
    let low_first = match bytes.get(..2)? {
        b"II" => true,
        b"MM" => false,
        _ => return None,
    };
    let short = |at: usize| {
        let two: [u8; 2] = bytes.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if low_first { u16::from_le_bytes(two) } else { u16::from_be_bytes(two) })
    };
    let long = |at: usize| {
        let four: [u8; 4] = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if low_first { u32::from_le_bytes(four) } else { u32::from_be_bytes(four) })
    };
    if short(2)? != 42 {
        return None;
    }
    let first = usize::try_from(long(4)?).ok()?;
    for entry in 0..usize::from(short(first)?) {
        let at = first.checked_add(2 + 12 * entry)?;
        if short(at)? != TAG {
            continue;
        }
        // A number of two bytes, as it has to be, or of four or of one.
        return match (short(at + 2)?, long(at + 4)?) {
            (3, 1) => short(at + 8),
            (4, 1) => long(at + 8).and_then(|number| u16::try_from(number).ok()),
            (1, 1) => bytes.get(at + 8).copied().map(u16::from),
            _ => None,
        };
    }
    None
}
