//! PNG and JPEG. Takes the bytes of a file, gives red, green and blue in 8 bits; what is transparent is shown as if it were
//! not, and grey is three times the same. A picture is turned as its EXIF says.

use super::orientation::Orientation;
use std::io::Cursor;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// More pixels than any picture to learn from has; what a file says of itself must not make us take all memory.
const MOST_PIXELS: usize = 1 << 27;
/// The longest side, likewise.
const LONGEST_SIDE: usize = 1 << 15;

/// How many times smaller than its pixels a PNG can be: deflate packs 1,032 bytes into one at most.
const MOST_PACKED: usize = 1032;
/// How many pixels a JPEG has for one of its bytes at most: each 8 by 8 of them take a bit.
const MOST_PIXELS_A_BYTE: usize = 8 * 8 * 8;

const PNG: &[u8] = b"\x89PNG\r\n\x1A\n";
const JPEG: &[u8] = b"\xFF\xD8\xFF";

/// A decoded picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Pixels from top to bottom.
    pub height: usize,
    /// Pixels from left to right.
    pub width: usize,
    /// Red, green and blue of each pixel, row after row.
    pub rgb: Vec<u8>,
}

/// Decodes a file.
///
/// # Errors
/// What is wrong with it, in one line.
pub fn decode(bytes: &[u8]) -> Result<Picture, String> {
    match Kind::of(bytes)? {
        Kind::Png => png(bytes).map(|picture| Orientation::of_png(bytes).apply(picture)),
        Kind::Jpeg => jpeg(bytes),
    }
}

/// The height and width that a file says it has, as it is shown.
///
/// # Errors
/// What is wrong with its beginning, in one line.
pub fn size_of(bytes: &[u8]) -> Result<(usize, usize), String> {
    match Kind::of(bytes)? {
        Kind::Png => {
            png_reader(bytes).and_then(|reader| png_size(&reader)).map(|size| Orientation::of_png(bytes).shown(size))
        }
        Kind::Jpeg => {
            let mut decoder = jpeg_decoder(bytes);
            jpeg_size(&mut decoder).map(|size| jpeg_orientation(&decoder).shown(size))
        }
    }
}

enum Kind {
    Png,
    Jpeg,
}

impl Kind {
    fn of(bytes: &[u8]) -> Result<Kind, String> {
        match bytes {
            _ if bytes.starts_with(PNG) => Ok(Kind::Png),
            _ if bytes.starts_with(JPEG) => Ok(Kind::Jpeg),
            _ => Err(format!("it begins with {:02x?}, which is neither PNG nor JPEG", &bytes[..bytes.len().min(4)])),
        }
    }
}

fn checked(height: usize, width: usize) -> Result<(usize, usize), String> {
    let sides = [height, width];
    let fine = sides.iter().all(|side| (1..=LONGEST_SIDE).contains(side)) && height * width <= MOST_PIXELS;
    if fine { Ok((height, width)) } else { Err(format!("it says that it is {height} high and {width} wide")) }
}

type PngReader<'a> = png::Reader<Cursor<&'a [u8]>>;

fn png_reader(bytes: &[u8]) -> Result<PngReader<'_>, String> {
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    decoder.set_limits(png::Limits { bytes: 16 * MOST_PIXELS });
    decoder.read_info().map_err(|error| error.to_string())
}

fn png_size(reader: &PngReader) -> Result<(usize, usize), String> {
    let info = reader.info();
    checked(info.height as usize, info.width as usize)
}

fn png(bytes: &[u8]) -> Result<Picture, String> {
    let mut reader = png_reader(bytes)?;
    let (height, width) = png_size(&reader)?;
    if reader.info().raw_bytes() / MOST_PACKED > bytes.len() {
        return Err(too_large(height, width, bytes));
    }
    let length = reader.output_buffer_size().ok_or("it is too large for memory")?;
    let mut raw = vec![0; length];
    let frame = reader.next_frame(&mut raw).map_err(|error| error.to_string())?;
    if (frame.height as usize, frame.width as usize) != (height, width) {
        return Err("its first frame is only a part of it".to_owned());
    }
    let channels = frame.color_type.samples();
    let pixels = raw[..frame.buffer_size()].chunks_exact(channels);
    let rgb: Vec<u8> = match frame.color_type {
        png::ColorType::Grayscale | png::ColorType::GrayscaleAlpha => pixels.flat_map(|pixel| [pixel[0]; 3]).collect(),
        png::ColorType::Rgb | png::ColorType::Rgba => pixels.flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect(),
        png::ColorType::Indexed => return Err("its palette is missing".to_owned()),
    };
    finished(height, width, rgb)
}

/// What is said of a file that is too short for the picture that it claims to be.
fn too_large(height: usize, width: usize, bytes: &[u8]) -> String {
    format!("it says that it is {height} high and {width} wide, and has {} bytes", bytes.len())
}

fn finished(height: usize, width: usize, rgb: Vec<u8>) -> Result<Picture, String> {
    match rgb.len() == 3 * height * width {
        true => Ok(Picture { height, width, rgb }),
        false => Err(format!("it has {} pixels, expected {height} times {width}", rgb.len() / 3)),
    }
}

type Jpeg<'a> = JpegDecoder<ZCursor<&'a [u8]>>;

fn jpeg_decoder(bytes: &[u8]) -> Jpeg<'_> {
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_height(LONGEST_SIDE)
        .set_max_width(LONGEST_SIDE)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    JpegDecoder::new_with_options(ZCursor::new(bytes), options)
}

fn jpeg_size(decoder: &mut Jpeg) -> Result<(usize, usize), String> {
    decoder.decode_headers().map_err(|error| error.to_string())?;
    let (width, height) = decoder.dimensions().ok_or("it does not say how large it is")?;
    checked(height, width)
}

fn jpeg(bytes: &[u8]) -> Result<Picture, String> {
    let mut decoder = jpeg_decoder(bytes);
    let (height, width) = jpeg_size(&mut decoder)?;
    if height * width / MOST_PIXELS_A_BYTE > bytes.len() {
        return Err(too_large(height, width, bytes));
    }
    let raw = decoder.decode().map_err(|error| error.to_string())?;
    let rgb = match raw.len() == height * width {
        // The decoder leaves grey as it is.
        true => raw.iter().flat_map(|grey| [*grey; 3]).collect(),
        false => raw,
    };
    finished(height, width, rgb).map(|picture| jpeg_orientation(&decoder).apply(picture))
}

fn jpeg_orientation(decoder: &Jpeg) -> Orientation {
    decoder.exif().map_or(Orientation::NONE, |exif| Orientation::of_exif(exif))
}
